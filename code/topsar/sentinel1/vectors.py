"""State vectors, as annotation and orbit files alike give them, become an Orbit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from topsar.model import Orbit, OrbitSource
from topsar.sentinel1.document import Node


def state_vectors(
    document: Node,
    *,
    source: OrbitSource,
    name: str,
    times: Sequence[datetime],
    positions: Sequence[Sequence[float]],
    velocities: Sequence[Sequence[float]],
) -> Orbit:
    """Build an orbit from n state vectors, seconds counted from the first.

    Parameters
    ----------
    document : Node
        The document they come from: it names the file and the error to raise.
    source, name
        As in :class:`~topsar.model.Orbit`.
    times : sequence of n datetimes
        UTC, strictly increasing.
    positions, velocities : sequences of n triples
        Earth-fixed, m and m/s.

    Raises
    ------
    TopsarError
        ``document.error``, where times do not increase.
    """
    epoch = times[0]
    times_s = np.array([(time - epoch).total_seconds() for time in times], dtype=np.float64)
    steps = np.diff(times_s)
    if (steps <= 0).any():
        at = times[int(np.argmax(steps <= 0)) + 1]
        msg = f"state vectors are not in time order at {at:%Y-%m-%dT%H:%M:%S}"
        raise document.problem(msg)
    return Orbit(
        source=source,
        name=name,
        epoch=epoch,
        times_s=times_s,
        positions_m=np.array(positions, dtype=np.float64),
        velocities_m_s=np.array(velocities, dtype=np.float64),
    )
