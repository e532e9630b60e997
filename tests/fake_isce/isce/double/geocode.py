"""The step geocode: from the merged image to the posts of the DEM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .geometry import Array, find_box, fit_scene
from .images import DEM_CROP, TYPES, Axes, Kind, read_image, write_headers
from .markup import Tree, read_tree, write_tree
from .output import log, say
from .run import Run
from .state import GEOCODE_LIST
from .steps_merged import dense_offsets
from .steps_start import find_dem


class Grid:
    """The posts of a DEM in a box, where the real one puts them: its centres, cut off towards zero."""

    def __init__(self, dem: str, box: list[float]) -> None:
        self.dem, tree = dem, read_tree(f"{dem}.xml")
        south, north, west, east = box
        self.x, self.y = ([float(tree[f"coordinate{n}"][k]) for k in ("startingvalue", "delta")] for n in (1, 2))
        self.size = int(tree["length"]), int(tree["width"])
        self.type = TYPES[tree["data_type"].lower()][0]
        self.rows = [int((edge - self.y[0]) / self.y[1]) for edge in (north, south)]
        self.columns = [int((edge - self.x[0]) / self.x[1]) for edge in (west, east)]

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows[1] - self.rows[0] + 1, self.columns[1] - self.columns[0] + 1

    @property
    def axes(self) -> Axes:
        """Longitude and latitude of the first post, and the steps."""
        first = self.x[0] + self.columns[0] * self.x[1], self.y[0] + self.rows[0] * self.y[1]
        return Axes((first[0], self.x[1]), (first[1], self.y[1]))

    def places(self) -> tuple[Array, Array]:
        rows, columns = (np.arange(count) for count in self.shape)
        axes = self.axes
        lat, lon = axes.y[0] + rows * axes.y[1], axes.x[0] + columns * axes.x[1]
        return np.broadcast_arrays(lat[:, None], lon[None, :])  # type: ignore[return-value]

    def heights(self) -> tuple[Array, Array]:
        """Whole metres, and which rows the DEM has; beside it heights are zero."""
        data = np.memmap(self.dem, self.type, "r", shape=self.size)
        rows, columns = (np.arange(n[0], n[1] + 1) for n in (self.rows, self.columns))
        there = (rows >= 0) & (rows < self.size[0])
        beside = (columns >= 0) & (columns < self.size[1])
        found = data[np.clip(rows, 0, self.size[0] - 1)[:, None], np.clip(columns, 0, self.size[1] - 1)[None, :]]
        return np.floor(found * there[:, None] * beside[None, :]).astype("<i2"), there


def _take_nearest(band: Array, row: Array, column: Array) -> Array:
    inside = (row > -0.5) & (row < band.shape[0] - 0.5) & (column > -0.5) & (column < band.shape[1] - 0.5)
    r, c = (np.where(inside, np.rint(np.nan_to_num(axis)), 0).astype(int) for axis in (row, column))
    return band[r, c] * inside


def _interpolate(band: Array, row: Array, column: Array) -> Array:
    """Between four pixels, all of which must hold data (the real one takes a sinc over eight by eight)."""
    inside = (row >= 0) & (row < band.shape[0] - 1) & (column >= 0) & (column < band.shape[1] - 1)
    row, column = (np.where(inside, np.nan_to_num(axis), 0) for axis in (row, column))
    r, c = np.floor(row).astype(int), np.floor(column).astype(int)
    total = np.zeros(row.shape, band.dtype)
    for down in (0, 1):
        for right in (0, 1):
            part = band[r + down, c + right]
            inside = inside & (part != 0)
            total += part * np.abs(1 - down - (row - r)) * np.abs(1 - right - (column - c))
    return total * inside


def _is_complex(tree: Tree) -> bool:
    return tree.get("image_type") in ("cpx", "amp") or tree["data_type"].upper() == "CFLOAT"


def _write_geocoded(run: Run, path: Path, bands: Array, source: Tree, axes: Axes) -> None:
    caster = "FloatToByteCaster" if source["data_type"] == "BYTE" else None
    kind = replace(
        Kind(source["data_type"].upper(), "intimage", len(bands), source["scheme"], caster=caster),
        image_type=source.get("image_type"),
        description=source.get("description"),
    )
    run.write_image(path, bands, kind, axes)
    xml = path.with_name(f"{path.name}.xml")
    tree: Tree = read_tree(xml)
    tree["xmax"] = tree["coordinate1"]["endingvalue"] = source["xmax"]
    write_tree(xml, "imageFile", tree, docs=True)


def _geocode_one(run: Run, path: Path, grid: Grid, rows: Array, columns: Array) -> None:
    data, tree = read_image(path)
    heights, there = grid.heights()
    take = _interpolate if _is_complex(tree) else _take_nearest
    bands = [take(band, rows, columns) * there[:, None] for band in data]
    out = path.with_name(f"{path.name}.geo")
    say("Output: ", out)
    _write_geocoded(run, out, bands, tree, grid.axes)
    crop = run.folder("mergedproducts", run.state.values["demcropfilename"])
    heights.tofile(crop)
    run.written += [crop, *write_headers(crop, grid.shape[1], grid.shape[0], DEM_CROP)]


def geocode(run: Run) -> None:
    settings = run.settings
    log("topsinsar.runGeocode", "INFO", "Geocoding Image")
    names = settings["geocodelist"] or [*GEOCODE_LIST, "topophase.ion"]
    paths = [Path(name) for name in names if Path(name).exists()]
    say("Number of products to geocode: ", len(paths))
    if not paths:
        say("No products found to geocode")
        return
    frames = [run.frame(run.folder("finecoreg"), swath) for swath in run.swaths()]
    dem = find_dem(settings["geocodedemfilename"] or settings["demfilename"])
    box = settings["geocodeboundingbox"]
    grid = Grid(dem, [float(edge) for edge in box or find_box(frames)])
    scene = fit_scene(frames, float(grid.heights()[0].mean()))
    (rl, al), (lines, samples) = run.looks, scene.find(*grid.places())
    rows, columns = (lines - (al - 1) / 2) / al, (samples - (rl - 1) / 2) / rl
    for path in paths:
        _geocode_one(run, path, grid, rows, columns)


def geocode_offsets(run: Run) -> None:
    dense_offsets(run)
    log("topsinsar.runGeocode", "INFO", "Geocoding Image")
    say("Skipping geocoding as Dense Offsets has not been requested ....")
