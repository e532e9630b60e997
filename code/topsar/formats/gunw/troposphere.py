"""What a weather model says of both dates: the cubes of GUNW that RAiDER adds to products of the archive."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.passes import AROUND
from topsar.errors import ProvisionError
from topsar.formats.gunw.standard import DELAYS, TROPOSPHERE_HEIGHTS_M
from topsar.kernels.geometry import geo2rdr, line_of_sight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from topsar.corrections.zenith_delay import WeatherFile, ZenithDelay
    from topsar.engines.passes import PassFacts
    from topsar.formats.gunw.cube import Cube
    from topsar.interferogram import Interferogram
    from topsar.model import BBox

log = logging.getLogger(__name__)

_CORRECTION = "weather_troposphere"
_GROUPS = {"GEOS-FP": "GMAO", "OPERA": "HRES"}
"""What RAiDER and its readers call models that have other names in files."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delays:
    """Delays of one date, (height, latitude, longitude), rad, by GUNW's names; the model times they are from."""

    values: Mapping[str, NDArray[np.float32]]
    model_times: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Troposphere:
    """The delays of both dates; latitude falls."""

    model: str
    heights_m: NDArray[np.float64]
    latitude_deg: NDArray[np.floating[Any]]
    longitude_deg: NDArray[np.floating[Any]]
    sides: Mapping[str, Delays]


def make_troposphere(
    ifg: Interferogram, products: Path | None, passes: Mapping[str, PassFacts], place: tuple[Cube, BBox]
) -> Troposphere | None:
    """Compute the delays at the nodes of the geometry cubes that the files of the model cover.

    Parameters
    ----------
    ifg : Interferogram
        Its facts tell which files the correction `weather_troposphere` took.
    products : Path, optional
        The folder that the pair was read from.
    passes : mapping
        Reference and secondary.
    place : Cube, BBox
        The box is that of the pixels, degrees.

    Returns
    -------
    Troposphere or None
        None without the correction, with files that tell the sum at the ground alone (GACOS), and, with a warning,
        where the files are gone.
    """
    from topsar.corrections.zenith_delay import choose_around, list_weather

    known = ifg.facts.get("corrections", {}).get(_CORRECTION, {})
    if "troposphere" not in ifg.layers or "folder" not in known:
        return None
    names = {name for side in known["files"].values() for name in side}
    files = [one for one in list_weather(_find_folder(known["folder"], products)) if one.path.name in names]
    if len(files) < len(names):
        log.warning("no troposphere cubes in GUNW: %s does not have the files any more", known["folder"])
        return None
    chosen = {side: choose_around(files, one.middle) for side, one in passes.items()}
    try:
        return _make(known["model"], chosen, passes, place, float(ifg.facts["wavelength_m"]))
    except ProvisionError as exc:
        log.warning("no troposphere cubes in GUNW: %s", exc.message)
        return None


def _find_folder(known: str, products: Path | None) -> Path:
    """The folder of a correction's files; where the data folder was moved since, at the same place in that."""
    folder = Path(known)
    moved = (products / "../../.." / Path(*folder.parts[start:]) for start in range(1, len(folder.parts)) if products)
    return next((one for one in (folder, *moved) if one.is_dir()), folder)


def _make(
    model: str,
    chosen: Mapping[str, Sequence[WeatherFile]],
    passes: Mapping[str, PassFacts],
    place: tuple[Cube, BBox],
    wavelength_m: float,
) -> Troposphere | None:
    from topsar.corrections.zenith_delay import read_zenith_delay

    cube, box = place
    read = {file.path: read_zenith_delay(file.path, box) for files in chosen.values() for file in files}
    if not read or any(one.wet_m is None for one in read.values()):
        return None
    lat, lon = (_keep_covered(axis, [getattr(one, name) for one in read.values()]) for name, axis in (
        ("latitude_deg", cube.latitude_deg), ("longitude_deg", cube.longitude_deg)))  # fmt: skip
    heights = np.array(TROPOSPHERE_HEIGHTS_M)
    sides = {}
    for side, one in passes.items():
        values = _find_phase(one, [(file, read[file.path]) for file in chosen[side]], (heights, lat, lon), wavelength_m)
        times = ", ".join(f"{file.time:%Y-%m-%dT%H:%M:%S}" for file in chosen[side])
        sides[side] = Delays(values=values, model_times=times)
    name = model.split("_")[0].upper()
    return Troposphere(
        model=_GROUPS.get(name, name), heights_m=heights, latitude_deg=lat, longitude_deg=lon, sides=sides
    )


def _keep_covered(axis: NDArray[np.floating[Any]], given: Sequence[NDArray[np.float64]]) -> NDArray[np.floating[Any]]:
    low, high = max(float(one[0]) for one in given), min(float(one[-1]) for one in given)
    return axis[(axis >= low) & (axis <= high)]


def _find_phase(
    one: PassFacts,
    files: Sequence[tuple[WeatherFile, ZenithDelay]],
    axes: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    wavelength_m: float,
) -> dict[str, NDArray[np.float32]]:
    """The hydrostatic and the wet delay along the line of sight, as phase: -4π/λ times metres; 0 where not known."""
    from scipy.interpolate import RegularGridInterpolator

    from topsar.corrections.weather_troposphere import weigh_times
    from topsar.formats.gunw.cube import place_nodes

    points, arc = place_nodes(*axes), one.fit(AROUND)
    up = line_of_sight(points, arc.position(geo2rdr(points, arc)[0]))[..., 2]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    weights = [weight for weight, _ in weigh_times([file for file, _ in files], one.middle)]
    total = {name: np.zeros(up.shape) for name in DELAYS}
    for weight, (_, found) in zip(weights, files, strict=True):
        assert found.height_m is not None
        assert found.wet_m is not None
        parts = dict(zip(DELAYS, (found.delay_m - found.wet_m, found.wet_m), strict=True))
        place = (found.height_m, found.latitude_deg, found.longitude_deg)
        for name, part in parts.items():
            total[name] += weight * RegularGridInterpolator(place, part, bounds_error=False, fill_value=np.nan)(nodes)
    return {
        name: np.nan_to_num(-4 * math.pi / wavelength_m * values / up, nan=0.0).astype(np.float32)
        for name, values in total.items()
    }
