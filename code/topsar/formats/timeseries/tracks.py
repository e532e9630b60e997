"""Velocities of several tracks over one area as velocities east and up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar import __version__
from topsar.errors import ProductError
from topsar.files import delete, read_json, replaced_folder, write_json
from topsar.formats.timeseries.stack import surround
from topsar.interferogram import PRODUCTS, read_pair
from topsar.model import BBox, GeoGrid
from topsar.raster import Labels, write_geotiff
from topsar.raster.geotiff import find_pixels, locate_pixels, open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER = "timeseries_east_up"
LEAST_ANGLE_DEG = 30.0
"""Between the views of two tracks from the south. Ascending and descending differ by 60 to 90 degrees."""
_LAYERS = {
    "velocity_east": "Velocity to the east, with none to the north assumed",
    "velocity_up": "Velocity upward, with none to the north assumed",
    "velocity_east_std": "Standard error of the velocity to the east, from those of the tracks",
    "velocity_up_std": "Standard error of the velocity upward, from those of the tracks",
}


class Track(NamedTuple):
    """What one track says on the common grid, (rows, columns): velocity, its standard error, and line of sight."""

    velocity: NDArray[np.float32]
    deviation: NDArray[np.float32]
    east: NDArray[np.float32]
    north: NDArray[np.float32]
    up: NDArray[np.float32]


class Motion(NamedTuple):
    """Velocities and standard errors, (rows, columns), and how much a velocity to the north would add to each."""

    east: NDArray[np.float64]
    up: NDArray[np.float64]
    east_deviation: NDArray[np.float64]
    up_deviation: NDArray[np.float64]
    north_in_east: NDArray[np.float64]
    north_in_up: NDArray[np.float64]


def combine_tracks(runs: Path) -> Path | None:
    """Write velocities east and up where time series of two tracks or more overlap.

    Parameters
    ----------
    runs : Path
        The runs folder, with a folder ``timeseries_<track>`` of each.

    Returns
    -------
    Path or None
        The folder that was written; None where there are fewer than two tracks.

    Raises
    ------
    ProductError
        If tracks do not overlap, look from too similar directions, or have no pixel in common to be zero at.
    """
    folders = sorted(path.parent for path in runs.glob("timeseries_*/timeseries/timeseries.json"))
    target = runs / FOLDER
    if target.exists():
        delete(target, within=runs)  # of tracks that may be others by now
    if len(folders) < 2:
        return None
    known = [read_json(folder / "timeseries.json") for folder in folders]
    grid = _find_common_grid([GeoGrid(**facts["grid"]) for facts in known])
    tracks = [_read_track(runs, folder, facts, grid) for folder, facts in zip(folders, known, strict=True)]
    tracks, place = _set_zero(tracks, grid, known)
    motion = decompose(tracks)
    if not np.isfinite(motion.east).any():
        names = " and ".join(folder.parent.name.removeprefix("timeseries_") for folder in folders)
        msg = f"{names} nowhere look from directions that differ by {LEAST_ANGLE_DEG:g} degrees"
        raise ProductError(msg, hint="east and up need an ascending and a descending track over the same ground")
    with replaced_folder(target) as staging:
        _write(staging, grid, motion, place, [str(facts["track"]) for facts in known])
    return target


def decompose(tracks: Sequence[Track]) -> Motion:
    """Solve for velocities east and up by least squares, weighted with the errors of the tracks; NaN where it cannot.

    v = e E + u U of each track, with its line of sight (E, N, U) and no motion north (Wright et al. 2004,
    Geophysical Research Letters 31).

    Parameters
    ----------
    tracks : sequence of Track
    """
    velocity, deviation, east, north, up = (np.stack(values).astype(np.float64) for values in zip(*tracks, strict=True))
    known = np.isfinite(velocity) & np.isfinite(deviation) & np.isfinite(east) & np.isfinite(up)
    weight = np.where(known, 1 / np.maximum(deviation, 1e-6) ** 2, 0)
    velocity, east, north, up = (np.where(known, values, 0) for values in (velocity, east, north, up))
    ee, eu, uu = ((weight * one * other).sum(axis=0) for one, other in ((east, east), (east, up), (up, up)))
    angle = np.degrees(np.arctan2(east, up))
    apart = np.where(known, angle, -np.inf).max(axis=0) - np.where(known, angle, np.inf).min(axis=0)
    determinant = np.where(apart >= LEAST_ANGLE_DEG, ee * uu - eu**2, np.nan)

    def solve(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        right_e, right_u = (weight * east * values).sum(axis=0), (weight * up * values).sum(axis=0)
        return (uu * right_e - eu * right_u) / determinant, (ee * right_u - eu * right_e) / determinant

    moved_east, moved_up = solve(velocity)
    north_in_east, north_in_up = solve(north)
    return Motion(
        moved_east, moved_up, np.sqrt(uu / determinant), np.sqrt(ee / determinant), north_in_east, north_in_up
    )


def _find_common_grid(grids: Sequence[GeoGrid]) -> GeoGrid:
    """The part of the first grid that the others reach."""
    from rasterio.warp import transform_bounds

    first, box = grids[0], grids[0].bbox
    shared: BBox | None = box
    for other in grids[1:]:
        theirs = other.bbox
        edges = transform_bounds(other.crs, first.crs, theirs.west, theirs.south, theirs.east, theirs.north)
        reach = BBox(west=edges[0], south=edges[1], east=edges[2], north=edges[3])
        shared = shared.intersection(reach) if shared else None
    window = first.find_shared(GeoGrid.cover(shared, crs=first.crs, dx=first.dx, dy=first.dy)) if shared else None
    if window is None:
        msg = "the tracks do not overlap"
        raise ProductError(msg, hint="east and up need an ascending and a descending track over the same ground")
    return first.crop(window)


def _read_track(runs: Path, folder: Path, facts: dict[str, Any], grid: GeoGrid) -> Track:
    pairs = [read_pair(runs / name / PRODUCTS) for name in facts["pairs"]]
    largest = max(pairs, key=lambda pair: pair.grid.rows * pair.grid.columns)
    sight = [_warp(runs / largest.pair_id / PRODUCTS / f"los_{name}.tif", grid) for name in ("east", "north", "up")]
    return Track(_warp(folder / "velocity.tif", grid), _warp(folder / "velocity_std.tif", grid), *sight)


def _warp(path: Path, grid: GeoGrid) -> NDArray[np.float32]:
    """Resample a raster of real numbers, bilinearly; pixels that lie on each other keep their values."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    values = np.full(grid.shape, np.nan, np.float32)
    with open_to_read(path) as dataset:
        reproject(
            rasterio.band(dataset, 1),
            values,
            src_nodata=np.nan,
            dst_transform=rasterio.Affine(*grid.transform),
            dst_crs=grid.crs,
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )
    return values


