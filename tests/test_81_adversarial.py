"""Broken input of every kind: one clear error for the pairs that it touches, and the rest goes on.

Three dates give two pairs that share the first date; the second pair is processed once. Each case gets a copy of that
data folder, in which the second date, and with it the first pair, is broken in one way. A run of both must fail the
first and leave the other as it is: CACHED, without starting a process for it.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from dry_data import Planned, annotation, dry_data, keep_vectors, rewrite, simulate_with_short_orbits
from topsar import cli, workflow
from topsar.cli.verbs import EXIT_FAILED
from topsar.errors import TopsarError
from topsar.raster import read_geotiff, write_geotiff
from topsar.schedule.jobs import Event, Outcome, Status
from topsar.settings import load_settings
from topsar.simulate import Acquisition, recipe
from topsar.simulate.recipe import SwathCut

FAST = {"UNWRAPPER": "none", "FORMATS": "geotiff", "RETRIES": "0", "CLEANUP": "none", "DISK_RESERVE_GB": "0"}
SMALL = replace(
    recipe("tiny"),
    acquisitions=(
        Acquisition(day=date(2025, 3, 3)),
        Acquisition(day=date(2025, 3, 15)),
        Acquisition(day=date(2025, 3, 27), perpendicular_baseline_m=-41.0),
    ),
    cuts=(SwathCut(swath="IW2", first_sample=12000, samples=400),),
)
BAD, GOOD = "T131_20250303T160400_20250315T160400", "T131_20250303T160400_20250327T160400"
AGAIN = "download the scene again"


@dataclass(frozen=True)
class Folder:
    """A data folder."""

    path: Path

    @property
    def scenes(self) -> list[Path]:
        return sorted((self.path / "raw").iterdir())

    @property
    def second(self) -> Path:
        """The date that only the first pair has."""
        (path,) = (self.path / "raw").glob("*_20250315T*")
        return path

    @property
    def image(self) -> Path:
        (path,) = (self.second / "measurement").iterdir()
        return path

    @property
    def orbit(self) -> Path:
        """Of the second date."""
        (path,) = (self.path / "orbit_data").glob("*_V20250314T*")
        return path

    @property
    def dem(self) -> Path:
        return self.path / "dem" / "dem.tif"

    def products(self, pair: str) -> Path:
        return self.path / "runs" / pair / "products"

    def zip_second(self, compression: int = zipfile.ZIP_STORED) -> Path:
        """Replace the second date's folder by a zip of it."""
        folder, path = self.second, self.second.with_suffix(".zip")
        with zipfile.ZipFile(path, "w", compression) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder.parent))
        shutil.rmtree(folder)
        return path

    def settings(self, **flags: str) -> object:
        return load_settings(env_file=None, data=self.path, pairs=self.path / "pairs.txt", flags=FAST | flags)


def process(data: Folder, **flags: str) -> tuple[dict[str, Outcome], list[Event]]:
    """Outcome of every pair, by its title's dates or its id; and the events."""
    events: list[Event] = []
    outcomes = workflow.run(data.settings(**flags), observe=events.append)  # type: ignore[arg-type]
    return {outcome.job: outcome for outcome in outcomes if outcome.is_pair}, events


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Two pairs, the second done."""
    data = Folder(tmp_path_factory.mktemp("whole"))
    simulate_with_short_orbits(data.path, SMALL)
    first, second, third = (scene.name for scene in data.scenes)
    (data.path / "pairs.txt").write_text(f"{first} {third}\n")
    outcomes, _ = process(data)
    assert {job: outcome.status for job, outcome in outcomes.items()} == {GOOD: Status.DONE}
    (data.path / "pairs.txt").write_text(f"{first} {second}\n{first} {third}\n")
    return data


@pytest.fixture
def data(processed: Folder, tmp_path: Path) -> Folder:
    """A copy of which any file may be removed or replaced, but not written into: inputs are links."""
    copy = tmp_path / "data"
    for sub in ("raw", "orbit_data", "dem"):
        shutil.copytree(processed.path / sub, copy / sub, copy_function=os.link)
    shutil.copytree(processed.path / "runs", copy / "runs", copy_function=linked_scratch)
    shutil.copy(processed.path / "pairs.txt", copy)
    return Folder(copy)


def linked_scratch(source: str, target: str) -> None:
    """Link what is large and never written into; copy journals and the like."""
    (os.link if source.endswith(".npy") else shutil.copy2)(source, target)


def cut(path: Path, share: float) -> None:
    """Keep only the beginning of a file."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: int(len(content) * share)])


