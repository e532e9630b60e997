"""The SLCs: made ready for topsApp, and compared with what topsApp recorded of them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from topsar.engines.isce2.config import orbit_file
from topsar.engines.survey import list_bursts
from topsar.errors import StepFailed
from topsar.files import atomic_path
from topsar.model import Window
from topsar.sentinel1 import check_content, read_orbit_bytes, read_samples

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.engines.isce2.topsapp import TopsAppRun
    from topsar.engines.orbits import OrbitChoice


def prepare_slcs(run: TopsAppRun) -> None:
    """Check the images before topsApp reads them, and unpack orbit files that lie in a zip.

    topsApp would read zeros where an image is cut short or was never filled.
    """
    task = run.task
    for burst in {(burst.scene, burst.swath): burst for burst in list_bursts(task.bursts)}.values():  # the last of each
        check_content(burst)
        valid = burst.valid
        read_samples(burst, Window(row=valid.row_stop - 1, column=valid.column, rows=1, columns=valid.columns))
    for orbit in (task.reference_orbit.file, task.secondary_orbit.file):
        if orbit and (path := orbit_file(orbit, run.folder)) != orbit.path.absolute():
            path.parent.mkdir(exist_ok=True)
            with atomic_path(path) as part:
                part.write_bytes(read_orbit_bytes(orbit.path))


def check_orbits(run: TopsAppRun) -> None:
    """Refuse a swath that topsApp left out, and an orbit that it was not given: it reports neither."""
    task = run.task
    for date, orbit in (("reference", task.reference_orbit), ("secondary", task.secondary_orbit)):
        for number in task.swaths:
            _check_orbit(run.folder / date / f"IW{number}.xml", date, orbit)


def _check_orbit(path: Path, date: str, orbit: OrbitChoice) -> None:
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as exc:
        scenes = ", ".join(scene.name for scene in orbit.scenes)
        msg = f"topsApp could not read {path.stem} of the {date} ({scenes}): {exc}"
        raise StepFailed(msg, hint='preprocess.log has the reason after "Generated error"') from exc
    wanted = orbit.file.name if orbit.file else "Annotation"
    used = {found.text for found in root.findall(".//property[@name='orbit_source']/value")}
    if used != {wanted}:
        names = ", ".join(map(str, used)) or "none"
        msg = f"topsApp used the orbit {names} for {path.stem} of the {date}, not {wanted}"
        raise StepFailed(msg, hint="the phase would be wrong; report this with preprocess.log")


def check_bursts(run: TopsAppRun) -> None:
    """Refuse other bursts than planned: heights, overlaps and what the pair takes all go by those."""
    counts = ast.literal_eval(run.read_record("computeBaselines")["numberofcommonbursts"])
    for number in run.task.swaths:
        planned = sum(both.reference.swath == f"IW{number}" for both in run.task.bursts)
        if counts[number - 1] != planned:
            msg = f"topsApp takes {counts[number - 1]} bursts of IW{number}, of {planned} that both dates share there"
            raise StepFailed(msg, hint="move the edges of ROI a little, or set ENGINE=native, which goes by place")
