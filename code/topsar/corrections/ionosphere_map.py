"""The ionosphere between two passes, from maps of its electron content.

The maps know waves of hundreds of kilometres, and the whole column: part of it lies above the satellite.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from topsar.corrections import Correction, Cost, Estimate, refuse
from topsar.errors import ProvisionError
from topsar.interferogram import Drawing, LayerKind
from topsar.model import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from topsar.corrections.ionex import MapFile
    from topsar.engines.passes import PassFacts
    from topsar.interferogram import Interferogram

NODE_SPACING_M = 10_000.0
_DELAY = 40.31e16
"""Group delay, m, times frequency squared of one TECU."""


class IonosphereMap(Correction):
    """The phase that maps of the electron content foretell."""

    name = "ionosphere_map"
    version = "2"
    layer = LayerKind(
        name="ionosphere_map",
        long_name="Ionospheric phase from maps",
        unit="rad",
        description="Phase of the ionosphere, from maps of its electron content",
        convention="positive: the phase path grew from reference to secondary, the electron content fell",
        antisymmetric=True,
        drawing=Drawing(style="range", label="Phase (rad)", note="From maps of the electron content"),
    )
    cost = Cost(base_memory=150_000_000, memory=20, disk=8, start_s=2.5, microseconds=0.15)
    options = ("ionex_dir",)

    def __init__(self, ionex_dir: str = "") -> None:
        self._folder = Path(ionex_dir) if ionex_dir else None

    def find_files(self, times: Sequence[datetime]) -> tuple[Path, ...]:
        """List the files that are read for the two dates of a pair."""
        return tuple(dict.fromkeys(file.path for file in self._choose(times)))

    def _choose(self, times: Sequence[datetime]) -> tuple[MapFile, ...]:
        from topsar.corrections.ionex import choose_maps

        return choose_maps(self._files, times)

    @cached_property
    def _files(self) -> list[MapFile]:
        """Those of the folder, listed once for all pairs."""
        from topsar.corrections.ionex import list_maps

        return list_maps(self._folder) if self._folder else []

    def compute(self, ifg: Interferogram) -> Estimate:
        """Read the maps of both dates; refuse without files that cover them."""
        from topsar.corrections.nodes import choose_step, lay_nodes, spread_nodes
        from topsar.engines.passes import read_passes

        if self._folder is None:
            return refuse("IONEX_DIR names no folder with IONEX maps")
        passes = read_passes(ifg.facts)
        files = self._choose([one.middle for one in passes])
        if not files:
            days = " and ".join(f"{one.middle:%Y-%m-%d}" for one in passes)
            return refuse(f"no centre has IONEX maps of {days} in {self._folder}")
        step = choose_step(ifg.grid, NODE_SPACING_M)
        place = lay_nodes(ifg.grid, step)
        try:
            first, second = (_read_slant(file, one, place) for file, one in zip(files, passes, strict=True))
        except ProvisionError as exc:
            return refuse(exc.message)
        # The group is late by what the phase is early: more electrons, and the phase says that the range shrank.
        per_content = (
            -4 * math.pi / ifg.facts["wavelength_m"] * _DELAY / (SPEED_OF_LIGHT / ifg.facts["wavelength_m"]) ** 2
        )
        deviation = _find_deviation(first, second, per_content)
        parts = [per_content * (second.content - first.content), *([] if deviation is None else [deviation])]
        found = np.empty((len(parts), *ifg.grid.shape), np.float32)
        for rows, values in spread_nodes(np.stack(parts, axis=-1), step, ifg.grid.shape):
            found[:, rows] = np.moveaxis(values, -1, 0)
        found[:, ifg.layers["wrapped_phase"].holes] = np.nan
        facts = {
            "files": {side: file.path.name for side, file in zip(("reference", "secondary"), files, strict=True)},
            "slant_tecu": {
                side: round(float(one.content.mean()), 3)
                for side, one in zip(("reference", "secondary"), (first, second), strict=True)
            },
            "std_rad": None if deviation is None else round(float(np.nanmean(deviation)), 3),
        }
        return Estimate(phase_rad=found[0], std_rad=None if deviation is None else found[1], facts=facts)


class _Slant(NamedTuple):
    """Electron content along the line of sight and its rms in the maps, TECU, at nodes."""

    content: NDArray[np.float64]
    rms: NDArray[np.float64] | None


def _find_deviation(first: _Slant, second: _Slant, per_content: float) -> NDArray[np.float64] | None:
    """What the rms of the maps comes to at nodes, rad: an error nearly the same over a scene."""
    if first.rms is None or second.rms is None:
        return None
    deviation = abs(per_content) * np.hypot(first.rms, second.rms)
    return deviation if np.isfinite(deviation).any() else None


def _read_slant(file: MapFile, one: PassFacts, place_deg: tuple[NDArray[np.float64], NDArray[np.float64]]) -> _Slant:
    """What a file says along the lines of sight of a pass to nodes (longitude, latitude)."""
    from topsar.corrections.ionex import find_content, read_maps

    maps = read_maps(file.path)
    pierced, cosine = _pierce_shell(one, place_deg, maps.shell_radius_m)
    content = find_content(maps, maps.content, pierced, one.middle) / cosine
    if not np.isfinite(content).all():
        msg = (
            f"{file.path} has no electron content over the scene at {one.middle:%Y-%m-%d %H:%M} UTC: its maps reach "
            f"from {maps.times[0]:%H:%M} to {maps.times[-1]:%Y-%m-%d %H:%M}"
        )
        raise ProvisionError(msg)
    rms = None if maps.rms is None else find_content(maps, maps.rms, pierced, one.middle) / cosine
    return _Slant(content, rms)


def _pierce_shell(
    one: PassFacts, place_deg: tuple[NDArray[np.float64], NDArray[np.float64]], radius_m: float
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
    """Where lines of sight pierce a sphere, latitude and longitude, and the cosine of their angle to its normal."""
    from topsar.engines.passes import AROUND
    from topsar.kernels.geometry import geo2rdr, geodetic_to_ecef

    lon, lat = np.radians(place_deg)
    points = geodetic_to_ecef(lat, lon, 0.0)
    arc = one.fit(AROUND)
    time, slant = geo2rdr(points, arc)
    toward = (arc.position(time) - points) / slant[..., None]
    along = (points * toward).sum(-1)
    reach = -along + np.sqrt(along**2 - (points**2).sum(-1) + radius_m**2)
    x, y, z = np.moveaxis((points + reach[..., None] * toward) / radius_m, -1, 0)
    cosine = x * toward[..., 0] + y * toward[..., 1] + z * toward[..., 2]
    return (np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x))), cosine
