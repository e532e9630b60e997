"""``topsar``, and ``python -m topsar``."""

import os
import signal
import sys


def main() -> int:
    """Run the command of this process; Ctrl-C while its modules are loaded ends it without a word."""
    loading = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else somebody ignores it: nohup
    if loading:
        signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))
    from topsar.cli import main as run

    if loading:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


if __name__ == "__main__":
    sys.exit(main())
