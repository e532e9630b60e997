"""Where Moon and Sun stand over the rotating Earth."""

from __future__ import annotations

import warnings
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_J2000 = 2_451_545.0
_NOON_2000 = datetime(2000, 1, 1, 12, tzinfo=timezone.utc)
_AU_M = 149_597_870_700.0
_DAY_S = 86_400.0


class Sky(NamedTuple):
    """Moon and Sun, ECEF metres (n, 3); days since 2000-01-01 12:00 of terrestrial and of universal time, (n,)."""

    moon_m: NDArray[np.float64]
    sun_m: NDArray[np.float64]
    days_tt: NDArray[np.float64]
    days_ut: NDArray[np.float64]


def find_sky(epoch: datetime, seconds: NDArray[np.float64]) -> Sky:
    """Find Moon and Sun at some times.

    Series of ERFA (Moon after Meeus, 10 arc seconds; Sun after VSOP2000), precession and nutation of IAU 2000B. UTC is
    taken for UT1, from which it is less than 0.9 s: the Earth turns by 14 arc seconds meanwhile. Together that is less
    than 0.1 mm of a tide.

    Parameters
    ----------
    epoch : datetime
        UTC.
    seconds : (n,) float64
        Since then.
    """
    import erfa

    utc = (epoch - _NOON_2000).total_seconds() / _DAY_S + seconds / _DAY_S
    with warnings.catch_warnings():
        # A leap second that nobody knows of yet moves the Moon by 1 m.
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        tt = erfa.taitt(*erfa.utctai(_J2000, utc))
        turned = erfa.c2t00b(*tt, _J2000, utc, 0.0, 0.0)
        moon, earth = erfa.moon98(*tt)["p"], erfa.epv00(*tt)[0]["p"]
    return Sky(
        moon_m=np.einsum("nij,nj->ni", turned, moon) * _AU_M,
        sun_m=np.einsum("nij,nj->ni", turned, -earth) * _AU_M,
        days_tt=tt[0] - _J2000 + tt[1],
        days_ut=utc,
    )
