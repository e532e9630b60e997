"""The double of ISCE2's topsApp keeps the contract that was observed on the real one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from dry_data import dry_data
from fake_isce import fake_truth
from fake_isce.use import ISCE_HOME, OBSERVED, environment, read_record, topsapp, write_options
from topsar.raster import HeightField
from topsar.raster.isce_image import write_dem_image
from topsar.simulate import recipe

POSTING = 1 / 1200
TRUTH = {"phase_rad": 5.0, "phase_period_deg": 0.5, "dull": [37.05, 37.1, 28.0, 29.0]}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs that the real one was observed on, but for their pixels: products, orbits, DEM, settings."""
    folder = tmp_path_factory.mktemp("scene")
    data = dry_data(folder, replace(recipe("tiny"), dem_posting_arcsec=3))
    centres = POSTING, 0.0, 28.3 + POSTING / 2, 0.0, -POSTING, 37.33 - POSTING / 2
    flat = HeightField(heights_m=np.full((564, 360), 450.7, np.float32), crs="EPSG:4326", transform=centres)
    write_dem_image(flat, folder / "made.dem")
    dates = "".join(
        f"""<component name="{date}">
              <property name="safe">['{scene}']</property>
              <property name="orbit directory">{folder}/orbit_data</property>
              <property name="Output Directory">{date}</property>
            </component>"""
        for date, (scene,) in zip(("reference", "secondary"), data.scenes, strict=True)
    )
    (folder / "topsApp.xml").write_text(
        f"""<topsApp><component name="topsinsar">{dates}
        <property name="Sensor name">SENTINEL1</property><property name="swaths">[2]</property>
        <property name="demFilename">{folder}/made.dem</property>
        <property name="range looks">9</property><property name="azimuth looks"><value>3</value></property>
        <property name="do unwrap">True</property><property name="unwrapper name">snaphu_mcf</property>
        </component></topsApp>"""
    )
    write_options(folder, truth=TRUTH, esd={"range_shift_px": 0.0})
    return folder


def run_folder(scene: Path, name: str, change: Callable[[str], str] = lambda text: text) -> Path:
    folder = scene / name
    folder.mkdir()
    before = (scene / "topsApp.xml").read_text()
    (folder / "topsApp.xml").write_text(change(before))
    return folder


@pytest.fixture(scope="module")
def finished(scene: Path) -> Path:
    """All steps in one process."""
    folder = run_folder(scene, "finished")
    done = topsapp(folder, "--start=startup", "--end=mergebursts")
    assert done.returncode == 0, done.stdout
    return folder


def pickle_value(folder: Path, step: str, name: str) -> str:
    text = ElementTree.parse(folder / "PICKLE" / f"{step}.xml").findtext(f"property[@name='{name}']/value")
    assert text is not None
    return text


@pytest.fixture(scope="module")
def corrected(scene: Path) -> Path:
    """In pieces, and with the misregistration in full, as an engine does it."""
    folder = run_folder(scene, "corrected")
    for first, last in (("startup", "computeBaselines"), ("verifyDEM", "coarseresamp"), ("overlapifg", "rangecoreg")):
        assert topsapp(folder, f"--start={first}", f"--end={last}").returncode == 0
    path = folder / "PICKLE" / "rangecoreg.xml"
    own = pickle_value(folder, "rangecoreg", "secondarytimingcorrection")
    path.write_text(path.read_text().replace(own, repr(3 * float(own))))
    for first, last in (("fineoffsets", "fineresamp"), ("ion", "mergebursts")):
        assert topsapp(folder, f"--start={first}", f"--end={last}").returncode == 0
    return folder


@pytest.fixture(scope="module")
def observed() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(OBSERVED.read_text())
    return described


