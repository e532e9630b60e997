"""One step of a pair: topsApp is started on its part, and what it leaves is checked, for it does not say itself.

Exit code 0 means nothing: topsApp ends so after a wrong name of a step, on an empty state, over a truncated image and
on a full disk. Before it starts, the record of the step before must be whole; after it ends, its own must be, and every
image that it wrote as large as its header says.
"""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from topsar.engines.ground import dem_under, ground_points
from topsar.engines.isce2 import esd
from topsar.engines.isce2.config import DEM_NAME, GEOCODE_DEM_NAME, orbit_file, require_plain, write_config
from topsar.engines.isce2.dem_file import write_isce_dem, write_isce_heights
from topsar.engines.isce2.image_file import check_isce_image, read_isce_header, read_isce_image
from topsar.engines.isce2.slc_records import check_bursts, check_orbits
from topsar.engines.isce2.stages import Stage, stages
from topsar.engines.isce2.state import repair_record, require_record
from topsar.engines.isce2.tasks import RUN, TopsAppTask, load_task
from topsar.engines.survey import all_bursts
from topsar.errors import ProductError, StepFailed
from topsar.files import atomic_path, write_text
from topsar.model import Window
from topsar.sentinel1 import check_archived, orbit_bytes, read_samples

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_TOO_STRICT = "No points left for reliable ESD estimate"
_SAID_LINES = 400
_GDAL_ERROR = re.compile(r"ERROR \d+: (?!PROJ)")
DEM_MARGIN_DEG = 0.05
"""Heights are handed over this far beyond the bursts, where there are any."""
_BEYOND_M = 100.0
_STOPPED = {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
_CRASHED = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL}


def execute(folder: Path, step: str) -> None:
    """Run one step of the job whose ``job.json`` lies in ``folder``.

    Raises
    ------
    TopsarError
        If the job has no such step, or topsApp fails at it.
    """
    task = load_task(folder)
    stage = next((one for one in stages(task) if one.name == step), None)
    if stage is None:
        msg = f"{folder / 'job.json'} has no step {step!r}"
        raise StepFailed(msg)
    run = folder / RUN
    require_plain(run)
    for place in (run, run / "home", run / "tmp"):
        place.mkdir(exist_ok=True)
    if step == "dem":
        _write_dem(task, run)
        return
    if stage.before:
        require_record(run, stage.before)
    if step == "preprocess":
        _check_measurements(task)
        _unpack_orbits(task, run)
    if step == "geocode":
        _write_geocode_dem(task, run)
    _run(task, run, stage)
    _check(task, run, stage)


def _run(task: TopsAppTask, run: Path, stage: Stage) -> None:
    if stage.name == "esd":
        _run_esd(task, run, stage)
    elif stage.name == "rangecoreg":
        topsapp(task, run, stage.first, stage.last, diverse=esd.is_estimated(run))
        esd.require_range_shift(run)
    else:
        topsapp(task, run, stage.first, stage.last)


def _run_esd(task: TopsAppTask, run: Path, stage: Stage) -> None:
    """Let topsApp look at burst overlaps; where none is coherent it stops, and is started again to go on without."""
    estimated = task.diverse
    if stage.first != stage.last:
        topsapp(task, run, stage.first, "prepesd")
    try:
        topsapp(task, run, "esd", "esd")
    except StepFailed as exc:
        if not estimated or _TOO_STRICT not in exc.message:
            raise
        log.warning("no overlap is above a coherence of %g: misregistration is not corrected", task.esd_coherence)
        topsapp(task, run, "esd", "esd", diverse=False)
        estimated = False
    esd.correct(task, run, estimated=estimated)


# --- topsApp ----------------------------------------------------------------------------------------------------


