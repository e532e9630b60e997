"""Linked phases of a stack of SLCs, as pairs on a map grid that a time series is made of."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from topsar.errors import ProductError, SettingsError
from topsar.formats import Cost, Format
from topsar.formats.timeseries.dispersion import DISPERSION, PIXELS_TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from topsar.engines.radar_stack import RadarStack
    from topsar.formats.timeseries.linking import LinkedPair
    from topsar.interferogram import Interferogram, Layer
    from topsar.model import GeoGrid, Looks

_KEPT = ("track", "direction", "polarisation", "wavelength_m", "looks", "engine", "engine_version", "orbits")
_GEOMETRY = ("height", "incidence", "los_east", "los_north", "los_up", "water", "layover_shadow")
_DATE = re.compile(r"20\d{6}")


class _Stack(NamedTuple):
    """SLCs of all dates, their pixels in a pixel of the results, and the grid of these, if SLCs lie on a map."""

    slcs: tuple[Path, ...]
    looks: Looks
    grid: GeoGrid


class PhaseLinking(Format):
    """A folder per pair, each as the products of a pair; and the amplitude dispersion."""

    name = "phase_linking"
    version = "1"
    cost = Cost(base_memory=1_630_000_000, memory=150, disk=15, start_s=20.0, microseconds=32.0)
    beside = ("2???????.tif",)

    def __init__(self, program: Path, placing: Mapping[str, Any]) -> None:
        self._program, self._placing = program, placing
        is_radar = placing["grid"] == "radar"
        self.scope: Literal["pair", "stack", "radar"] = "radar" if is_radar else "stack"
        self.options = ("posting_m", "crs") if is_radar else ()

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Link the SLCs of a track, geocoded on the grid of its pairs.

        Parameters
        ----------
        ifgs : iterable of Interferogram
            They say which dates there are, and how the ground is seen.
        folder : Path
            The empty folder to write into.

        Raises
        ------
        ProductError
            If there are no SLCs of these dates on the grid of the pairs, or dolphin fails.
        """
        from topsar.formats.timeseries.linking import link_phases

        pairs = list(ifgs)
        stack, pair = _find_stack(pairs)
        geometry = {name: pair.layers[name] for name in _GEOMETRY if name in pair.layers}
        facts = {name: pair.facts[name] for name in _KEPT if name in pair.facts}
        with TemporaryDirectory(dir=folder) as work:
            link_phases(stack.slcs, stack.looks, float(facts["wavelength_m"]), self._program, Path(work))
            return _write_all(Path(work), folder, stack.grid, geometry, facts | {"looks": str(stack.looks)}, _take)

    def write_radar(self, stack: RadarStack, folder: Path) -> tuple[Path, ...]:
        """Link the SLCs of a stack in radar geometry, and lay the results on a map grid.

        Parameters
        ----------
        stack : RadarStack
        folder : Path
            The empty folder to write into.
        """
        from topsar.formats.timeseries.linking import link_phases
        from topsar.formats.timeseries.radar_map import map_stack

        known = stack.facts
        facts = {name: getattr(known, name) for name in ("track", "direction", "polarisation", "wavelength_m")}
        facts["looks"] = str(stack.looks)
        slcs = [stack.folder / "merged" / "SLC" / date.date / f"{date.date}.slc.full.vrt" for date in stack.dates]
        with TemporaryDirectory(dir=folder) as work:
            link_phases(slcs, stack.looks, known.wavelength_m, self._program, Path(work))
            mapped = map_stack(stack, self._placing)
            return _write_all(Path(work), folder, mapped.grid, mapped.geometry, facts, mapped.lay)


