"""Stacks in radar geometry as StaMPS takes them."""

from topsar.stamps.tree import write_stamps

__all__ = ["write_stamps"]