def topsapp(task: TopsAppTask, run: Path, first: str, last: str, *, diverse: bool | None = None) -> None:
    """Run some of topsApp's steps in its folder ``run``, and check that it left a record of the last.

    Parameters
    ----------
    task : TopsAppTask
    run : Path
    first, last : str
        Names of topsApp's steps.
    diverse : bool, optional
        Whether topsApp is to estimate misregistration; as the task says by default.

    Raises
    ------
    StepFailed
        With topsApp's last words.
    """
    write_text(run / "topsApp.xml", write_config(task, run, geocoding=first == "geocode", diverse=diverse))
    argv = task.installation.command(run, "topsApp.xml", f"--start={first}", f"--end={last}")
    said: deque[str] = deque(maxlen=_SAID_LINES)
    faults: list[str] = []
    with subprocess.Popen(
        argv, cwd=run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            if line.strip():
                said.append(line.rstrip())
            if _GDAL_ERROR.match(line):
                faults.append(line.strip())
    sys.stdout.flush()
    _require_success(process.returncode, first, last, list(said))
    if faults:
        msg = "\n  ".join([f"topsApp went on in {first} over what GDAL could not read:", *faults[:3]])
        raise StepFailed(msg, hint="is a measurement file damaged? Fetch that product again")
    require_record(run, last)
    repair_record(run, last)


def _require_success(code: int, first: str, last: str, said: list[str]) -> None:
    if code == 0:
        return
    if code in (-signal.SIGKILL, *_STOPPED):
        raise SystemExit(128 - code)  # it is told apart by whoever sent the signal
    name = first if first == last else f"{first} to {last}"
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    msg = "\n".join([f"topsApp {ended} in {name}:", *_reason(said)])
    raise StepFailed(msg, hint="the step's log has all that it said", retryable=code in _CRASHED)


def _reason(said: list[str]) -> list[str]:
    """What C++ could not have; the line that ends the last traceback, wherever buffers have put it; the last lines."""
    if any("std::bad_alloc" in line for line in said):
        return ["std::bad_alloc"]
    starts = [index for index, line in enumerate(said) if line.startswith("Traceback")]
    if starts:
        ending = next((line for line in said[starts[-1] + 1 :] if not line.startswith(" ")), "")
        return [ending] if ending else said[-3:]
    return said[-3:]


# --- before and after -------------------------------------------------------------------------------------------


def _write_dem(task: TopsAppTask, run: Path) -> None:
    path = run / DEM_NAME
    path.parent.mkdir(exist_ok=True)
    write_isce_dem(task.dem, task.dem_box, path, DEM_MARGIN_DEG)


def _write_geocode_dem(task: TopsAppTask, run: Path) -> None:
    """Heights at the nodes of the grid onto which topsApp geocodes."""
    path, grid = run / GEOCODE_DEM_NAME, task.geocoding
    path.parent.mkdir(exist_ok=True)
    heights, _ = ground_points(grid, dem_under(task.dem, grid))
    write_isce_heights(heights, grid, path, task.dem)


def _unpack_orbits(task: TopsAppTask, run: Path) -> None:
    for orbit in (task.reference_orbit.file, task.secondary_orbit.file):
        if orbit and (path := orbit_file(orbit, run)) != orbit.path.absolute():
            path.parent.mkdir(exist_ok=True)
            with atomic_path(path) as part:
                part.write_bytes(orbit_bytes(orbit.path))


def _check_measurements(task: TopsAppTask) -> None:
    """Refuse images that are cut short or were never filled: topsApp reads zeros there, and says nothing."""
    for burst in {(burst.scene, burst.swath): burst for burst in all_bursts(task.bursts)}.values():  # the last of each
        check_archived(burst)
        valid = burst.valid
        read_samples(burst, Window(row=valid.row_stop - 1, column=valid.column, rows=1, columns=valid.columns))


def _check(task: TopsAppTask, run: Path, stage: Stage) -> None:
    """Refuse what a step left undone, by what it should have written."""
    if stage.name == "preprocess":
        check_orbits(task, run)
    if stage.name == "computeBaselines":
        check_bursts(task, require_record(run, stage.last))
    for name in (*stage.scratch, *stage.kept):
        path = run / name
        for header in sorted(path.rglob("*.xml")) if path.is_dir() else [run / f"{name}.xml"]:
            image = header.with_suffix("")
            if header.is_file() and image.with_name(f"{image.name}.vrt").is_file():
                _check_image(image)
    if stage.name == "topo":
        _check_heights(run)


def _check_image(image: Path) -> None:
    try:
        check_isce_image(image)
    except ProductError as exc:  # a disk that was full for a moment, or a crash that topsApp did not notice
        raise StepFailed(exc.message, hint="it will be tried again", retryable=True) from exc


def _check_heights(run: Path) -> None:
    """Refuse heights that the DEM does not have: topsApp takes -500 m where its DEM ends."""
    given = read_isce_image(run / DEM_NAME)
    low, high = min(float(given.min()), 0.0) - _BEYOND_M, float(given.max()) + _BEYOND_M
    for image in sorted((run / "geom_reference").rglob("hgt_*.rdr")):
        header = read_isce_header(image)
        values = np.memmap(image, header.dtype, "r")[:: max(header.width // 64, 1)]
        if not low < float(values.min()) <= float(values.max()) < high:
            msg = (
                f"topsApp's heights reach from {values.min():.0f} to {values.max():.0f} m in "
                f"{image.parent.name}/{image.name}, those of the DEM from {given.min():.0f} to {given.max():.0f} m"
            )
            raise StepFailed(msg, hint="does the DEM cover all of the bursts?")
