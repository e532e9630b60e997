"""Heights that the user keeps in pieces: tiles of one degree, packed or not, and packed rasters.

Tiles are put together on one grid where a run needs them and kept in ``data/dem/provisioned``. A tile that is not there
is taken for sea if the heights along its edges, which its neighbours have too, are those of a shore.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import math
import re
import shutil
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, cast

import numpy as np
import rasterio

from topsar.errors import ProvisionError
from topsar.files import atomic_path
from topsar.model import BBox, VerticalDatum
from topsar.provision.dem.kept import LEAST_MARGIN_DEG, PROVISIONED, write_heights
from topsar.provision.dem.merge import Piece, find_misplacement, merge
from topsar.provision.dem.models import GlobalModel
from topsar.raster import read_datum
from topsar.raster.dem_voids import SHORE_M
from topsar.raster.geotiff import GDAL_ERRORS, WITH_SIDECARS, open_quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from topsar.model import GeoGrid

log = logging.getLogger(__name__)

SUFFIXES = {".tif", ".tiff", ".vrt", ".dem", ".wgs84", ".hgt", ".img", ".bil", ".flt", ".asc", ".dt0", ".dt1", ".dt2"}
"""Of rasters that are looked for in ``data/dem``."""

_TILE_SUFFIXES = {".hgt", ".dt0", ".dt1", ".dt2"}
_PACKED = re.compile(r"\.(zip|gz|tgz|tar)$", re.IGNORECASE)
_CORNER = re.compile(
    r"(?:^|[^a-z0-9])(?P<ns>[ns])0?(?P<latitude>\d\d)(?:_00)?_?(?P<ew>[ew])(?P<longitude>\d{3})(?:_00)?(?![0-9])",
    re.IGNORECASE,
)
_PUBLISHED = {
    r"(SRTMGL[13]|AW3D30)_?E(llip)?[._]": VerticalDatum.ELLIPSOID,
    r"\.SRTMGL[13]\.|NASADEM|_[13]arc_v\d|ALPSML|_AVE_DSM|_(SRTMGL[13]|AW3D30)\.": VerticalDatum.EGM96,
    r"Copernicus_DSM|_COP[39]0\.": VerticalDatum.EGM2008,
}
"""What heights are measured from, by names under which models are published."""
_DAMAGED = (OSError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError)
Corner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Source:
    """A raster, or a packed one; ``corner`` is the south-western one (latitude, longitude) of a tile."""

    path: Path
    corner: Corner | None

    @property
    def is_packed(self) -> bool:
        """Whether it has to be unpacked."""
        return bool(_PACKED.search(self.path.name))

    @property
    def is_tile(self) -> bool:
        """Whether it is a tile even if it is alone: GDAL takes the place of these from their names, or cannot."""
        return self.corner is not None and (self.is_packed or self.path.suffix.lower() in _TILE_SUFFIXES)

    @property
    def datum(self) -> VerticalDatum | None:
        """What its heights are measured from, if its name is one under which a model is published."""
        found = (datum for words, datum in _PUBLISHED.items() if re.search(words, self.path.name, re.IGNORECASE))
        return next(found, None)


def find_source(path: Path) -> Source | None:
    """Find what a file may hold by its name; None where that is no raster."""
    suffix = PurePosixPath(_PACKED.sub("", path.name.lower())).suffix
    corner = _read_corner(path.name)
    is_described = any(path.with_name(path.name + ending).is_file() for ending in (".hdr", ".vrt", ".xml"))
    if suffix in SUFFIXES or is_described or (_PACKED.search(path.name) and not suffix.startswith(".eof")):
        return Source(path, corner)
    return None


def _read_corner(name: str) -> Corner | None:
    if not (match := _CORNER.search(name)):
        return None
    north, east = match["ns"].lower() == "n", match["ew"].lower() == "e"
    return (1 if north else -1) * int(match["latitude"]), (1 if east else -1) * int(match["longitude"])


def _name_corner(corner: Corner) -> str:
    latitude, longitude = corner
    return f"{'N' if latitude >= 0 else 'S'}{abs(latitude):02d}{'E' if longitude >= 0 else 'W'}{abs(longitude):03d}"


# --- unpacking ------------------------------------------------------------------------------------------------------


def unpack_raster(source: Source, folder: Path) -> Path:
    """Unpack the only raster in a file, once, and what lies beside it under its name.

    Parameters
    ----------
    source : Source
    folder : Path
        ``data/dem``; it is kept in ``provisioned`` under it.
    """
    target = folder / PROVISIONED / f"{_sum_up([source.path])}-{_PACKED.sub('', source.path.name)}"
    target.mkdir(parents=True, exist_ok=True)
    return _unpack(source, target)


def _unpack(source: Source, folder: Path) -> Path:
    """Unpack into a folder; what is there already is taken. A tile gets the name by which GDAL knows its place."""
    try:
        with _list_members(source.path) as members:
            rasters = [name for name in members if PurePosixPath(name).suffix.lower() in SUFFIXES]
            if len(rasters) != 1:
                inside = ", ".join(sorted(PurePosixPath(name).name for name in rasters)[:5]) or "none"
                msg = f"{source.path} must hold one raster of heights, found {inside}"
                raise ProvisionError(msg, hint="unpack it, put the one to use in its place, or set DEM to it")
            stem = PurePosixPath(rasters[0]).with_suffix("")
            for name in [name for name in members if PurePosixPath(name).with_suffix("") == stem]:
                path = folder / _name_for_gdal(PurePosixPath(name).name, source.corner)
                if not path.is_file():
                    with atomic_path(path) as part, members[name]() as packed, part.open("wb") as unpacked:
                        shutil.copyfileobj(packed, unpacked)
    except _DAMAGED as exc:
        msg = f"{source.path} cannot be unpacked ({exc})"
        raise ProvisionError(msg, hint="download it again") from exc
    return folder / _name_for_gdal(PurePosixPath(rasters[0]).name, source.corner)


def _name_for_gdal(name: str, corner: Corner | None) -> str:
    return f"{_name_corner(corner)}.hgt" if corner and name.lower().endswith(".hgt") else name


@contextmanager
def _list_members(path: Path) -> Iterator[Mapping[str, Callable[[], IO[bytes]]]]:
    """Yield what opens each file in an archive, by its name inside it; gzip holds one without a name."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield {name: partial(archive.open, name) for name in archive.namelist() if not name.endswith("/")}
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            yield {one.name: partial(_open_member, tar, one) for one in tar.getmembers() if one.isfile()}
    else:
        yield {_PACKED.sub("", path.name): partial(_open_gzip, path)}


