"""Files and folders that are whole or absent: written under a temporary name, then renamed.

The temporary name of ``NAME.SUFFIX`` is ``.NAME.<8 hexadecimal digits>.part.SUFFIX`` in the same folder. Only a process
that is killed leaves such a name behind; `find_leftovers` finds it.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topsar.errors import ProductError, SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

USERS = ("raw", "dem", "orbit_data")
"""Folders of the data folder that hold what the user put there."""

_NEARLY_FULL_BYTES = 1 << 20
"""Less free space than this explains a failed write whose cause the writing library did not report."""
_MOST_JSON_BYTES = 1 << 26
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.part(\..+)?")
_CONVERSIONS: dict[type, Callable[[Any], object]] = {
    date: lambda day: day.isoformat(),
    Enum: lambda member: member.value,
    Path: str,
    Mapping: dict,
    set: list,
    frozenset: list,
}
"""How what JSON lacks is written."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``, of the same suffix; rename it on success, remove it on failure.

    The folder is made if it is missing.

    Raises
    ------
    ProductError
        If anything under the ``with`` raises ``OSError``: a full disk, a folder that cannot be written.
    """
    part = _temporary_name(path, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as exc:
        raise write_failed(path, exc) from exc
    finally:
        _delete_leftovers(part)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it takes the place of ``path``, on failure it is removed.

    What was at ``path`` before is removed last. A process that is killed leaves the old folder, the new one or none at
    ``path``, but never a half-written one. Errors are those of `atomic_path`.
    """
    part = _temporary_name(path)
    old = part.with_name(f"{part.name}.old")
    try:
        part.mkdir(parents=True)
        yield part
        if os.path.lexists(path):
            require_removable(path, path.parent)
            path.rename(old)
        part.rename(path)
    except OSError as exc:
        raise write_failed(path, exc) from exc
    finally:
        if os.path.lexists(old) and not os.path.lexists(path):
            old.rename(path)
        _delete_leftovers(part)


def find_leftovers(folder: Path) -> Iterator[Path]:
    """Find what killed processes left of `atomic_path` and `replaced_folder`, in all folders that are not hidden.

    Links are not followed. Whoever writes below ``folder`` must have ended.
    """
    folders = [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if _LEFTOVER.fullmatch(entry.name):
                    yield Path(entry.path)
                elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))


def walk_folder(folder: Path, depth: int = 8, enters: Callable[[Path], bool] = lambda _: True) -> Iterator[Path]:
    """Yield files and folders below a folder, sorted; links are followed, each folder once, what is hidden left out.

    Parameters
    ----------
    folder : Path
    depth : int
        Levels of folders that are looked into.
    enters : callable
        Whether a folder is looked into.
    """
    waiting, seen = [(folder, depth)], {follow_links(folder)}
    while waiting:
        place, left = waiting.pop(0)
        with suppress(OSError):
            for path in sorted(place.iterdir()):
                if path.name.startswith(".") or path.name == "__MACOSX":  # of macOS, or of other programs
                    continue
                yield path
                if left > 1 and path.is_dir() and enters(path) and (real := follow_links(path)) not in seen:
                    seen.add(real)
                    waiting.append((path, left - 1))


