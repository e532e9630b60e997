"""Phase linking by ``dolphin run``: what it is told of a stack of SLCs, and what is read of what it leaves."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rasterio.errors import NotGeoreferencedWarning

from topsar.errors import ProductError
from topsar.files import write_json
from topsar.formats.timeseries.dispersion import limit_dispersion
from topsar.formats.timeseries.programs import run_program
from topsar.raster.geotiff import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from topsar.model import Looks

NEIGHBOURS = 3
"""Interferograms are made of linked phases of each date with so many next ones: triangles show errors of unwrapping."""
_WINDOW = (14, 7)
"""Least half width and half height of the window over which coherence is estimated, in pixels: dolphin's own."""
_STEADY = 0.25
"""Most amplitude dispersion of a persistent scatterer, unless chance reaches that: dolphin's own."""
LEAST_DATES = 3


class LinkedPair(NamedTuple):
    """A pair of linked phases, arrays (rows, columns).

    ``phase`` (radians, NaN where it is not known) is unwrapped, reference · conj(secondary); ``noise`` its standard
    deviation by the bounds of both dates; ``coherence`` how far the linked phases agree with all pairs of dates.
    """

    first: str
    second: str
    phase: NDArray[np.float32]
    component: NDArray[np.uint16]
    noise: NDArray[np.float32]
    coherence: NDArray[np.float32]


def link_phases(slcs: Sequence[Path], looks: Looks, wavelength_m: float, program: Path, work: Path) -> None:
    """Run dolphin on SLCs: persistent and distributed scatterers, phase linking, interferograms, unwrapping.

    Parameters
    ----------
    slcs : sequence of Path
        One of each date, with the date in its name, on one grid.
    looks : Looks
        Their pixels in a pixel of the results.
    wavelength_m : float
    program : Path
    work : Path
        An empty folder.

    Raises
    ------
    ProductError
        If there are too few dates, or the program fails.
    """
    if len(slcs) < LEAST_DATES:
        msg = f"phase linking needs {LEAST_DATES} dates, and there are {len(slcs)}"
        raise ProductError(msg, hint="list pairs of more dates")
    window = {"x": max(_WINDOW[0], looks.east // 2), "y": max(_WINDOW[1], looks.north // 2)}
    config: dict[str, Any] = {
        "cslc_file_list": [str(path) for path in slcs],
        "work_directory": str(work),
        "input_options": {"wavelength": wavelength_m, "cslc_date_fmt": "%Y%m%d"},
        "output_options": {"strides": {"x": looks.east, "y": looks.north}, "add_overviews": False},
        "ps_options": {"amp_dispersion_threshold": min(_STEADY, limit_dispersion(len(slcs), looks.count))},
        "phase_linking": {"half_window": window, "write_crlb": True},
        "interferogram_network": {"max_bandwidth": NEIGHBOURS},
        "unwrap_options": {"unwrap_method": "snaphu", "n_parallel_jobs": 1},
        "timeseries_options": {"run_inversion": False, "run_velocity": False},
        "worker_settings": {"threads_per_worker": 1, "n_parallel_bursts": 1},
    }
    write_json(work / "dolphin.yaml", config)  # JSON is YAML
    run_program(program, ["run", str(work / "dolphin.yaml")], work)


def read_linked(work: Path) -> Iterator[LinkedPair]:
    """Read what `link_phases` left, a pair at a time in the order of dates.

    Raises
    ------
    ProductError
        If there is nothing.
    """
    coherence = _read_coherence(work)
    found = sorted(work.glob("unwrapped/*.unw.tif"))
    if not found:
        msg = f"dolphin left no unwrapped pairs in {work}"
        raise ProductError(msg, hint="program.log there says what it did")
    for path in found:
        first, second = path.name.removesuffix(".unw.tif").split("_")
        phase = _read(path)
        component = _read(path.with_name(f"{first}_{second}.unw.conncomp.tif"))
        variance = sum(_read(work / "interferograms" / f"crlb_{date}.tif") ** 2 for date in (first, second))
        known = (phase != 0) & np.isfinite(phase) & (component > 0) & (component < np.iinfo(np.uint16).max)
        known &= (variance > 0) & (coherence > 0)
        yield LinkedPair(
            first=first,
            second=second,
            phase=np.where(known, phase, np.nan).astype(np.float32),
            component=np.where(known, component, 0).astype(np.uint16),
            noise=np.where(known, np.sqrt(variance), np.nan).astype(np.float32),
            coherence=np.where(coherence > 0, coherence, np.nan).astype(np.float32),
        )


def read_dispersion(work: Path) -> NDArray[np.float32]:
    """Read the least amplitude dispersion of the SLC's pixels in each pixel, NaN where there is none."""
    values = _read(work / "interferograms" / "amp_dispersion_looked.tif")
    return np.where(values > 0, values, np.nan).astype(np.float32)


def _read_coherence(work: Path) -> NDArray[np.float32]:
    """Mean over the groups of dates that dolphin links one after the other."""
    found = sorted(work.glob("interferograms/temporal_coherence_2*.tif"))
    if not found:
        msg = f"dolphin left no temporal coherence in {work}"
        raise ProductError(msg, hint="program.log there says what it did")
    return np.asarray(np.mean([_read(path) for path in found], axis=0), np.float32)


def _read(path: Path) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # in radar geometry there is no map
        with open_to_read(path) as dataset:
            values: NDArray[Any] = dataset.read(1)
            return values