def _open_gzip(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path))


def _open_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(member)
    if opened is None:
        raise tarfile.ExtractError(member.name)
    return opened


# --- putting together -----------------------------------------------------------------------------------------------


def merge_tiles(
    sources: Sequence[Source], folder: Path, box: BBox, datum: VerticalDatum | None
) -> tuple[Path, VerticalDatum]:
    """Put the tiles under a box together, unless that was done before.

    Parameters
    ----------
    sources : sequence of Source
        Tiles; of several with one corner, the first that is not packed is taken.
    folder : Path
        ``data/dem``.
    box : BBox
        What must be covered, degrees.
    datum : VerticalDatum or None
        What heights are measured from; None where that is to be read from the tiles or their names.
    """
    turn = -360.0 * round(box.centre[0] / 360.0)
    box = replace(box, west=box.west + turn, east=box.east + turn)
    tiles: dict[Corner, Source] = {}
    for source in sorted(sources, key=lambda source: (source.is_packed, source.path)):
        if source.corner and tiles.setdefault(source.corner, source) is not source:
            log.info("%s is not used: %s has the same tile", source.path.name, tiles[source.corner].path.name)
    area = box.grow(LEAST_MARGIN_DEG)
    cells = [_list_cells(area, latitude) for latitude in reversed(range(math.floor(area.south), math.ceil(area.north)))]
    used = [tile for row in cells for cell in row if (tile := tiles.get(_find_corner(cell)))]
    if not used:
        corners = ", ".join(_name_corner(_find_corner(cell)) for row in cells for cell in row)
        raise _refuse_missing(folder, corners)
    path = folder / PROVISIONED / f"tiles_{_sum_up([tile.path for tile in used], area, datum)}.tif"
    if path.is_file() and (known := read_datum(path)):
        return path, known
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".tiles-") as scratch:
        place = partial(_place, scratch=Path(scratch))
        rows = [[Piece(path=place(tiles.get(_find_corner(cell))), box=cell) for cell in row] for row in cells]
        present = [piece for row in rows for piece in row if piece.path.is_file()]
        found = datum or _find_datum(used, present)
        posting = _read_posting(present[0].path)
        for tile, piece in zip(used, present, strict=True):
            _check_tile(tile, piece, posting)
        heights, sea, grid = merge(rows, area, posting)
    model = GlobalModel(name="tiles", posting_deg=posting, datum=found, south=-90, north=90, limit_km2=math.inf)
    missing = [cell for row in rows for cell in (piece.box for piece in row) if _find_corner(cell) not in tiles]
    lacking = [cell for cell in _list_lacking(missing, heights, sea, grid) if cell.intersects(box)]
    if lacking:
        raise _refuse_missing(folder, ", ".join(_name_corner(_find_corner(cell)) for cell in lacking))
    log.info("%s: put together of %s", path.name, ", ".join(tile.path.name for tile in used))
    write_heights(path, model, heights, sea, grid, source="tiles")
    return path, found


