"""Who inverts the pairs: topsar's own least squares, or another package's."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from topsar.errors import SettingsError
from topsar.formats.timeseries.programs import find_program, run_program
from topsar.formats.timeseries.stack import TILE, name_dates, read_layer
from topsar.model import Window
from topsar.raster import open_geotiff
from topsar.raster.geotiff import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from topsar.formats.timeseries.closure import Repair
    from topsar.formats.timeseries.stack import Network, Reference


class Prepared(NamedTuple):
    """Phases of pairs that are ready to be inverted, (pairs, pixels): zero at the reference, cycles repaired.

    ``weights`` are one over variance, 0 where there is no value.
    """

    phase: NDArray[np.float32]
    weights: NDArray[np.float32]
    repair: Repair


class SeriesEngine(Protocol):
    """Something that turns phases of pairs into phases of dates."""

    def prepare(
        self,
        network: Network,  # noqa: ARG002
        reference: Reference,  # noqa: ARG002
        blocks: Iterable[tuple[Window, Prepared]],  # noqa: ARG002
        work: Path,  # noqa: ARG002
    ) -> None:
        """Do what needs all pairs at once, in the empty folder ``work``; most engines need nothing."""
        return

    def solve(self, network: Network, window: Window, prepared: Prepared) -> NDArray[np.float64] | None:
        """Phase of each date in a window, (dates, pixels), relative to the first; None leaves it to least squares."""
        ...

    def judge(self, network: Network, window: Window) -> NDArray[np.float32] | None:  # noqa: ARG002
        """Temporal coherence in a window, (pixels,), where it is not that of the pairs about the series."""
        return None


class LeastSquares(SeriesEngine):
    """Weighted least squares in blocks, with the pairs that each pixel has."""

    def solve(self, network: Network, window: Window, prepared: Prepared) -> None:
        """Leave it to what the errors are computed with anyway."""


class LinkedPhases(LeastSquares):
    """Least squares of pairs of linked phases: they agree by themselves, and how well they were linked is known."""

    def judge(self, network: Network, window: Window) -> NDArray[np.float32]:
        """Read how far the linked phases agree with the pairs of all dates; the first pair has it like all others."""
        return read_layer(network, network.pairs[0], "coherence", window).reshape(-1).astype(np.float32)


class InsarRs(SeriesEngine):
    """``invert_sbas`` of insar-rs: least squares without weights, of pixels with a value in all pairs."""

    def __init__(self) -> None:
        if find_spec("insar_rs") is None:
            msg = "TIMESERIES=insar-rs, and the package insar-rs is not installed"
            raise SettingsError(msg, hint="pip install 'topsar[insar-rs]', or TIMESERIES=least-squares")

    def solve(self, network: Network, window: Window, prepared: Prepared) -> NDArray[np.float64]:  # noqa: ARG002
        """Invert the pixels that have all pairs; the others are holes."""
        import insar_rs

        solved = np.full((len(network.dates), prepared.phase.shape[1]), np.nan)
        whole = (prepared.weights > 0).all(axis=0)
        if whole.any():
            metres = insar_rs.invert_sbas(
                np.ascontiguousarray(prepared.phase[:, None, whole]),
                network.links[:, 0].tolist(),
                network.links[:, 1].tolist(),
                network.days.astype(int).tolist(),
                wavelength_m=float(network.pairs[0].facts["wavelength_m"]),
            )
            solved[:, whole] = np.asarray(metres, np.float64)[:, 0] / network.to_metres
        return solved


class Program(SeriesEngine):
    """An engine that is a program in an environment of its own, and leaves displacements in metres in a folder."""

    name = ""

    def __init__(self, program: str) -> None:
        self._program, self._made, self._zero = find_program(self.name, program), Path(), np.zeros(0)

    def solve(self, network: Network, window: Window, prepared: Prepared) -> NDArray[np.float64]:  # noqa: ARG002
        """Read what the program made, zero in the mean of the reference, where programs take one pixel."""
        return self._read(network, window) / network.to_metres - self._zero[:, None]

    @abstractmethod
    def _read(self, network: Network, window: Window) -> NDArray[np.float64]:
        """Displacement in metres of a window, (dates, pixels)."""

    def _start(self, network: Network, reference: Reference, work: Path, arguments: list[str]) -> None:
        run_program(self._program, arguments, work)
        self._made = work
        self._zero = np.nanmean(self._read(network, reference.window), axis=1) / network.to_metres


class Dolphin(Program):
    """``dolphin timeseries``: least squares with the pairs of each pixel, without weights."""

    name = "dolphin"

    def prepare(
        self, network: Network, reference: Reference, blocks: Iterable[tuple[Window, Prepared]], work: Path
    ) -> None:
        """Write the repaired phases as rasters, and run the program on them."""
        names = [f"{name_dates(network, first, second)}.tif" for first, second in network.links.tolist()]
        folders = [work / kind for kind in ("phase", "components")]
        _write_rasters(network, blocks, folders, names)
        argv = ["timeseries", "--output-dir", str(work / "made"), "--method", "L2", "--num-threads", "1"]
        for flag, folder in zip(("--unwrapped-paths", "--conncomp-paths"), folders, strict=True):
            argv += [flag, *(str(folder / name) for name in names)]
        argv += ["--reference-point", *map(str, _find_middle(reference.window))]
        argv += ["--wavelength", str(network.pairs[0].facts["wavelength_m"])]
        self._start(network, reference, work, argv)

    def _read(self, network: Network, window: Window) -> NDArray[np.float64]:
        solved = np.zeros((len(network.dates), window.rows * window.columns))
        for number in range(1, len(network.dates)):
            with open_to_read(self._made / "made" / f"{name_dates(network, 0, number)}.tif") as dataset:
                solved[number] = dataset.read(1, window=window.spans).reshape(-1)
        return solved


class MintPy(Program):
    """``ifgram_inversion.py`` of MintPy: least squares with the pairs of each pixel, without weights."""

    name = "mintpy"

    def prepare(
        self, network: Network, reference: Reference, blocks: Iterable[tuple[Window, Prepared]], work: Path
    ) -> None:
        """Write the repaired phases as MintPy's stack, and run the program on it."""
        import h5py

        grid, row_column = network.grid, _find_middle(reference.window)
        dates = [date.replace("-", "") for date in network.dates]
        with h5py.File(work / "ifgramStack.h5", "w") as file:
            phase = file.create_dataset("unwrapPhase", (len(network.pairs), *grid.shape), np.float32, chunks=True)
            for window, prepared in blocks:
                used = np.where(prepared.weights > 0, prepared.phase, 0)
                phase[(slice(None), *window.slices)] = used.reshape(-1, window.rows, window.columns)
            file["date"] = np.array([[dates[number] for number in link] for link in network.links.tolist()], "S8")
            file["bperp"] = np.zeros(len(network.pairs), np.float32)
            file["dropIfgram"] = np.ones(len(network.pairs), bool)
            known: dict[str, float] = {
                "LENGTH": grid.rows,
                "WIDTH": grid.columns,
                "REF_Y": row_column[0],
                "REF_X": row_column[1],
            }
            known |= {"X_FIRST": grid.west, "Y_FIRST": grid.north, "X_STEP": grid.dx, "Y_STEP": -grid.dy}
            known |= {"WAVELENGTH": float(network.pairs[0].facts["wavelength_m"]), "ALOOKS": 1, "RLOOKS": 1}
            texts = {"FILE_TYPE": "ifgramStack", "PROCESSOR": "isce", "UNIT": "radian", "NO_DATA_VALUE": "0"}
            texts |= {"START_DATE": dates[0], "END_DATE": dates[-1]}
            file.attrs.update({key: str(value) for key, value in known.items()} | texts)
        argv = ["ifgramStack.h5", "--dset", "unwrapPhase", "--weight-func", "no", "--min-norm-phase"]
        self._start(network, reference, work, argv)

    def _read(self, network: Network, window: Window) -> NDArray[np.float64]:  # noqa: ARG002
        import h5py

        with h5py.File(self._made / "timeseries.h5") as file:
            solved: NDArray[np.float64] = file["timeseries"][(slice(None), *window.slices)].astype(np.float64)
            return solved.reshape(len(solved), -1)


