"""The satellites that the real reader of this version knows, for who looks for their names here."""

from __future__ import annotations

MISSIONS = ('S1A', 'S1B', 'S1C', 'S1D')  # fmt: skip  # quoted as in the real file
