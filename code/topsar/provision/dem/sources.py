"""Services that give heights: the public bucket of the Copernicus model by tile, OpenTopography by box."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from topsar.errors import ProvisionError
from topsar.model import BBox
from topsar.provision.dem.merge import Piece, check_piece
from topsar.provision.dem.models import KEYLESS, MODELS, GlobalModel, cut_box
from topsar.provision.web.failures import excerpt
from topsar.provision.web.transfer import Wanted
from topsar.raster.geotiff import describe_box

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from topsar.provision.web.client import Web
    from topsar.provision.web.failures import Answer

TILES_AT_ONCE, PARTS_AT_ONCE = 4, 2

WITHHELD = BBox(west=43, south=38, east=51, north=42)
"""Armenia and Azerbaijan, whose tiles are not all public: there a missing tile need not be sea."""

PART_POSTINGS = 8192
"""Longest edge of a request, in postings: larger ones run into the service's gateway."""

_POSTING_DEG = MODELS[KEYLESS].posting_deg
_REACH_DEG = 12 * _POSTING_DEG
"""Heights next to a tile's edge are interpolated with those of its neighbour; columns are at most 10" apart."""
_LIMIT_SHARE = 0.9
_OVERLAP_POSTINGS = 2
_QUOTA_WORDS = ("quota", "limit", "exceed", "too many")
_MOST_WORDS = 160


class _NothingButSea(ProvisionError):
    """The service has no heights there, because all is sea."""


# --- the Copernicus bucket --------------------------------------------------------------------------------------


def _name_tile(latitude: int, longitude: int) -> str:
    """Name the tile with a south-western corner, degrees; longitudes beyond ±180 are turned."""
    longitude = (longitude + 180) % 360 - 180
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"Copernicus_DSM_COG_10_{north}{abs(latitude):02d}_00_{east}{abs(longitude):03d}_00_DEM"


def fetch_tiles(box: BBox, folder: Path, web: Web) -> list[list[Piece]]:
    """Fetch the tiles under a box, rows from the north; a tile that does not exist is sea.

    Parameters
    ----------
    box : BBox
        Degrees; it may reach over the 180th meridian.
    folder : Path
        Where the tiles are put, and stay for other boxes.
    web : Web
    """
    near = box.grow(_REACH_DEG)
    columns = range(math.floor(near.west), math.ceil(near.east))
    rows = [
        [_make_tile(folder, latitude, longitude) for longitude in columns]
        for latitude in reversed(range(math.floor(near.south), math.ceil(near.north)))
    ]
    jobs = [partial(_fetch_tile, piece, web) for row in rows for piece in row]
    web.fetcher.download_all(jobs, at_once=TILES_AT_ONCE)
    return rows


def _make_tile(folder: Path, latitude: int, longitude: int) -> Piece:
    box = BBox(west=longitude, south=latitude, east=longitude + 1, north=latitude + 1)
    return Piece(path=folder / f"{_name_tile(latitude, longitude)}.tif", box=box)


def _fetch_tile(tile: Piece, web: Web) -> None:
    name, mask = tile.path.stem, web.fetcher.mask
    turn = (tile.box.west + 180) % 360 - 180 - tile.box.west
    box = replace(tile.box, west=tile.box.west + turn, east=tile.box.east + turn)

    def explain(answer: Answer) -> Exception | None:
        return _explain_missing(name, box, answer, mask) if answer.status == 404 else None

    with suppress(_NothingButSea):
        web.fetcher.download(
            Wanted(
                url=f"{web.services.copernicus_dem}/{name}/{name}.tif",
                path=tile.path,
                what=f"Copernicus tile {name}",
                check=partial(check_piece, box=box, posting_deg=_POSTING_DEG, mask=mask),
                explain=explain,
            )
        )


