"""The Copernicus model at 30 m, tile by tile from its public bucket."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from topsar.errors import ProvisionError
from topsar.model import BBox
from topsar.provision.dem.merge import Piece, check_piece, plain_words
from topsar.provision.dem.models import MODELS
from topsar.provision.dem.opentopography import NothingButSea

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from topsar.provision.web.client import Answer, Fetcher

AT_ONCE = 4

WITHHELD = BBox(west=43, south=38, east=51, north=42)
"""Armenia and Azerbaijan, whose tiles are not all public: there a missing tile need not be sea."""

_POSTING_DEG = MODELS["COP30"].posting_deg
_REACH_DEG = 12 * _POSTING_DEG
"""Heights next to a tile's edge are interpolated with those of its neighbour; columns are at most 10" apart."""


def tile_name(latitude: int, longitude: int) -> str:
    """Name of the tile whose south-western corner is given.

    Examples
    --------
    >>> tile_name(37, 15), tile_name(-1, 180)
    ('Copernicus_DSM_COG_10_N37_00_E015_00_DEM', 'Copernicus_DSM_COG_10_S01_00_W180_00_DEM')
    """
    longitude = (longitude + 180) % 360 - 180
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"Copernicus_DSM_COG_10_{north}{abs(latitude):02d}_00_{east}{abs(longitude):03d}_00_DEM"


def fetch_tiles(box: BBox, folder: Path, *, fetcher: Fetcher, base_url: str) -> list[list[Piece]]:
    """Fetch the tiles under a box, rows from the north; a tile that does not exist is sea.

    Parameters
    ----------
    box : BBox
        Degrees; it may reach over the 180th meridian.
    folder : Path
        Where the tiles are put, and stay for other boxes.
    fetcher : Fetcher
    base_url : str
        `Services.copernicus_dem`.

    Raises
    ------
    ProvisionError
        If a tile cannot be had, or is missing where there is land.
    """
    near = box.grown(_REACH_DEG)
    columns = range(math.floor(near.west), math.ceil(near.east))
    rows = [
        [_piece(folder, latitude, longitude) for longitude in columns]
        for latitude in reversed(range(math.floor(near.south), math.ceil(near.north)))
    ]
    get = partial(_fetch, fetcher=fetcher, base_url=base_url)
    fetcher.download_all([partial(get, piece) for row in rows for piece in row], at_once=AT_ONCE)
    return rows


def _piece(folder: Path, latitude: int, longitude: int) -> Piece:
    box = BBox(west=longitude, south=latitude, east=longitude + 1, north=latitude + 1)
    return Piece(path=folder / f"{tile_name(latitude, longitude)}.tif", box=box)


def _fetch(piece: Piece, *, fetcher: Fetcher, base_url: str) -> Path:
    name = piece.path.stem
    turn = (piece.box.west + 180) % 360 - 180 - piece.box.west
    box = BBox(west=piece.box.west + turn, south=piece.box.south, east=piece.box.east + turn, north=piece.box.north)

    def explain(answer: Answer) -> Exception | None:
        return _missing(name, box, answer, fetcher.masked) if answer.status == 404 else None

    try:
        return fetcher.download(
            f"{base_url}/{name}/{name}.tif",
            piece.path,
            what=f"Copernicus tile {name}",
            check=partial(check_piece, box=box, posting_deg=_POSTING_DEG, masked=fetcher.masked),
            explain=explain,
        )
    except NothingButSea:
        return piece.path


def _missing(name: str, box: BBox, answer: Answer, masked: Callable[[str], str]) -> ProvisionError:
    if "NoSuchKey" not in answer.text:
        words = plain_words(answer.text, masked)
        msg = f"the Copernicus bucket is not where it was: asked for {name}, it says {words!r}"
        return ProvisionError(msg, hint="try again later, or set OPENTOPO_API_KEY and take another model")
    if WITHHELD.intersects(box):
        msg = f"the Copernicus tile {name} is not public (Armenia and Azerbaijan), or is sea: which one is not known"
        return ProvisionError(msg, hint="set OPENTOPO_API_KEY and DEM=SRTMGL1, which covers it")
    return NothingButSea(f"there is no tile {name}")
