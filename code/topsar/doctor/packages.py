"""Packages that topsar requires, and whether they work here."""

from __future__ import annotations

import contextlib
import importlib
from importlib import metadata
from typing import TYPE_CHECKING

from topsar.doctor.finding import Grade, Said, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topsar.doctor.case import Case

MODULES = {"pillow": "PIL", "python-dotenv": "dotenv", "whirlwind-insar": "whirlwind"}
"""What a package is imported as, where that is not its own name."""


def required(_case: Case) -> Iterator[Said]:
    """Whether every package is there, new enough, and can be imported."""
    try:
        needed = [text for text in metadata.requires("topsar") or () if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        yield Said(Grade.WARNING, "topsar is not installed, so what it requires is not known", "pip install -e .")
        return
    faults = [fault for text in needed if (fault := _fault(text))]
    for fault in faults:
        yield Said(Grade.PROBLEM, fault, "set up the environment anew: remove .venv and run ./run_local.sh again")
    if not faults:
        yield Said(Grade.OK, f"all {counted(len(needed), 'package')} that topsar requires can be used")


def _fault(requirement: str) -> str:
    """What is wrong with a package that topsar requires; empty if nothing."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    if wanted.marker and not wanted.marker.evaluate():
        return ""
    with contextlib.suppress(metadata.PackageNotFoundError):
        if not wanted.specifier.contains(version := metadata.version(wanted.name), prereleases=True):
            return f"{wanted.name} {version} is installed, topsar requires {wanted.specifier}"
    try:
        importlib.import_module(MODULES.get(wanted.name, wanted.name.replace("-", "_")))
    except Exception as exc:  # noqa: BLE001 compiled parts fail in many ways
        return f"{wanted.name} cannot be imported: {exc}"
    return ""


def kernels(_case: Case) -> Iterator[Said]:
    """Whether Numba has a place for what it compiles."""
    try:
        from topsar.kernels.resample import geocode
    except RuntimeError as exc:
        yield Said(Grade.PROBLEM, f"Numba has no folder for what it compiles: {exc}", "set NUMBA_CACHE_DIR to one")
    else:
        yield Said(Grade.OK, f"Numba keeps what it compiles in {geocode.stats.cache_path}")


def projections(_case: Case) -> Iterator[Said]:
    """Whether PROJ finds its own tables, by itself and within GDAL."""
    import pyproj
    import rasterio

    try:
        pyproj.CRS.from_epsg(32629)
        rasterio.crs.CRS.from_epsg(32629)
    except (pyproj.exceptions.CRSError, rasterio.errors.CRSError) as exc:
        remedy = "unset PROJ_DATA, PROJ_LIB and GDAL_DATA: they name another installation's files"
        yield Said(Grade.PROBLEM, f"EPSG:32629 cannot be looked up: {exc}", remedy)
    else:
        yield Said(Grade.OK, f"GDAL {rasterio.__gdal_version__} and PROJ {pyproj.proj_version_str} know EPSG:32629")
