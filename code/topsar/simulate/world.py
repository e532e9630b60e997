"""All services on one server of this machine, answering from a simulated data set."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from topsar.simulate.earthdata import Account, archive, archived, catalogue, login, store
from topsar.simulate.loopback import Loopback
from topsar.simulate.opentopography import copernicus_dem, egm2008, ground_of, opentopography
from topsar.simulate.orbit_services import asf_scenes, s3_orbits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = Account(name="demo", password="demo-password", token="demo-token")
"""Who may download scenes there."""
KEY = "demo-key"
"""What the height model's service wants there."""


@contextmanager
def serve(folder: Path) -> Iterator[Loopback]:
    """Servers for a data set whose products are zips; yields the one that everything but the files is asked of.

    Parameters
    ----------
    folder : Path
        With ``raw``, ``orbit_data`` and ``dem/dem.tif``, as `simulate` writes them.
    """
    scenes = [archived(path) for path in sorted((folder / "raw").glob("*.zip"))]
    ground = ground_of(folder / "dem" / "dem.tif")
    with Loopback(store(scenes)) as files:
        front = Loopback(
            catalogue(scenes),
            login([USER]),
            archive(scenes, [USER], store_url=files.url),
            asf_scenes(folder / "orbit_data"),
            s3_orbits(folder / "orbit_data"),
            opentopography(ground, key=KEY, edges_on_postings=True),
            copernicus_dem(ground),
            egm2008(),
        )
        with front:
            yield front
