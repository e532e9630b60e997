"""What topsApp took from the SLCs, read back from its own records."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from topsar.errors import StepFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from topsar.engines.isce2.tasks import TopsAppTask
    from topsar.engines.orbits import OrbitChoice

_ANNOTATION = "Annotation"


def check_orbits(task: TopsAppTask, run: Path) -> None:
    """Refuse what topsApp read otherwise than it was told: it leaves out swaths, or takes other orbits, without a word.

    Raises
    ------
    StepFailed
        Naming the date, the swath, and what was found.
    """
    for date, orbit in (("reference", task.reference_orbit), ("secondary", task.secondary_orbit)):
        for number in task.swaths:
            _check_orbit(run / date / f"IW{number}.xml", date, orbit)


def _check_orbit(path: Path, date: str, orbit: OrbitChoice) -> None:
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as exc:
        scenes = ", ".join(scene.name for scene in orbit.scenes)
        msg = f"topsApp could not read {path.stem} of the {date} ({scenes}): {exc}"
        raise StepFailed(msg, hint='preprocess.log has the reason after "Generated error"') from exc
    wanted = orbit.file.path.name.removesuffix(".zip") if orbit.file else _ANNOTATION
    used = {found.text for found in root.findall(".//property[@name='orbit_source']/value")}
    if used != {wanted}:
        msg = (
            f"topsApp used the orbit {', '.join(map(str, used)) or 'none'} for {path.stem} of the {date}, not {wanted}"
        )
        raise StepFailed(msg, hint="the phase would not be what it should be; report this with preprocess.log")


def check_bursts(task: TopsAppTask, record: Mapping[str, str]) -> None:
    """Refuse other bursts than planned: heights, overlaps and what the pair takes all go by those.

    Parameters
    ----------
    task : TopsAppTask
    record : mapping
        What topsApp remembers after ``computeBaselines``.

    Raises
    ------
    StepFailed
        Naming the swath.
    """
    counts = ast.literal_eval(record["numberofcommonbursts"])
    for number in task.swaths:
        planned = sum(both.reference.swath == f"IW{number}" for both in task.bursts)
        if counts[number - 1] != planned:
            msg = f"topsApp takes {counts[number - 1]} bursts of IW{number}, of {planned} that both dates share there"
            raise StepFailed(msg, hint="move the edges of ROI a little, or set ENGINE=native, which goes by burst ids")