def _find_middle(window: Window) -> tuple[int, int]:
    return window.row + window.rows // 2, window.column + window.columns // 2


def _write_rasters(
    network: Network, blocks: Iterable[tuple[Window, Prepared]], folders: list[Path], names: list[str]
) -> None:
    with ExitStack() as stack:
        opened = [
            [
                stack.enter_context(open_geotiff(folder / name, network.grid, kind, nodata=0, tile_rows=TILE))
                for name in names
            ]
            for folder, kind in zip(folders, ("float32", "uint16"), strict=True)
        ]
        for window, prepared in blocks:
            shape = window.rows, window.columns
            for number in range(len(network.pairs)):
                used = (prepared.weights[number] > 0).reshape(shape)
                phase = np.where(used, prepared.phase[number].reshape(shape), 0).astype(np.float32)
                for files, values in zip(opened, (phase, used.astype(np.uint16)), strict=True):
                    files[number].write(values, 1, window=window.spans)


def open_engine(name: str, program: str = "") -> SeriesEngine:
    """Make an engine ready.

    Parameters
    ----------
    name : {"least-squares", "insar-rs", "dolphin", "phase-linking", "mintpy"}
    program : str
        Of an engine that is a program; empty looks for it in PATH.

    Raises
    ------
    SettingsError
        If it is not installed.
    """
    if name == "insar-rs":
        return InsarRs()
    if name == "phase-linking":
        return LinkedPhases()
    programs = {"dolphin": Dolphin, "mintpy": MintPy}
    return programs[name](program) if name in programs else LeastSquares()
