"""A track ready for MintPy: products named as HyP3's on one grid, and the template that loads them.

Their unwrapped phase is the unfiltered one: a filter lowers the peaks of a velocity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from topsar.errors import ProductError
from topsar.files import write_text
from topsar.formats import Cost, Format
from topsar.formats.exchange import require_unwrapped
from topsar.formats.hyp3.names import has_burst_numbers
from topsar.formats.hyp3.product import write_product
from topsar.interferogram import join_grids, place_on

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from topsar.interferogram import Interferogram

_MISLEADING = ("unw_phase", "corr")
"""MintPy's ``hyp3`` takes any file for an interferogram whose absolute path holds one of these."""
_TEMPLATE = """# smallbaselineApp.py reads this: cd here, then `smallbaselineApp.py smallbaselineApp.cfg`.
# Everything that is not here has MintPy's default.
mintpy.load.processor      = hyp3
mintpy.load.unwFile        = ../hyp3/*/*_unw_phase.tif
mintpy.load.corFile        = ../hyp3/*/*_corr.tif
mintpy.load.connCompFile   = ../hyp3/*/*_conncomp.tif
mintpy.load.demFile        = ../hyp3/*/*_dem.tif
mintpy.load.incAngleFile   = ../hyp3/*/*_lv_theta.tif
mintpy.load.azAngleFile    = ../hyp3/*/*_lv_phi.tif
mintpy.load.waterMaskFile  = ../hyp3/*/*_water_mask.tif
# Weather models are not at hand: set height_correlation, pyaps or gacos to take the troposphere off.
mintpy.troposphericDelay.method = no
"""


class MintPy(Format):
    """``hyp3/<product>/`` of every pair, and ``mintpy/smallbaselineApp.cfg``."""

    name = "mintpy"
    version = "1"
    cost = Cost(base_memory=190_000_000, memory=60, disk=60, start_s=1.0, microseconds=2.0)
    scope: Literal["pair", "stack"] = "stack"

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write the products of all pairs on the smallest grid that covers them, and the template.

        Parameters
        ----------
        ifgs : iterable of Interferogram
        folder : Path
            The empty folder to write into.

        Raises
        ------
        ProductError
            If a pair is not unwrapped, pixel sizes differ, or MintPy would misread the path.
        """
        misleading = [word for word in _MISLEADING if word in str(folder.resolve())]
        if misleading:
            msg = (
                f"MintPy takes every file below {folder.resolve()} for an interferogram: {misleading[0]} is in its name"
            )
            raise ProductError(msg, hint="write it elsewhere: topsar export mintpy --to DIR")
        pairs = list(ifgs)
        grid = join_grids(pairs)
        written = [folder / "mintpy" / "smallbaselineApp.cfg"]
        while pairs:
            ifg = pairs.pop(0)  # its layers are held no longer than it takes to write them
            require_unwrapped(ifg, "MintPy")
            written += write_product(
                place_on(ifg, grid),
                folder / "hyp3",
                phase="unwrapped_phase",
                flavour="isce2" if has_burst_numbers(ifg) else "gamma",
                browse=False,
            )
        write_text(written[0], _TEMPLATE)
        return tuple(written)
