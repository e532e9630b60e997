"""One format of finished runs, written elsewhere; nothing else is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topsar.errors import ProductError, SettingsError, TopsarError
from topsar.files import replaced_folder
from topsar.formats import open_format
from topsar.interferogram import PRODUCTS, read_pair
from topsar.model import name_track
from topsar.raster import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A pair or a track by its name, and where it was written, or why not."""

    name: str
    folder: Path | None = None
    problem: TopsarError | None = None


def export_format(runs: Path, name: str, options: Mapping[str, Any], to: Path) -> Iterator[Exported]:
    """Write a format of every pair whose products can be read, or of every track, in the place of earlier exports.

    Parameters
    ----------
    runs : Path
    name : str
        Of the format.
    options : mapping
        Settings by field name, in the types of JSON.
    to : Path
        A folder; each pair or track becomes a folder in it.

    Yields
    ------
    Exported
        One for each pair that was written or cannot be; for a stack format also one for each track.
    """
    from rasterio import Env

    form = open_format(name, options)
    if form.before is not None:
        msg = f"format {name!r} is written of what a step before it makes, and an export runs no step"
        raise SettingsError(msg, hint="start `topsar timeseries`, or export with TIMESERIES=least-squares")
    if to.resolve().is_relative_to(runs.resolve()):
        msg = f"{to} lies in the runs folder"
        raise SettingsError(msg, hint="choose another folder with --to")
    folders = sorted(path.parent for path in runs.glob(f"*/{PRODUCTS}"))
    if not folders:
        msg = f"no pair in {runs} has products"
        raise SettingsError(msg, hint="`topsar run` makes them")
    groups: dict[str, list[Path]] = {}
    for folder in folders:
        try:
            _require_whole(folder / PRODUCTS)
        except TopsarError as exc:
            yield Exported(name=folder.name, problem=exc)
            continue
        groups.setdefault(name_track(folder.name) if form.scope == "stack" else folder.name, []).append(folder)
    for group, members in groups.items():
        try:
            with replaced_folder(to / group) as staging, Env(GDAL_NUM_THREADS="ALL_CPUS"):
                form.write((read_pair(folder / PRODUCTS) for folder in members), staging)
            yield Exported(name=group, folder=to / group)
        except TopsarError as exc:
            yield Exported(name=group, problem=exc)


def _require_whole(products: Path) -> None:
    """Read a folder of products through; the layers that ``facts.json`` names must be there."""
    inspect(products)
    missing = [name for name in read_pair(products).layers if not (products / f"{name}.tif").is_file()]
    if missing:
        msg = f"{products} has no {missing[0]}.tif"
        raise ProductError(msg, hint="run again: the products will be made anew")
