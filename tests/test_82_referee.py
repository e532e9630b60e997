"""An independent pair: real annotation and geometry, pixels simulated by a program that shares no code with this."""

from __future__ import annotations

import json
import warnings
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from scipy.ndimage import map_coordinates

from topsar import workflow
from topsar.engines.ground import LONLAT, change_crs
from topsar.engines.radar_stack import RadarStack, open_radar_stack
from topsar.kernels.visibility import LAYOVER
from topsar.raster import read_geotiff
from topsar.raster.isce_image import read_isce_image
from topsar.schedule.jobs import Status
from topsar.settings import load_settings

pytestmark = pytest.mark.real

INJECTED_PX = 0.004
NAMES = (
    "S1A_IW_SLC__1SSV_20250406T022018_20250406T022024_058630_07421F_BABD",
    "S1A_IW_SLC__1SSV_20250418T022018_20250418T022024_058805_074946_2685",
)


@pytest.fixture(scope="module")
def laid_out(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pair in the layout of a data folder."""
    source, data = shared_data / "referee", tmp_path_factory.mktemp("referee")
    for folder, pattern in (("raw", "*.zip"), ("orbit_data", "*.EOF"), ("dem", "dem_egm96.tif")):
        (data / folder).mkdir()
        for path in source.glob(pattern):
            (data / folder / path.name).symlink_to(path)
    (data / "pairs.txt").write_text(" ".join(NAMES))
    return data


def process(data: Path, **flags: str) -> Path:
    flags = {"DEM_DATUM": "egm96", "UNWRAPPER": "none", "FORMATS": "geotiff"} | flags
    settings = load_settings(env_file=None, data=data, pairs=data / "pairs.txt", flags=flags)
    (pair,) = (outcome for outcome in workflow.run(settings) if outcome.is_pair)
    assert pair.status in (Status.DONE, Status.CACHED), pair.message
    return data / "runs" / pair.job / "products"


def residual(products: Path, truth: Path, above: float) -> tuple[np.ndarray, np.ndarray]:
    """Phase minus truth where coherence is above a bound, and the deviation that coherence and looks allow."""
    phase, grid, _ = read_geotiff(products / "wrapped_phase.tif")
    coherence = read_geotiff(products / "coherence.tif")[0]
    expected, source, _ = read_geotiff(truth / "phase_truth_20250406_20250418.tif")
    x, y = np.meshgrid(
        grid.west + (np.arange(grid.columns) + 0.5) * grid.dx, grid.north - (np.arange(grid.rows) + 0.5) * grid.dy
    )
    lon, lat = change_crs(grid.crs, LONLAT, x, y)
    place = [(source.north - lat) / source.dy - 0.5, (lon - source.west) / source.dx - 0.5]
    difference = np.angle(np.exp(1j * (phase - map_coordinates(expected, place, order=1, cval=np.nan))))
    seen = (coherence > above) & np.isfinite(difference)
    return difference[seen], read_geotiff(products / "phase_noise.tif")[0][seen]


@pytest.mark.parametrize("above", [0.5, 0.8])
def test_phase_with_the_known_misregistration_removed(laid_out: Path, shared_data: Path, above: float) -> None:
    products = process(laid_out, ESD=str(INJECTED_PX))
    difference, expected = residual(products, shared_data / "referee" / "truth", above)
    assert difference.size > 30_000
    assert abs(difference.mean()) < 0.05
    assert np.sqrt((difference**2).mean()) == pytest.approx(np.sqrt((expected**2).mean()), rel=0.08)


@pytest.fixture(scope="module")
def stack(laid_out: Path) -> RadarStack:
    """The pair in radar geometry."""
    flags = {"GRID": "radar", "STACK_REFERENCE": "20250406", "LOOKS": "9x3", "DEM_DATUM": "egm96", "UNWRAPPER": "none"}
    settings = load_settings(env_file=None, data=laid_out, pairs=laid_out / "pairs.txt", flags=flags)
    outcomes = workflow.run(settings)
    assert all(one.is_done for one in outcomes), [one.message for one in outcomes]
    return open_radar_stack(laid_out / "runs" / "radar_stack" / "T108_VV_20250406")


@pytest.mark.slow
def test_pixels_in_radar_geometry_lie_at_their_true_places(stack: RadarStack, shared_data: Path) -> None:
    assert stack.dates[1].azimuth_shift_pixels == pytest.approx(INJECTED_PX, abs=2e-4)
    lat, lon, height = (stack.read_layer(name)[:, 0] for name in ("lat", "lon", "hgt"))
    truth = shared_data / "referee" / "truth"
    with h5py.File(truth / "truth_radar.h5") as file:
        known = file["IW2/burst_230135"]
        line, sample, valid = (known[name][:] for name in ("line", "sample", "valid"))
        # the stack begins with the first valid line and sample of the first burst
        late = (stack.facts.grid.first_line_time - datetime(2025, 4, 6, tzinfo=timezone.utc)).total_seconds()
        first = round((late - known.attrs["t0"]) / known.attrs["dt"])
        aside = round((stack.facts.grid.near_range_m - known.attrs["r0"]) / known.attrs["dr"])
        rows, columns = line - first, sample - aside
        inside = (rows >= 0) & (rows < stack.facts.grid.lines // 2 - 60)
        across = (columns >= 0) & (columns < stack.facts.grid.samples)
        place, at = np.ix_(rows[inside], columns[across]), np.ix_(inside, across)
        seen = valid[at] > 0
        metres = 111_320 * np.cos(np.radians(known["lat"][:][at]))
        for found, name, unit in ((lat, "lat", 111_320), (lon, "lon", metres), (height, "height", 1)):
            difference = (found[place] - known[name][:][at]) * unit
            assert np.abs(difference[seen]).max() < 0.1, name


@pytest.mark.slow
def test_an_interferogram_in_radar_geometry_agrees_with_the_truth(stack: RadarStack, shared_data: Path) -> None:
    folder = stack.folder / "merged" / "interferograms" / "20250406_20250418"
    geometry, truth = stack.folder / "merged" / "geom_reference", shared_data / "referee" / "truth"
    lat, lon = (read_isce_image(geometry / f"{name}.rdr")[0] for name in ("lat", "lon"))
    cross, coherence = (read_isce_image(folder / f"fine.{kind}")[0] for kind in ("int", "cor"))
    expected, source, _ = read_geotiff(truth / "phase_truth_20250406_20250418.tif")
    row, column = (source.north - lat) / source.dy - 0.5, (lon - source.west) / source.dx - 0.5
    phase = map_coordinates(expected, [row, column], order=1, cval=np.nan)
    difference = np.angle(cross * np.exp(-1j * np.nan_to_num(phase)))
    seen = (coherence > 0.8) & np.isfinite(phase)
    assert seen.sum() > 200_000
    assert abs(difference[seen].mean()) < 0.02
    assert difference[seen].std() < 0.11


def test_spectral_diversity_finds_it(laid_out: Path) -> None:
    facts = json.loads((process(laid_out) / "facts.json").read_text())
    assert abs(facts["azimuth_misregistration"]["pixels"] - INJECTED_PX) < 2e-4


def test_layover_is_where_the_simulation_has_it(laid_out: Path, shared_data: Path) -> None:
    """It says, every fourth line and sixteenth sample, how many ground points share a place in the image."""
    source = shared_data / "referee" / "truth" / "truth_radar.h5"
    mask, grid, _ = read_geotiff(process(laid_out, ESD=str(INJECTED_PX)) / "layover_shadow.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        lon, lat, crossings = (
            rasterio.open(f"HDF5:{source}://IW2/burst_230135/{name}").read(1) for name in ("lon", "lat", "crossings")
        )
    x, y = change_crs(LONLAT, grid.crs, lon, lat)
    row, column = ((grid.north - y) / grid.dy).astype(int), ((x - grid.west) / grid.dx).astype(int)
    inside = (row >= 0) & (column >= 0) & (row < grid.rows) & (column < grid.columns)
    folded = mask[row[inside], column[inside]] == LAYOVER
    assert folded.size > 50_000
    assert (folded != (crossings[inside] > 1)).mean() < 1e-3
