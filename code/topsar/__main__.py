"""``python -m topsar``."""

import sys

from topsar.cli import main

if __name__ == "__main__":
    sys.exit(main())