def test_every_step_writes_the_files_that_the_real_one_wrote(finished: Path, observed: dict[str, Any]) -> None:
    wrote = {
        line["step"]: line["wrote"] for line in read_record(finished.parent, "done") if line["cwd"] == str(finished)
    }
    assert len(wrote) == 17
    for step, files in observed["files"].items():
        of_one_burst = {path for path in wrote[step] if "_02." not in path or "_01_02" in path}
        assert of_one_burst == set(files), step
        assert all((finished / path).is_file() for path in wrote[step])


def read_header(path: Path) -> tuple[dict[str, str], ElementTree.Element]:
    root = ElementTree.parse(path).getroot()
    return {item.get("name", ""): item.findtext("value", "") for item in root.findall("property")}, root


def test_headers_and_sizes_are_those_of_the_real_ones(finished: Path, observed: dict[str, Any]) -> None:
    bytes_of = {"CFLOAT": 8, "FLOAT": 4, "DOUBLE": 8, "BYTE": 1, "SHORT": 2}
    for name, expected in ((name, header) for header, names in observed["headers"] for name in names):
        values, root = read_header(finished / f"{name}.xml")
        found = [
            values["data_type"].upper(),
            int(values["number_bands"]),
            values["scheme"],
            values.get("image_type", ""),
        ]
        assert root.tag == "imageFile"
        shape = [int(values["length"]), int(values["width"])]
        assert [*found, *shape[: len(expected) - 4]] == expected, name
        if (finished / name).exists():
            assert (finished / name).stat().st_size == np.prod(shape) * found[1] * bytes_of[found[0]], name


def names_of(element: ElementTree.Element | None) -> set[str]:
    assert element is not None
    return {item.get("name", "") for item in element if item.tag in ("property", "component")}


def test_xml_files_have_the_names_of_the_real_ones(finished: Path, observed: dict[str, Any]) -> None:
    _, image = read_header(finished / "merged" / "topophase.flat.xml")
    # the real one repeats its version in lower case where it read the header it wrote
    assert names_of(image) == set(observed["image_names"]) - {"isce_version"}
    assert names_of(image.find("component")) == set(observed["axis_names"])
    names, root = observed["product_names"], ElementTree.parse(finished / "reference" / "IW2.xml").getroot()
    parts = {
        "instance": "component", "burst": "component/component/component", "orbit": ".//component[@name='orbit']",
        "state_vector": ".//component[@name='statevector1']", "polynomial": ".//component[@name='doppler']",
    }  # fmt: skip
    assert root.tag == names["root"]
    for part, path in parts.items():
        assert names_of(root.find(path)) == set(names[part]), part
    for step, added in {"startup": [], **observed["pickle_added"]}.items():
        pickle = ElementTree.parse(finished / "PICKLE" / f"{step}.xml").getroot()
        assert pickle.tag == observed["pickle_root"]
        assert names_of(pickle) == {*observed["pickle_names"], *added}, step


