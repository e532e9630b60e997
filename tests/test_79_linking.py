"""Linked phases: what dolphin is told and what is made of what it leaves, with a stand-in that only averages.

`benchmarks/series.py` runs dolphin itself.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from sample_layers import FACTS, UTM, sample
from test_79_timeseries import LAMBDA, SETTINGS, day_text, facts_of
from topsar.engines import load_engine
from topsar.errors import ProductError, SettingsError
from topsar.files import write_json
from topsar.formats import open_format
from topsar.formats.export import export_format
from topsar.formats.step import finish_jobs, run_format
from topsar.formats.timeseries import programs
from topsar.formats.timeseries.programs import ask_program, find_program
from topsar.formats.timeseries.radar_map import map_stack
from topsar.interferogram import read_pair
from topsar.model import GeoGrid, Looks, RadarGrid, Window
from topsar.raster import compute_pixel_centres, open_geotiff, read_geotiff
from topsar.schedule.jobs import Artifact, Job, Step
from topsar.settings import Settings

GRID, LOOKS = replace(UTM, rows=40, columns=50), Looks(east=4, north=2)
FINE = GRID.refine(LOOKS)
DAYS = (0, 12, 24, 36, 48)
STAND_IN = """#!{python}
import json, sys
from itertools import combinations
from pathlib import Path
import numpy as np, rasterio

known = json.loads(Path(sys.argv[2]).read_text())
stride, work = known["output_options"]["strides"], Path(known["work_directory"])
print("stand-in of dolphin", file=sys.stderr)
if {fails}:
    sys.exit("out of its depth")
files = [Path(name) for name in known["cslc_file_list"]]
slcs = [rasterio.open(file).read(1) for file in files]
for folder in ("interferograms", "unwrapped"):
    (work / folder).mkdir()
