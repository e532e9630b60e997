"""``topsApp.xml``: everything that topsApp would otherwise choose by itself is said.

topsApp reads each value as a Python expression and falls back on the text itself, so that names are written as Python
strings, in quotes: then none of them can mean anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from topsar.errors import StepFailed

if TYPE_CHECKING:
    from topsar.engines.isce2.tasks import TopsAppTask
    from topsar.engines.orbits import OrbitChoice
    from topsar.model import BBox, GeoGrid, OrbitFile

DEM_NAME, GEOCODE_DEM_NAME = "dem/topo.dem.wgs84", "geocode_dem/geocode.dem.wgs84"
"""Heights that topsApp is given, in its run folder."""
ESD_LOOKS = (5, 15)
"""Azimuth and range looks in burst overlaps."""
UNWRAPPED = ("merged/filt_topophase.unw", "merged/filt_topophase.unw.conncomp")
GEOCODED = (
    "merged/topophase.flat",
    "merged/topophase.cor",
    "merged/filt_topophase.flat",
    "merged/phsig.cor",
    "merged/los.rdr",
)
IONOSPHERE = "merged/topophase.ion"


def geocode_list(task: TopsAppTask) -> tuple[str, ...]:
    """What topsApp geocodes, relative to its run folder."""
    unwrapped = UNWRAPPED if task.unwrapper != "none" else ()
    return (*GEOCODED, *unwrapped, *((IONOSPHERE,) if task.ionosphere else ()))


def write_config(task: TopsAppTask, run: Path, *, geocoding: bool = False, diverse: bool | None = None) -> str:
    """The text of ``topsApp.xml``; every restart of topsApp reads it anew.

    Parameters
    ----------
    task : TopsAppTask
    run : Path
        The folder in which topsApp runs.
    geocoding : bool
        Whether the heights of the geocoded grid are there already.
    diverse : bool, optional
        Whether misregistration is estimated, where it is not as the task says.
    """
    root = ElementTree.Element("topsApp")
    app = ElementTree.SubElement(root, "component", name="topsinsar")
    facts = task.facts
    _property(app, "sensor name", "SENTINEL1")
    _date(app, "reference", task.reference_orbit, task, run)
    _date(app, "secondary", task.secondary_orbit, task, run)
    chosen = {} if diverse is None else {"do ESD": diverse}
    for name, value in (_processing(task, run, geocoding=geocoding) | chosen).items():
        _property(app, name, value)
    ElementTree.indent(root, space="  ")
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- {facts.pair} -->\n{text}\n'


def require_plain(path: Path) -> None:
    """Refuse a path that topsApp writes into its headers as it is: what is no XML any more, it reads as zeros.

    Raises
    ------
    StepFailed
        Naming the sign.
    """
    for sign in "&<":
        if sign in str(path):
            msg = f"{path}: topsApp reads zeros where a path holds {sign!r}"
            raise StepFailed(msg, hint="rename the folder or file, or set ENGINE=native")


def orbit_file(orbit: OrbitFile, run: Path) -> Path:
    """The orbit file that topsApp is given: that of the user, or what was unpacked from it into the run folder."""
    path = orbit.path.absolute()
    return path if path.suffix != ".zip" else run.absolute() / "orbits" / path.stem


def _date(app: ElementTree.Element, name: str, orbit: OrbitChoice, task: TopsAppTask, run: Path) -> None:
    component = ElementTree.SubElement(app, "component", name=name)
    _property(component, "safe", [str(scene.path.absolute()) for scene in orbit.scenes])
    _property(component, "output directory", name)
    _property(component, "polarization", task.facts.polarisation.lower())
    if orbit.file:
        _property(component, "orbit file", str(orbit_file(orbit.file, run)))
    if task.aux_cal:
        _property(component, "auxiliary data directory", str(task.aux_cal.absolute()))


def _processing(task: TopsAppTask, run: Path, *, geocoding: bool) -> dict[str, object]:
    dem = str((run / DEM_NAME).absolute())
    geocode_dem = str((run / GEOCODE_DEM_NAME).absolute()) if geocoding else dem
    return {
        "swaths": list(task.swaths),
        **({"region of interest": _box(task.roi)} if task.roi else {}),
        "demFilename": dem,
        "geocode demfilename": geocode_dem,
        "geocode bounding box": _nodes(task.geocoding),
        "geocode list": list(geocode_list(task)),
        "range looks": task.looks.east,
        "azimuth looks": task.looks.north,
        "filter strength": task.filter_strength,
        "do ESD": task.diverse,
        "ESD coherence threshold": task.esd_coherence,
        "ESD azimuth looks": ESD_LOOKS[0],
        "ESD range looks": ESD_LOOKS[1],
        "extra ESD cycles": 0.0,
        "do interferogram": True,
        "do unwrap": task.unwrapper != "none",
        "unwrapper name": "snaphu_mcf",
        "do unwrap 2 stage": False,
        "do ionosphere correction": task.ionosphere,
        "apply ionosphere correction": False,
        "do dense offsets": False,
        "use virtual files": True,
        "use GPU": task.gpu,
    }


def _box(box: BBox) -> list[float]:
    """South, north, west, east."""
    return [box.south, box.north, box.west, box.east]


def _nodes(grid: GeoGrid) -> list[float]:
    """The box that makes topsApp geocode onto all pixel centres of a grid and no more.

    It takes the node at or beyond each side; sides half a pixel inside cannot fall to either neighbour by rounding.
    """
    box = grid.bbox
    return [box.south, box.north - grid.dy, box.west + grid.dx, box.east]


def _property(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, "property", name=name).text = repr(value)
