"""``topsApp.xml``: it sets everything that topsApp would otherwise choose by itself.

topsApp reads each value as a Python expression, and as text where that fails. So names are written as Python strings,
in quotes: then none of them can mean anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from topsar.errors import StepFailed

if TYPE_CHECKING:
    from topsar.engines.isce2.tasks import TopsAppTask
    from topsar.engines.orbits import OrbitChoice
    from topsar.model import OrbitFile

DEM_NAME = "dem/topo.dem.wgs84"
"""The heights for topsApp, in its run folder."""
ESD_LOOKS = (5, 15)
"""Azimuth and range looks in burst overlaps."""
IONOSPHERE = "merged/topophase.ion"


def write_config(task: TopsAppTask, run: Path, *, do_esd: bool | None = None, ionosphere: bool | None = None) -> str:
    """Write the text of ``topsApp.xml``; topsApp reads it at every start.

    Parameters
    ----------
    task : TopsAppTask
    run : Path
        The folder in which topsApp runs.
    do_esd : bool, optional
        Whether topsApp estimates misregistration; by default as in the task.
    ionosphere : bool, optional
        Whether it estimates the ionosphere, likewise.
    """
    root = ElementTree.Element("topsApp")
    app = ElementTree.SubElement(root, "component", name="topsinsar")
    _add_property(app, "sensor name", "SENTINEL1")
    _add_date(app, "reference", task.reference_orbit, task, run)
    _add_date(app, "secondary", task.secondary_orbit, task, run)
    changed = {"do ESD": do_esd, "do ionosphere correction": ionosphere}
    given = {name: value for name, value in changed.items() if value is not None}
    for name, value in (_processing_values(task, run) | given).items():
        _add_property(app, name, value)
    ElementTree.indent(root, space="  ")
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- {task.facts.pair} -->\n{text}\n'


def require_plain(path: Path) -> None:
    """Refuse a path with ``&`` or ``<``: topsApp writes it into its headers unescaped, and then reads zeros."""
    for sign in "&<":
        if sign in str(path):
            msg = f"{path}: topsApp reads zeros where a path holds {sign!r}"
            raise StepFailed(msg, hint="rename the folder or file, or set ENGINE=native")


def orbit_file(orbit: OrbitFile, run: Path) -> Path:
    """Path of the orbit file for topsApp: the user's, or its place in the run folder where that is packed or renamed.

    Parameters
    ----------
    orbit : OrbitFile
    run : Path
        The folder in which topsApp runs.
    """
    path = orbit.path.absolute()
    return path if path.name == orbit.name else run.absolute() / "orbits" / orbit.name


def _add_date(app: ElementTree.Element, name: str, orbit: OrbitChoice, task: TopsAppTask, run: Path) -> None:
    component = ElementTree.SubElement(app, "component", name=name)
    _add_property(component, "safe", [str(scene.path.absolute()) for scene in orbit.scenes])
    _add_property(component, "output directory", name)
    _add_property(component, "polarization", task.polarisation.lower())
    if orbit.file:
        _add_property(component, "orbit file", str(orbit_file(orbit.file, run)))
    if task.aux_cal:
        _add_property(component, "auxiliary data directory", str(task.aux_cal.absolute()))


def _processing_values(task: TopsAppTask, run: Path) -> dict[str, object]:
    roi = task.roi
    return {
        "swaths": list(task.swaths),
        **({"region of interest": [roi.south, roi.north, roi.west, roi.east]} if roi else {}),
        "demFilename": str((run / DEM_NAME).absolute()),
        "range looks": task.looks.east,
        "azimuth looks": task.looks.north,
        "do ESD": task.estimates_esd,
        "ESD coherence threshold": task.esd_coherence,
        "ESD azimuth looks": ESD_LOOKS[0],
        "ESD range looks": ESD_LOOKS[1],
        "extra ESD cycles": 0.0,
        "do interferogram": True,
        "do unwrap": False,
        "do ionosphere correction": task.ionosphere,
        "apply ionosphere correction": False,
        "do dense offsets": False,
        "use virtual files": True,
        "use GPU": task.gpu,
    }


def _add_property(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, "property", name=name).text = repr(value)