rows, columns = (size // stride[way] for size, way in zip(slcs[0].shape, "yx"))

def save(name, values):
    profile = dict(driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype)
    with rasterio.open(work / name, "w", **profile) as file:
        file.write(values, 1)

def average(values):
    whole = values[: rows * stride["y"], : columns * stride["x"]]
    return whole.reshape(rows, stride["y"], columns, -1).mean(axis=(1, 3))

for (i, a), (j, b) in combinations(enumerate(files), 2):
    if j - i <= known["interferogram_network"]["max_bandwidth"]:
        name = f"unwrapped/{{a.stem[:8]}}_{{b.stem[:8]}}.unw"
        save(name + ".tif", np.angle(average(slcs[i] * slcs[j].conj())).astype("f4"))
        save(name + ".conncomp.tif", np.ones((rows, columns), "u2"))
for i, a in enumerate(files):
    save(f"interferograms/crlb_{{a.stem[:8]}}.tif", np.full((rows, columns), 0.1 * (i > 0), "f4"))
save("interferograms/temporal_coherence_20230101_20230218.tif", np.full((rows, columns), 0.9, "f4"))
save("interferograms/amp_dispersion_looked.tif", np.full((rows, columns), 0.02, "f4"))
"""


def write_program(folder: Path, *, fails: bool = False) -> Path:
    path = folder / "dolphin"
    path.write_text(STAND_IN.format(python=sys.executable, fails=fails))
    path.chmod(0o755)
    return path


def make_velocity(grid: GeoGrid) -> np.ndarray:
    """Metres a year toward the satellite: a bowl."""
    x, y = compute_pixel_centres(grid)
    far = np.hypot(x - GRID.west - 25 * GRID.dx, y - GRID.north + 15 * GRID.dy)
    return np.asarray(-0.06 * np.exp(-((far / 600) ** 2)))


def write_run(runs: Path, program: Path, days: tuple[int, ...] = DAYS) -> Path:
    """Pairs of a track with products that are not unwrapped, and SLCs of their dates; the folder of the job."""
    names = []
    for first, second in pairwise(DAYS):
        dates = {"reference_date": day_text(first), "secondary_date": day_text(second)}
        ifg = sample(GRID, dict(FACTS) | dates | {"pair": f"T052_{first:03d}_{second:03d}", "track": 52})
        ifg = replace(ifg, layers={name: ifg.layers[name] for name in ("height", "incidence", "coherence")})
        folder = runs / ifg.pair_id / "products"
        folder.mkdir(parents=True)
        open_format("geotiff", {}).write((ifg,), folder)
        write_json(folder.parent / "run.json", {"artifacts": {f"{ifg.pair_id}/products": "result"}})
        names.append(ifg.pair_id)
    rng, place = np.random.default_rng(1), runs / "slc_stack" / "T052_VV"
    place.mkdir(parents=True)
    speckle = np.exp(2j * np.pi * rng.random(FINE.shape))
    for day in days:
        phase = 4 * np.pi / LAMBDA * make_velocity(FINE) * day / 365.25  # the path of a later date is shorter
        slc = (speckle * np.exp(1j * phase)).astype(np.complex64)
        with open_geotiff(
            place / f"{day_text(day).replace('-', '')}.tif", FINE, "complex64", nodata=0, tile_rows=64
        ) as file:
            file.write(slc, 1)
    job, given = runs / "timeseries_T052", {"timeseries": "phase-linking", "timeseries_program": str(program)}
    settings = SETTINGS | given | {"points": ["csv"]}
    write_json(job / "run.json", {"engine": "native", "options": settings, "jobs": [*names, job.name], "artifacts": {}})
    return job


def test_linked_phases_become_the_same_layers_and_points(tmp_path: Path) -> None:
    job = write_run(tmp_path / "runs", write_program(tmp_path))
    run_format(job, "format_timeseries-phase_linking")
    pairs = sorted((job / "phase_linking").glob("T052_*"))
    assert len(pairs) == 9  # of five dates, each with the next three
    first = read_pair(pairs[0])
    assert {"height", "incidence"} <= set(first.layers)
    np.testing.assert_allclose(first.layers["phase_noise"].values, 0.1, rtol=1e-6)
    run_format(job, "format_timeseries")
    made = job / "timeseries"
    velocity, grid, _ = read_geotiff(made / "velocity.tif")
    assert grid == GRID
    error = velocity - make_velocity(GRID)
    assert np.isfinite(error).all()
    assert np.abs(error - np.median(error)).max() < 0.001
    np.testing.assert_allclose(read_geotiff(made / "temporal_coherence.tif")[0], 0.9)  # that of the linking
    facts = facts_of(made)
    assert facts["inverted_by"] == "phase-linking"
    assert facts["points"]["dispersion_of"] == "SLC stack"  # type: ignore[index]
    assert facts["points"]["dispersion_to"] < 0.1  # type: ignore[index]  # chance gives five dates that
    assert {"timeseries.html", "timeseries.nc"} <= {path.name for path in made.iterdir()}


def test_what_cannot_be_linked_is_said(tmp_path: Path) -> None:
    job = write_run(tmp_path / "lacking", write_program(tmp_path), DAYS[1:])
    with pytest.raises(ProductError, match=r"no SLCs of 20230101, .* on the grid"):
        run_format(job, "format_timeseries-phase_linking")
    (tmp_path / "other").mkdir()
    job = write_run(tmp_path / "failing", write_program(tmp_path / "other", fails=True))
    with pytest.raises(ProductError, match=r"(?s)dolphin ended with 1: .*out of its depth"):
        run_format(job, "format_timeseries-phase_linking")
    assert not (job / "phase_linking").exists()
    given = {"timeseries": "phase-linking", "timeseries_program": str(tmp_path / "nowhere")}
    with pytest.raises(SettingsError, match="there is no program"):
        open_format("timeseries", SETTINGS | given)
    given |= {"timeseries_program": str(write_program(tmp_path))}
    with pytest.raises(SettingsError, match="an export runs no step"):
        list(export_format(tmp_path / "failing", "timeseries", SETTINGS | given, tmp_path / "export"))
    with pytest.raises(SettingsError, match="GRID is radar"):
        open_format("timeseries", SETTINGS | {"grid": "radar"})


def test_steps_of_a_track_link_and_then_invert(tmp_path: Path) -> None:
    program = write_program(tmp_path)
    settings = Settings(timeseries="phase-linking", timeseries_program=str(program), formats=("timeseries",))
    pair = Job(id="T052_000_012", title="", steps=(make_step("unwrap", "T052_000_012/unwrap"),), is_pair=True)
    slc = Job(id="slc_stack_T052_VV_20230101", title="", steps=(make_step("slc", "slc_stack/T052_VV/20230101.tif"),))
    *_, job = finish_jobs((pair, slc), load_engine("native"), settings.options)
    assert [step.name for step in job.steps] == ["format_timeseries-phase_linking", "format_timeseries"]
    assert set(job.steps[0].reads) == {"T052_000_012/products", "slc_stack/T052_VV/20230101.tif"}
    assert job.steps[1].reads == ("timeseries_T052/phase_linking",)
    with pytest.raises(SettingsError, match="none are kept"):
        finish_jobs((pair,), load_engine("native"), settings.options)


def make_step(name: str, path: str) -> Step:
    return Step(name=name, argv=(), signature="", reads=(), writes=(Artifact(path=path),), size=1e5)


def test_a_program_tells_its_version_and_what_it_lacks(tmp_path: Path) -> None:
    program, python = write_program(tmp_path), tmp_path / "python"
    assert "no Python beside" in ask_program("dolphin", program)[1]
    python.write_text("#!/bin/sh\necho 0.42.9\n")
    python.chmod(0o755)
    program.write_text("#!/bin/sh\n")
    assert ask_program("dolphin", find_program("dolphin", str(program))) == ("0.42.9", "")
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'osgeo'\" >&2\nexit 1\n")
    assert "osgeo" in ask_program("dolphin", program)[1]


def test_a_program_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("python", "dolphin"):
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(programs, "ANSWER_S", 0.2)
    assert ask_program("dolphin", tmp_path / "dolphin") == ("", "it did not answer within 0.2 s")


@dataclass(frozen=True)
class Tilted:
    """A stack in radar geometry on level ground, whose lines run north-north-west; a corner has no place."""

    looks: Looks = LOOKS
    folder: Path = Path("T052_VV_20230101")

    @property
    def facts(self) -> Any:
        return self

    @property
    def grid(self) -> Any:
        grid = object.__new__(RadarGrid)
        for name, value in {"lines": 200, "samples": 301}.items():
            object.__setattr__(grid, name, value)
        return grid

    def read_layer(self, name: str, window: Window) -> np.ndarray:
        line, sample_number = np.mgrid[window.slices]
        x, y = 500_000 + 14 * sample_number - 3 * line, 4_100_000 + 13 * line + 3 * sample_number
        longitude, latitude = Transformer.from_crs("EPSG:32635", "EPSG:4326", always_xy=True).transform(x, y)
        lost = (line < 20) & (sample_number < 30)
        bands = {"lat": [latitude], "lon": [longitude], "hgt": [0 * x + 7.0], "los": [0 * x + 35.0, 0 * x + 100.0]}
        return np.stack([np.where(lost, 0, band) for band in bands[name]], axis=1)


def test_radar_pixels_come_to_lie_where_they_are() -> None:
    stack: Any = Tilted()
    mapped = map_stack(stack, {"crs": "auto", "posting_m": 80.0})
    assert (mapped.grid.crs, mapped.grid.dx) == ("EPSG:32635", 80.0)
    change = Transformer.from_crs("EPSG:4326", mapped.grid.crs, always_xy=True)
    x, y = change.transform(mapped.longitude, mapped.latitude)
    for values, true in zip((x, y), compute_pixel_centres(mapped.grid), strict=True):
        laid = mapped.lay(values - values[50, 50])
        far = laid + values[50, 50] - true
        assert np.isfinite(laid).mean() > 0.4
        assert abs(np.nanmean(far)) < 3  # none of the half pixels of 21 and 13 m
        assert np.nanmax(np.abs(far)) < 40
    labels = mapped.lay(np.isfinite(mapped.latitude).astype(np.uint16), is_label=True)
    assert np.array_equal(labels > 0, np.isfinite(mapped.geometry["height"].values))
    east, north, up = (np.nanmean(mapped.geometry[f"los_{name}"].values) for name in ("east", "north", "up"))
    turned = np.radians(100)
    expected = (
        -np.sin(np.radians(35)) * np.sin(turned),
        np.sin(np.radians(35)) * np.cos(turned),
        np.cos(np.radians(35)),
    )
    assert (east, north, up) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ProductError, match="pixels of a stack"):
        mapped.lay(np.zeros((3, 4), np.float32))