def find_parts(path: Path) -> list[Path]:
    """What `atomic_path` and `replaced_folder`, living or killed, have of a path under temporary names beside it."""
    names = [f".{re.escape(path.stem)}{{}}{re.escape(path.suffix)}.*", f".{re.escape(path.name)}{{}}.*"]
    part = re.compile("|".join(name.format(r"\.[0-9a-f]{8}\.part") for name in names))
    with suppress(OSError):
        return [beside for beside in path.parent.iterdir() if part.fullmatch(beside.name)]
    return []


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed. A path that does not exist has 0."""
    size, folders = 0, [path]
    if not path.is_dir() or path.is_symlink():
        with suppress(OSError):
            size = path.lstat().st_size
        return size
    while folders:  # no recursion: a tree may be deeper than Python's stack
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def delete(path: Path, *, within: Path) -> None:
    """Delete a file, a link or a folder, if it is there; never what a link leads to.

    Parameters
    ----------
    path : Path
        What to delete.
    within : Path
        The folder below which it must lie.

    Raises
    ------
    ProductError
        If ``path`` is ``within`` itself or lies outside it, be it by a link or by ``..``, or is the user's.
    OSError
        If a part of it cannot be deleted.
    """
    require_removable(path, within)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def require_removable(path: Path, within: Path) -> None:
    """Raise `ProductError` where a path, once the links above it are followed, must not be removed.

    Parameters
    ----------
    path : Path
        It need not exist; where it is a link itself, the link counts, not what it leads to.
    within : Path
        The folder strictly below which it must lie. It must neither be, hold nor lie in one of the `USERS` folders
        that lie in ``within`` or in any folder above that.
    """
    place = follow_links(path.parent) / path.name
    if path.name in ("", "..") or follow_links(within) not in place.parents:
        msg = f"{path} does not lie below {within}"
        raise ProductError(msg, hint="nothing outside that folder is removed; look for links and '..' in the path")
    around = (within.absolute(), *within.absolute().parents)
    for kept in {folder / name for folder in around for name in USERS} - {*around}:
        for known in (kept, follow_links(kept)):
            if place == known or place in known.parents or known in place.parents:
                msg = f"{path} would take files from {kept}"
                raise ProductError(msg, hint="what the user put there is never removed; look for links in the path")


def follow_links(path: Path) -> Path:
    """Where a path leads, absolute; unlike `Path.resolve` not an error where links lead in a circle."""
    return Path(os.path.realpath(path))


def write_failed(path: Path, exc: BaseException) -> ProductError:
    """The error for a failed write of ``path``, by `OSError` or what a library made of it; its hint says what to do.

    Parameters
    ----------
    path : Path
    exc : BaseException
    """
    code = exc.errno if isinstance(exc, OSError) else None  # GDAL's errors number something else
    with suppress(OSError):
        if code is None and shutil.disk_usage(path.parent).free < _NEARLY_FULL_BYTES:
            code = errno.ENOSPC
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = f"no space is left for {path.parent}: free some, or choose a data folder on another disk"
    else:
        hint = f"make {path.parent} writable for this user and check that its disk is sound, or choose another folder"
    why = getattr(exc, "strerror", None) or (os.strerror(code) if code else exc)
    return ProductError(f"cannot write {path}: {why}", hint=hint)


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as ``.npy``, whole or not at all.

    Parameters
    ----------
    path : Path
    values : array
        Of any shape and dtype that needs no pickling.
    """
    import numpy as np

    with atomic_path(path) as part:
        np.save(part, values)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 ``text`` to ``path``, whole or not at all.

    Parameters
    ----------
    path : Path
    text : str
    """
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def read_json(path: Path, hint: str = "a run writes it anew", **keys: type) -> dict[str, Any]:
    """What `write_json` wrote of a mapping; `ProductError` where it is anything else, or larger than any is.

    Parameters
    ----------
    path : Path
    hint : str
        What to do about a file that cannot be read.
    **keys : type
        What it must hold, and of which type.
    """
    why: object = "it is no JSON object"
    try:
        if not path.is_file():  # to read a pipe may take for ever
            why = "it is no file" if path.exists() else "it is missing"
        elif path.stat().st_size > _MOST_JSON_BYTES:
            why = f"it has more than {_MOST_JSON_BYTES} bytes"
        elif isinstance(known := json.loads(path.read_bytes()), dict):
            wrong = [key for key, kind in keys.items() if not isinstance(known.get(key), kind)]
            if not wrong:
                return known
            why = f"{wrong[0]!r} is missing or of the wrong type"
    except (OSError, ValueError, RecursionError) as exc:
        why = exc
    msg = f"{path} cannot be read: {why}"
    raise ProductError(msg, hint=hint)


def write_json(path: Path, obj: object) -> None:
    """Write ``obj`` as strict JSON, whole or not at all.

    Dataclasses become objects, enums their values, dates ISO 8601, paths strings, arrays lists; what JSON lacks
    (NaN, infinity) becomes null.

    Parameters
    ----------
    path : Path
    obj : object

    Raises
    ------
    TypeError
        If ``obj`` holds something else.
    """
    # What JSON lacks of numbers is named in the first text alone.
    finite = json.loads(json.dumps(obj, default=_plain), parse_constant=lambda _: None)
    write_text(path, json.dumps(finite, indent=2, ensure_ascii=False) + "\n")


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a zip, whole or not at all; the same members give the same bytes.

    They are stored, not deflated: what topsar packs is compressed already.

    Parameters
    ----------
    path : Path
    members : iterable of (str, bytes)
        Names and contents.
    """
    with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as packed:
        for name, content in members:
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.external_attr = 0o644 << 16  # what unpacks it may be read by all
            packed.writestr(entry, content)


def encoding_of(path: Path) -> str:
    """The encoding of a text file: UTF-8 with or without byte order mark, or UTF-16 with one (Windows Notepad).

    Raises
    ------
    SettingsError
        If the file is missing, unreadable or no text.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        msg = f"{path.absolute()} cannot be read: {exc.strerror}"
        raise SettingsError(msg) from exc
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    hint = "save it as UTF-8 in your editor"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as exc:
        msg = f"{path}, line {content[: exc.start].count(bytes([10])) + 1}: the file is not UTF-8 text"
        raise SettingsError(msg, hint=hint) from exc
    if "\0" in text:
        msg = f"{path} is not a text file"
        raise SettingsError(msg, hint=hint)
    return encoding


def _plain(obj: object) -> Any:
    """``obj``, which JSON does not know, in types that are nearer to it."""
    if hasattr(obj, "tolist"):
        return obj.tolist()  # of NumPy: an array or a scalar
    if is_dataclass(obj):
        return {field.name: getattr(obj, field.name) for field in fields(obj)}
    for kind, convert in _CONVERSIONS.items():
        if isinstance(obj, kind):
            return convert(obj)
    msg = f"{type(obj).__name__} has no place in JSON"
    raise TypeError(msg)


def _temporary_name(path: Path, suffix: str = "") -> Path:
    return path.with_name(f".{path.name.removesuffix(suffix)}.{secrets.token_hex(4)}.part{suffix}")


def _delete_leftovers(part: Path) -> None:
    """Delete what is left under a temporary name, and whatever a library put beside it under that name."""
    with suppress(OSError):
        for leftover in [path for path in part.parent.iterdir() if path.name.startswith(part.name)]:
            delete(leftover, within=part.parent)
