"""Calibration and thermal noise: tables by hand, those of real products, and the values of an independent reader."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dry_data import Planned, dry_data, dry_recipe
from topsar.errors import SceneError
from topsar.model import Burst, Scene
from topsar.sentinel1 import explain_uncalibrated, open_scene, read_bursts, read_calibration
from twins import small_burst

PLACES = ((703.3, 1234.5), (1506.0, 20011.25), (9004.75, 101.5))
"""Lines and samples."""
KNOWN_GAIN = {
    "gamma0": (274.61005260232537, 254.67001820615974, 275.2862925677861),
    "sigma0": (306.64389400889496, 292.913579415126, 307.1301535920434),
}
KNOWN_NOISE = 344.1115852797897, 235.61574969260158, 439.2823625522766
HEADER = "<adsHeader><swath>IW2</swath><polarisation>VV</polarisation></adsHeader>"
STEM = "s1a-iw2-slc-vv-20250303t160359-20250303t160401-058135-071a35-002"


def _vector(tag: str, line: int, **lists: str) -> str:
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in lists.items())
    return f"<{tag}><line>{line}</line>{inner}</{tag}>"


CALIBRATION = (
    "<calibration>" + HEADER + "<calibrationVectorList>"
    + _vector("calibrationVector", -5, pixel="0 10", sigmaNought="20 40", gamma="10 20")
    + _vector("calibrationVector", 5, pixel="0 10", sigmaNought="40 60", gamma="20 30")
    + "</calibrationVectorList></calibration>"
)  # fmt: skip
RANGE_NOISE = "<noiseRangeVectorList>" + "".join(
    _vector("noiseRangeVector", line, pixel="0 10 20", noiseRangeLut=values)
    for line, values in ((0, "100 200 300"), (10, "300 400 500"))
)  # fmt: skip
AZIMUTH_NOISE = "<noiseAzimuthVectorList>" + _vector("noiseAzimuthVector", 0, noiseAzimuthLut="1 2").replace(
    "<line>0</line>", "<line>0 10</line>"
)
NOISE = f"<noise>{HEADER}{RANGE_NOISE}</noiseRangeVectorList>{AZIMUTH_NOISE}</noiseAzimuthVectorList></noise>"
OLD_NOISE = re.sub("noiseRange", "noise", f"<noise>{HEADER}{RANGE_NOISE}</noiseRangeVectorList></noise>")


@pytest.fixture
def burst(tmp_path: Path) -> Burst:
    """A burst whose product holds `CALIBRATION` and `NOISE`."""
    folder = tmp_path / "a.SAFE"
    (folder / "annotation" / "calibration").mkdir(parents=True)
    (folder / "manifest.safe").touch()
    write(folder, CALIBRATION, NOISE)
    return replace(small_burst(), measurement=str(folder / "measurement" / f"{STEM}.tiff"), swath="IW2")


def write(folder: Path, calibration: str, noise: str) -> None:
    for kind, text in (("calibration", calibration), ("noise", noise)):
        (folder / "annotation" / "calibration" / f"{kind}-{STEM}.xml").write_text(text)


def safe_of(burst: Burst) -> Path:
    return Path(burst.measurement).parents[1]


def at(*places: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    line, sample = np.array(places).T
    return line, sample


def test_power_becomes_backscatter(burst: Burst) -> None:
    """(1200 - (100 + 300) / 2 · 1.5 at the middle line) / A², by hand."""
    place = at((5, 0), (5, 5))
    sigma, gamma = (read_calibration(burst, nought).calibrate(np.array([1200.0, 1200.0]), *place) for nought in
                    ("sigma0", "gamma0"))  # fmt: skip
    np.testing.assert_allclose(sigma, [(1200 - 200 * 1.5) / 40**2, (1200 - 250 * 1.5) / 50**2])
    np.testing.assert_allclose(gamma, [(1200 - 200 * 1.5) / 20**2, (1200 - 250 * 1.5) / 25**2])


def test_tables_reach_beyond_their_edges(burst: Burst) -> None:
    table = read_calibration(burst, "sigma0")
    np.testing.assert_allclose(table.gain.interpolate(*at((-9, -3), (99, 99))), [20, 60])
    np.testing.assert_allclose(table.find_noise(*at((-9, 99), (99, -9))), [300, 600])


def test_less_than_noise_is_not_cut_off(burst: Burst) -> None:
    assert read_calibration(burst, "gamma0").calibrate(np.array([0.0]), *at((0, 0)))[0] < 0


def test_old_noise_has_no_table_along_azimuth(burst: Burst) -> None:
    write(safe_of(burst), CALIBRATION, OLD_NOISE)
    np.testing.assert_allclose(read_calibration(burst, "gamma0").find_noise(*at((0, 10), (10, 10))), [200, 400])


@pytest.mark.parametrize(
    ("calibration", "noise", "told"),
    [
        (CALIBRATION, OLD_NOISE.replace("00", "e-10"), "no unit that is known"),
        (CALIBRATION, NOISE.replace("IW2", "IW1"), "header IW1 VV"),
        (CALIBRATION.replace("VV", "VH"), NOISE, "header IW2 VH"),
        (CALIBRATION.replace("20 40", "0 40"), NOISE, "above zero"),
        (CALIBRATION.replace("20 40", "20 40 60"), NOISE, "expected 2 finite numbers"),
        (CALIBRATION.replace("0 10", "10 0"), NOISE, "ascending"),
        (CALIBRATION, NOISE.replace("100", "-1"), "negative power"),
        (CALIBRATION, NOISE.replace("1 2", "1"), "2 lines of noiseAzimuthLut with 1 values"),
        ("<calibration>" + HEADER + "</calibration>", NOISE, "calibrationVector is missing"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_meant_are_refused(burst: Burst, calibration: str, noise: str, told: str) -> None:
    write(safe_of(burst), calibration, noise)
    with pytest.raises(SceneError, match=told):
        read_calibration(burst, "sigma0")


def scenes(folder: Path, tmp_path: Path) -> list[Scene]:
    """The real products whose annotation lies there, unpacked."""
    for path in sorted((folder / "safe").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(("manifest.safe", ".xml")):
                    archive.extract(name, tmp_path / path.stem)
    found = [*sorted(tmp_path.glob("**/*.SAFE")), *sorted((folder / "morocco").glob("*.SAFE"))]
    return [open_scene(path) for path in found if (path / "manifest.safe").is_file()]


@pytest.mark.real
def test_tables_of_all_processors_are_read(shared_data: Path, tmp_path: Path) -> None:
    """Noise-equivalent sigma nought of IW is -22 dB at most by the specification; IW1 nearly reaches that."""
    seen, refused = set(), set()
    for scene in scenes(shared_data, tmp_path):
        for files in scene.files:
            if explain_uncalibrated(scene, files.swath, files.polarisation):
                refused.add(scene.ipf)
                continue
            burst = read_bursts(scene, files.swath, files.polarisation)[1]
            line, sample = np.meshgrid(
                burst.first_line + np.arange(0, burst.grid.lines, 50),
                np.linspace(0, burst.grid.samples, 200),
                indexing="ij",
            )
            noise = -read_calibration(burst, "sigma0").calibrate(np.zeros(line.shape), line.astype(float), sample)
            assert -32 < 10 * np.log10(noise.min()) < 10 * np.log10(noise.max()) < -20
            seen.add(scene.ipf)
    assert seen >= {"002.71", "003.20", "003.52", "003.61"}
    assert "002.36" in refused  # noise of 1e-9


@pytest.mark.real
def test_values_are_those_of_an_independent_reader(shared_data: Path) -> None:
    """Those that xarray-sentinel 0.9.6 reads, and xarray 2026.9 interpolates bilinearly, at three places of IW2."""
    (path,) = (shared_data / "morocco").glob("*0904*.SAFE")
    burst = read_bursts(open_scene(path), "IW2", "VV")[0]
    place = at(*PLACES)
    for nought, known in KNOWN_GAIN.items():
        table = read_calibration(burst, nought)
        np.testing.assert_allclose(table.gain.interpolate(*place), known, rtol=1e-6)
        np.testing.assert_allclose(table.find_noise(*place), KNOWN_NOISE, rtol=1e-6)


def test_a_pair_without_tables_is_not_calibrated_and_says_so(tmp_path: Path) -> None:
    made = dry_data(tmp_path / "data", dry_recipe(cuts=dry_recipe().cuts[:1], bursts=1))
    (lost,) = made.scenes[1][0].glob("annotation/calibration/noise-*")
    lost.unlink()
    planned = Planned(made.folder, tmp_path / "jobs")
    (outlook,) = planned.plan.outlooks.values()
    assert [task.backscatter for task in planned.pairs[0].multiply] == ["none"]
    assert lost.name in planned.pairs[0].collect.uncalibrated
    assert any(lost.name in remark.text for remark in outlook.remarks)
    unwanted = Planned(made.folder, tmp_path / "others", BACKSCATTER="none")
    assert unwanted.pairs[0].collect.uncalibrated == ""