def contents(folder: Path, starts: tuple[str, ...]) -> dict[str, bytes]:
    """All files by name in the folders whose names start so."""
    files = (path for start in starts for path in folder.glob(f"{start}*/**/*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_restarted_run_ends_as_one_in_one_go(finished: Path, corrected: Path) -> None:
    """Up to the fine offsets, where the other one is corrected."""
    before_correction = ("geom_reference", "reference", "secondary", "coarse_", "ESD")
    one, other = (contents(folder, before_correction) for folder in (finished, corrected))
    assert len(one) > 100
    assert one == other


def test_the_merged_image_is_the_truth_where_the_ground_is(corrected: Path) -> None:
    flat = np.fromfile(corrected / "merged/topophase.flat", "<c8").reshape(947, 133)
    amplitude, coherence = np.moveaxis(
        np.fromfile(corrected / "merged/topophase.cor", "<f4").reshape(947, 2, 133), 1, 0
    )
    seen = flat != 0
    assert 0.9 < seen.mean() < 1
    assert (amplitude[seen] == fake_truth.TRUTH["amplitude"]).all()
    assert np.unique(coherence[seen]) == pytest.approx([fake_truth.DULL_COHERENCE, fake_truth.TRUTH["coherence"]])
    assert np.ptp(np.unwrap(np.angle(flat[seen.any(axis=1), 66]))) > 2


def test_spectral_diversity_finds_a_third_and_the_rest_stays_as_seams(finished: Path, corrected: Path) -> None:
    interval = 0.002055556299999998
    found = float(pickle_value(finished, "mergebursts", "secondarytimingcorrection")) / interval
    bias = 0.25e-6 / interval + 0.00004  # half of what lines between whole microseconds are off by, and noise
    assert found == pytest.approx(0.004 / 3, abs=bias / 3)
    taken = float(pickle_value(corrected, "mergebursts", "secondarytimingcorrection")) / interval
    assert taken == pytest.approx(0.004, abs=bias)
    jumps = []
    for folder in (finished, corrected):
        flat = np.fromfile(folder / "merged" / "topophase.flat", "<c8").reshape(947, 133)[:, 66]
        steps = np.angle(flat[1:] * flat[:-1].conj())[(flat[1:] != 0) & (flat[:-1] != 0)]
        jumps.append(np.abs(steps - np.median(steps)).max())
    assert jumps[0] == pytest.approx(0.14, abs=0.03)
    assert jumps[1] < 0.02


REFUSALS: dict[str, tuple[list[str], tuple[str, str], str, int]] = {
    "wrong step": (["--dostep=nostep"], ("", ""), "ERROR: start=nostep is not one of the named steps", 0),
    "backwards": (["--start=topo", "--end=startup"], ("", ""), "comes after end=startup, step number 0", 0),
    "unknown property": (["--dostep=startup"], ("do unwrap", "do unwarp"), 'key "dounwarp" is not present', 1),
    "no pickle": (["--dostep=verifyDEM"], ("", ""), "Cannot open PICKLE/computeBaselines", 0),
    "no pickle, needed": (["--dostep=topo"], ("", ""), "IndexError: list index out of range", 1),
    "no DEM": (["--dostep=verifyDEM"], ("demFilename", "geocode demFilename"), "problem in retrieving the file", 1),
    "lost DEM": (["--dostep=verifyDEM"], ("made.dem", "lost.dem"), "FileNotFoundError", 1),
    "bad polarisation": (
        ["--start=startup", "--end=topo"],
        ('"Output Directory"', '"polarization">hh</property><property name="output directory"'),
        "IndexError: too many indices for array",
        1,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_it_refuses_as_the_real_one_does(scene: Path, case: str) -> None:
    arguments, (before, after), message, code = REFUSALS[case]
    folder = run_folder(scene, f"refused {case}", lambda text: text.replace(before, after))
    done = topsapp(folder, *arguments)
    assert message in done.stdout
    assert done.returncode == code


def test_inputs_that_are_not_there_are_only_told_of(scene: Path) -> None:
    """Without an orbit, or far from the region: preprocess ends well and leaves no product."""
    folder = run_folder(scene, "no orbit", lambda text: text.replace("orbit_data", "nowhere"))
    done = topsapp(folder, "--start=startup", "--end=preprocess")
    assert "Generated error:  No suitable orbit file found" in done.stdout
    (folder / "topsApp.xml").write_text(
        (scene / "topsApp.xml").read_text().replace('do unwrap">True', 'region of interest">[10, 11, 28.35, 28.5]')
    )
    far = topsapp(folder, "--start=preprocess", "--end=computeBaselines")
    assert "Generated error:  NODATA: No bursts to extract" in far.stdout
    assert (done.returncode, far.returncode) == (0, 0)
    assert pickle_value(folder, "computeBaselines", "numberofcommonbursts") == "[0, 0, 0]"
    assert not (folder / "reference").exists()


def test_one_common_burst_has_no_spectral_diversity(scene: Path) -> None:
    box = '<property name="region of interest">[36.85, 36.95, 28.3, 28.6]</property><property name="swaths">'
    folder = run_folder(scene, "one burst", lambda text: text.replace('<property name="swaths">', box))
    done = topsapp(folder, "--start=startup", "--end=esd")
    assert pickle_value(folder, "prepesd", "numberofcommonbursts") == "[0, 1, 0]"
    assert "Skipping ESD for swath IW2" in done.stdout
    assert "Coherence threshold too strict. No points left for reliable ESD estimate" in done.stdout
    assert done.returncode == 1
    without = (folder / "topsApp.xml").read_text().replace(box, f'<property name="do ESD">False</property>{box}')
    (folder / "topsApp.xml").write_text(without)
    assert topsapp(folder, "--start=esd", "--end=mergebursts").returncode == 0


def test_the_orbit_that_was_read_is_named(scene: Path, finished: Path) -> None:
    path = "component/component/component/component[@name='orbit']/property[@name='orbit_source']/value"
    assert (ElementTree.parse(finished / "reference/IW2.xml").findtext(path) or "").endswith(".EOF")
    own = run_folder(
        scene, "own orbit", lambda text: re.sub(r'<property name="orbit directory">.*?</property>', "", text)
    )
    assert topsapp(own, "--start=startup", "--end=preprocess").returncode == 0
    assert ElementTree.parse(own / "reference/IW2.xml").findtext(path) == "Annotation"


def test_pickles_that_are_torn_or_half_there(scene: Path) -> None:
    folder = run_folder(scene, "torn")
    assert topsapp(folder, "--dostep=startup").returncode == 0
    (folder / "PICKLE" / "startup").unlink()
    headless = topsapp(folder, "--dostep=preprocess")
    assert "Cannot open PICKLE/startup" in headless.stdout
    assert "'NoneType' object has no attribute 'renderXml'" in headless.stdout
    whole = (folder / "PICKLE" / "startup.xml").read_text()
    (folder / "PICKLE" / "startup.xml").write_text(whole[:200])
    torn = topsapp(folder, "--dostep=preprocess")
    assert "ParseError" in torn.stdout
    assert (headless.returncode, torn.returncode) == (1, 1)
    assert not (folder / "PICKLE" / "preprocess.xml").exists()


FAULTS: dict[str, tuple[dict[str, Any], int, bool]] = {
    "crash": ({}, 1, False),
    "nothing": ({}, 0, False),
    "kill": ({"when": "after"}, -signal.SIGKILL, False),
    "torn_pickle": ({}, -signal.SIGKILL, True),
    "chatter": ({"lines": 3000}, 0, True),
}


@pytest.mark.parametrize("action", FAULTS)
def test_a_fault_strikes_at_its_step_and_attempt(tmp_path: Path, scene: Path, action: str) -> None:
    more, code, pickled = FAULTS[action]
    shutil.copy(scene / "topsApp.xml", tmp_path)
    write_options(tmp_path, faults=[{"step": "startup", "attempt": 1, "action": action, **more}])
    struck = topsapp(tmp_path, "--dostep=startup")
    assert struck.returncode == code, struck.stdout
    assert (tmp_path / "PICKLE" / "startup.xml").exists() == pickled
    assert ("Traceback" in struck.stdout) == (action == "crash")
    if action == "chatter":
        assert struck.stdout.count("\n") > 3000


def test_the_next_attempt_goes_well(tmp_path: Path, scene: Path) -> None:
    shutil.copy(scene / "topsApp.xml", tmp_path)
    write_options(tmp_path, faults=[{"step": "startup", "attempt": [1], "action": "crash", "message": "of all things"}])
    first, second = (topsapp(tmp_path, "--dostep=startup") for _ in range(2))
    assert "RuntimeError: of all things" in first.stdout
    assert (first.returncode, second.returncode) == (1, 0)
    events = [(line["event"], line.get("attempt")) for line in read_record(tmp_path)]
    assert events == [("start", None), ("step", 1), ("start", None), ("step", 2), ("done", None)]
    start = read_record(tmp_path, "start")[0]
    assert start["argv"] == ["topsApp.xml", "--dostep=startup"]
    assert start["env"]["ISCE_HOME"] == str(ISCE_HOME)
    assert start["xml"] == (scene / "topsApp.xml").read_text()
    assert start["cwd"] == str(tmp_path)


SPOILED: dict[str, tuple[dict[str, Any], int, str]] = {
    "half": ({}, 1, "RuntimeError"),
    "truncated": ({"part": 0.25}, 0, ""),
    "zeros": ({}, 0, "ERROR 1: TIFFReadEncodedStrip() failed."),
    "disk_full": ({"error": True}, 1, "No space left on device"),
}


@pytest.mark.parametrize("action", SPOILED)
def test_outputs_are_spoiled(tmp_path: Path, scene: Path, corrected: Path, action: str) -> None:
    more, code, message = SPOILED[action]
    shutil.copy(scene / "topsApp.xml", tmp_path)
    shutil.copytree(corrected / "PICKLE", tmp_path / "PICKLE")
    (tmp_path / "PICKLE" / "mergebursts.xml").unlink()
    for name in ("reference", "geom_reference", "fine_coreg", "fine_interferogram"):
        (tmp_path / name).symlink_to(corrected / name)
    write_options(tmp_path, faults=[{"step": "mergebursts", "action": action, **more}])
    done = topsapp(tmp_path, "--dostep=mergebursts")
    assert done.returncode == code
    assert message in done.stdout
    assert (tmp_path / "PICKLE" / "mergebursts.xml").exists() == (code == 0)
    whole, now = ((folder / "merged/topophase.cor").stat().st_size for folder in (corrected, tmp_path))
    assert now == {"zeros": whole, "truncated": whole // 4}.get(action, whole // 2)
    assert not np.fromfile(tmp_path / "merged/topophase.cor", "<f4")[whole // 8 + 1 :].any()


def test_a_hang_can_only_be_killed(tmp_path: Path, scene: Path) -> None:
    shutil.copy(scene / "topsApp.xml", tmp_path)
    write_options(tmp_path, faults=[{"step": "startup", "action": "hang", "deaf": True}])
    command = [sys.executable, str(ISCE_HOME / "applications" / "topsApp.py"), "topsApp.xml", "--dostep=startup"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 20
        while not read_record(tmp_path, "step") and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_without_steps_nothing_is_pickled(scene: Path) -> None:
    folder = run_folder(scene, "in memory", lambda text: text.replace("orbit_data", "nowhere"))
    assert topsapp(folder).returncode == 1
    assert "Total Time" not in (folder / "isce.log").read_text()
    assert not (folder / "PICKLE").exists()


def test_what_numpy_2_leaves_in_a_pickle_stops_the_next_start(tmp_path: Path, scene: Path, finished: Path) -> None:
    shutil.copy(scene / "topsApp.xml", tmp_path)
    for name in ("reference", "secondary", "PICKLE"):
        (tmp_path / name).symlink_to(finished / name) if name != "PICKLE" else shutil.copytree(
            finished / name, tmp_path / name
        )
    write_options(tmp_path, numpy2=True)
    assert topsapp(tmp_path, "--dostep=computeBaselines").returncode == 0
    refused = topsapp(tmp_path, "--dostep=verifyDEM")
    assert 'key "commonburststartsecondaryindex" is not present' in refused.stdout
    assert refused.returncode == 1


def test_the_package_shows_itself_as_the_real_one(tmp_path: Path) -> None:
    ask = "import isce, json; print(json.dumps([isce.__version__, list(isce.__path__)]))"
    shown = []
    for drop in ({}, {"ISCE_HOME"}):
        env = {name: value for name, value in environment().items() if name not in drop}
        done = subprocess.run(
            [sys.executable, "-c", ask], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        shown.append(done.stdout.splitlines())
    assert shown[1] == [f"Using default ISCE Path: {ISCE_HOME}", *shown[0]]
    assert json.loads(shown[0][0]) == ["2.6.5", [str(ISCE_HOME)]]
    assert os.access(ISCE_HOME / "applications" / "topsApp.py", os.X_OK)