def damage(path: Path, start: int) -> None:
    """Overwrite bytes somewhere in a file."""
    content = bytearray(path.read_bytes())
    content[start : start + 64] = b"\xa5" * 64
    path.unlink()
    path.write_bytes(content)


def place_in_zip(path: Path, name: str) -> int:
    """Where in an archive the middle of a member lies."""
    with zipfile.ZipFile(path) as archive:
        (member,) = (info for info in archive.infolist() if info.filename.endswith(name))
        return member.header_offset + member.compress_size // 2


def refusal(data: Folder, **flags: str) -> str:
    """The message of the only pair that fails; the other is done already, and nothing of it is started."""
    outcomes, events = process(data, **flags)
    good = outcomes.pop(GOOD)
    assert good.status is Status.CACHED, good.message
    assert GOOD not in {event.job for event in events if event.status is Status.RUNNING}
    (bad,) = outcomes.values()
    assert bad.status in (Status.FAILED, Status.BLOCKED)
    said(bad.message)
    assert bad.message in html.unescape((data.path / "runs" / "report.html").read_text())
    return bad.message


def said(message: str) -> None:
    """A message says what is wrong in a line or two, and what to do in another; nothing of the program shows."""
    assert "\n  hint: " in message
    assert len(message.splitlines()) == 2
    assert len(message) < 600
    assert not re.search(r"Traceback|Error\b.*:|BBox\(|PosixPath|object at 0x", message)


def keep_pair(data: Folder, line: int) -> None:
    rewrite(data.path / "pairs.txt", lambda text: text.splitlines()[line])


# --- images -----------------------------------------------------------------------------------------------------


def test_truncated_image(data: Folder) -> None:
    cut(data.image, 0.6)
    message = refusal(data)
    assert f"{data.second.stem}: measurement/{data.image.name} has {data.image.stat().st_size} bytes, " in message
    assert AGAIN in message


def test_missing_image(data: Folder) -> None:
    name = data.image.name
    data.image.unlink()
    assert f"{data.second.stem}: measurement/{name} is missing" in refusal(data)


def test_image_cut_inside_a_zip(data: Folder) -> None:
    name = data.image.name
    cut(data.image, 0.6)
    data.zip_second()
    message = refusal(data)
    assert re.search(rf"{data.second.stem}: measurement/{name} has \d+ bytes, \d+ by the manifest", message)
    assert AGAIN in message


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_image_damaged_inside_a_zip(data: Folder, compression: int) -> None:
    name = data.image.name
    path = data.zip_second(compression)
    damage(path, place_in_zip(path, name))
    message = refusal(data)
    assert f"{data.second.stem}: measurement/{name} is damaged inside {path.name} (" in message
    assert AGAIN in message


# --- packages and metadata --------------------------------------------------------------------------------------


def test_truncated_zip(data: Folder) -> None:
    path = data.zip_second()
    cut(path, 0.9)
    message = refusal(data)
    assert message.startswith(f"{path.name}: not a readable zip, perhaps a download that was cut off")
    assert AGAIN in message


def test_no_zip_at_all(data: Folder) -> None:
    path = data.zip_second()
    path.write_text("<html>please log in</html>")
    assert refusal(data).startswith(f"{path.name}: not a readable zip")


