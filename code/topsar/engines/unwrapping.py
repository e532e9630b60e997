"""A filtered interferogram unwrapped by one of the packages that can, whichever engine made it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topsar.errors import StepFailed
from topsar.files import save_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_unwrapped(
    filtered: NDArray[np.complex64], coherence: NDArray[np.float32], looks: float, unwrapper: str, folder: Path
) -> None:
    """Write ``unwrapped.npy`` and ``components.npy`` of a filtered interferogram.

    Parameters
    ----------
    filtered : (rows, columns) complex64
    coherence : (rows, columns) float32
    looks : float
        Independent looks of a pixel.
    unwrapper : str
        As in the settings; with "none" all is NaN and component 0.
    folder : Path
        It is made.

    Raises
    ------
    StepFailed
        If the package cannot.
    """
    folder.mkdir(exist_ok=True)
    if unwrapper == "none":
        unwrapped = np.full(filtered.shape, np.nan, np.float32)
        components = np.zeros(filtered.shape, np.uint32)
    else:
        unwrapped, components = unwrap_filtered(filtered, coherence, looks, unwrapper, folder)
    save_array(folder / "unwrapped.npy", unwrapped)
    save_array(folder / "components.npy", components)


def unwrap_filtered(
    filtered: NDArray[np.complex64], coherence: NDArray[np.float32], looks: float, unwrapper: str, folder: Path
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Unwrap a filtered interferogram; phase and components, as `topsar.kernels.unwrap.unwrap` gives them.

    Parameters
    ----------
    filtered : (rows, columns) complex64
    coherence : (rows, columns) float32
    looks : float
        Independent looks of a pixel.
    unwrapper : {"snaphu", "whirlwind"}
    folder : Path
        The package's own files lie in it meanwhile.

    Raises
    ------
    StepFailed
        If the package cannot.
    """
    from topsar.kernels.unwrap import unwrap

    threads = _count_threads(filtered.shape)
    try:
        with _scratch_folder(folder) as scratch:
            return unwrap(filtered, coherence, looks, method=unwrapper, threads=threads, scratch=scratch)
    except RuntimeError as exc:  # how both packages report a failure of theirs
        msg = f"{unwrapper} could not unwrap the phase: {exc}"
        hint = "the log of the step has its own words; UNWRAPPER=none leaves the phase wrapped"
        raise StepFailed(msg, hint=hint) from exc


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """Make a temporary folder in ``folder``, under a name without spaces: SNAPHU cannot read others."""
    with tempfile.TemporaryDirectory(dir=folder) as real, tempfile.TemporaryDirectory() as other:
        link = Path(other) / "unwrap"
        link.symlink_to(Path(real).resolve())
        yield link


def _count_threads(shape: tuple[int, int]) -> int:
    """Count the threads that the step was granted, if so large an interferogram has a use for them."""
    from topsar.kernels.unwrap import count_tiles

    if count_tiles(shape) == (1, 1):
        return 1
    import numba

    return int(numba.get_num_threads())
