"""Pixels of a burst, read in place from the measurement image."""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
import zlib
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from topsar.errors import SceneError
from topsar.model import Burst, Window
from topsar.sentinel1.container import DOWNLOAD_AGAIN, find_member, open_container
from topsar.sentinel1.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from topsar.sentinel1.container import Container

_CHUNK_BYTES = 1 << 22
_IN_ZIP = re.compile(r"/vsizip/\{(?P<zip>.+)\}/(?P<member>[^{}]+)", re.DOTALL)


def read_samples(burst: Burst, window: Window) -> NDArray[np.complex64]:
    """Read samples of a burst in one go.

    Parameters
    ----------
    burst : Burst
    window : Window
        Lines and samples of the burst; a ValueError where it leaves the burst.

    Returns
    -------
    (window.rows, window.columns) complex64
        Digital numbers as stored, ramp included; zero where invalid.

    Raises
    ------
    SceneError
        Where the image is missing, empty, truncated, never filled, or not of the size the annotation says.
    """
    return next(iter_samples(burst, window, window.rows))


@contextmanager
def open_image(burst: Burst) -> Iterator[DatasetReader]:
    """Open the image of a burst's swath, to read several bursts of it in order.

    A deflated zip member can only be read forward: it is inflated once this way, and anew each time it is opened.
    """
    with rasterio.Env(GDAL_CACHEMAX=0):  # no line is read twice
        # not held while others are read meanwhile: a DEM may need the files beside it
        with (
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
            _explain_failures(burst),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            image = rasterio.open(burst.measurement, driver="GTiff")
        with image:
            yield image


def iter_samples(
    burst: Burst, window: Window, lines: int, image: DatasetReader | None = None
) -> Iterator[NDArray[np.complex64]]:
    """Read a window of a burst a few lines at a time.

    Parameters
    ----------
    burst, window
        As for `read_samples`.
    lines : int
        Lines of each part; the last may have fewer.
    image : DatasetReader, optional
        From `open_image`; without it the image is opened for this burst alone.

    Yields
    ------
    (lines, window.columns) complex64
        The same memory each time; NaN and infinity become zero.
    """
    if burst.grid.whole.intersection(window) != window:
        msg = f"window {window} leaves the burst of {burst.grid.lines} lines by {burst.grid.samples} samples"
        raise ValueError(msg)
    if image is None:
        with open_image(burst) as opened:
            yield from iter_samples(burst, window, lines, opened)
        return
    top = burst.first_line + window.row
    with _explain_failures(burst):
        _check_image(burst, image)
        _check_written(burst, image, RasterWindow(window.column, top, window.columns, window.rows))
        values = np.empty((min(lines, window.rows), window.columns), np.complex64)
        for row in range(0, window.rows, lines):
            part = RasterWindow(window.column, top + row, window.columns, min(lines, window.rows - row))
            read = image.read(1, window=part, out=values[: part.height])
            if image.dtypes[0] == "complex64":  # not ESA's own, which are integers
                read[~np.isfinite(read)] = 0
            yield read


@contextmanager
def _explain_failures(burst: Burst) -> Iterator[None]:
    """Explain what is wrong with an image that GDAL cannot read."""
    try:
        yield
    except (RasterioError, OSError) as exc:
        _refuse_image(burst, _find_problem(burst.measurement, exc))


def check_header(bursts: Sequence[Burst]) -> None:
    """Check that the header of an image says what the annotation says; nothing is read of its samples.

    Raises
    ------
    SceneError
        Where the image is missing, is no image, or has another size or type.
    """
    with open_image(bursts[-1]) as image, _explain_failures(bursts[-1]):
        for burst in bursts:
            _check_image(burst, image)
        if image.height != (lines := sum(burst.grid.lines for burst in bursts)):
            _refuse_image(bursts[-1], f"has {image.height} lines; the annotation says {lines}")


def find_container(burst: Burst) -> Container:
    """Open the product that a burst's image lies in."""
    match = _IN_ZIP.fullmatch(burst.measurement)
    return open_container(Path(match["zip"]) if match else Path(burst.measurement).parents[1])


def check_content(burst: Burst) -> None:
    """Check the image of a burst against the checksum in its manifest and, in a zip, the one kept there.

    A name and a size are no proof: images of two dates may have both in common. The whole image is read, a gigabyte in
    two or three seconds: once per swath is enough.
    """
    container = find_container(burst)
    name = f"measurement/{burst.measurement.rpartition('/')[2]}"
    listed = read_manifest(container).files.get(name)
    expected = listed.md5 if listed else None
    if not container.is_zip and expected is None:
        return
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with container.open(name) as image:
            while chunk := image.read(_CHUNK_BYTES):
                digest.update(chunk)
    except (KeyError, FileNotFoundError):
        _refuse_image(burst, "is missing")
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as exc:
        why = str(exc).partition(" for file ")[0]
        _refuse_image(burst, f"is damaged inside {container.path.name} ({why})")
    if expected not in (None, digest.hexdigest()):
        _refuse_image(burst, "is not the image whose checksum is in the manifest: truncated, or of another product")


def _check_image(burst: Burst, image: DatasetReader) -> None:
    """Refuse an image of another size or type than the annotation says."""
    needed = burst.first_line + burst.grid.lines
    if image.height < needed or image.height % burst.grid.lines or image.width != burst.grid.samples:
        size = f"has {image.height} lines by {image.width} samples; the annotation says bursts of"
        end = f"{burst.grid.lines} by {burst.grid.samples}, and burst {burst.index} ends at line {needed}"
        _refuse_image(burst, f"{size} {end}")
    if image.count != 1 or not image.dtypes[0].startswith("complex"):
        _refuse_image(burst, f"holds bands of type {', '.join(image.dtypes)}, expected one complex band")


def _check_written(burst: Burst, image: DatasetReader, place: RasterWindow) -> None:
    """Refuse blocks without data (offset 0), which GDAL would silently read as zeros."""
    height, width = image.block_shapes[0]
    rows = range(place.row_off // height, -(-(place.row_off + place.height) // height))
    columns = range(place.col_off // width, -(-(place.col_off + place.width) // width))
    for row, column in product(rows, columns):
        if image.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1) is None:
            _refuse_image(burst, f"was never filled: no data is stored for line {row * height}")


def _refuse_image(burst: Burst, what: str) -> NoReturn:
    message = f"{burst.scene}: measurement/{burst.measurement.rpartition('/')[2]} {what}"
    raise SceneError(message, hint=DOWNLOAD_AGAIN)


def _find_problem(measurement: str, exc: Exception) -> str:
    """What is wrong with an image that GDAL could not read."""
    try:
        size = _measure_image(measurement)
    except (OSError, KeyError):
        return "is missing"
    except zipfile.BadZipFile:
        return "lies in a damaged zip"
    return f"cannot be read, perhaps it is truncated ({exc.__cause__ or exc})" if size else "is empty (0 bytes)"


def _measure_image(measurement: str) -> int:
    """Size of the image in bytes, in a folder or in a zip."""
    match = _IN_ZIP.fullmatch(measurement)
    if not match:
        return Path(measurement).stat().st_size
    with zipfile.ZipFile(match["zip"]) as archive:
        return find_member(archive, match["member"]).file_size
