"""A track ready for MintPy: products named as HyP3's on one grid, and templates that load them, or ARIA-tools' files.

Their unwrapped phase is the unfiltered one: a filter lowers the peaks of a velocity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from topsar.errors import ProductError
from topsar.files import write_text
from topsar.formats import Cost, Format
from topsar.formats.exchange import require_unwrapped
from topsar.formats.hyp3.names import has_burst_numbers
from topsar.interferogram import join_grids, place_on
from topsar.model import CROSSED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from topsar.interferogram import Interferogram

_MISLEADING = ("unw_phase", "corr")
"""MintPy's ``hyp3`` takes any file for an interferogram whose absolute path holds one of these."""
_HYP3 = """# smallbaselineApp.py reads this: cd here, then `smallbaselineApp.py smallbaselineApp.cfg`.
mintpy.load.processor      = hyp3
mintpy.load.unwFile        = ../hyp3/*/*_unw_phase.tif
mintpy.load.corFile        = ../hyp3/*/*_corr.tif
mintpy.load.connCompFile   = ../hyp3/*/*_conncomp.tif
mintpy.load.demFile        = ../hyp3/*/*_dem.tif
mintpy.load.incAngleFile   = ../hyp3/*/*_lv_theta.tif
mintpy.load.azAngleFile    = ../hyp3/*/*_lv_phi.tif
mintpy.load.waterMaskFile  = ../hyp3/*/*_water_mask.tif
"""
_ARIA = """# smallbaselineApp.py reads this once ARIA-tools has set up the GUNW files of the track in the folder above:
# `cd ..; ariaTSsetup.py -f '<files>' -w .; cd mintpy_aria; smallbaselineApp.py smallbaselineApp.cfg`.
mintpy.load.processor      = aria
mintpy.load.unwFile        = ../stack/unwrapStack.vrt
mintpy.load.corFile        = ../stack/cohStack.vrt
mintpy.load.connCompFile   = ../stack/connCompStack.vrt
mintpy.load.demFile        = ../DEM/*.dem
mintpy.load.incAngleFile   = ../incidenceAngle/*.vrt
mintpy.load.azAngleFile    = ../azimuthAngle/*.vrt
mintpy.load.waterMaskFile  = ../mask/watermask.msk
"""
_COMMON = """# Everything that is not here has MintPy's default.
# Where no triangle closes wrongly by whole cycles anywhere, or there is but one triangle, the step quick_overview of
# MintPy 1.6.4 stops: go round it, with `--end reference_point` and then `--start correct_unwrap_error`.
# Weather models are not at hand: set height_correlation, pyaps or gacos to take the troposphere off.
mintpy.troposphericDelay.method = no
"""
_TEMPLATES = {"mintpy": _HYP3 + _COMMON, "mintpy_aria": _ARIA + _COMMON}


class MintPy(Format):
    """``hyp3/<product>/`` of every pair, ``mintpy/`` and ``mintpy_aria/smallbaselineApp.cfg``."""

    name = "mintpy"
    version = "2"
    cost = Cost(
        base_memory=160_000_000,
        memory=34,
        disk=60,
        start_s=1.0,
        microseconds=1.0,
        first_memory=20,
        first_pixels=2e6,
    )
    scope: Literal["pair", "stack"] = "stack"
    needs_unwrapped = True
    refuses_crossed = True

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write the products of all pairs on the smallest grid that covers them, and the templates.

        Parameters
        ----------
        ifgs : iterable of Interferogram
        folder : Path
            The empty folder to write into.

        Raises
        ------
        ProductError
            If a pair is not unwrapped or is of VH or HV, pixel sizes differ, or MintPy would misread the path.
        """
        from topsar.formats.hyp3.product import write_product

        misleading = [word for word in _MISLEADING if word in str(folder.resolve())]
        if misleading:
            msg = (
                f"MintPy takes every file below {folder.resolve()} for an interferogram: {misleading[0]} is in its name"
            )
            raise ProductError(msg, hint="write it elsewhere: topsar export mintpy --to DIR")
        pairs = list(ifgs)
        _refuse_crossed(pairs)
        grid = join_grids(pairs)
        written: list[Path] = []
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
        for name, text in _TEMPLATES.items():
            written.append(folder / name / "smallbaselineApp.cfg")
            write_text(written[-1], text)
        return tuple(written)


def _refuse_crossed(pairs: Sequence[Interferogram]) -> None:
    for ifg in pairs:
        if ifg.facts["polarisation"] in CROSSED:
            msg = f"{ifg.pair_id}: MintPy knows HyP3's products of VV and HH alone"
            raise ProductError(msg, hint="take mintpy out of FORMATS, or process VV or HH alone: POLARIZATION=VV")