def _list_cells(area: BBox, latitude: int) -> list[BBox]:
    columns = range(math.floor(area.west), math.ceil(area.east))
    return [BBox(west=west, south=latitude, east=west + 1, north=latitude + 1) for west in columns]


def _find_corner(cell: BBox) -> Corner:
    return int(cell.south), int((cell.west + 180) % 360 - 180)


def _place(tile: Source | None, scratch: Path) -> Path:
    """Where GDAL can open a tile; nothing is there without one."""
    if tile is None:
        return scratch / "missing"
    if tile.is_packed:
        return _unpack(tile, scratch)
    name = _name_for_gdal(tile.path.name, tile.corner)
    if name == tile.path.name:
        return tile.path
    (scratch / name).symlink_to(tile.path.resolve())
    return scratch / name


def _find_datum(tiles: Sequence[Source], pieces: Sequence[Piece]) -> VerticalDatum:
    """Find what all tiles measure heights from: as their files say, else the names under which models are published."""
    found = {read_datum(piece.path) or tile.datum for tile, piece in zip(tiles, pieces, strict=True)}
    if len(found) == 1 and (datum := found.pop()) is not None:
        return datum
    names = ", ".join(tile.path.name for tile in tiles[:3])
    msg = f"the height tiles in {tiles[0].path.parent} ({names} ...) do not all say what heights are measured from"
    raise ProvisionError(msg, hint="set DEM_DATUM: egm96 for SRTM and NASADEM, egm2008 for Copernicus, or ellipsoid")


def _read_posting(path: Path) -> float:
    with rasterio.Env(**WITH_SIDECARS), _explain(path), open_quietly(path) as dataset:
        return float(abs(dataset.transform.e))


def _check_tile(tile: Source, piece: Piece, posting_deg: float) -> None:
    with rasterio.Env(**WITH_SIDECARS), _explain(tile.path), open_quietly(piece.path) as dataset:
        problem, _ = find_misplacement(dataset, piece.box, posting_deg)
    if problem:
        msg = f"the height tile {tile.path} {problem}"
        raise ProvisionError(msg, hint="download it again, keep its name, or take it out of the folder")


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    try:
        yield
    except GDAL_ERRORS as exc:
        msg = f"cannot read the height tile {path}: {exc.__cause__ or exc}"
        raise ProvisionError(msg, hint="download it again, or take it out of the folder") from exc


def _list_lacking(
    missing: Sequence[BBox], heights: NDArray[np.float32], sea: NDArray[np.bool_], grid: GeoGrid
) -> Iterator[BBox]:
    """List the missing tiles that the heights along their edges do not tell to be sea; others stay sea."""
    for cell in missing:
        rows, columns = _find_span(grid, cell)
        rim = _read_rim(heights, rows, columns)
        if rim.size and float(np.abs(rim).max()) <= SHORE_M:
            log.warning("%s: no such tile; it is taken for sea, as are its edges", _name_corner(_find_corner(cell)))
        else:
            sea[rows, columns] = False
            yield cell


def _find_span(grid: GeoGrid, cell: BBox) -> tuple[slice, slice]:
    """Rows and columns of a grid whose centres lie in a cell."""
    edges = (grid.north - cell.north) / grid.dy, (grid.north - cell.south) / grid.dy
    sides = (cell.west - grid.west) / grid.dx, (cell.east - grid.west) / grid.dx
    first, last = (max(math.ceil(edge - 0.5), 0) for edge in edges)
    left, right = (max(math.ceil(side - 0.5), 0) for side in sides)
    return slice(first, min(last, grid.rows)), slice(left, min(right, grid.columns))


def _read_rim(heights: NDArray[np.float32], rows: slice, columns: slice) -> NDArray[np.float32]:
    """Heights that are known within two postings around a span."""
    around = heights[max(rows.start - 2, 0) : rows.stop + 2, max(columns.start - 2, 0) : columns.stop + 2].copy()
    top, left = min(rows.start, 2), min(columns.start, 2)
    around[top + 1 : top + rows.stop - rows.start - 1, left + 1 : left + columns.stop - columns.start - 1] = np.nan
    known: NDArray[np.float32] = around[np.isfinite(around)]
    return known


def _refuse_missing(folder: Path, names: str) -> ProvisionError:
    msg = f"the height tiles in {folder} leave out {names}, which the pairs need"
    return ProvisionError(msg, hint="put these there too, make ROI smaller, or set DEM to a global model such as COP30")


def _sum_up(paths: Sequence[Path], *more: object) -> str:
    """Sum up which files these are, so that changed ones are not taken for those of before."""
    about = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((about, more)).encode()).hexdigest()[:12]
