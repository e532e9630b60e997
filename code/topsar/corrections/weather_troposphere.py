"""The delay of the troposphere, from zenith delays of a weather model.

Between the model's times before and after a pass the delay is linear; it is taken at the height of each pixel and
divided by the cosine of the angle at which the satellite is seen there. What it does between those times otherwise is
its standard deviation: that of a random walk whose two ends are known.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.corrections import Correction, Cost, Estimate, refuse
from topsar.errors import ProvisionError
from topsar.interferogram import Drawing, LayerKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from topsar.corrections.zenith_delay import WeatherFile, ZenithDelay
    from topsar.interferogram import Interferogram
    from topsar.model import BBox

LEAST_SHARE = 0.99
"""Of the pixels that must lie at heights that the files have."""
_NODE_SPACING_M = 640.0


class WeatherTroposphere(Correction):
    """The delay of the secondary date minus that of the reference, as phase."""

    name = "weather_troposphere"
    version = "3"
    layer = LayerKind(
        name="troposphere",
        long_name="Tropospheric delay",
        unit="rad",
        description="Phase of the tropospheric delay, from zenith delays of a weather model",
        convention="positive: range grew from reference to secondary",
        antisymmetric=True,
        drawing=Drawing(style="range", label="Phase (rad)", note="From a weather model"),
    )
    cost = Cost(base_memory=220_000_000, memory=30, disk=8, start_s=2.5, microseconds=1.1)
    options = ("troposphere_dir",)

    def __init__(self, troposphere_dir: str = "") -> None:
        self._folder = Path(troposphere_dir) if troposphere_dir else None

    def find_files(self, times: Sequence[datetime]) -> tuple[Path, ...]:
        """List the files that are read for the two dates of a pair."""
        return tuple(dict.fromkeys(file.path for each in self._choose(times) for file in each))

    def _choose(self, times: Sequence[datetime]) -> tuple[tuple[WeatherFile, ...], ...]:
        from topsar.corrections.zenith_delay import choose_model

        return choose_model(self._files, times)

    @cached_property
    def _files(self) -> list[WeatherFile]:
        """Those of the folder, listed once for all pairs."""
        from topsar.corrections.zenith_delay import list_weather

        return list_weather(self._folder) if self._folder else []

    def compute(self, ifg: Interferogram) -> Estimate:
        """Take the delays of both dates; refuse without files that cover place and times."""
        from topsar.engines.passes import read_passes

        if not {"los_up", "height"} <= ifg.layers.keys():
            return refuse("there is no line of sight or height")
        if self._folder is None:
            return refuse("TROPOSPHERE_DIR names no folder with zenith delays, and nothing was downloaded")
        times = [one.middle for one in read_passes(ifg.facts)]
        chosen = self._choose(times)
        if not chosen:
            which = " and ".join(f"{time:%Y-%m-%d %H:%M} UTC" for time in times)
            return refuse(f"no model has files around {which} in {self._folder}")
        try:
            delay, spread = _find_difference(ifg, chosen, times)
        except ProvisionError as exc:
            return refuse(exc.message)
        seen = ~ifg.layers["wrapped_phase"].holes & np.isfinite(ifg.layers["height"].values)
        share = float(np.isfinite(delay[seen]).mean()) if seen.any() else 0.0
        if share < LEAST_SHARE:
            return refuse(f"the files have a delay at {share:.1%} of the pixels only")
        delay[~seen] = np.nan
        per_metre = 4 * math.pi / ifg.facts["wavelength_m"]
        std = None if spread is None else np.where(seen, per_metre * spread, np.nan).astype(np.float32)
        facts = _describe(chosen, share) | {"std_rad": None if std is None else round(float(np.nanmean(std)), 3)}
        return Estimate(phase_rad=(per_metre * delay).astype(np.float32), std_rad=std, facts=facts)


def _describe(chosen: tuple[tuple[WeatherFile, ...], ...], share: float) -> dict[str, Any]:
    names = {
        side: [file.path.name for file in files] for side, files in zip(("reference", "secondary"), chosen, strict=True)
    }
    folder = str(chosen[0][0].path.parent)
    return {"model": chosen[0][0].model, "folder": folder, "files": names, "covered_share": round(share, 4)}


def _find_difference(
    ifg: Interferogram, chosen: tuple[tuple[WeatherFile, ...], ...], times: Sequence[datetime]
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
    """The slant delay of the secondary date minus that of the reference, and its deviation, metres; NaN in holes.

    The deviation is None where each date has a file of its own time.
    """
    from topsar.corrections.nodes import choose_step, lay_nodes, spread_nodes
    from topsar.engines.ground import find_box

    step = choose_step(ifg.grid, _NODE_SPACING_M)
    lon, lat = lay_nodes(ifg.grid, step)
    box = find_box(lon, lat)
    sides = [
        (sign, [(weight, _Sampler(file, box)) for weight, file in weigh_times(files, time)])
        for sign, files, time in zip((-1, 1), chosen, times, strict=True)
    ]
    shares = [math.prod(weight for weight, _ in side) if len(side) > 1 else 0.0 for _, side in sides]
    delay = np.empty(ifg.grid.shape)
    changes = np.zeros((2, *ifg.grid.shape), np.float32)
    for rows, place in spread_nodes(np.stack([lat, lon], axis=-1), step, ifg.grid.shape):
        height, toward = ifg.layers["height"].values[rows], 1 / ifg.layers["los_up"].values[rows]
        delay[rows] = 0
        for (sign, samplers), change in zip(sides, changes, strict=True):
            zenith = [sampler(height, place) for _, sampler in samplers]
            weights = [weight for weight, _ in samplers]
            delay[rows] += sign * toward * sum(w * one for w, one in zip(weights, zenith, strict=True))
            change[rows] = toward * (zenith[-1] - zenith[0])
    return delay, _find_spread(shares, changes) if any(shares) else None


def _find_spread(shares: Sequence[float], changes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The deviation of a random walk between times at which it is known, by what it changed by from one to the other.

    Its variance is w(1 - w) times that of the change. Half of the change's variance is taken from the pixel and half
    from the scene: where a change goes through zero the walk is no surer.
    """
    variance = np.zeros(changes.shape[1:], np.float32)
    for share, change in zip(shares, changes, strict=True):
        mean = float(np.nanmean(change**2, dtype=np.float64)) if np.isfinite(change).any() else math.nan
        if share:
            variance += np.float32(share / 2) * (change**2 + np.float32(mean))
    return np.sqrt(variance)