def _explain_missing(name: str, box: BBox, answer: Answer, mask: Callable[[str], str]) -> ProvisionError:
    if "NoSuchKey" not in answer.text:
        words = excerpt(answer.text, mask, most=_MOST_WORDS)
        msg = f"the Copernicus bucket has moved, or is out of order: asked for {name}, it says {words!r}"
        return ProvisionError(msg, hint="try again later, or set OPENTOPO_API_KEY and take another model")
    if WITHHELD.intersects(box):
        msg = f"the Copernicus tile {name} is not public (Armenia and Azerbaijan), or is sea: which one is not known"
        return ProvisionError(msg, hint="set OPENTOPO_API_KEY and DEM=SRTMGL1, which covers it")
    return _NothingButSea(f"there is no tile {name}")


# --- OpenTopography ---------------------------------------------------------------------------------------------


def fetch_parts(model: GlobalModel, box: BBox, folder: Path, web: Web, *, api_key: str) -> list[list[Piece]]:
    """Fetch a model in parts that overlap by two postings; a part without a file is sea.

    Parameters
    ----------
    model : GlobalModel
    box : BBox
        Edges on hundredths of a degree.
    folder : Path
        Where the parts are put; those that are there already are used.
    web : Web
    api_key : str
    """
    boxes = cut_box(box, model.limit_km2 * _LIMIT_SHARE, model.posting_deg * PART_POSTINGS)
    rows = [
        [Piece(path=folder / f"{row}_{n}.tif", box=part) for n, part in enumerate(parts)]
        for row, parts in enumerate(boxes)
    ]
    jobs = [partial(_fetch_part, model, piece, web, api_key) for row in rows for piece in row]
    jobs[0]()  # alone: a key that is refused is refused once
    web.fetcher.download_all(jobs[1:], at_once=PARTS_AT_ONCE)
    return rows


def _fetch_part(model: GlobalModel, piece: Piece, web: Web, api_key: str) -> None:
    asked, mask = model.grow(piece.box, _OVERLAP_POSTINGS * model.posting_deg), web.fetcher.mask
    params = {
        "demtype": model.name,
        **{side: f"{getattr(asked, side):.10g}" for side in ("south", "north", "west", "east")},
        "outputFormat": "GTiff",
        "API_Key": api_key,
    }

    def explain(answer: Answer) -> Exception | None:
        if answer.status == 204 or (answer.status == 200 and not answer.body):
            return _NothingButSea(f"{model.name} has no land in {describe_box(piece.box)}")
        words = excerpt(answer.text, mask, most=_MOST_WORDS)
        return _explain_refusal(model, piece.box, answer.status, words)

    with suppress(_NothingButSea):
        web.fetcher.download(
            Wanted(
                url=f"{web.services.opentopography}/globaldem",
                path=piece.path,
                what=f"{model.name} heights for {describe_box(piece.box)} from OpenTopography",
                check=partial(check_piece, box=asked, posting_deg=model.posting_deg, mask=mask),
                params=params,
                explain=explain,
            )
        )


def _explain_refusal(model: GlobalModel, box: BBox, status: int, words: str) -> ProvisionError | None:
    """Explain an error answer of the service; None where the status says enough."""
    said = f" (it says: {words})" if words else ""
    if status == 429 or (status in (401, 403) and any(word in words.lower() for word in _QUOTA_WORDS)):
        msg = f"OpenTopography gives no more data to this API key for now{said}"
        hint = f"its number of requests per day is limited: try again tomorrow, or set DEM={KEYLESS} without a key"
        return ProvisionError(msg, hint=hint, retryable=True)
    if status in (401, 403):
        msg = f"OpenTopography refuses the API key{said}"
        hint = "check OPENTOPO_API_KEY against your account at portal.opentopography.org; it also refuses a key whose "
        hint += f"requests of the day are used up. DEM={KEYLESS} without a key needs no account"
        return ProvisionError(msg, hint=hint)
    if status == 400 and "area" in words.lower():
        msg = f"OpenTopography refuses {describe_box(box)} as too large for {model.name}{said}"
        return ProvisionError(msg, hint="process a smaller region, or take a coarser model such as SRTMGL3 or COP90")
    if status in (502, 503, 504):
        msg = f"OpenTopography did not get {model.name} for {describe_box(box)} ready in time (HTTP {status})"
        return ProvisionError(msg, hint="try again in some minutes: parts that came are kept", retryable=True)
    return None
