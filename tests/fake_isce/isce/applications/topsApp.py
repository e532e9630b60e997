#!/usr/bin/env python3
"""The double of ISCE2's ``topsApp.py``."""

from __future__ import annotations

import sys

import isce  # noqa: F401  # as in the real one: it finds the rest
from isce.double.application import main

if __name__ == "__main__":
    main(sys.argv[1:])
