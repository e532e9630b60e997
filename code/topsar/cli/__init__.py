"""The command line, the only place that prints."""

from topsar.cli.main import main

__all__ = ["main"]
