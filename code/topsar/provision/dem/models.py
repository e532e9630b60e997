"""Global height models: vertical datum, reach, and how much one request may ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from topsar.errors import ProvisionError
from topsar.model import BBox, VerticalDatum
from topsar.raster.geotiff import describe_box

KEYLESS = "COP30"
"""The model that needs no key: Copernicus GLO-30 has a public bucket."""

BY_KEY = "SRTMGL1"
"""The model that ``DEM=auto`` takes from OpenTopography."""

_ARCSEC = 1 / 3600
_KM_PER_DEGREE = 111.32


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalModel:
    """A model that OpenTopography offers under ``name``.

    Attributes
    ----------
    posting_deg : float
        Between rows; columns may lie further apart.
    south, north : float
        Latitudes that it reaches to, degrees.
    limit_km2 : float
        Area that OpenTopography gives in one request.
    """

    name: str
    posting_deg: float
    datum: VerticalDatum
    south: float
    north: float
    limit_km2: float

    def reaches(self, box: BBox) -> bool:
        """Whether the model has heights for all latitudes of a box."""
        return self.south <= box.south and box.north <= self.north

    def has_square_postings(self, box: BBox) -> bool:
        """Whether columns lie as close as rows somewhere in a box: those of Copernicus models do up to 50 degrees."""
        return not self.name.startswith("COP") or (box.south < 50 and box.north > -50)

    def grow(self, box: BBox, margin_deg: float) -> BBox:
        """Grow a box, as far as the model and the world reach.

        Parameters
        ----------
        box : BBox
            Degrees, centred within ±180.
        margin_deg : float
        """
        wide = box.grow(margin_deg)
        wide = replace(wide, south=max(wide.south, self.south), north=min(wide.north, self.north))
        return wide if crosses_antimeridian(box) else replace(wide, west=max(wide.west, -180), east=min(wide.east, 180))


def _make_model(name: str, arcsec: int, datum: VerticalDatum, south: float, north: float) -> GlobalModel:
    limit = 450_000.0 if arcsec == 1 else 4_050_000.0
    return GlobalModel(name=name, posting_deg=arcsec * _ARCSEC, datum=datum, south=south, north=north, limit_km2=limit)


MODELS = {
    model.name: model
    for model in (
        _make_model("SRTMGL1", 1, VerticalDatum.EGM96, -56, 60),
        _make_model("SRTMGL1_E", 1, VerticalDatum.ELLIPSOID, -56, 60),
        _make_model("SRTMGL3", 3, VerticalDatum.EGM96, -56, 60),
        _make_model("NASADEM", 1, VerticalDatum.EGM96, -56, 60),
        _make_model("COP30", 1, VerticalDatum.EGM2008, -89, 89),
        _make_model("COP90", 3, VerticalDatum.EGM2008, -89, 89),
        _make_model("AW3D30", 1, VerticalDatum.EGM96, -82, 82),
        _make_model("AW3D30_E", 1, VerticalDatum.ELLIPSOID, -82, 82),
    )
}
"""By name."""


def list_models(choice: str, box: BBox, api_key: str) -> tuple[GlobalModel, ...]:
    """List the models that serve a choice: the first one is to be fetched, a cached DEM of the others will do.

    Parameters
    ----------
    choice : str
        ``auto`` or a model's name.
    box : BBox
        What must be covered, degrees, centred within ±180.
    api_key : str
        Of OpenTopography, or empty.
    """
    name = choice.upper()
    if name == "AUTO":
        best, other = MODELS[BY_KEY], MODELS[KEYLESS]
        if not other.reaches(box):
            raise _refuse_reach(other, box)
        if not best.reaches(box) or crosses_antimeridian(box):
            return (other,)
        return (best, other) if api_key else (other, best)
    model = MODELS[name]
    if not model.reaches(box):
        raise _refuse_reach(model, box)
    if name != KEYLESS and crosses_antimeridian(box):
        msg = f"DEM={name}: {describe_box(box)} lies across the 180th meridian, where OpenTopography's boxes end"
        raise ProvisionError(msg, hint=f"set DEM={KEYLESS}, whose tiles are joined across it")
    if name != KEYLESS and not api_key:
        msg = f"DEM={name} comes from OpenTopography, and OPENTOPO_API_KEY is not set"
        hint = f"set it (a key is free at portal.opentopography.org), or DEM={KEYLESS}, which needs none"
        raise ProvisionError(msg, hint=hint)
    return (model,)


def crosses_antimeridian(box: BBox) -> bool:
    """Whether a box that is centred within ±180 degrees reaches over the 180th meridian."""
    return box.west < -180 or box.east > 180


def compute_area_km2(box: BBox) -> float:
    """Compute the area of a box on the sphere."""
    band = math.sin(math.radians(box.north)) - math.sin(math.radians(box.south))
    return math.degrees(band) * (box.east - box.west) * _KM_PER_DEGREE**2


def cut_box(box: BBox, limit_km2: float, limit_deg: float) -> tuple[tuple[BBox, ...], ...]:
    """Cut a box into parts below an area and a width: rows from the north, in each the parts from the west.

    Cuts lie on hundredths of a degree, a whole number of postings of every model.

    Parameters
    ----------
    box : BBox
        Degrees.
    limit_km2 : float
        Largest area of a part.
    limit_deg : float
        Largest edge of a part.
    """
    rows = max(math.ceil((box.north - box.south) / limit_deg), 1)
    columns = max(math.ceil((box.east - box.west) / limit_deg), 1)
    while compute_area_km2(box) > limit_km2 * rows * columns:
        rows, columns = rows + 1, columns + 1
    y, x = _cut(box.north, box.south, rows), _cut(box.west, box.east, columns)
    return tuple(
        tuple(BBox(west=west, south=south, east=east, north=north) for west, east in pairwise(x))
        for north, south in pairwise(y)
    )


def _cut(start: float, stop: float, count: int) -> list[float]:
    between = {round(start + (stop - start) * k / count, 2): None for k in range(1, count)}
    return [start, *(cut for cut in between if cut not in (start, stop)), stop]


def _refuse_reach(model: GlobalModel, box: BBox) -> ProvisionError:
    reach = f"reaches from latitude {model.south:g} to {model.north:g}"
    msg = f"DEM={model.name} {reach}, which leaves out {describe_box(box)}"
    covers = MODELS[KEYLESS].reaches(box)
    hint = f"set DEM={KEYLESS}, which covers it" if covers else "no global model covers it: set DEM to a file of yours"
    return ProvisionError(msg, hint=hint)
