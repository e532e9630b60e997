"""Evidence: files that parse, not files that exist."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rasterio
from numpy.typing import NDArray

from topsar.errors import ProductError
from topsar.raster.geotiff import GDAL_ERRORS, NO_CACHE, open_quietly

CHUNK_BYTES = 1 << 22
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND\xaeB`\x82"
_HALF_EXPONENT = np.uint16(0x7C00)
Evidence = dict[str, object]


def inspect(path: Path) -> Evidence:
    """Read a file or folder through and say what it is; the same content gives the same answer.

    A ``.tif`` must open and every block of it decode; a ``.npy`` have the size its header claims; ``.json`` parse;
    ``.png`` begin and end as one. Any other file must hold something. A folder is the sum of its files.

    Returns
    -------
    dict
        ``bytes`` and ``crc32``; of arrays also ``shape`` (list), ``dtype`` and ``finite``, the share of values that
        are numbers; of folders ``files``, how many, and ``arrays``, what is said of each array in them.

    Raises
    ------
    ProductError
        If it is missing, empty, cut short or does not parse.
    """
    try:
        return _inspect_folder(path) if path.is_dir() else _inspect_file(path)
    except (OSError, ValueError, EOFError, RecursionError, *GDAL_ERRORS) as exc:
        raise _make_error(path, str(exc)) from exc


def _make_error(path: Path, what: str) -> ProductError:
    return ProductError(f"{path} is not valid: {what}", hint="remove it and run again: it will be made anew")


def _inspect_folder(folder: Path) -> Evidence:
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    if not names:
        raise _make_error(folder, "it is empty")
    total, crc = 0, 0
    arrays: dict[str, Evidence] = {}
    with ThreadPoolExecutor(min(len(names), os.cpu_count() or 1)) as threads:
        found = list(threads.map(lambda name: inspect(folder / name), names))
    for name, evidence in zip(names, found, strict=True):
        total += int(str(evidence["bytes"]))
        crc = zlib.crc32(f"{name} {evidence['crc32']}\n".encode(), crc)
        if "shape" in evidence:
            arrays[name] = {key: evidence[key] for key in ("shape", "dtype", "finite")}
    return {"bytes": total, "crc32": f"{crc:08x}", "files": len(names), "arrays": arrays}


def _inspect_file(path: Path) -> Evidence:
    size = path.stat().st_size
    if size == 0:
        raise _make_error(path, "it is empty")
    parse = _PARSERS.get(path.suffix.lower())
    parsed = parse(path) if parse else {}
    with path.open("rb") as stream:
        return {"bytes": size, "crc32": _sum_crc32(stream), **parsed}


def _sum_crc32(stream: BinaryIO) -> str:
    crc = 0
    while chunk := stream.read(CHUNK_BYTES):
        crc = zlib.crc32(chunk, crc)
    return f"{crc:08x}"


def _parse_tiff(path: Path) -> Evidence:
    with rasterio.Env(**NO_CACHE), open_quietly(path) as dataset:
        finite = sum(_count_finite(dataset.read(window=window)) for _, window in dataset.block_windows(1))
        size = dataset.count * dataset.height * dataset.width
        shape = [dataset.height, dataset.width] if dataset.count == 1 else [dataset.count, *dataset.shape]
        return {"shape": shape, "dtype": dataset.dtypes[0], "finite": _find_share(finite, size)}


def _parse_npy(path: Path) -> Evidence:
    # Read, not mapped: where a mapped file is cut short meanwhile, or a full disk has no page for it, the process dies.
    with path.open("rb") as stream:
        first = np.lib.format.read_magic(stream) == (1, 0)
        read_header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.hasobject:
            raise _make_error(path, "it holds objects of Python")
        count = math.prod(shape)
        expected, size = stream.tell() + count * dtype.itemsize, path.stat().st_size
        if size != expected:
            raise _make_error(path, f"its header promises {expected} bytes, it has {size}")
        finite, left = 0, count
        while left and (values := np.fromfile(stream, dtype, min(left, CHUNK_BYTES // dtype.itemsize))).size:
            finite, left = finite + _count_finite(values), left - values.size
        if left:
            raise _make_error(path, "it was cut short while it was read")
    return {"shape": list(shape), "dtype": dtype.name, "finite": _find_share(finite, count)}


def _count_finite(values: NDArray[Any]) -> int:
    if values.dtype == np.float16:  # five times as fast as isfinite, which has no vectors for halves
        return int(np.count_nonzero((values.view(np.uint16) & _HALF_EXPONENT) != _HALF_EXPONENT))
    return int(np.count_nonzero(np.isfinite(values))) if values.dtype.kind in "fc" else values.size


def _find_share(finite: int, size: int) -> float:
    return round(finite / size, 6) if size else 0.0


def _parse_json(path: Path) -> Evidence:
    json.loads(path.read_text(encoding="utf-8"))
    return {}


def _parse_png(path: Path) -> Evidence:
    content = path.read_bytes()
    if not content.startswith(PNG_MAGIC) or not content.endswith(PNG_END):
        raise _make_error(path, "the PNG is not whole")
    return {}


_PARSERS: dict[str, Callable[[Path], Evidence]] = {
    ".tif": _parse_tiff,
    ".tiff": _parse_tiff,
    ".npy": _parse_npy,
    ".json": _parse_json,
    ".png": _parse_png,
}
