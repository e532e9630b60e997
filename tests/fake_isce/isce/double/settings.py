"""``topsApp.xml`` as the real one reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

from .output import log

DEFAULTS: dict[str, Any] = {
    "sensorname": None, "doesd": True, "dodenseoffsets": False, "unwrappername": "icu", "dounwrap": False,
    "dounwrap2stage": False, "unwrapper2stagename": "REDARC0", "solver_2stage": "pulp",
    "usehighresolutiondemonly": False, "demfilename": "", "geocodedemfilename": "", "geocodeboundingbox": None,
    "regionofinterest": [], "pickledumpdirectory": "PICKLE", "pickleloaddirectory": "PICKLE", "renderer": "xml",
    "azimuthlooks": 7, "rangelooks": 19, "esdazimuthlooks": 5, "esdrangelooks": 15, "filterstrength": 0.5,
    "esdcoherencethreshold": 0.85, "offsetsnrthreshold": 8.0, "extraesdcycles": 0.0, "usevirtualfiles": True,
    "swaths": [], "dointerferogram": True, "geocodelist": None, "ampcorwindowwidth": 64, "ampcorwindowheight": 64,
    "ampcorsearchwindowwidth": 20, "ampcorsearchwindowheight": 20, "ampcorskipwidth": 32, "ampcorskipheight": 32,
    "ampcormargin": 50, "ampcoroversamplingfactor": 32, "rangeshift": 0, "azimuthshift": 0,
    "snrthresholdfactor": None, "filternullfactor": -10000.0, "filterwindowsize": 5, "offsetgeocodelist": None,
    "usegpu": False, "doionospherecorrection": False, "applyionospherecorrection": False,
    "considerburstpropertiesinionospherecomputation": False, "startionospherestep": "subband",
    "endionospherestep": "esd", "heightofionospherelayerinkm": 200.0,
    "applypolynomialfitbeforefilteringionospherephase": True, "maximumwindowsizeforfilteringionospherephase": 200,
    "minimumwindowsizeforfilteringionospherephase": 100, "maximumwindowsizeforfilteringionosphereazimuthshift": 150,
    "minimumwindowsizeforfilteringionosphereazimuthshift": 75,
    "correctphaseerrorcausedbyionosphereazimuthshift": 1, "areasmaskedoutinionosphericphaseestimation": None,
    "totalnumberofazimuthlooksintheionosphereprocessing": 50, "totalnumberofrangelooksintheionosphereprocessing": 200,
    "numberofazimuthlooksatfirststageforionospherephaseunwrapping": 10,
    "numberofrangelooksatfirststageforionospherephaseunwrapping": 40,
}  # fmt: skip
SENSOR: dict[str, Any] = {
    "xml": [], "tiff": [], "manifest": [], "safe": [], "swathnumber": None, "polarization": "vv", "orbitfile": None,
    "auxiliaryfile": None, "orbitdirectory": None, "auxiliarydatadirectory": None, "outputdirectory": None,
    "regionofinterest": [],
}  # fmt: skip
LISTS = {"swaths", "regionofinterest", "geocodelist", "geocodeboundingbox", "offsetgeocodelist", "safe"}


def normalise_name(name: str) -> str:
    """A property's name as the real one compares it: case and blanks do not matter."""
    return "".join(name.split()).lower()


def _evaluate(text: str) -> Any:
    """The real one tries each text as a Python expression, and takes it as a string where that fails."""
    try:
        return eval(text, {})
    except Exception:  # noqa: BLE001
        return text


def _cast(name: str, text: str, default: Any) -> Any:
    value = _evaluate(text)
    if name in LISTS:
        if isinstance(value, str):
            return [part.strip() for part in value.split("," if "," in value else None)]
        return list(value)
    if default is None or isinstance(default, str):
        return value if value is None else str(value)
    return type(default)(value)


def refuse(name: str, kind: str) -> NoReturn:
    """Stop as the real one does at a name it does not know or a value that does not convert."""
    message = (
        f'Error. The attribute corresponding to the key "{name}" is not present in the object "{kind}".\n'
        "Possible causes are the definition in the xml file of such attribute that is no longer defined \n"
        f'in the object "{kind}" or a spelling error'
    )
    log("configurable", "ERROR", message)
    sys.exit(1)


def _read_properties(element: ElementTree.Element, defaults: dict[str, Any], kind: str) -> dict[str, Any]:
    values = dict(defaults)
    for item in element.findall("property"):
        name = normalise_name(item.get("name", ""))
        if name not in defaults:
            refuse(name, kind)
        text = item.get("value") or item.findtext("value") or item.text or ""
        values[name] = _cast(name, text.strip(), defaults[name])
    return values


def read_settings(path: Path) -> dict[str, Any]:
    """All settings by their normalised names; ``reference`` and ``secondary`` hold the sensors'."""
    root = ElementTree.parse(path).getroot()
    application = root.find("component")
    if application is None:
        application = root
    settings = _read_properties(application, DEFAULTS, "<class '__main__.TopsInSAR'>")
    for part in application.findall("component"):
        name = normalise_name(part.get("name", ""))
        if name in {"reference", "secondary"}:
            settings[name] = _read_properties(part, SENSOR, "<class 'isceobj.Sensor.TOPS.Sentinel1.Sentinel1'>")
    for name in ("reference", "secondary"):
        settings.setdefault(name, dict(SENSOR))
    return settings
