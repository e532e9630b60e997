"""A page to look at a time series: one file, opened without a server or a network."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup

from topsar.files import write_text
from topsar.formats.quicklook.view import shade_relief
from topsar.formats.timeseries.stack import name_displacement
from topsar.formats.viewer import MOST_STEPS, Shown, average, coarsen, encode, list_palettes, pack_scene, read_asset
from topsar.interferogram import read_number
from topsar.pairs.baselines import solve_baselines
from topsar.raster.geotiff import find_pixels, open_to_read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.formats.timeseries.points import Points
    from topsar.formats.timeseries.stack import Network
    from topsar.model import GeoGrid

MOST_MAP_PIXELS, MOST_SAMPLES = 16_000_000, 4_000_000
"""Of a map, and of the displacements of all dates; larger grids are averaged."""
MOST_BYTES, MOST_SERIES_BYTES = 14_500_000, 5_000_000
"""Of maps and displacements together, and of the displacements; the largest map loses its finest level beyond."""
MOST_POINT_VALUES = 1_000_000
"""Displacements of points, points times dates; of more points the steadiest are shown."""
FINE_PIXELS = 2_000_000
"""From here on, maps other than the velocity have half its resolution."""
SERIES_TILE = 32
LEAST_STEP_MM = 0.01
_STRIP_ROWS = 512


def write_page(
    folder: Path,
    network: Network,
    height: NDArray[np.float32] | None,
    facts: Mapping[str, Any],
    points: Points | None = None,
) -> Path:
    """Write ``timeseries.html``: a map with pan and zoom, and the displacements of points that are clicked.

    Parameters
    ----------
    folder : Path
        It holds the GeoTIFFs.
    network : Network
    height : (rows, columns) float32
        Metres, for the relief; NaN in holes. None where they are not known.
    facts : mapping
        What ``timeseries.json`` says.
    points : Points, optional
        Shown over the map.
    """
    factor = 1
    while np.prod((grid := coarsen(network.grid, factor)).shape) > MOST_MAP_PIXELS:
        factor += 1
    first = int(np.prod(grid.shape) > FINE_PIXELS)
    layers = _read_maps(folder, factor, first)
    lit = np.full(coarsen(grid, 1 << first).shape, 0.5, np.float32)
    if height is not None:
        lit = shade_relief(average(height, factor << first), coarsen(grid, 1 << first))
    layers["relief"] = Shown(
        values=255 * lit, step=10, title="Relief", unit="", style="unit", low=0, high=255, first=first
    )
    title = f"Track {facts['track']}" if facts.get("track") else "Time series"
    series = _pack_series(folder, network, factor, layers["velocity_std"])
    packed = _pack_points(points, grid) if points is not None else None
    taken = sum(map(len, series["tiles"])) + (sum(map(len, packed["rows"].values())) if packed else 0)
    scene = pack_scene(
        grid,
        layers,
        MOST_BYTES - taken,
        title=f"{title}: {network.dates[0]} to {network.dates[-1]}",
        mask="temporal_coherence",
        palettes=list_palettes(),
        dates=network.dates,
        flagged=facts["flagged_dates"],
        reference=[facts["reference"]["latitude"], facts["reference"]["longitude"]],
        series=series,
        points=packed,
        network=_describe_network(network),
    )
    path = folder / "timeseries.html"
    write_text(path, _render(title, network, facts, scene))
    return path


def _render(title: str, network: Network, facts: Mapping[str, Any], scene: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("topsar.formats.timeseries", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.globals["asset"] = lambda name: Markup(read_asset(name))
    return environment.get_template("page.html.j2").render(
        title=title,
        dates=network.dates,
        pairs=len(network.pairs),
        flagged=facts["flagged_dates"],
        points=bool(scene["points"]),
        chosen_by=facts["reference"]["chosen_by"],
        scene=Markup(json.dumps(scene).replace("<", "\\u003c")),
    )


def _read_maps(folder: Path, factor: int, first: int) -> dict[str, Shown]:
    """The maps in millimetres a year and as shares, rounded to less than what neighbours usually differ by."""
    deviation = 1000 * _reduce(folder / "velocity_std.tif", factor << first)
    known = deviation[np.isfinite(deviation)]
    usual = max(float(np.median(known)) if known.size else 1.0, LEAST_STEP_MM)
    velocity = 1000 * _reduce(folder / "velocity.tif", factor)
    limit = _find_limit(np.abs(velocity))
    note = "in line of sight, positive toward the satellite, relative to the reference"
    coherence = _reduce(folder / "temporal_coherence.tif", factor << first)
    return {
        "velocity": Shown(
            values=velocity,
            step=max(min(usual / 2, 0.6 * _find_roughness(velocity)), LEAST_STEP_MM),
            title="Velocity",
            unit="mm/yr",
            style="symmetric",
            low=-limit,
            high=limit,
            ends=("away", "toward"),
            note=note,
        ),
        "velocity_std": Shown(
            values=deviation,
            step=usual / 20,
            title="Standard error of the velocity",
            unit="mm/yr",
            style="range",
            low=0,
            high=_find_limit(deviation),
            first=first,
        ),
        "temporal_coherence": Shown(
            values=coherence, step=0.02, title="Temporal coherence", unit="", style="unit", low=0, high=1, first=first
        ),
    }


def _find_roughness(values: NDArray[np.float32]) -> float:
    """The median of what neighbours in a row differ by; 0 where none are known."""
    differences = np.abs(np.diff(values[::4], axis=1))
    known = differences[np.isfinite(differences)]
    return float(np.median(known)) if known.size else 0.0


def _find_limit(values: NDArray[np.float32]) -> float:
    """What one of a hundred values exceeds, rounded up to two digits."""
    known = values[np.isfinite(values)]
    limit = float(np.percentile(known, 99)) if known.size else 1.0
    power = 10.0 ** np.floor(np.log10(max(limit, 1e-3)) - 1)
    return float(np.ceil(limit / power) * power) or 1.0


def _pack_series(folder: Path, network: Network, factor: int, deviation: Shown) -> dict[str, Any]:
    """Displacements of all dates, millimetres, in squares of pixels: a row per date."""
    files = [folder / f"{name_displacement(day)}.tif" for day in network.dates]
    level = 0
    while np.prod(coarsen(network.grid, factor << level).shape) * len(files) > MOST_SAMPLES:
        level += 1
    series = np.stack([1000 * _reduce(path, factor << level) for path in files])
    usual = float(np.nanmedian(deviation.values)) if np.isfinite(deviation.values).any() else 1.0
    step = max(usual * network.days[-1] / 365.25 / 10, LEAST_STEP_MM)
    step = max(step, float(np.nanmax(np.abs(series), initial=0)) / 16_000)
    while True:
        rows, columns = series.shape[1:]
        squares = (
            series[:, row : row + SERIES_TILE, column : column + SERIES_TILE]
            for row in range(0, rows, SERIES_TILE)
            for column in range(0, columns, SERIES_TILE)
        )
        tiles = [encode(np.round(square / step).reshape(len(files), -1)) for square in squares]
        if sum(map(len, tiles)) <= MOST_SERIES_BYTES or max(rows, columns) == 1:
            return {"level": level, "rows": rows, "columns": columns, "step": step, "tile": SERIES_TILE, "tiles": tiles}
        series, level = np.stack([average(one, 2) for one in series]), level + 1


def _pack_points(points: Points, grid: GeoGrid) -> dict[str, Any]:
    """Places as shares of the grid, velocities and displacements in millimetres; a column per point."""
    most = MOST_POINT_VALUES // len(points.series)
    chosen = np.sort(np.argsort(points.columns["amplitude_dispersion"], kind="stable")[:most])
    row, column = find_pixels(grid, points.longitude[chosen], points.latitude[chosen])
    place = np.stack([column / grid.columns, row / grid.rows])
    known = {name: points.columns[name][chosen][None] for name in ("temporal_coherence", "amplitude_dispersion")}
    known |= {name: 1000 * points.columns[name][chosen][None] for name in ("velocity", "velocity_std")}
    known |= {"place": 2 * place - 1, "series": 1000 * points.series[:, chosen]}
    steps = {
        name: max(float(np.nanmax(np.abs(values), initial=0)) / MOST_STEPS, 1e-6) for name, values in known.items()
    }
    steps |= {name: max(steps[name], LEAST_STEP_MM) for name in ("velocity", "velocity_std", "series")}
    rows = {name: encode(np.round(values / steps[name])) for name, values in known.items()}
    return {"shown": chosen.size, "found": points.found, "rows": rows, "steps": steps}


def _describe_network(network: Network) -> dict[str, Any]:
    """Pairs as indices of dates, and the perpendicular baseline of each date, metres; none where one is not known."""
    ends = ("reference_date", "secondary_date")
    days = [[date.fromisoformat(str(pair.facts[end])) for end in ends] for pair in network.pairs]
    lengths = [read_number(pair.facts.get("perpendicular_baseline_m")) for pair in network.pairs]
    edges = [(first, second, length) for (first, second), length in zip(days, lengths, strict=True)]
    return {
        "links": network.links.tolist(),
        "baselines": None if None in lengths else [round(one, 1) for one in solve_baselines(edges).values()],
        "coherences": [read_number(pair.facts.get("coherence_mean")) for pair in network.pairs],
    }


def _reduce(path: Path, factor: int) -> NDArray[np.float32]:
    """Average a band to squares of ``factor`` pixels, strip by strip."""
    strip = max(_STRIP_ROWS // factor, 1) * factor
    with open_to_read(path) as dataset:
        windows = [
            ((row, min(row + strip, dataset.height)), (0, dataset.width)) for row in range(0, dataset.height, strip)
        ]
        return np.concatenate([average(dataset.read(1, window=window), factor) for window in windows])
