"""Precise orbit files in ESA's Earth Explorer format."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from topsar.files import write_text
from topsar.simulate.document import render_document
from topsar.simulate.orbit import list_vectors
from topsar.simulate.plan import ProductPlan

_TAI_MINUS_UTC = timedelta(seconds=37)
_DELAY = timedelta(days=20, hours=8, minutes=7, seconds=12)


def write_orbit_file(folder: Path, product: ProductPlan) -> Path:
    """Write the POEORB of a pass: the day and a little more, a vector every ten seconds.

    Parameters
    ----------
    folder : Path
        Where the file goes.
    product : ProductPlan
        A product of the pass.

    Returns
    -------
    Path
        The file, named as ESA names it.

    Raises
    ------
    ProductError
        If it cannot be written.
    """
    day = datetime.combine(product.start.date(), datetime.min.time(), tzinfo=timezone.utc)
    start, stop = day - timedelta(seconds=3618), day + timedelta(days=1, seconds=3582)
    created = day + _DELAY
    mission = product.acquisition.mission
    name = f"{mission}_OPER_AUX_POEORB_OPOD_{created:%Y%m%dT%H%M%S}_V{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}"
    text = render_document(
        "orbit.eof",
        name=name,
        product=product,
        start=start,
        stop=stop,
        created=created,
        vectors=list_vectors(product.track.vectors(start, stop)),
        leap=_TAI_MINUS_UTC,
    )
    path = folder / f"{name}.EOF"
    write_text(path, text + "\n")
    return path
