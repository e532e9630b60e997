"""Unwrapped pairs that another processor geocoded, as interferograms that a time series can be made of."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from topsar.engines.layers import compute_displacement
from topsar.errors import ProductError
from topsar.interferogram import LAYERS, Interferogram, Layer, LayerKind, LayersOnDisk, make_layers
from topsar.raster.geotiff import fill_masked, open_to_read, read_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import GeoGrid, Window

    _Read = Callable[["_Source", Window], Mapping[str, Layer]]

_DATES = re.compile(r"(?<!\d)(20\d{6})[-_](20\d{6})(?!\d)")
_LEAST_COHERENCE = 0.05


def read_foreign_pairs(
    folder: Path, *, wavelength_m: float, looks: float, unwrapped: str = "*unw.tif", coherence: str = "*cc.tif"
) -> Iterator[Interferogram]:
    """Open GeoTIFFs of unwrapped phase and coherence, named by both dates (``20180106-20180130``), one pair at a time.

    A layer is read when it is asked for; of all pairs only the last window is kept. The earlier date is the reference,
    and phase grows where range does, as with GAMMA and ISCE2; 0, and what the file says, is no data. All pixels with a
    value are one connected component. The noise follows from coherence and looks by the bound of Cramér and Rao
    (Rodriguez and Martin 1992, IEE Proceedings F 139).

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
    read = lru_cache(maxsize=1)(_read_layers)  # layers of a window are asked for one after the other
    for dates, path in sorted(phases.items()):
        if dates not in qualities:
            msg = f"{path} has no coherence {coherence} of the same dates beside it"
            raise ProductError(msg, hint="the noise of a pair follows from its coherence")
        yield _open_pair(dates, _Source(path, qualities[dates], wavelength_m, looks), read)


def _find_by_dates(folder: Path, pattern: str) -> dict[tuple[str, str], Path]:
    found = {path: _DATES.search(path.name) for path in folder.glob(pattern)}
    return {(match[1], match[2]): path for path, match in found.items() if match}


class _Source(NamedTuple):
    """The files of a pair, and what turns their values into layers."""

    phase: Path
    coherence: Path
    wavelength_m: float
    looks: float


def _open_pair(dates: tuple[str, str], source: _Source, read: _Read) -> Interferogram:
    grid = read_grid(source.phase)
    if read_grid(source.coherence) != grid:
        msg = f"{source.coherence} is not on the grid of {source.phase}"
        raise ProductError(msg, hint="geocode both with the same grid")
    first, second = (datetime.strptime(date, "%Y%m%d").date().isoformat() for date in dates)  # noqa: DTZ007
    facts = {"reference_date": first, "secondary_date": second, "wavelength_m": source.wavelength_m}
    layers = _ForeignLayers(partial(read, source), grid)
    return Interferogram(pair_id=f"{dates[0]}_{dates[1]}", grid=grid, layers=layers, facts=facts)


class _ForeignLayers(LayersOnDisk):
    """The layers that follow from unwrapped phase and coherence."""

    _names = ("unwrapped_phase", "displacement", "coherence", "phase_noise", "components")

    def __init__(self, read: Callable[[Window], Mapping[str, Layer]], grid: GeoGrid) -> None:
        self._read, self._whole = read, grid.whole

    def __getitem__(self, name: str) -> Layer:
        return Layer(kind=self.read_kind(name), values=self.read_window(name, self._whole))

    def read_kind(self, name: str) -> LayerKind:
        if name not in self._names:
            raise KeyError(name)
        return LAYERS[name]

    def read_window(self, name: str, window: Window) -> NDArray[Any]:
        return self._read(window)[name].values

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _read_layers(source: _Source, window: Window) -> dict[str, Layer]:
    """Read all layers in a window."""
    phase, coherence = (_read_window(path, window) for path in (source.phase, source.coherence))
    known = np.isfinite(phase) & (phase != 0) & (coherence > _LEAST_COHERENCE)
    unwrapped = np.where(known, phase, np.nan)
    noise = np.sqrt((1 - coherence**2) / (2 * source.looks)) / np.where(known, coherence, np.nan)
    layers: dict[str, NDArray[Any]] = {
        "unwrapped_phase": unwrapped,
        "displacement": compute_displacement(unwrapped, source.wavelength_m),
        "coherence": coherence,
        "phase_noise": noise,
        "components": known,
    }
    return make_layers(layers)


def _read_window(path: Path, window: Window) -> NDArray[np.float32]:
    with open_to_read(path) as dataset:
        return fill_masked(dataset.read(1, window=window.spans, masked=True))
