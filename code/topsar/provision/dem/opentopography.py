"""Height models by box from OpenTopography."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from topsar.errors import ProvisionError
from topsar.model import BBox
from topsar.provision.dem.merge import Piece, check_piece, edges, plain_words
from topsar.provision.dem.models import KEYLESS, GlobalModel, parts_of

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.provision.web.client import Answer, Fetcher

PART_POSTINGS = 8192
"""Longest edge of a request, in postings: larger ones run into the service's gateway."""

AT_ONCE = 2

_LIMIT_SHARE = 0.9
_OVERLAP_POSTINGS = 2
_QUOTA_WORDS = ("quota", "limit", "exceed", "too many")


class NothingButSea(ProvisionError):
    """The service has nothing to give there, for all is sea."""


def fetch_parts(
    model: GlobalModel, box: BBox, folder: Path, *, fetcher: Fetcher, base_url: str, api_key: str
) -> list[list[Piece]]:
    """Fetch a model in parts that overlap by two postings; a part without a file is sea.

    Parameters
    ----------
    model : GlobalModel
    box : BBox
        Edges on hundredths of a degree.
    folder : Path
        Where the parts are put; those that are there already are used.
    fetcher : Fetcher
    base_url : str
        `Services.opentopography`.
    api_key : str

    Raises
    ------
    ProvisionError
        If a part cannot be had.
    """
    boxes = parts_of(box, model.limit_km2 * _LIMIT_SHARE, model.posting_deg * PART_POSTINGS)
    rows = [
        [Piece(path=folder / f"{row}_{n}.tif", box=part) for n, part in enumerate(parts)]
        for row, parts in enumerate(boxes)
    ]
    get = partial(_fetch, model, fetcher=fetcher, url=f"{base_url}/globaldem", api_key=api_key)
    jobs = [partial(get, piece) for row in rows for piece in row]
    jobs[0]()  # alone: a key that is refused is refused once
    fetcher.download_all(jobs[1:], at_once=AT_ONCE)
    return rows


def _fetch(model: GlobalModel, piece: Piece, *, fetcher: Fetcher, url: str, api_key: str) -> Path:
    asked = _asked(model, piece.box)
    params = {
        "demtype": model.name,
        **{side: f"{getattr(asked, side):.10g}" for side in ("south", "north", "west", "east")},
        "outputFormat": "GTiff",
        "API_Key": api_key,
    }

    def explain(answer: Answer) -> Exception | None:
        if answer.status == 204 or (answer.status == 200 and not answer.body):
            return NothingButSea(f"{model.name} has no land in {edges(piece.box)}")
        return _refusal(model, piece.box, answer.status, plain_words(answer.text, fetcher.masked))

    try:
        return fetcher.download(
            url,
            piece.path,
            what=f"{model.name} heights for {edges(piece.box)} from OpenTopography",
            check=partial(check_piece, box=asked, posting_deg=model.posting_deg, masked=fetcher.masked),
            params=params,
            explain=explain,
        )
    except NothingButSea:
        return piece.path


def _asked(model: GlobalModel, part: BBox) -> BBox:
    """A part and its overlap, as far as the model and the world reach."""
    wide = part.grown(_OVERLAP_POSTINGS * model.posting_deg)
    return BBox(
        west=max(wide.west, -180),
        south=max(wide.south, model.south),
        east=min(wide.east, 180),
        north=min(wide.north, model.north),
    )


def _refusal(model: GlobalModel, box: BBox, status: int, words: str) -> ProvisionError | None:
    """What an error answer of the service means; None for what has no meaning of its own."""
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
        msg = f"OpenTopography refuses {edges(box)} as too large for {model.name}{said}"
        return ProvisionError(msg, hint="process a smaller region, or take a coarser model such as SRTMGL3 or COP90")
    if status in (502, 503, 504):
        msg = f"OpenTopography did not get {model.name} for {edges(box)} ready in time (HTTP {status})"
        return ProvisionError(msg, hint="try again in some minutes: parts that came are kept", retryable=True)
    return None
