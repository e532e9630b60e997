"""Nothing slower than it was: kernels beside what they took before, in multiply-adds of the calibration loop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).resolve().parent / "baseline.json"
TOLERANCE = 1.3
"""Ratios of kernels to the calibration loop repeat to some 20 % on a machine that others use too."""


def regressions(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each kernel that takes more than it did, and for each that nobody has measured before."""
    known: dict[str, float] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    for row in rows:
        name, now = row["kernel"], row["multiply_adds_each"]
        if name not in known:
            yield f"{name}: not in the baseline"
        elif now > TOLERANCE * known[name]:
            yield f"{name}: {now:.0f} multiply-adds each, {now / known[name]:.2f} times as many as {known[name]:.0f}"


def keep(rows: Sequence[dict[str, Any]]) -> None:
    """Make these the baseline."""
    figures = {row["kernel"]: round(row["multiply_adds_each"], 1) for row in rows}
    BASELINE.write_text(json.dumps(figures, indent=1) + "\n")
