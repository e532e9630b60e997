"""topsApp's record of its state after a step: ``PICKLE/<step>.xml``, and beside it ``PICKLE/<step>``.

The next step needs both. Where one is missing topsApp itself goes on with an empty state and ends with exit code 0.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from topsar.engines.isce2.image_file import read_properties
from topsar.errors import StepFailed
from topsar.files import write_text

_NUMPY_2 = re.compile(r"np\.\w+\((-?[\d.e+-]+)\)")
UNTRIED = "is this a version of ISCE2 that topsar was tried with? docs/isce2-engine.md lists them"
_HINT = "run again: the step that writes it will be run anew"


def record_files(step: str) -> tuple[str, str]:
    """The two files of the record of a topsApp step, relative to its run folder."""
    return f"PICKLE/{step}", f"PICKLE/{step}.xml"


def require_record(run: Path, step: str) -> dict[str, str]:
    """Read the record of a topsApp step.

    Parameters
    ----------
    run : Path
        The folder in which topsApp runs.
    step : str
        Name of the topsApp step.

    Returns
    -------
    dict of str to str
        Values by property.

    Raises
    ------
    StepFailed
        If the record is missing, empty or cut short.
    """
    binary, text = (run / name for name in record_files(step))
    try:
        root = ElementTree.parse(text).getroot()
        size = binary.stat().st_size
    except (OSError, ElementTree.ParseError) as exc:
        msg = f"topsApp's record of the step {step} cannot be used: {exc}"
        raise StepFailed(msg, hint=_HINT) from exc
    if not size:
        msg = f"topsApp's record of the step {step} is empty: {binary}"
        raise StepFailed(msg, hint=_HINT)
    return read_properties(root.findall("property"))


def require_number(run: Path, step: str, name: str) -> float:
    """Read a number from the record of a topsApp step.

    Parameters
    ----------
    run : Path
        The folder in which topsApp runs.
    step : str
        Name of the topsApp step.
    name : str
        Of the property.

    Raises
    ------
    StepFailed
        If the record cannot be used, or has no such number.
    """
    try:
        return float(require_record(run, step)[name])
    except (KeyError, ValueError) as exc:
        raise _missing_property(step, name) from exc


def _missing_property(step: str, name: str) -> StepFailed:
    return StepFailed(f"topsApp's record of the step {step} has no {name}", hint=UNTRIED)


def repair_record(run: Path, step: str) -> None:
    """Rewrite numbers that topsApp cannot read back: with NumPy 2 it writes some as ``np.int64(3)``.

    This is the fault reported as: the attribute "commonburststartsecondaryindex" is not present.

    Parameters
    ----------
    run : Path
        The folder in which topsApp runs.
    step : str
        Name of the topsApp step.
    """
    path = run / record_files(step)[1]
    text = path.read_text(encoding="utf-8")
    repaired = _NUMPY_2.sub(r"\1", text)
    if repaired != text:
        write_text(path, repaired)


def set_property(run: Path, step: str, name: str, value: object) -> None:
    """Change a property in the record of a topsApp step.

    Parameters
    ----------
    run : Path
        The folder in which topsApp runs.
    step : str
        Name of the topsApp step.
    name : str
        Of the property.
    value : object
        Written as a Python expression.

    Raises
    ------
    StepFailed
        If the record has no such property.
    """
    path = run / record_files(step)[1]
    root = ElementTree.parse(path).getroot()
    found = root.find(f"property[@name='{name}']/value")
    if found is None:
        raise _missing_property(step, name)
    found.text = repr(value)
    write_text(path, ElementTree.tostring(root, encoding="unicode") + "\n")
