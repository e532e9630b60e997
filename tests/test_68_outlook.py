"""What a plan says of each pair before it is run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio

from dry_data import DAYS, Planned, drop_burst, dry_data, dry_recipe, rewrite
from topsar.engines import Outlook
from topsar.report.terminal_plan import format_outlooks


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    dry_data(folder, dry_recipe(bursts=4))
    return folder


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "data")
    return tmp_path / "data"


def outlook(data: Path, scratch: Path, **flags: str) -> Outlook:
    (found,) = Planned(data, scratch, **flags).plan.outlooks.values()
    return found


def scenes(data: Path) -> list[Path]:
    return sorted((data / "raw").iterdir())


def test_a_whole_pair_has_nothing_to_remark(data: Path, tmp_path: Path) -> None:
    found = outlook(data, tmp_path)
    assert found == Outlook(
        days=12,
        bursts=8,
        reference_bursts=8,
        secondary_bursts=8,
        covered=None,
        orbits=("POEORB", "POEORB"),
        ipf=found.ipf,
        remarks=(),
    )
    text = format_outlooks({"2025-03-03 to 2025-03-15 T131": found})
    assert text.split()[-5:] == ["12", "8", "8", "8", "–"]


def test_bursts_that_one_date_lacks_leave_a_gap(data: Path, tmp_path: Path) -> None:
    drop_burst(scenes(data)[1], 1)
    found = outlook(data, tmp_path)
    assert (found.bursts, found.reference_bursts, found.secondary_bursts) == (7, 8, 7)
    assert [remark.text for remark in found.remarks] == ["IW2: 1 gap between bursts that both dates have"]
    assert "is a slice missing" in found.remarks[0].remedy
    drop_burst(scenes(data)[1], 0)  # at the end of a pass nothing is torn apart
    drop_burst(scenes(data)[0], 0)
    drop_burst(scenes(data)[0], 0)
    assert outlook(data, tmp_path).remarks == ()


def test_share_of_the_region(data: Path, tmp_path: Path) -> None:
    with rasterio.open(data / "dem" / "dem.tif") as dataset:  # reaches beyond the bursts on every side
        west, south, east, north = dataset.bounds
    found = outlook(data, tmp_path, ROI=f"{south},{north},{west},{east}")
    assert found.covered is not None
    assert 0.05 < found.covered < 0.95
    assert found.remarks[0].text == f"both dates show {100 * found.covered:.0f} % of the region of interest"
    middle = outlook(data, tmp_path, ROI=small_box(tmp_path))
    assert middle.covered == pytest.approx(1.0)
    assert middle.remarks == ()


def small_box(scratch: Path) -> str:
    """In the middle of a burst."""
    planned = Planned(scratch / "data", scratch, CRS="latlon")
    box = planned.pairs[0].bursts[5].reference.grid.bbox
    lon, lat = (box.west + box.east) / 2, (box.south + box.north) / 2
    return f"{lat - 0.004},{lat + 0.004},{lon - 0.01},{lon + 0.01}"


def test_a_date_without_an_orbit_file_is_named(data: Path, tmp_path: Path) -> None:
    sorted((data / "orbit_data").iterdir())[0].unlink()
    found = outlook(data, tmp_path)
    assert found.orbits == ("annotation", "POEORB")
    assert [remark.text for remark in found.remarks] == ["2025-03-03 has no precise orbit (annotation)"]


def test_two_generations_and_two_processors_are_flagged(tmp_path: Path) -> None:
    days = (DAYS[0], replace(DAYS[1], mission="S1C"))
    dry_data(tmp_path / "data", dry_recipe(acquisitions=days))
    manifest = scenes(tmp_path / "data")[1] / "manifest.safe"
    rewrite(manifest, lambda text: text.replace('version="003.71"', 'version="002.36"'))
    found = outlook(tmp_path / "data", tmp_path)
    assert found.ipf == ("002.36", "003.71")
    assert [remark.text for remark in found.remarks] == [
        "one date was processed by IPF 002.36, the other by 003.71",
        "S1A with S1C: satellites of two generations",
    ]
