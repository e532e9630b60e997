"""A track as LiCSAR delivers it and LiCSBAS reads it: a ``GEOC`` folder on a grid in degrees."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from topsar.engines.passes import read_passes
from topsar.files import write_text
from topsar.formats import Cost, Format
from topsar.formats.exchange import fill_holes, name_dates, order_dates, require_unwrapped
from topsar.interferogram import join_grids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.interferogram import Interferogram
    from topsar.model import GeoGrid

STEP_DEG = 0.001
"""LiCSAR's posting."""
_GEOMETRY = {"los_east": "E", "los_north": "N", "los_up": "U", "height": "hgt", "amplitude": "mli"}


class LicsBas(Format):
    """``GEOC/<dates>/<dates>.geo.{unw,cc}.tif``, the geometry, ``baselines`` and ``metadata.txt``."""

    name = "licsbas"
    version = "1"
    cost = Cost(base_memory=160_000_000, memory=47, disk=20, start_s=1.0, microseconds=1.5)
    scope: Literal["pair", "stack"] = "stack"
    needs_unwrapped = True

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write all pairs of a track, each with its older date first.

        Parameters
        ----------
        ifgs : iterable of Interferogram
        folder : Path
            The empty folder to write into.

        Raises
        ------
        ProductError
            If a pair is not unwrapped, or pixel sizes differ.
        """
        from topsar.formats.degrees import cover_in_degrees

        pairs = [order_dates(ifg, older_first=True) for ifg in ifgs]
        target = cover_in_degrees(join_grids(pairs), STEP_DEG)
        geoc = folder / "GEOC"
        written = [geoc / "baselines", geoc / "metadata.txt"]
        facts = [ifg.facts for ifg in pairs]
        write_text(written[0], _list_baselines(facts))
        middle = read_passes(facts[0])[0].middle
        write_text(written[1], f"center_time={middle:%H:%M:%S.%f}\n")
        written += _write_geometry(pairs[0], target, geoc)
        while pairs:
            written += _write_pair(pairs.pop(0), target, geoc)  # its layers are held no longer than that
        return tuple(written)


def _write_geometry(ifg: Interferogram, target: GeoGrid, geoc: Path) -> Iterator[Path]:
    track = f"{ifg.facts['track']:03d}{ifg.facts['direction'][0].upper()}"
    for name, suffix in _GEOMETRY.items():
        if name in ifg.layers:
            yield _write(geoc / f"{track}.geo.{suffix}.tif", _warp(ifg, name, target), target)


def _write_pair(ifg: Interferogram, target: GeoGrid, geoc: Path) -> Iterator[Path]:
    require_unwrapped(ifg, "LiCSBAS")
    days = name_dates(ifg.facts)
    yield _write(geoc / days / f"{days}.geo.unw.tif", _warp(ifg, "unwrapped_phase", target), target)
    coherence = _warp(ifg, "coherence", target)
    scaled = np.where(np.isnan(coherence), 0, np.clip(np.rint(coherence * 255), 1, 255)).astype(np.uint8)
    yield _write(geoc / days / f"{days}.geo.cc.tif", scaled, target)


def _warp(ifg: Interferogram, name: str, target: GeoGrid) -> NDArray[Any]:
    from topsar.formats.degrees import warp_layer

    return warp_layer(ifg, name, target)


def _write(path: Path, values: NDArray[Any], grid: GeoGrid) -> Path:
    """Write a GeoTIFF whose holes are 0."""
    from topsar.raster import write_geotiff

    write_geotiff(path, fill_holes(values) if values.dtype.kind == "f" else values, grid, nodata=0)
    return path


def _list_baselines(pairs: Sequence[Mapping[str, Any]]) -> str:
    """List reference date, date, perpendicular baseline (m) and days of every date against the first one."""
    from topsar.pairs.baselines import solve_baselines

    parts = ("reference_date", "secondary_date")
    edges = [(*(date.fromisoformat(pair[part]) for part in parts), pair["perpendicular_baseline_m"]) for pair in pairs]
    found = solve_baselines(edges)
    first = min(found)
    lines = []
    for day, metres in found.items():
        lines.append(f"{first:%Y%m%d} {day:%Y%m%d} {round(metres, 2) + 0.0:.2f} {(day - first).days}\n")
    return "".join(lines)
