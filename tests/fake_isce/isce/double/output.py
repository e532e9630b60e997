"""What the double says, where the real one says it: standard output and ``isce.log``."""

from __future__ import annotations

import sys
import time
from pathlib import Path


def say(*words: object) -> None:
    """Print, and leave it in the buffer: in a pipe the real one's output comes late too."""
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")


def log(name: str, level: str, message: str) -> None:
    """One line of the real one's logging, on standard output and in ``isce.log`` of the run folder."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)) + f",{int(now % 1 * 1000):03d}"
    line = f"{stamp} - isce.{name} - {level} - {message}"
    say(line)
    sys.stdout.flush()
    with Path("isce.log").open("a") as stream:
        stream.write(line + "\n")
