"""All services on one server of this machine, answering from a simulated data set."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from services.earthdata import Account, archive, archived, catalogue, login, store
from services.loopback import Asked, Handler, Loopback, Reply
from services.opentopography import copernicus_dem, egm2008, ground_of, opentopography
from services.orbit_services import s3_orbits
from services.weather import geos_fp
from topsar.provision.endpoints import Services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

USER = Account(name="jane", password="earthdata-password", token="earthdata-token")
"""Who may download scenes there."""
KEY = "opentopography-key"
"""What the height model's service wants there."""


def services_at(url: str) -> Services:
    """All services on one server, in the places where the handlers of this package put them."""
    return Services(
        opentopography=url,
        copernicus_dem=url,
        egm2008=url,
        s3_orbits=f"{url}/s3_orbits",
        geos_fp=f"{url}/geos_fp",
        hrrr=f"{url}/hrrr",
        asf_search=url,
        earthdata=url,
        aux_cal=(f"{url}/aux_cal",),
    )


@contextmanager
def serve(folder: Path, spoil: Callable[[Asked, Reply], Reply] = lambda _, reply: reply) -> Iterator[Loopback]:
    """Servers for a data set whose products are zips; yields the one that everything but the files is asked of.

    Parameters
    ----------
    folder : Path
        With ``raw``, ``orbit_data`` and ``dem/dem.tif``, as `simulate` writes them.
    spoil : callable
        Makes another reply of a reply, for any service.
    """
    scenes = [archived(path) for path in sorted((folder / "raw").glob("*.zip"))]
    ground = ground_of(folder / "dem" / "dem.tif")

    def spoiled(handler: Handler) -> Handler:
        return lambda asked: (reply := handler(asked)) and spoil(asked, reply)

    def remembered(handler: Handler) -> Handler:
        known: dict[str, Reply | None] = {}
        turn = threading.Lock()

        def answer(asked: Asked) -> Reply | None:
            key = f"{asked.method} {asked.path} {asked.query}"
            with turn:
                return known[key] if key in known else known.setdefault(key, handler(asked))

        return answer

    with Loopback(spoiled(store(scenes))) as files:
        services = (
            catalogue(scenes),
            login([USER]),
            archive(scenes, [USER], store_url=files.url),
            s3_orbits(folder / "orbit_data"),
            remembered(opentopography(ground, key=KEY, edges_on_postings=True)),
            copernicus_dem(ground),
            egm2008(),
            geos_fp(),
        )
        with Loopback(*map(spoiled, services)) as front:
            yield front