def weigh_times(files: Sequence[WeatherFile], time: datetime) -> list[tuple[float, WeatherFile]]:
    """Weigh the files of the times before and after one, linearly.

    Parameters
    ----------
    files : sequence of WeatherFile
        One or two, as `choose_around` gives them.
    time : datetime
    """
    if len(files) == 1:
        return [(1.0, files[0])]
    before, after = files
    later = (time - before.time) / (after.time - before.time)
    return [(1 - later, before), (later, after)]


class _Sampler:
    """A file's zenith delay at heights and places, linear between its nodes, NaN outside."""

    def __init__(self, file: WeatherFile, box: BBox) -> None:
        from scipy.interpolate import RegularGridInterpolator

        from topsar.corrections.zenith_delay import read_zenith_delay

        found: ZenithDelay = read_zenith_delay(file.path, box)
        self._at_ground = found.height_m is None
        axes = [found.latitude_deg, found.longitude_deg]
        values = found.delay_m[0] if self._at_ground else found.delay_m
        if found.height_m is not None:
            axes.insert(0, found.height_m)
        self._find = RegularGridInterpolator(tuple(axes), values, bounds_error=False, fill_value=np.nan)

    def __call__(self, height_m: NDArray[np.float32], place_deg: NDArray[np.float64]) -> NDArray[np.float64]:
        lat, lon = place_deg[..., 0], place_deg[..., 1]
        where = (lat, lon) if self._at_ground else (height_m.astype(np.float64), lat, lon)
        return np.asarray(self._find(where))
