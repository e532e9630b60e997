"""Stacks in the radar geometry of one reference date: their grid, their nodes, their plan."""