def _set_zero(
    tracks: Sequence[Track], grid: GeoGrid, known: Sequence[dict[str, Any]]
) -> tuple[list[Track], tuple[float, float]]:
    """Let all tracks be zero at one place: a reference that all of them know, else where errors are least."""
    for row, column in _list_places(tracks, grid, known):
        if (window := surround(grid, row, column)) is None:
            continue
        around = [track.velocity[window.slices] for track in tracks]
        known_here = np.isfinite(around).all(axis=0)
        if known_here.any():
            moved = [
                track._replace(velocity=track.velocity - values[known_here].mean())
                for track, values in zip(tracks, around, strict=True)
            ]
            longitude, latitude = locate_pixels(grid, row + 0.5, column + 0.5)
            return moved, (float(latitude), float(longitude))
    msg = "no pixel has a velocity in all tracks"
    raise ProductError(msg, hint="east and up need coherent ground that all tracks see")


def _list_places(tracks: Sequence[Track], grid: GeoGrid, known: Sequence[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Pixels that may be taken for still, the best first; references may lie outside the grid."""
    for facts in known:
        row, column = find_pixels(grid, facts["reference"]["longitude"], facts["reference"]["latitude"])
        yield math.floor(row), math.floor(column)
    total = np.sum([track.deviation for track in tracks], axis=0)
    if np.isfinite(total).any():
        yield divmod(int(np.nanargmin(total)), grid.columns)


def _write(folder: Path, grid: GeoGrid, motion: Motion, place: tuple[float, float], tracks: Sequence[str]) -> None:
    tags = {"TRACKS": ",".join(tracks), "REFERENCE": f"{place[0]:.6f},{place[1]:.6f}"}
    tags |= {"CONVENTION": "motion to the north taken as zero", "SOFTWARE": f"topsar {__version__}"}
    for (name, text), values in zip(_LAYERS.items(), motion, strict=False):
        labels = Labels(unit="m/yr", description=text, tags=tags)
        write_geotiff(folder / f"{name}.tif", values.astype(np.float32), grid, nodata=math.nan, labels=labels)
    leak = {"east": float(np.nanmean(motion.north_in_east)), "up": float(np.nanmean(motion.north_in_up))}
    facts = {
        "tracks": list(tracks),
        "reference": {"latitude": place[0], "longitude": place[1]},
        "pixels": int(np.isfinite(motion.east).sum()),
        "of_a_velocity_to_the_north": leak,
        "grid": grid,
    }
    write_json(folder / "east_up.json", facts)
