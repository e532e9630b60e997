"""Products cut to some of their bursts, with the orbit of an orbit file where it is wanted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from dry_data import DAYS, dry_recipe, simulate_with_short_orbits
from topsar import cli
from topsar.kernels.geometry import ecef_to_geodetic, fit_orbit, rdr2geo
from topsar.model import PRODUCT_NAME, SPEED_OF_LIGHT, Burst, Scene, Window
from topsar.pairs.listing import PairLine
from topsar.schedule.jobs import Outcome, Status
from topsar.sentinel1 import (
    check_content,
    check_header,
    find_orbits,
    open_scene,
    read_annotation_orbit,
    read_bursts,
    read_orbit,
    read_samples,
)
from topsar.sentinel1.container import open_container
from topsar.sentinel1.cut.documents import BurstCut, cut_annotation, cut_calibration
from topsar.sentinel1.document import parse_time
from topsar.settings import Settings
from topsar.simulate.dataset import Dataset

_QUAD = "Document/Folder/GroundOverlay/{http://www.google.com/kml/ext/2.2}LatLonQuad/coordinates"
"""Where ESA's products have the corners, and topsStack looks them up: without a namespace of all elements."""


def count_up(_product: object, _swath: object, burst: Burst, *, surface: object) -> NDArray[np.int16]:
    """Other numbers in every burst and line, instead of a focused burst."""
    lines, samples = burst.grid.shape
    values = (burst.first_line + np.arange(lines))[:, None] * 7 + np.arange(samples)
    return np.stack([values % 1000, -values % 77], axis=-1).astype(np.int16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topsar.simulate.safe.focus_burst", count_up)
        return simulate_with_short_orbits(tmp_path_factory.mktemp("split"), dry_recipe(acquisitions=DAYS[:1]))


def split(data: Dataset, folder: Path, *flags: str, action: str = "split") -> Scene:
    argv = ["burst", action, data.scenes[0][0].name, "--data", str(data.folder), "--to", str(folder), *flags]
    assert cli.main(argv) == 0
    (safe,) = folder.glob("*.SAFE")
    return open_scene(safe)


def whole(burst: Burst) -> Window:
    return Window(row=0, column=0, rows=burst.grid.lines, columns=burst.grid.samples)


def points_of(root: object) -> NDArray[np.float64]:
    tags = ("line", "pixel", "latitude", "longitude", "height", "slantRangeTime")
    return np.array([[float(p.findtext(tag)) for tag in tags] for p in root.iter("geolocationGridPoint")])  # type: ignore[attr-defined]


def test_the_bursts_that_stay_are_the_same(data: Dataset, tmp_path: Path) -> None:
    cut = split(data, tmp_path, "--swaths", "IW2", "--bursts", "2-3")
    old = open_scene(data.scenes[0][0])
    assert cut.faults == ()
    assert PRODUCT_NAME.fullmatch(cut.name)
    assert cut.swaths == ("IW2",)
    before, after = read_bursts(old, "IW2", "VV")[1:], read_bursts(cut, "IW2", "VV")
    check_header(after)
    check_content(after[0])
    for one, other in zip(before, after, strict=True):
        assert other.burst_id == one.burst_id
        assert other.first_line == one.first_line - before[0].first_line
        assert (other.grid, other.valid, other.fm_rate, other.doppler) == (
            one.grid,
            one.valid,
            one.fm_rate,
            one.doppler,
        )
        np.testing.assert_array_equal(read_samples(other, whole(other)), read_samples(one, whole(one)))
    assert cut.start == after[0].grid.first_line_time
    assert cut.stop == after[-1].grid.stop_time
    root = ElementTree.parse(cut.path / "preview/map-overlay.kml").getroot()
    places = [tuple(map(float, text.split(","))) for text in (root.findtext(_QUAD) or "").split()]
    points = points_of(open_container(cut.path).read_xml(cut.files[0].annotation).element)[:, [3, 2]]
    np.testing.assert_allclose(places, points[[-21, -1, 20, 0]], atol=1e-6)
    listed = open_container(cut.path).read_xml("manifest.safe").element
    assert listed.find(".//dataObject[@ID='mapoverlay']") is not None


def test_the_points_lie_on_the_lines_that_are_there(data: Dataset, tmp_path: Path) -> None:
    """The row of the burst behind is moved to the last line: on the same ground as a whole product has it there."""
    cut = split(data, tmp_path, "--swaths", "IW1", "--bursts", "1-2")
    old = open_scene(data.scenes[0][0])
    roots = [open_container(one.path).read_xml(one.files[0].annotation).element for one in (cut, old)]
    new, was = (points_of(root) for root in roots)
    lines = read_bursts(cut, "IW1", "VV")[0].grid.lines
    assert sorted(set(new[:, 0])) == [0, lines, 2 * lines - 1]
    np.testing.assert_array_equal(new[:42], was[:42])
    # as far from the first line of the second burst as the last line of the product from that of the third
    step = new[-21:, 2:4] - new[21:42, 2:4]
    np.testing.assert_allclose(step, was[-21:, 2:4] - was[-42:-21, 2:4], atol=2e-4)
    with rasterio.open(cut.path / cut.files[0].measurement) as image:
        assert len(image.gcps[0]) == 63
        assert image.gcps[0][-1].row == 2 * lines - 1


def test_a_region_chooses_bursts_and_swaths(data: Dataset, tmp_path: Path) -> None:
    old = open_scene(data.scenes[0][0])
    root = open_container(old.path).read_xml(old.files[0].annotation).element
    rows = points_of(root).reshape(4, 21, -1)
    latitude, longitude = rows[1:3, 0, 2:4].mean(axis=0)  # near range of IW1, in the middle of the second burst
    region = f"{latitude},{latitude + 0.001},{longitude - 0.001},{longitude}"
    cut = split(data, tmp_path, "--roi", region)
    assert cut.swaths == ("IW1",)
    assert [burst.burst_id for burst in read_bursts(cut, "IW1", "VV")] == [read_bursts(old, "IW1", "VV")[1].burst_id]


def test_the_orbit_of_the_file_takes_the_place_of_the_annotations(data: Dataset, tmp_path: Path) -> None:
    raw, data_folder = data.scenes[0][0], tmp_path / "data"
    shutil.copytree(raw, data_folder / "raw" / raw.name)
    shutil.copytree(data.folder / "orbit_data", data_folder / "orbit_data")
    (annotation,) = (data_folder / "raw" / raw.name / "annotation").glob("*iw1*.xml")
    text = annotation.read_text(encoding="utf-8")
    spoilt = re.sub(r"<x>(-?\d)", r"<x>\g<1>0", text, count=1)  # no orbit of this pass any more
    manifest = data_folder / "raw" / raw.name / "manifest.safe"
    listed = manifest.read_text(encoding="utf-8").replace(
        f'size="{len(text.encode())}"', f'size="{len(spoilt.encode())}"'
    )
    annotation.write_text(spoilt, encoding="utf-8")
    manifest.write_text(re.sub(r"(?s)<checksum.*?</checksum>", "", listed), encoding="utf-8")
    argv = ["burst", "orbit", raw.name, "--data", str(data_folder), "--to", str(tmp_path / "out"), "--swaths", "IW1"]
    assert cli.main(argv) == 0, "the annotation's own vectors are not looked at"
    (safe,) = (tmp_path / "out").glob("*.SAFE")
    scene = open_scene(safe)
    inside = read_annotation_orbit(scene, "IW1", "VV")
    file = read_orbit(find_orbits(data.folder / "orbit_data")[0], scene.start, scene.stop)
    shift = (inside.epoch - file.epoch).total_seconds()
    index = [int(np.argmin(np.abs(file.times_s - shift - time))) for time in inside.times_s]
    np.testing.assert_allclose(inside.positions_m, file.positions_m[index], rtol=1e-14)
    assert inside.times_s[-1] > 120, "a minute on both sides"


def test_an_orbit_that_is_not_there_is_asked_for(
    data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["burst", "orbit", str(data.scenes[0][0]), "--data", str(tmp_path), "--to", str(tmp_path / "out")]
    assert cli.main(argv) == 1
    assert "no orbit file in" in capsys.readouterr().err


def test_a_product_that_is_there_is_kept(data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split(data, tmp_path, "--bursts", "1")
    argv = ["burst", "split", str(data.scenes[0][0]), "--data", str(data.folder), "--to", str(tmp_path)]
    assert cli.main([*argv, "--bursts", "1"]) == 1
    assert "there already" in capsys.readouterr().err
    assert cli.main([*argv, "--polarization", "VV,VH"]) == 2
    assert "one polarisation at a time" in capsys.readouterr().err
    assert cli.main([*argv, "--roi", "0,1,0,1"]) == 1
    assert "lies in ROI" in capsys.readouterr().err


NAMES = [f"S1A_IW_SLC__1SSV_202503{day}T160222_202503{day}T160230_05830{day[-1]}_071DFF_1E37" for day in ("03", "15")]


@pytest.mark.parametrize(
    ("action", "made", "settings"),
    [
        ("back-geocoding", "radar_stack/T131_VV_20250303/merged/SLC/20250315/20250315.slc.full", {"esd": "off"}),
        ("spectral-diversity", "radar_stack/T131_VV_20250303/merged/SLC/20250315/20250315.slc.full", {"esd": "auto"}),
        ("topo-phase-removal", "T131_a_b/products/wrapped_phase.tif", {"unwrapper": "none", "grid": "map"}),
        ("goldstein", "T131_a_b/products/filtered_phase.tif", {"unwrapper": "none", "filter_strength": 0.7}),
        ("displacement", "T131_a_b/products/displacement.tif", {"unwrapper": "snaphu"}),
        (
            "stamps",
            "stamps_T131_VV_20250303/stamps/INSAR_20250303",
            {"formats": ("geotiff", "stamps"), "grid": "radar"},
        ),
    ],
)
def test_the_chain_of_snap_runs_what_leads_to_a_stage(
    action: str, made: str, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "runs" / made
    path.mkdir(parents=True)
    job, *_ = made.removeprefix("radar_stack/").split("/")
    name = f"radar_stack_{job}" if made.startswith("radar") else job
    outcomes = (
        Outcome(job=name, title="a title", status=Status.DONE, is_pair=not made.startswith(("radar", "stamps"))),
    )
    asked = []

    def run(given: Settings, _services: object, *, pairs: tuple[PairLine, ...]) -> tuple[Outcome, ...]:
        asked.append(given)
        assert [pair.secondary for pair in pairs] == [(NAMES[1],)]
        return outcomes

    monkeypatch.setattr("topsar.workflow.run", run)
    monkeypatch.setattr("topsar.report.pair.read_pairs", lambda *_: [])
    assert cli.main(["burst", action, *NAMES[::-1], "--data", str(tmp_path), "-o", "FILTER_STRENGTH=0.7"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(path)
    assert {key: getattr(asked[0], key) for key in settings} == settings


def test_what_a_stage_cannot_take_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv, message in (
        (["split", *NAMES], "takes one product, 2 are named"),
        (["goldstein", *NAMES, "--bursts", "1-2"], "belong to split, orbit and gamma"),
        (["unwrapping", *NAMES, "-o", "UNWRAPPER=none"], "needs unwrapped phase"),
        (["interferogram", NAMES[0]], "needs two dates"),
    ):
        assert cli.main(["burst", *argv, "--data", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.real
def test_documents_of_real_products_are_cut(shared_data: Path) -> None:
    """Bursts 3 to 5 of IW2 of a product of IPF 3.52: times, lines and places of what stays."""
    (path,) = (shared_data / "safe").glob("S1A_IW_SLC__1SDV_20220929*.zip")
    scene, container = open_scene(path), open_container(path)
    bursts = read_bursts(scene, "IW2", "VV")[2:5]
    cut = BurstCut(bursts=bursts, orbit=read_annotation_orbit(scene, "IW2", "VV"))
    name = next(f.annotation for f in scene.files if (f.swath, f.polarisation) == ("IW2", "VV"))
    before, annotation = (container.read_xml(name).element for _ in range(2))
    cut_annotation(annotation, cut, [1, 2, 3], None)
    assert [burst.findtext("burstId") for burst in annotation.iter("burst")] == [
        str(burst.burst_id.number) for burst in bursts if burst.burst_id
    ]
    new, was = points_of(annotation), points_of(before)
    lines = bursts[0].grid.lines
    assert sorted(set(new[:, 0])) == [0, lines, 2 * lines, 3 * lines - 1]
    arc = fit_orbit(cut.orbit, scene.start, scene.stop)
    for root, rows in ((before, was), (annotation, new)):  # ESA's own points are found to a centimetre
        time = [arc.seconds(parse_time(p.findtext("azimuthTime") or "")) for p in root.iter("geolocationGridPoint")]
        ground = rdr2geo(np.array(time), rows[:, 5] * SPEED_OF_LIGHT / 2, rows[:, 4], arc)
        np.testing.assert_allclose(np.degrees(ecef_to_geodetic(ground)[:2]).T, rows[:, 2:4], atol=1e-6)
    stem = name.rpartition("/")[2]
    calibration = container.read_xml(f"annotation/calibration/calibration-{stem}").element
    cut_calibration(calibration, cut)
    at = [int(v.findtext("line") or "nan") for v in calibration.iter("calibrationVector")]
    assert at[0] <= 0 < at[1]
    assert at[-2] < 3 * lines - 1 <= at[-1]
    noise = container.read_xml(f"annotation/calibration/noise-{stem}").element
    cut_calibration(noise, cut)
    (azimuth,) = noise.iter("noiseAzimuthVector")
    assert (azimuth.findtext("firstAzimuthLine"), azimuth.findtext("lastAzimuthLine")) == ("0", str(3 * lines - 1))
    counts = [len((azimuth.findtext(tag) or "").split()) for tag in ("line", "noiseAzimuthLut")]
    assert counts[0] == counts[1] > 100
