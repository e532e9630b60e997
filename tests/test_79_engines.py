"""Other engines of a time series: the same pairs give what our own least squares gives."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from test_79_timeseries import COLUMNS, DAYS, ROWS, SETTINGS, VELOCITY, facts_of, make_pair, make_stack
from topsar.errors import ProductError, SettingsError
from topsar.formats import open_format
from topsar.interferogram import Interferogram
from topsar.raster import read_geotiff

ISLAND = np.hypot(ROWS - 45, COLUMNS - 50) < 6
PROGRAM = """#!{python}
# What `dolphin timeseries --method L2` reads and writes, in its order of axes, with its sign, zero at one pixel.
import argparse, pathlib
import numpy as np, rasterio
take = argparse.ArgumentParser()
take.add_argument("verb"), take.add_argument("--output-dir", type=pathlib.Path)
take.add_argument("--unwrapped-paths", nargs="+"), take.add_argument("--conncomp-paths", nargs="+")
take.add_argument("--reference-point", nargs=2, type=int), take.add_argument("--wavelength", type=float)
take.add_argument("--method"), take.add_argument("--num-threads")
args = take.parse_args()
if {broken}:
    raise SystemExit("no such raster")
links = [pathlib.Path(name).stem.split("_") for name in args.unwrapped_paths]
dates = sorted({{date for link in links for date in link}})
row, column = args.reference_point
phases = [rasterio.open(name).read(1).astype(float) for name in args.unwrapped_paths]
assert all((rasterio.open(name).read(1) <= 1).all() for name in args.conncomp_paths)
phases = np.stack([phase - phase[row, column] for phase in phases])
design = np.array([[(date == b) * 1.0 - (date == a) for date in dates[1:]] for a, b in links])
solved = np.linalg.lstsq(design, phases.reshape(len(links), -1), rcond=None)[0]
args.output_dir.mkdir()
with rasterio.open(args.unwrapped_paths[0]) as like:
    profile = like.profile | dict(dtype="float32")
for date, values in zip(dates[1:], solved):
    with rasterio.open(args.output_dir / f"{{dates[0]}}_{{date}}.tif", "w", **profile) as made:
        made.write((-args.wavelength / (4 * np.pi) * values).reshape(made.shape).astype("float32"), 1)
"""


def make_broken_stack() -> list[Interferogram]:
    """Twenty-four pairs, one of which has an island that is off by a cycle."""
    pairs, metres = make_stack(), VELOCITY * (DAYS[4] - DAYS[3]) / 365.25
    broken = make_pair(DAYS[3], DAYS[4], metres, cycles=ISLAND)
    wanted = {f"{DAYS[3]:03d}", f"{DAYS[4]:03d}"}
    return [broken if set(pair.pair_id.split("_")[1:]) == wanted else pair for pair in pairs]


def invert_with(name: str, folder: Path, program: str = "") -> dict[str, np.ndarray]:
    folder.mkdir()
    options = SETTINGS | {"timeseries": name, "timeseries_program": program}
    written = open_format("timeseries", options).write(iter(make_broken_stack()), folder)
    assert facts_of(folder)["inverted_by"] == name
    return {path.stem: read_geotiff(path)[0] for path in written if path.suffix == ".tif"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return invert_with("least-squares", tmp_path_factory.mktemp("ours") / "series")


def require_same(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray]) -> None:
    assert theirs.keys() == ours.keys()
    for name, values in ours.items():
        known = np.isfinite(values) & np.isfinite(theirs[name])
        assert known.sum() > 0.95 * np.isfinite(values).sum()
        np.testing.assert_allclose(theirs[name][known], values[known], atol=2e-6)


def write_program(folder: Path, *, broken: bool = False) -> Path:
    program = folder / "dolphin"
    program.write_text(PROGRAM.format(python=sys.executable, broken=broken))
    program.chmod(0o755)
    return program


def test_insar_rs_gives_the_same(ours: dict[str, np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("insar_rs")
    require_same(invert_with("insar-rs", tmp_path / "series"), ours)


def test_the_program_of_dolphin_gives_the_same(ours: dict[str, np.ndarray], tmp_path: Path) -> None:
    require_same(invert_with("dolphin", tmp_path / "series", str(write_program(tmp_path))), ours)
    assert not [path for path in (tmp_path / "series").iterdir() if path.is_dir()]  # nor what it worked with


def test_a_program_that_stops_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="no such raster"):
        invert_with("dolphin", tmp_path / "series", str(write_program(tmp_path, broken=True)))


@pytest.mark.parametrize(("name", "named"), [("insar-rs", "insar-rs"), ("dolphin", "/nowhere/dolphin")])
def test_an_engine_that_is_not_installed_is_refused_at_once(
    name: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topsar.formats.timeseries.engines.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=named):
        open_format("timeseries", SETTINGS | {"timeseries": name, "timeseries_program": "/nowhere/dolphin"})
