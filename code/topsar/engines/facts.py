"""What the products say about a pair, whichever engine made it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.errors import ProvisionError
from topsar.model import CROSSED
from topsar.raster.dem import measure_spacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.engines.orbits import OrbitChoice
    from topsar.engines.survey import MatchedPair
    from topsar.model import Dem, GeoGrid


NO_SIGNAL = "its coherence is no better than that of no signal at all: no phase of it can be relied on"
_CHANCE, _LEAST_SHARE = 1e-3, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """What the products say about a pair besides what its steps measure."""

    pair: str
    track: int
    direction: str
    reference_date: datetime
    secondary_date: datetime
    reference_scenes: tuple[str, ...]
    secondary_scenes: tuple[str, ...]
    ipf: tuple[str, ...]
    polarisation: str

    @property
    def title(self) -> str:
        """Both days and the track; VH and HV too."""
        plain = f"{self.reference_date:%Y-%m-%d} to {self.secondary_date:%Y-%m-%d} T{self.track:03d}"
        return f"{plain} {self.polarisation}" if self.pair.endswith(CROSSED) else plain


def collect_facts(matched: MatchedPair) -> PairFacts:
    """What is known of a pair before it is processed."""
    pair = matched.pair
    return PairFacts(
        pair=pair.id,
        track=pair.track,
        direction=pair.reference[0].direction.value,
        reference_date=pair.reference[0].start,
        secondary_date=pair.secondary[0].start,
        reference_scenes=tuple(scene.name for scene in pair.reference),
        secondary_scenes=tuple(scene.name for scene in pair.secondary),
        ipf=tuple(sorted({scene.ipf for scene in pair.scenes})),
        polarisation=matched.polarisation,
    )


def describe_signal(coherence: NDArray[np.float32], at_zero: float) -> dict[str, Any]:
    """Say whether there is signal: the share of pixels with more coherence than chance gives, and a remark without any.

    Chance gives more than √(1 - p^(1/(L-1))) to a share p of pixels of L looks without coherence (Touzi, Lopes,
    Bruniquel and Vachon, 1999, IEEE TGRS 37, "Coherence estimation for SAR imagery").

    Parameters
    ----------
    coherence : (rows, columns) float32
        As estimated, its bias included; NaN in holes.
    at_zero : float
        Its mean where there is none: L follows from that.
    """
    looks = math.pi / (4 * at_zero**2) + 0.25
    most = math.sqrt(1 - _CHANCE ** (1 / max(looks - 1, 1e-3)))
    seen = coherence[np.isfinite(coherence)]
    share = float((seen > most).mean()) if seen.size else 0.0
    remarks = [NO_SIGNAL] if share < _LEAST_SHARE else []
    return {"signal_share": round(share, 4), "remarks": remarks}


def describe_uncalibrated(reason: str) -> str:
    """Say that a pair has no backscatter."""
    return f"it has no backscatter: {reason}"


def describe(facts: PairFacts, orbits: tuple[OrbitChoice, OrbitChoice], dem: Dem, grid: GeoGrid) -> dict[str, Any]:
    """The facts as the products tell them; the engine adds its name, its looks and what it measured.

    Parameters
    ----------
    facts : PairFacts
    orbits : tuple of OrbitChoice
        Of reference and secondary.
    dem : Dem
    grid : GeoGrid
    """
    return {
        "pair": facts.pair,
        "track": facts.track,
        "direction": facts.direction,
        "reference_date": facts.reference_date.date().isoformat(),
        "secondary_date": facts.secondary_date.date().isoformat(),
        "reference_time": facts.reference_date.isoformat(),
        "secondary_time": facts.secondary_date.isoformat(),
        "temporal_baseline_days": round((facts.secondary_date - facts.reference_date).total_seconds() / 86400, 3),
        "reference_scenes": facts.reference_scenes,
        "secondary_scenes": facts.secondary_scenes,
        "ipf": facts.ipf,
        "polarisation": facts.polarisation,
        "posting": f"{grid.dx:g} m" if grid.crs != "EPSG:4326" else f"1/{1 / grid.dx:.0f} degree",
        "crs": grid.crs,
        "orbits": {f"{choice.start:%Y-%m-%d}": choice.name for choice in orbits},
        "dem": {"file": dem.path.name, "datum": dem.datum.value, **_describe_spacing(dem)},
    }


def _describe_spacing(dem: Dem) -> dict[str, float]:
    """The spacing of the DEM's heights; nothing where the file is gone since it was read."""
    with suppress(ProvisionError):
        return {"spacing_m": round(measure_spacing(dem), 2)}
    return {}
