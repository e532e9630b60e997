"""Velocity and displacement of every date, from the unwrapped pairs of a track."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from topsar import __version__
from topsar.errors import ProductError, SettingsError
from topsar.files import write_json
from topsar.formats import Cost, Format
from topsar.formats.timeseries.phase_linking import PhaseLinking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from topsar.formats.timeseries.closure import Triangles
    from topsar.formats.timeseries.engines import Prepared, SeriesEngine
    from topsar.formats.timeseries.points import Points
    from topsar.formats.timeseries.stack import Block, Network, Reference
    from topsar.interferogram import Interferogram
    from topsar.model import Window

LINKING = "phase-linking"
BLOCK_BYTES = 400_000_000
_CACHE_BYTES = 32_000_000
"""Of what GDAL decompressed; besides it holds one tile of each file that is written."""
OUTLYING = 3.0
"""A date is flagged that scatters so many times as much about the lines through the others as the median of them."""


class TimeSeries(Format):
    """Velocity, its quality and displacements as GeoTIFFs and netCDF; points, pictures, a page, ``timeseries.json``."""

    name = "timeseries"
    version = "7"
    cost = Cost(
        base_memory=215_000_000,
        memory=40,
        disk=14,
        start_s=3.0,
        microseconds=1.0,
        first_memory=100,
        first_pixels=3.2e6,
    )
    scope: Literal["pair", "stack", "radar"] = "stack"
    needs_unwrapped = True
    options = (
        "timeseries",
        "timeseries_program",
        "timeseries_reference",
        "points",
        "point_dispersion",
        "point_coherence",
        "netcdf_attributes",
        "grid",
        "posting_m",
        "crs",
    )
    beside = ("amplitude_dispersion.tif",)

    def __init__(
        self,
        timeseries: str = "least-squares",
        timeseries_program: str = "",
        timeseries_reference: Sequence[float] | None = None,
        points: Sequence[str] = (),
        point_dispersion: float = 0.25,
        point_coherence: float = 0.7,
        **placing: Any,
    ) -> None:
        from topsar.formats.timeseries.engines import open_engine
        from topsar.formats.timeseries.point_files import require_writers
        from topsar.formats.timeseries.programs import find_program

        require_writers(points)
        self._engine, self._solver = timeseries, open_engine(timeseries, timeseries_program)
        self._place = (timeseries_reference[0], timeseries_reference[1]) if timeseries_reference else None
        self._given = str(placing.pop("netcdf_attributes", ""))
        self._points, self._dispersion, self._coherence = tuple(points), point_dispersion, point_coherence
        if timeseries == LINKING:
            self.before = PhaseLinking(find_program(timeseries, timeseries_program), placing)
            self.scope, self.needs_unwrapped = self.before.scope, False
        elif placing.get("grid") == "radar":
            msg = f"TIMESERIES={timeseries} inverts pairs on a map grid, and GRID is radar"
            raise SettingsError(msg, hint="set TIMESERIES=phase-linking, which takes the SLCs of a stack, or GRID=map")

    def predict_blocks(self, pairs: int, pixels: float) -> float:
        """Memory of the block that is inverted, and of a tile of all dates: in GDAL, and for netCDF."""
        from topsar.formats.timeseries.stack import TILE

        tile = pairs * min(pixels, TILE**2)
        return min(BLOCK_BYTES, 30 * tile) + 8 / 3 * tile

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Invert all pairs of a track, block by block.

        Parameters
        ----------
        ifgs : iterable of Interferogram
        folder : Path
            The empty folder to write into.

        Raises
        ------
        ProductError
            If a pair is not unwrapped, pairs do not link all dates, or one has no value at the reference.
        SettingsError
            If the reference place lies outside the pairs.
        """
        from rasterio import Env

        from topsar.formats.timeseries.closure import list_triangles
        from topsar.formats.timeseries.layers import SERIES_LAYERS
        from topsar.formats.timeseries.page import write_page
        from topsar.formats.timeseries.picture import draw_series
        from topsar.formats.timeseries.series_file import write_series
        from topsar.formats.timeseries.stack import TILE, find_reference, lay_largest, link_pairs, read_blocks

        network = link_pairs(ifgs)
        reference = find_reference(network, self._place)
        zero, triangles = _tie(network, reference), list_triangles(network.links)
        tally = _Tally(moments=np.zeros((len(network.dates), len(network.dates))))

        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            written = len(network.dates) + len(SERIES_LAYERS)
            stack.enter_context(Env(GDAL_CACHEMAX=_CACHE_BYTES + 4 * TILE**2 * written))
            work = Path(stack.enter_context(TemporaryDirectory(dir=folder)))

            def prepare() -> Iterator[tuple[Window, Prepared]]:
                for window, block in read_blocks(network, BLOCK_BYTES, folder):
                    yield window, _prepare_block(block, zero, triangles)

            self._solver.prepare(network, reference, prepare(), work)
            files = _open_files(stack, network, folder, _locate(network, reference))
            for window, prepared in prepare():
                _invert_block(network, window, prepared, self._solver, files, tally)
        if not tally.pixels:
            msg = f"no pixel of {len(network.pairs)} pairs links two dates"
            raise ProductError(msg, hint="look at the coherence of the pairs")
        facts = _describe(network, reference, tally) | {"inverted_by": self._engine}
        points = self._choose_points(network, folder)
        point_files, facts["points"] = self._write_points(points, network, folder)
        series = write_series(network, folder, facts, self._given)
        write_json(folder / "timeseries.json", facts)
        pair = lay_largest(network)
        height = pair.layers["height"].values if "height" in pair.layers else None
        page = write_page(folder, network, height, facts, points if facts["points"]["written"] else None)
        pictures = draw_series(network, pair, folder)
        rasters = (folder / f"{name}.tif" for name in files)
        return (*rasters, series, *pictures, *point_files, page, folder / "timeseries.json")

    def _choose_points(self, network: Network, folder: Path) -> Points | None:
        """Choose the points; None where none are wanted."""
        from topsar.formats.timeseries.points import Rules, choose_points

        return choose_points(network, folder, Rules(self._dispersion, self._coherence)) if self._points else None

    def _write_points(
        self, points: Points | None, network: Network, folder: Path
    ) -> tuple[tuple[Path, ...], dict[str, Any]]:
        from topsar.formats.timeseries.point_files import write_points

        facts: dict[str, Any] = {"dispersion_to": self._dispersion, "coherence_from": self._coherence}
        if points is None:
            return (), facts | {"found": 0, "written": 0}
        facts |= {"found": points.found, "written": points.longitude.size, "dispersion_of": points.source}
        facts["dispersion_to"] = round(points.most_dispersion, 4)
        if not points.longitude.size:
            return (), facts
        return write_points(points, network.dates, folder / "points", self._points), facts


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What is summed over blocks; ``moments`` (dates, dates): products of displacements, over ``whole`` pixels."""

    moments: NDArray[np.float64]
    whole: int = 0
    pixels: int = 0
    open_before: int = 0
    open_after: int = 0
    repaired: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Zero:
    """Of each pair at the reference: its phases there, and the component."""

    phase: NDArray[np.float32]
    filtered: NDArray[np.float32]
    label: NDArray[np.uint16]


def _tie(network: Network, reference: Reference) -> _Zero:
    from topsar.formats.timeseries.stack import read_block

    block = read_block(network, reference.window)
    labels = np.zeros(len(network.pairs), np.uint16)
    phase, filtered = np.zeros(len(network.pairs), np.float32), np.zeros(len(network.pairs), np.float32)
    for number, pair in enumerate(network.pairs):
        known = np.isfinite(block.phase[number])
        if not known.any():
            where = ", ".join(f"{value:.5f}" for value in _locate(network, reference))
            msg = f"{pair.pair_id} has no reliable value at the reference {where} (latitude, longitude)"
            raise ProductError(msg, hint="choose another place with TIMESERIES_REFERENCE, or leave that pair out")
        labels[number] = np.bincount(block.label[number][known]).argmax()
        known &= block.label[number] == labels[number]
        phase[number], filtered[number] = block.phase[number][known].mean(), block.filtered[number][known].mean()
    return _Zero(phase=phase, filtered=filtered, label=labels)


def _locate(network: Network, reference: Reference) -> tuple[float, float]:
    """Latitude and longitude of the middle of the reference."""
    from topsar.raster.geotiff import locate_pixels

    window = reference.window
    middle = window.row + window.rows / 2, window.column + window.columns / 2
    longitude, latitude = locate_pixels(network.grid, *middle)
    return float(latitude), float(longitude)


def _open_files(stack: ExitStack, network: Network, folder: Path, place: tuple[float, float]) -> dict[str, Any]:
    from topsar.formats.timeseries.layers import DISPLACEMENT, SERIES_LAYERS
    from topsar.formats.timeseries.stack import TILE, name_displacement
    from topsar.raster import Labels, open_geotiff

    tags = {
        "SOFTWARE": f"topsar {__version__}",
        "REFERENCE": f"{place[0]:.6f},{place[1]:.6f}",
        "FIRST_DATE": network.dates[0],
        "LAST_DATE": network.dates[-1],
        "PAIRS": str(len(network.pairs)),
    }
    kinds = dict(SERIES_LAYERS)
    for date in network.dates:
        text = f"Displacement of {date} since {network.dates[0]}"
        kinds[name_displacement(date)] = replace(DISPLACEMENT, description=text)
    files = {}
    for name, kind in kinds.items():
        sign = {"CONVENTION": kind.convention} if kind.convention else {}
        labels = Labels(unit=kind.unit, description=kind.description, tags=tags | sign)
        dtype = np.dtype(kind.dtype).name
        opened = open_geotiff(
            folder / f"{name}.tif", network.grid, dtype, nodata=kind.nodata, tile_rows=TILE, labels=labels
        )
        files[name] = stack.enter_context(opened)
    return files


def _prepare_block(block: Block, zero: _Zero, triangles: Triangles) -> Prepared:
    from topsar.formats.timeseries.closure import repair_cycles
    from topsar.formats.timeseries.engines import Prepared

    many = len(block.phase)
    phase = (block.phase - zero.phase[:, None, None]).reshape(many, -1)
    filtered = np.where(np.isfinite(block.phase), block.filtered - zero.filtered[:, None, None], np.nan)
    is_island = (block.label != zero.label[:, None, None]).reshape(many, -1)
    repair = repair_cycles(filtered.reshape(many, -1), is_island, triangles)
    phase += np.float32(2 * np.pi) * repair.cycles
    # Another component is off by unknown cycles, so it counts only where a triangle confirms it.
    used = np.isfinite(phase) & (~is_island | repair.closed)
    noise = np.maximum(block.noise.reshape(many, -1), np.float32(1e-3))
    return Prepared(phase, np.where(used, 1 / noise**2, 0).astype(np.float32), repair)


def _invert_block(
    network: Network, window: Window, prepared: Prepared, engine: SeriesEngine, files: Mapping[str, Any], tally: _Tally
) -> None:
    from topsar.formats.timeseries.inversion import fit_trend, invert
    from topsar.formats.timeseries.stack import name_displacement

    repair, given = prepared.repair, engine.solve(network, window, prepared)
    series = invert(prepared.phase, prepared.weights, network.links, network.days, given)
    metres = series.phase * network.to_metres
    trend = fit_trend(metres, network.days)
    known, judged = np.isfinite(series.residual), engine.judge(network, window)
    values: dict[str, NDArray[Any]] = {
        "velocity": trend.slope,
        "velocity_std": np.sqrt(trend.deviation**2 + network.to_metres**2 * series.slope_variance),
        "temporal_coherence": series.coherence if judged is None else np.where(known, judged, np.nan),
        "residual_rms": series.residual,
        "closure_count": np.where(known, repair.after, -1).astype(np.int16),
    }
    values |= {name_displacement(date): metres[place] for place, date in enumerate(network.dates)}
    for name, array in values.items():
        dtype = np.int16 if name == "closure_count" else np.float32
        files[name].write(array.reshape(window.rows, window.columns).astype(dtype), 1, window=window.spans)
    whole = metres[:, np.isfinite(metres).all(axis=0)]
    tally.moments += whole @ whole.T
    tally.whole += whole.shape[1]
    tally.pixels += int(known.sum())
    tally.open_before += int(repair.before[known].sum())
    tally.open_after += int(repair.after[known].sum())
    tally.repaired += int((repair.cycles != 0).any(axis=0)[known].sum())


def _describe(network: Network, reference: Reference, tally: _Tally) -> dict[str, Any]:
    from topsar.formats.timeseries.inversion import find_outliers

    scatter, is_outlying = find_outliers(tally.moments / max(tally.whole, 1), network.days, OUTLYING)
    latitude, longitude = _locate(network, reference)
    return {
        "track": network.pairs[0].facts.get("track"),
        "dates": list(network.dates),
        "scatter_m": dict(zip(network.dates, scatter.round(5).tolist(), strict=True)),
        "flagged_dates": [date for date, flagged in zip(network.dates, is_outlying, strict=True) if flagged],
        "pairs": [pair.pair_id for pair in network.pairs],
        "reference": {
            "latitude": latitude,
            "longitude": longitude,
            "pixels": [reference.window.rows, reference.window.columns],
            "chosen_by": reference.chosen_by,
        },
        "pixels": tally.pixels,
        "closure": {
            "open_before": tally.open_before,
            "open_after": tally.open_after,
            "repaired_pixels": tally.repaired,
        },
        "wavelength_m": network.pairs[0].facts["wavelength_m"],
        "crs": network.grid.crs,
        "grid": network.grid,
        "software": f"topsar {__version__}",
    }
