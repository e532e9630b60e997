"""A pair as GUNW has it: the later date is the reference; layers in degrees, geometry cubes, outline and name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely import Polygon

from topsar.engines.ground import LONLAT
from topsar.engines.passes import read_passes
from topsar.errors import ProductError
from topsar.formats.degrees import cover_in_degrees, warp_layer
from topsar.formats.exchange import fill_holes, name_dates, order_dates, require_unwrapped
from topsar.formats.gunw.cube import Cube, make_cube, make_tide_cube
from topsar.formats.gunw.standard import (
    CROSSED_KEY,
    NO_FRAME,
    STEPS_PER_DEGREE,
    VERSION,
    is_standard,
    make_tag,
    name_place,
)
from topsar.formats.gunw.troposphere import Troposphere, make_troposphere
from topsar.formats.outline import draw_outline
from topsar.model import CROSSED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from topsar.engines.passes import PassFacts
    from topsar.interferogram import Interferogram
    from topsar.model import GeoGrid

_FINE_BELOW_M = 50
_TIDE = "solid_earth_tide"
_PHASE = "filtered_unwrapped_phase"
"""GUNW carries the phase that was unwrapped: the filtered one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """What a file holds, ready to be written: layers on ``grid`` with GUNW's names and fills.

    ``tides`` are the cubes of reference and secondary, none without the correction, ``troposphere`` those of a
    weather model; ``outline`` is that of the data, ``geometry`` that of the frame where there is one.
    """

    name: str
    frame: int
    parameters: Mapping[str, float | str]
    facts: Mapping[str, Any]
    reference: PassFacts
    secondary: PassFacts
    grid: GeoGrid
    layers: Mapping[str, NDArray[np.float32]]
    ionosphere: NDArray[np.float32] | None
    burst_ramps: NDArray[np.float32] | None
    tides: Mapping[str, NDArray[np.float32]]
    troposphere: Troposphere | None
    cube: Cube
    outline: Polygon
    geometry: Polygon


def prepare_product(ifg: Interferogram) -> Product:
    """Turn a pair to GUNW's order of dates and grid."""
    products, ifg = ifg.folder, order_dates(ifg, older_first=False)
    require_unwrapped(ifg, "GUNW")
    grid = cover_in_degrees(ifg.grid, 1 / STEPS_PER_DEGREE[_choose_posting(ifg)])
    unwrapped = warp_layer(ifg, _PHASE, grid)
    seen, coherence = np.isfinite(unwrapped), warp_layer(ifg, "coherence", grid)
    if not seen.any():
        msg = f"no pixel of {ifg.pair_id} is unwrapped"
        raise ProductError(msg, hint="its coherence is too low: leave it out")
    layers = {
        "unwrappedPhase": _fill(unwrapped, seen, 0),
        "coherence": _fill(coherence, seen, 0),
        "connectedComponents": _fill(warp_layer(ifg, "components", grid).astype(np.float32), seen, -1),
        "amplitude": _fill(warp_layer(ifg, "amplitude", grid), seen, 0),
        "unfilteredCoherence": _fill(coherence, seen, 0),
    }
    reference, secondary = read_passes(ifg.facts)
    outline = draw_outline(seen, grid)
    ionosphere, ramps = (
        warp_layer(ifg, name, grid) if name in ifg.layers else None for name in ("ionosphere", "ionosphere_burst_ramps")
    )
    cube = make_cube(reference, secondary, grid.bbox)
    passes = {"reference": reference, "secondary": secondary}
    tidal = passes if _TIDE in ifg.layers else {}
    tides = {side: make_tide_cube(one, cube, ifg.facts["wavelength_m"]) for side, one in tidal.items()}
    frame = ifg.facts.get("settings", {}).get("frame")
    number, parameters = frame["number"] if frame else NO_FRAME, _list_parameters(ifg)
    geometry = Polygon(frame["outline"]) if frame else outline
    return Product(
        name=_name_product(ifg.facts, reference, geometry, is_custom=not is_standard(number, parameters)),
        frame=number,
        parameters={"frame_id": number, **parameters},
        facts=ifg.facts,
        reference=reference,
        secondary=secondary,
        grid=grid,
        layers=layers,
        ionosphere=ionosphere,
        burst_ramps=None if ramps is None else _fill(ramps, seen, 0),
        tides=tides,
        troposphere=make_troposphere(ifg, products, passes, (cube, grid.bbox)),
        cube=cube,
        outline=outline,
        geometry=geometry,
    )


def _choose_posting(ifg: Interferogram) -> int:
    """The standard posting, 90 or 30 m, that is nearer to the pair's."""
    metres = ifg.grid.dy if ifg.grid.crs != LONLAT else ifg.grid.dy * 111_000
    return 30 if metres < _FINE_BELOW_M else 90


def _fill(values: NDArray[np.float32], seen: NDArray[np.bool_], fill: float) -> NDArray[np.float32]:
    """Fill holes, and all that is not unwrapped."""
    true = fill_holes(values) if fill == 0 else values
    return np.where(seen & np.isfinite(values), true, fill).astype(np.float32)


def _name_product(facts: Mapping[str, Any], reference: PassFacts, geometry: Polygon, *, is_custom: bool) -> str:
    place = name_place(*geometry.bounds[:2])
    tag = make_tag(facts["reference_scenes"], facts["secondary_scenes"], find_crossed(facts))
    return "-".join(
        (
            "S1",
            "GUNW_CUSTOM" if is_custom else "GUNW",
            facts["direction"][0].upper(),
            "R",
            f"{facts['track']:03d}",
            "tops",
            name_dates(facts),
            f"{reference.middle:%H%M%S}",
            place,
            "PP",
            tag,
            f"v{VERSION.replace('.', '_')}",
        )
    )


def find_crossed(facts: Mapping[str, Any]) -> str:
    """Tell VH or HV; nothing of other pairs."""
    return str(facts["polarisation"]) if facts["polarisation"] in CROSSED else ""


def _list_parameters(ifg: Interferogram) -> dict[str, float | str]:
    """The standard's parameters, as this run had them."""
    facts, settings = ifg.facts, ifg.facts.get("settings", {})
    has_esd = facts.get("azimuth_misregistration", {}).get("pixels", 0.0) != 0
    threshold = settings.get("esd_coherence", 0.0) if facts["engine"] == "isce2" else 0.0  # native weights all pixels
    return {
        "goldstein_filter_power": float(settings.get("filter_strength", 0.0)),
        "esd_coherence_threshold": float(threshold) if has_esd else -1.0,
        "dense_offsets": 0,
        "unfiltered_coherence": 1,
        "estimate_ionosphere_delay": int("ionosphere" in ifg.layers),
        "compute_solid_earth_tide": int(_TIDE in ifg.layers),
        "output_resolution": _choose_posting(ifg),
        **({CROSSED_KEY: crossed} if (crossed := find_crossed(facts)) else {}),
    }
