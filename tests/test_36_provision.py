"""Finding scenes, orbits and the DEM where the user put them."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from dry_data import annotation, dry_data, dry_recipe
from topsar.errors import ProvisionError
from topsar.model import Direction, GeoGrid, OrbitSource, Pair, Scene, VerticalDatum
from topsar.pairs.listing import PairLine
from topsar.provision import find_pairs, find_pass_orbits, list_unused, scenes
from topsar.provision.dem.choice import find_dem
from topsar.raster import write_geotiff
from topsar.sentinel1 import list_unused_orbits
from topsar.settings import Options, Settings

# --- DEM --------------------------------------------------------------------------------------------------------


def put_dem(path: Path, crs: str = "EPSG:4979") -> Path:
    grid = GeoGrid(crs=crs, west=28, north=38, dx=0.1, dy=0.1, rows=10, columns=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_geotiff(path, np.full(grid.shape, 600, np.float32), grid, nodata=math.nan)
    return path


def refusal(options: Options, folder: Path) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        find_dem(options, folder)
    assert str(folder) in caught.value.message
    return caught.value


def test_the_only_dem_is_taken(tmp_path: Path) -> None:
    path = put_dem(tmp_path / "dem" / "any name.TIF".lower())
    (tmp_path / "dem" / "notes.txt").write_text("a DEM of 2015")
    (tmp_path / "dem" / "old").mkdir()
    found = find_dem(Options(), tmp_path / "dem")
    assert (found.path, found.datum, found.geoid) == (path, VerticalDatum.ELLIPSOID, None)


def test_no_dem(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "not there"):
        problem = refusal(Options(), folder)
        assert problem.message == f"no DEM in {folder}"
        assert "put one raster there" in problem.hint
        assert "set DEM to its path" in problem.hint


def test_several_dems(tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif"):
        put_dem(tmp_path / name)
    problem = refusal(Options(), tmp_path)
    assert problem.message == f"several DEMs in {tmp_path}: a.tif, b.tif"
    assert problem.hint == "set DEM to the one to use"
    assert find_dem(Options(dem="b.tif"), tmp_path).path == tmp_path / "b.tif"


def test_raster_with_a_vrt_of_its_own_is_one(tmp_path: Path) -> None:
    put_dem(tmp_path / "dem.wgs84.tif").rename(tmp_path / "dem.wgs84")
    (tmp_path / "dem.wgs84.vrt").write_text("<VRTDataset/>")
    found = find_dem(Options(dem_datum="ellipsoid"), tmp_path)
    assert found.path == tmp_path / "dem.wgs84"


def test_dem_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_dem(tmp_path / "elsewhere" / "dem.tif")
    assert find_dem(Options(dem=str(path)), tmp_path / "dem").path == path
    monkeypatch.chdir(tmp_path)
    assert find_dem(Options(dem="elsewhere/dem.tif"), tmp_path / "dem").path == path


def test_named_dem_that_is_not_there(tmp_path: Path) -> None:
    problem = refusal(Options(dem="etna.tif"), tmp_path)
    assert problem.message == f"DEM=etna.tif: no such file, neither in {tmp_path} nor from {Path.cwd()}"
    assert "fix DEM" in problem.hint


def test_global_model_is_not_downloaded_yet(tmp_path: Path) -> None:
    problem = refusal_of_model(tmp_path)
    assert problem.message.startswith("DEM=cop30 names a global model")
    assert "opentopography.org" in problem.hint
    assert str(tmp_path) in problem.hint


def refusal_of_model(folder: Path) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        find_dem(Options(dem="cop30"), folder)
    return caught.value


def test_datum_nobody_declares(tmp_path: Path) -> None:
    path = put_dem(tmp_path / "dem.tif", "EPSG:4326")
    problem = refusal(Options(), tmp_path)
    assert problem.message == f"the DEM {path} does not say what its heights are measured from"
    assert "set DEM_DATUM: ellipsoid for WGS84 heights, egm96 for SRTM and NASADEM, egm2008" in problem.hint
    assert find_dem(Options(dem_datum="egm96"), tmp_path).datum is VerticalDatum.EGM96


@pytest.mark.parametrize("datum", ["auto", "egm2008"])
def test_egm2008_needs_its_geoid(tmp_path: Path, datum: str) -> None:
    path = put_dem(tmp_path / "dem.tif", "EPSG:9518" if datum == "auto" else "EPSG:4326")
    problem = refusal(Options(dem_datum=datum), tmp_path)
    assert problem.message == f"the DEM {path} has EGM2008 heights, and GEOID is not set"
    assert problem.hint.startswith("set GEOID to a raster of EGM2008 undulations in metres")
    geoid = put_dem(tmp_path.parent / "geoid.tif", "EPSG:4326")
    assert find_dem(Options(dem_datum=datum, geoid=str(geoid)), tmp_path).geoid == geoid


def test_geoid_that_is_not_there(tmp_path: Path) -> None:
    put_dem(tmp_path / "dem.tif", "EPSG:4326")
    problem = refusal(Options(dem_datum="egm2008", geoid="egm2008.tif"), tmp_path)
    assert problem.message.startswith("GEOID=egm2008.tif: no such file")


def test_what_nobody_uses_is_named(tmp_path: Path) -> None:
    """Once each, with the reason; not what belongs to a raster, nor what macOS and downloads leave."""
    put_dem(tmp_path / "dem" / "dem.tif")
    for name in ("dem/dem.tif.aux.xml", "dem/dem.tfw", "dem/._dem.tif", "dem/heights.kmz", "orbit_data/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("raw/a.tar.gz", "raw/b.zip", "raw/c.zip.part", "raw/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "orbit_data" / "gone.EOF").symlink_to(tmp_path / "nowhere")
    named = [text.partition(":")[0] for text in list_unused(Settings(data=tmp_path))]
    assert named == ["raw/a.tar.gz", "orbit_data/gone.EOF", "orbit_data/notes.txt", "dem/heights.kmz"]
    for number in range(20):
        (tmp_path / "orbit_data" / f"{number}.txt").touch()
    assert "orbit_data: 12 more files" in list_unused(Settings(data=tmp_path))


# --- orbits -----------------------------------------------------------------------------------------------------

START = datetime(2025, 3, 3, 16, 4, 1, tzinfo=timezone.utc)


def scene(name: str, start: datetime = START, mission: str = "S1A") -> Scene:
    return Scene(
        name=name,
        path=Path("/nowhere"),
        mission=mission,
        start=start,
        stop=start + timedelta(seconds=27),
        track=131,
        absolute_orbit=58303,
        direction=Direction.ASCENDING,
        ipf="003.71",
        files=(),
    )


def put_orbit(folder: Path, start: datetime, stop: datetime, kind: str = "POEORB", mission: str = "S1A") -> Path:
    text = f"{mission}_OPER_AUX_{kind}_OPOD_20250401T000000_V{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}.EOF"
    folder.mkdir(exist_ok=True)
    (folder / text).write_text("<Earth_Explorer_File></Earth_Explorer_File>")
    return folder / text


HOUR, REPEAT = timedelta(hours=1), timedelta(days=12)


def test_best_orbit_of_every_pass(tmp_path: Path) -> None:
    folder = tmp_path / "orbit_data"
    put_orbit(folder, START - HOUR, START + HOUR, "RESORB")
    precise = put_orbit(folder, START - HOUR, START + HOUR)
    put_orbit(folder, START - HOUR, START + HOUR, mission="S1C")
    restituted = put_orbit(folder, START + REPEAT - HOUR, START + REPEAT + HOUR, "RESORB")
    pair = Pair(reference=(scene("a"),), secondary=(scene("b", START + REPEAT),))
    found = find_pass_orbits([pair], folder)
    assert found["a"] is not None
    assert found["b"] is not None
    assert (found["a"].path, found["a"].source) == (precise, OrbitSource.PRECISE)
    assert (found["b"].path, found["b"].source) == (restituted, OrbitSource.RESTITUTED)


def test_slices_of_a_pass_share_one_orbit_whichever_pairs_name_them(tmp_path: Path) -> None:
    first, second = scene("first"), scene("second", START + timedelta(seconds=25))
    put_orbit(tmp_path, START - HOUR, START + timedelta(seconds=40))  # ends in the second slice
    pass_of_two = Pair(reference=(first, second), secondary=(first, second))
    assert find_pass_orbits([pass_of_two], tmp_path) == {"first": None, "second": None}
    whole = put_orbit(tmp_path, START - HOUR, START + HOUR, "RESORB")
    for pairs in [((first, second), (first,)), ((first,), (first, second))]:
        found = find_pass_orbits([Pair(reference=slices, secondary=slices) for slices in pairs], tmp_path)
        assert [file.path for file in found.values() if file] == [whole, whole]


def test_orbit_of_an_impossible_date_is_passed_over(tmp_path: Path) -> None:
    good = put_orbit(tmp_path, START - HOUR, START + HOUR)
    bad = tmp_path / good.name.replace("V202503", "V202513")
    bad.touch()
    found = find_pass_orbits([Pair(reference=(scene("a"),), secondary=(scene("a"),))], tmp_path)["a"]
    assert found is not None
    assert found.path == good
    (reason,) = list_unused_orbits(tmp_path)
    assert reason.startswith(f"{bad.name}: a date that does not exist")


def test_pass_without_orbit_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dates = [scene(name, START + k * REPEAT) for k, name in enumerate("abc")]
    pairs = [Pair(reference=(dates[0],), secondary=(late,)) for late in dates[1:]]
    with caplog.at_level(logging.WARNING):
        found = find_pass_orbits(pairs, tmp_path / "not there")
    assert found == {"a": None, "b": None, "c": None}
    assert [record.message[:23] for record in caplog.records] == [
        "S1A 2025-03-03 16:04:01", "S1A 2025-03-15 16:04:01", "S1A 2025-03-27 16:04:01",
    ]  # fmt: skip
    assert f"no orbit file in {tmp_path / 'not there'} covers it" in caplog.text
    assert "the annotation's own orbit is used, decimetres less exact" in caplog.text


# --- scenes -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dry_data(tmp_path_factory.mktemp("scenes"), dry_recipe()).folder


@pytest.fixture
def raw(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written / "raw", tmp_path / "raw")


def line(number: int, reference: str, secondary: str) -> PairLine:
    return PairLine(line=number, reference=(reference,), secondary=(secondary,))


def test_every_scene_is_opened_once(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sorted(path.stem for path in raw.iterdir())
    opened: list[str] = []
    monkeypatch.setattr(scenes, "open_scene", noted(opened, scenes.open_scene))
    one, other = find_pairs([line(2, first, second), line(5, second, first)], raw)
    assert opened == [first, second]
    assert (one.line, other.line) == (2, 5)
    assert one.pair is not None
    assert [scene.name for scene in one.pair.scenes] == [first, second]
    assert one.title == f"{first} with {second}"


def noted(names: list[str], function: Callable[[Path], Scene]) -> Callable[[Path], Scene]:
    def noting(path: Path) -> Scene:
        names.append(path.stem)
        return function(path)

    return noting


def test_a_line_that_cannot_be_used_does_not_stop_the_others(raw: Path) -> None:
    first, second = sorted(path.stem for path in raw.iterdir())
    near, far = first.replace("_S", "_X")[:-4] + "0000", "S1C" + second[3:]
    found = find_pairs([line(1, near, far), line(2, first, second)], raw)
    assert [one.pair is not None for one in found] == [False, True]
    problem = found[0].problem
    assert problem is not None
    assert problem.message.count("neither a .SAFE folder with a manifest.safe nor a .zip of this name") == 2
    assert near in problem.message
    assert far in problem.message
    assert f"did you mean {first}" in problem.hint


def test_damaged_scene_is_named(raw: Path) -> None:
    first, second = sorted(path.stem for path in raw.iterdir())
    manifest = raw / f"{second}.SAFE" / "manifest.safe"
    manifest.write_bytes(manifest.read_bytes()[:2000])
    (found,) = find_pairs([line(1, first, second)], raw)
    assert found.problem is not None
    assert found.problem.message.startswith(f"{second}.SAFE: manifest.safe: not well-formed XML (")
    assert found.problem.hint.startswith("download the scene again")


def test_swath_whose_annotation_is_lost_is_not_skipped_in_silence(raw: Path) -> None:
    first, second = sorted(path.stem for path in raw.iterdir())
    lost = annotation(raw / f"{second}.SAFE", "IW1")
    lost.unlink()
    (found,) = find_pairs([line(1, first, second)], raw)
    assert found.problem is not None
    assert found.problem.message == f"{second}.SAFE: annotation/{lost.name} is missing, its image is there"


def test_swath_that_is_not_there_at_all_is_passed_over(raw: Path) -> None:
    first, second = sorted(path.stem for path in raw.iterdir())
    for path in (raw / f"{second}.SAFE").rglob("*-iw1-*"):
        path.unlink()
    (found,) = find_pairs([line(1, first, second)], raw)
    assert found.pair is not None
    assert found.pair.secondary[0].swaths == ("IW2",)
