"""The folder and zip of HyP3, which MintPy reads: as its jobs with ISCE2 write them of bursts, or with GAMMA of scenes.

Names and keys: ASFHyP3/hyp3-isce2, ``packaging.py`` and ``utils.py``; ASFHyP3/hyp3-gamma, ``ifm_sentinel.py``. Where
their text files hold constants (height of the satellite, radius of the Earth) these hold what the orbit says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.formats import Cost, Format

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from topsar.formats.hyp3.names import Flavour
    from topsar.interferogram import Interferogram


class Hyp3(Format):
    """``<product>/<product>_*.tif``, the text file of parameters, browse images, and a zip of the folder."""

    name = "hyp3"
    version = "4"
    flavour: Flavour = "isce2"
    cost = Cost(
        base_memory=170_000_000,
        memory=33,
        disk=80,
        start_s=2.0,
        microseconds=1.2,
        pixels_per_thread=5e5,
        first_memory=24,
        first_pixels=2e6,
    )

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write the product of one pair.

        Parameters
        ----------
        ifgs : iterable of Interferogram
            The one pair.
        folder : Path
            The empty folder to write into.

        Raises
        ------
        ProductError
            If the name of a HyP3 product cannot tell the bursts or the posting of the pair.
        """
        from topsar.formats.hyp3.product import pack_product, write_product

        written: list[Path] = []
        for ifg in ifgs:
            files = write_product(ifg, folder, flavour=self.flavour)
            written += [*files, pack_product(folder, files)]
        return tuple(written)


class Hyp3Gamma(Hyp3):
    """The same as HyP3's GAMMA jobs have it: named by start times, with displacements and angles of incidence."""

    name = "hyp3_gamma"
    version = "3"
    flavour: Flavour = "gamma"
    cost = Cost(
        base_memory=180_000_000,
        memory=28,
        disk=120,
        start_s=2.0,
        microseconds=1.8,
        pixels_per_thread=5e5,
        first_memory=46,
        first_pixels=2e6,
    )
