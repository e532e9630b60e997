"""Which date of a stack is its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CRITICAL_BASELINE_M, CRITICAL_DAYS = 1100.0, 5 * 365.25
"""Baselines in space and time at which no coherence is expected to be left."""


class Choice(NamedTuple):
    """A reference date, and why it is that."""

    date: str
    why: str


def choose_reference(
    dates: Sequence[str], days: NDArray[np.float64], baselines_m: NDArray[np.float64], wanted: str, kept: str
) -> Choice:
    """Choose the date in the middle of the baselines: the sum of the coherences expected with all others is largest.

    A pair is expected to lose coherence in proportion to its baselines in space and time
    (Hooper, Segall and Zebker, 2007, Journal of Geophysical Research 112, B07407).

    Parameters
    ----------
    dates : sequence of str
        In order of time.
    days, baselines_m : (dates,) float64
        When they were taken, and their perpendicular baselines to one of them.
    wanted : str
        A date that was asked for, or ``auto``.
    kept : str
        The reference of the stack that is there; empty if there is none.

    Raises
    ------
    SettingsError
        If the stack does not have the date that was asked for.
    """
    if wanted != "auto":
        if wanted not in dates:
            msg = f"STACK_REFERENCE={wanted} is none of the dates of the stack: {', '.join(dates)}"
            raise SettingsError(msg, hint="choose one of them, or auto")
        return Choice(wanted, "as set by STACK_REFERENCE")
    if kept in dates:
        return Choice(kept, "it is the reference of the stack that is there")
    apart_m = np.abs(baselines_m[:, None] - baselines_m)
    apart_days = np.abs(days[:, None] - days)
    expected = np.clip(1 - apart_m / CRITICAL_BASELINE_M, 0, 1) * np.clip(1 - apart_days / CRITICAL_DAYS, 0, 1)
    best = int(expected.sum(axis=1).argmax())
    others = max(len(dates) - 1, 1)
    why = (
        f"the nearest to all {len(dates)} dates in time and space: {apart_days[best].sum() / others:.0f} days and "
        f"{apart_m[best].sum() / others:.0f} m of perpendicular baseline from the others, on average"
    )
    return Choice(dates[best], why)
