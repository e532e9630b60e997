"""What topsApp remembers between its steps: ``PICKLE/<step>.xml``, and beside it ``PICKLE/<step>``.

Both are needed to go on. topsApp itself does not mind when they are missing: it goes on with an empty state and ends
with exit code 0.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from topsar.engines.isce2.stages import records
from topsar.errors import StepFailed
from topsar.files import write_text

_NUMPY_2 = re.compile(r"np\.\w+\((-?[\d.e+-]+)\)")
UNTRIED = "is this a version of ISCE2 that topsar was tried with? docs/isce2-engine.md lists them"
_HINT = "run again: the step that writes it will be run anew"


def require_record(run: Path, step: str) -> dict[str, str]:
    """What topsApp remembers after a step, by property.

    Raises
    ------
    StepFailed
        If its record is missing, empty or cut short.
    """
    binary, text = (run / name for name in records(step))
    try:
        root = ElementTree.parse(text).getroot()
        size = binary.stat().st_size
    except (OSError, ElementTree.ParseError) as exc:
        msg = f"topsApp's record of the step {step} cannot be used: {exc}"
        raise StepFailed(msg, hint=_HINT) from exc
    if not size:
        msg = f"topsApp's record of the step {step} is empty: {binary}"
        raise StepFailed(msg, hint=_HINT)
    return {str(one.get("name")): one.findtext("value", "") for one in root.findall("property")}


def require_number(run: Path, step: str, name: str) -> float:
    """A number that topsApp remembers after a step.

    Raises
    ------
    StepFailed
        If its record cannot be used, or has no such number.
    """
    try:
        return float(require_record(run, step)[name])
    except (KeyError, ValueError) as exc:
        raise _lacking(step, name) from exc


def _lacking(step: str, name: str) -> StepFailed:
    return StepFailed(f"topsApp's record of the step {step} has no {name}", hint=UNTRIED)


def repair_record(run: Path, step: str) -> None:
    """Write numbers as numbers: with NumPy 2 topsApp writes some as ``np.int64(3)`` and then cannot read them.

    This is the fault reported as: the attribute "commonburststartsecondaryindex" is not present.
    """
    path = run / records(step)[1]
    text = path.read_text(encoding="utf-8")
    repaired = _NUMPY_2.sub(r"\1", text)
    if repaired != text:
        write_text(path, repaired)


def set_property(run: Path, step: str, name: str, value: object) -> None:
    """Change what topsApp remembers after a step.

    Raises
    ------
    StepFailed
        If its record has no such property.
    """
    path = run / records(step)[1]
    root = ElementTree.parse(path).getroot()
    found = root.find(f"property[@name='{name}']/value")
    if found is None:
        raise _lacking(step, name)
    found.text = repr(value)
    write_text(path, ElementTree.tostring(root, encoding="unicode") + "\n")