def _find_stack(pairs: Sequence[Interferogram]) -> tuple[_Stack, Interferogram]:
    """Find the SLCs of the dates of some pairs, and a pair on their grid."""
    facts, folder = pairs[0].facts, pairs[0].folder
    if folder is None:
        msg = "phase linking takes the SLCs beside pairs of a run, not pairs alone"
        raise SettingsError(msg, hint="set SLC_STACK=1")
    dates = {str(pair.facts[f"{end}_date"]).replace("-", "") for pair in pairs for end in ("reference", "secondary")}
    for place in sorted((folder.parents[1] / "slc_stack").glob(f"T{facts['track']:03d}_{facts['polarisation']}*")):
        by_date = {path.stem: path for path in place.glob("2*.tif") if _DATE.fullmatch(path.stem)}
        if dates <= by_date.keys():
            slcs = tuple(by_date[date] for date in sorted(dates))
            for pair in pairs:
                if looks := _count_looks(slcs[0], pair.grid):
                    return _Stack(slcs, looks, pair.grid), pair
    msg = f"there are no SLCs of {', '.join(sorted(dates))} on the grid of the pairs"
    raise ProductError(msg, hint="`topsar timeseries` makes them with TIMESERIES=phase-linking, or set SLC_STACK=1")


def _count_looks(path: Path, grid: GeoGrid) -> Looks | None:
    """Pixels of a file in a pixel of a grid with the same edges; None where edges differ."""
    from topsar.model import Looks
    from topsar.raster.geotiff import open_to_read

    with open_to_read(path) as dataset:
        looks = Looks(east=dataset.width // grid.columns, north=dataset.height // grid.rows)
        is_whole = (dataset.height, dataset.width) == (grid.rows * looks.north, grid.columns * looks.east)
        same = np.allclose(dataset.transform[:6], grid.refine(looks).transform[:6], rtol=1e-9, atol=1e-9)
    return looks if is_whole and same else None


def _take(values: Any, *, is_label: bool = False) -> Any:  # noqa: ARG001
    """Values that lie on the grid already."""
    return values


def _write_all(
    work: Path,
    folder: Path,
    grid: GeoGrid,
    geometry: Mapping[str, Layer],
    facts: Mapping[str, Any],
    lay: Callable[..., Any],
) -> tuple[Path, ...]:
    """Write the pairs that dolphin left, geometry with the first alone, and the dispersion."""
    from topsar.formats.geotiff import GeoTiff
    from topsar.formats.timeseries.linking import read_dispersion, read_linked
    from topsar.raster import Labels, write_geotiff

    written: list[Path] = []
    for number, linked in enumerate(read_linked(work)):
        ifg = _make_pair(linked, grid, facts, lay)
        if not number:
            ifg = replace(ifg, layers={**ifg.layers, **geometry})
        (folder / ifg.pair_id).mkdir()
        written += GeoTiff().write((ifg,), folder / ifg.pair_id)
    east, north = map(int, str(facts["looks"]).split("x"))
    tags = {PIXELS_TAG: str(east * north)}
    labels = Labels(unit="1", description="least amplitude dispersion of the SLC's pixels", tags=tags)
    write_geotiff(folder / DISPERSION, lay(read_dispersion(work)), grid, nodata=np.nan, labels=labels)
    return (*written, folder / DISPERSION)


def _make_pair(linked: LinkedPair, grid: GeoGrid, facts: Mapping[str, Any], lay: Callable[..., Any]) -> Interferogram:
    from topsar.engines.layers import compute_displacement
    from topsar.interferogram import Interferogram, make_layers

    phase = lay(linked.phase)
    if phase.shape != grid.shape:
        msg = f"dolphin left {linked.first}_{linked.second} with {phase.shape} pixels, the grid has {grid.shape}"
        raise ProductError(msg, hint="its version may place pixels otherwise: topsar was tried with 0.42.9")
    layers = {
        "unwrapped_phase": phase,
        "displacement": compute_displacement(phase, float(facts["wavelength_m"])),
        "phase_noise": lay(linked.noise),
        "coherence": lay(linked.coherence),
        "components": lay(linked.component, is_label=True),
    }
    pair_id = f"T{facts['track']:03d}_{linked.first}_{linked.second}"
    days = [datetime.strptime(date, "%Y%m%d").date() for date in (linked.first, linked.second)]  # noqa: DTZ007
    known = {
        "reference_date": days[0].isoformat(),
        "secondary_date": days[1].isoformat(),
        "temporal_baseline_days": float((days[1] - days[0]).days),
        "coherence_mean": float(np.nanmean(layers["coherence"])),
    }
    return Interferogram(pair_id=pair_id, grid=grid, layers=make_layers(layers), facts={**facts, **known})
