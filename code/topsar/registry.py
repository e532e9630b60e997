"""What can be chosen by name: engines, executors, formats and corrections, ours and those of installed packages."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal

from topsar.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Group = Literal["engines", "executors", "formats", "corrections"]

CANONICAL = "geotiff"
"""The format that is always written, and that every other one reads."""

BUILT_IN: dict[Group, dict[str, str]] = {
    "engines": {"native": "topsar.engines.native:NativeEngine", "isce2": "topsar.engines.isce2:Isce2Engine"},
    "executors": {
        "local": "topsar.schedule.executor:LocalExecutor",
        "dask": "topsar.schedule.dask.executor:DaskExecutor",
    },
    "formats": {
        "geotiff": "topsar.formats.geotiff:GeoTiff",
        "quicklook": "topsar.formats.quicklook:Quicklook",
        "hyp3": "topsar.formats.hyp3:Hyp3",
        "hyp3_gamma": "topsar.formats.hyp3:Hyp3Gamma",
        "gunw": "topsar.formats.gunw:Gunw",
        "licsbas": "topsar.formats.licsbas:LicsBas",
        "mintpy": "topsar.formats.mintpy:MintPy",
        "netcdf": "topsar.formats.netcdf:NetCdf",
        "netcdf_stack": "topsar.formats.netcdf:NetCdfStack",
        "stac": "topsar.formats.stac:Stac",
        "stamps": "topsar.formats.stamps:Stamps",
        "timeseries": "topsar.formats.timeseries:TimeSeries",
    },
    "corrections": {
        "solid_earth_tide": "topsar.corrections.solid_earth_tide:SolidEarthTide",
        "ionosphere": "topsar.corrections.ionosphere:Ionosphere",
        "ionosphere_burst_ramps": "topsar.corrections.ionosphere:IonosphereBurstRamps",
        "ionosphere_map": "topsar.corrections.ionosphere_map:IonosphereMap",
        "weather_troposphere": "topsar.corrections.weather_troposphere:WeatherTroposphere",
        "stratified_troposphere": "topsar.corrections.stratified_troposphere:StratifiedTroposphere",
    },
}
"""Name and place (``module:attribute``) of what comes with topsar. Other packages name theirs as entry points of the
group ``topsar.engines``, ``topsar.executors``, ``topsar.formats`` or ``topsar.corrections``."""


def list_names(group: Group) -> tuple[str, ...]:
    """Names that can be chosen in a group, ours first; nothing is imported."""
    theirs = {point.name for point in entry_points(group=f"topsar.{group}")}
    return (*BUILT_IN[group], *sorted(theirs - set(BUILT_IN[group])))


def require_names(group: Group, names: Iterable[str]) -> None:
    """Refuse a name that nobody offers, with a SettingsError that tells the nearest; nothing is imported.

    Parameters
    ----------
    group : {"engines", "executors", "formats", "corrections"}
    names : iterable of str
    """
    for name in names:
        if name not in BUILT_IN[group] and name not in (known := list_names(group)):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            msg = f"there is no {group.removesuffix('s')} {name!r}"
            raise SettingsError(msg, hint=f"{hint}Known: {', '.join(known)}")


def load_named(group: Group, name: str) -> Any:
    """Import what a group offers under a name; a name of ours cannot be taken by another package.

    Parameters
    ----------
    group : {"engines", "executors", "formats", "corrections"}
    name : str

    Raises
    ------
    SettingsError
        If nobody offers the name, or the package that does cannot be imported.
    """
    require_names(group, (name,))
    if place := BUILT_IN[group].get(name):
        return EntryPoint(name, place, group).load()
    (point, *_) = entry_points(group=f"topsar.{group}", name=name)
    try:
        return point.load()
    except Exception as exc:
        msg = f"{group.removesuffix('s')} {name!r} of {point.value} cannot be imported: {exc}"
        raise SettingsError(msg, hint="update or remove the package that offers it") from exc


def open_named(group: Group, name: str, parts: tuple[str, ...], options: Mapping[str, Any]) -> Any:
    """Make an object of the class that a group offers under a name; errors are those of `load_named`.

    Parameters
    ----------
    group : {"engines", "executors", "formats", "corrections"}
    name : str
    parts : tuple of str
        Attributes that it must have.
    options : mapping
        Keyword arguments: the class takes those that its attribute ``options`` names.
    """
    kind = load_named(group, name)
    try:
        opened = kind(**{option: options[option] for option in getattr(kind, "options", ())})
        for part in parts:
            getattr(opened, part)
    except (AttributeError, KeyError, TypeError) as exc:
        package = getattr(kind, "__module__", "").partition(".")[0]
        msg = f"{group.removesuffix('s')} {name!r} of {package} does not fit this version of topsar: {exc}"
        raise SettingsError(msg, hint=f"update {package}") from exc
    return opened
