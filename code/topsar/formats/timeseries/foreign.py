"""Unwrapped pairs that another processor geocoded, as interferograms that a time series can be made of."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.layers import compute_displacement
from topsar.errors import ProductError
from topsar.interferogram import Interferogram, make_layers
from topsar.raster import read_geotiff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_DATES = re.compile(r"(?<!\d)(20\d{6})[-_](20\d{6})(?!\d)")
_LEAST_COHERENCE = 0.05


def read_foreign_pairs(
    folder: Path, *, wavelength_m: float, looks: float, unwrapped: str = "*unw.tif", coherence: str = "*cc.tif"
) -> Iterator[Interferogram]:
    """Read GeoTIFFs of unwrapped phase and coherence, named by both dates (``20180106-20180130``), one pair at a time.

    The earlier date is the reference, and phase grows where range does, as with GAMMA and ISCE2; 0 is no data. All
    pixels with a value are one connected component. The noise follows from coherence and looks by the bound of Cramér
    and Rao (Rodriguez and Martin 1992, IEE Proceedings F 139).

    Parameters
    ----------
    folder : Path
    wavelength_m : float
    looks : float
        Independent looks.
    unwrapped, coherence : str
        Patterns of the names of files.

    Raises
    ------
    ProductError
        If no file has both dates in its name, a pair has no coherence, or rasters differ in their grid.
    """
    phases, qualities = _find_by_dates(folder, unwrapped), _find_by_dates(folder, coherence)
    if not phases:
        msg = f"no file {unwrapped} with two dates in its name in {folder}"
        raise ProductError(msg, hint="names have to hold both dates, such as 20180106-20180130")
    for dates, path in sorted(phases.items()):
        if dates not in qualities:
            msg = f"{path} has no coherence {coherence} of the same dates beside it"
            raise ProductError(msg, hint="the noise of a pair follows from its coherence")
        yield _read_pair(dates, path, qualities[dates], wavelength_m, looks)


def _find_by_dates(folder: Path, pattern: str) -> dict[tuple[str, str], Path]:
    found = {path: _DATES.search(path.name) for path in folder.glob(pattern)}
    return {(match[1], match[2]): path for path, match in found.items() if match}


def _read_pair(dates: tuple[str, str], path: Path, quality: Path, wavelength_m: float, looks: float) -> Interferogram:
    phase, grid, _ = read_geotiff(path)
    coherence, other, _ = read_geotiff(quality)
    if other != grid:
        msg = f"{quality} is not on the grid of {path}"
        raise ProductError(msg, hint="geocode both with the same grid")
    known = np.isfinite(phase) & (phase != 0) & (coherence > _LEAST_COHERENCE)
    first, second = (datetime.strptime(date, "%Y%m%d").date().isoformat() for date in dates)  # noqa: DTZ007
    unwrapped = np.where(known, phase, np.nan)
    layers: dict[str, NDArray[Any]] = {
        "unwrapped_phase": unwrapped,
        "displacement": compute_displacement(unwrapped, wavelength_m),
        "coherence": coherence,
        "phase_noise": np.sqrt((1 - coherence**2) / (2 * looks)) / np.where(known, coherence, np.nan),
        "components": known,
    }
    facts = {"reference_date": first, "secondary_date": second, "wavelength_m": wavelength_m}
    return Interferogram(pair_id=f"{dates[0]}_{dates[1]}", grid=grid, layers=make_layers(layers), facts=facts)