def test_annotation_damaged_inside_a_zip(data: Folder) -> None:
    name = annotation(data.second).name
    path = data.zip_second()
    damage(path, place_in_zip(path, f"annotation/{name}"))
    message = refusal(data)
    assert message.startswith(f"{path.stem}: annotation/{name} cannot be read (Bad CRC-32")
    assert AGAIN in message


def test_missing_manifest(data: Folder) -> None:
    name = data.second.name
    (data.second / "manifest.safe").unlink()
    assert refusal(data).startswith(f"{name}: the folder holds no manifest.safe\n  hint: ")


def test_missing_annotation(data: Folder) -> None:
    annotation(data.second).unlink()
    message = refusal(data)
    assert message.startswith(f"{data.second.name}: no annotation of any swath (annotation/s1?-iw?-slc-*.xml)")
    assert AGAIN in message


def test_malformed_annotation(data: Folder) -> None:
    rewrite(annotation(data.second), lambda text: text[: len(text) // 2])
    message = refusal(data)
    assert message.startswith(f"{data.second.name}: annotation/{annotation(data.second).name}: not well-formed XML (")
    assert "line" in message
    assert AGAIN in message


def test_annotation_without_an_element(data: Folder) -> None:
    rewrite(annotation(data.second), lambda text: text.replace("radarFrequency", "radarFrequenz"))
    assert f"annotation/{annotation(data.second).name}: element radarFrequency is missing or empty" in refusal(data)


def test_scene_that_is_not_there(data: Folder) -> None:
    name = data.second.stem
    other = name[:-4] + "0000"
    rewrite(data.path / "pairs.txt", lambda text: text.replace(name, other))
    message = refusal(data)
    assert message.startswith(
        f"{other}: neither a .SAFE folder with a manifest.safe nor a .zip of this name in {data.path}"
    )
    assert f"hint: did you mean {name}" in message


# --- pairs that do not fit --------------------------------------------------------------------------------------


def test_polarisation_that_one_date_lacks(data: Folder) -> None:
    for path in (annotation(data.second), data.image):
        path.rename(path.with_name(path.name.replace("-vv-", "-vh-")))
    rewrite(data.second / "manifest.safe", lambda text: text.replace("-vv-", "-vh-").replace(">VV<", ">VH<"))
    rewrite(annotation(data.second), lambda text: text.replace("<polarisation>VV<", "<polarisation>VH<"))
    message = refusal(data)
    first, second = (scene.stem for scene in data.scenes[:2])
    assert message.startswith(f"no VV or HH in common: {first} has VV; {second} has VH")
    assert "set POLARIZATION to one that all scenes have" in message


def test_polarisation_that_no_date_has(data: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(data.path), "--pairs", str(data.path / "pairs.txt"), "--env", os.devnull]
    assert cli.main(["run", *arguments, "--polarization", "HH"]) == EXIT_FAILED
    printed = capsys.readouterr()
    assert "0 of 2 pairs done" in printed.out
    assert len(re.findall(r"failed\. no HH in common: S1A\S+ has VV; S1A\S+ has VV", printed.err)) == 2
    assert "Traceback" not in printed.err


def test_other_track(data: Folder) -> None:
    rewrite(
        data.second / "manifest.safe",
        lambda text: re.sub(r"(<safe:relativeOrbitNumber[^>]*>)131<", r"\g<1>8<", text),
    )
    message = refusal(data)
    assert message.startswith(f"{data.second.stem} is of track 8, {data.scenes[0].stem} of track 131")
    assert "pairs.txt" in message


def test_frames_that_do_not_overlap(data: Folder, tmp_path: Path) -> None:
    north = dry_data(tmp_path / "north", replace(SMALL, centre=(39.2, 28.0)))
    elsewhere = north.scenes[1][0].rename(data.path / "raw" / north.scenes[1][0].name)
    rewrite(data.path / "pairs.txt", lambda text: text.replace(data.scenes[1].name, elsewhere.name))
    data.orbit.unlink()  # other tests have a link to it
    shutil.copy(Folder(tmp_path / "north").orbit, data.path / "orbit_data")
    message = refusal(data)
    assert re.match(r"the two dates of T131_20250303T160400_20250315T1604\d\d share no burst of IW1, IW2, IW3", message)
    assert f"{elsewhere.stem}: IW2" in message
    assert "hint: do the scenes overlap?" in message


def test_dates_without_a_common_burst(data: Folder) -> None:
    no_line = r"(<(?:first|last)ValidSample[^>]*>)([^<]+)"
    rewrite(annotation(data.second), lambda text: re.sub(no_line, lambda m: m[1] + re.sub(r"-?\d+", "-1", m[2]), text))
    assert "share no burst of IW1, IW2, IW3" in refusal(data)


# --- orbits -----------------------------------------------------------------------------------------------------


def test_damaged_orbit_file_is_passed_over_aloud(data: Folder, caplog: pytest.LogCaptureFixture) -> None:
    cut(data.orbit, 0.3)
    outcomes, _ = process(data)
    (done,) = (outcome for name, outcome in outcomes.items() if name != GOOD)
    assert done.status is Status.DONE
    facts = json.loads((data.path / "runs" / done.job / "products" / "facts.json").read_text())
    assert facts["orbits"]["2025-03-15"].startswith("annotation of S1A_")
    assert f"{data.orbit.name}: not an orbit file, or cut off" in caplog.text


def test_orbit_file_that_does_not_hold_what_its_name_says(data: Folder) -> None:
    start = datetime(2025, 3, 15, 16, 4)  # noqa: DTZ001
    keep_vectors(data.orbit, start - timedelta(hours=1), start - timedelta(minutes=1))
    message = refusal(data)
    assert re.match(
        rf"{data.orbit.name}: does not cover the pass 2025-03-15T16:04:0\d to 2025-03-15T16:04:0\d", message
    )
    assert "its last state vector is of 2025-03-15T16:02:" in message


def test_orbit_that_does_not_cover_falls_back_to_the_annotation(
    data: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = data.orbit.name.replace("V20250314T225942_20250316", "V20250114T225942_20250116")
    data.orbit.rename(data.orbit.with_name(other))
    keep_pair(data, 0)
    result = Planned(data.path, tmp_path, **FAST).execute(tmp_path / "here")
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert re.match(r"S1A 2025-03-15 16:04:00: no orbit file in \S+orbit_data covers it; the annotation's own", warning)
    assert result.facts["orbits"]["2025-03-15"] == f"annotation of {data.second.stem}"
    assert result.facts["orbits"]["2025-03-03"].startswith("S1A_OPER_AUX_POEORB_")
    assert result.facts["coherence_mean"] > 0.5


# --- DEM --------------------------------------------------------------------------------------------------------


def refused_whole(data: Folder, **flags: str) -> TopsarError:
    """The error of a batch of which nothing can start."""
    with pytest.raises(TopsarError) as caught:
        process(data, **flags)
    said(str(caught.value))
    return caught.value


def refused_each(data: Folder, **flags: str) -> str:
    """The message that both pairs fail with."""
    outcomes, events = process(data, **flags)
    assert {outcome.status for outcome in outcomes.values()} == {Status.FAILED}
    assert not events
    (message,) = {outcome.message for outcome in outcomes.values()}
    said(message)
    return message


def change_dem(data: Folder, change: Callable[[np.ndarray], np.ndarray]) -> None:
    values, grid, _ = read_geotiff(data.dem)
    data.dem.unlink()
    write_geotiff(data.dem, change(values.copy()), replace(grid, crs="EPSG:4979"), nodata=float("nan"))


def test_void_region_of_the_dem_is_a_hole_in_the_products(data: Folder, tmp_path: Path) -> None:
    def hole(heights: np.ndarray) -> np.ndarray:
        rows, columns = heights.shape
        heights[rows // 2 - 60 : rows // 2 + 60, columns // 2 - 60 : columns // 2 + 60] = np.nan
        return heights

    keep_pair(data, 1)
    before = np.isfinite(read_geotiff(data.products(GOOD) / "wrapped_phase.tif")[0])
    change_dem(data, hole)
    layers = Planned(data.path, tmp_path, **FAST).execute(tmp_path / "here").layers
    void = np.isnan(layers["height"].values)
    inside, outside = binary_erosion(void), ~binary_dilation(void)  # pixels of the rim have both kinds of ground
    assert 200 < (inside & before).sum() < 0.5 * before.sum()
    for name in ("wrapped_phase", "filtered_phase", "coherence", "amplitude"):
        seen = np.isfinite(layers[name].values)
        assert not seen[inside].any()
        assert seen[outside & before].all()


def test_dem_of_voids(data: Folder) -> None:
    change_dem(data, lambda heights: heights * np.nan)
    message = refused_each(data)
    assert re.match(rf"the DEM {data.dem} holds nothing but voids under the bursts of the pair", message)
    assert "check its nodata value, or take another DEM" in message


def test_dem_that_does_not_cover(data: Folder) -> None:
    values, grid, _ = read_geotiff(data.dem)
    data.dem.unlink()
    write_geotiff(data.dem, values, replace(grid, west=grid.west + 1), nodata=float("nan"))
    message = refused_each(data)
    assert re.search(
        rf"the DEM {data.dem} covers .* west 29\.\d+, .*, which leaves a part of .* west 28\.\d+,", message
    )
    assert "take a larger DEM, or a smaller region of interest" in message


def test_truncated_dem(data: Folder) -> None:
    cut(data.dem, 0.7)
    message = refused_each(data)
    assert message.startswith(f"cannot read the DEM {data.dem}: ")
    assert "previous exception" not in message


def test_no_dem(data: Folder) -> None:
    data.dem.unlink()
    assert re.match(r"the heights of COP30 for .* have not been fetched yet", refused_whole(data).message)


def test_datum_that_contradicts_the_dem(data: Folder) -> None:
    message = refused_each(data, DEM_DATUM="egm96")
    assert f"the DEM {data.dem} is given as egm96, but declares ellipsoid heights itself" in message
    assert "hint: set DEM_DATUM=ellipsoid" in message


# --- disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(data: Folder) -> Iterator[Callable[[str], None]]:
    """Mounts an empty disk in place of the runs folder, or mounts it again with other options."""
    if shutil.which("mount") is None:
        pytest.skip("disks cannot be mounted here")
    runs = data.path / "runs"
    shutil.rmtree(runs)
    runs.mkdir()

    def mount(options: str) -> None:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", runs], capture_output=True).returncode:
            pytest.skip("only root may mount disks here")

    yield mount
    while os.path.ismount(runs):
        subprocess.run(["umount", "-l", runs], check=True)


def test_read_only_runs_folder(data: Folder, disk: Callable[[str], None]) -> None:
    disk("ro")
    error = refused_whole(data)
    assert error.message == f"the runs folder {data.path / 'runs'} cannot be used: Read-only file system"
    assert "may write there" in error.hint


def test_full_disk_and_the_same_run_when_there_is_room(data: Folder, disk: Callable[[str], None]) -> None:
    disk("size=1500k")
    keep_pair(data, 1)
    outcomes, _ = process(data)
    assert outcomes[GOOD].status in (Status.FAILED, Status.BLOCKED)
    assert re.search(
        r"step 'geocode' needs [\d.]+ [kM]?B of disk, all of the disk of \S+/runs is [\d.]+ [kM]?B$",
        outcomes[GOOD].message,
    )
    disk("remount,size=64m")
    outcomes, _ = process(data)
    assert outcomes[GOOD].status is Status.DONE, outcomes[GOOD].message
