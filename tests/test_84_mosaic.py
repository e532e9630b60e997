"""Three swaths on a coast: phase, seams and water of the mosaic against the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer
from scipy.ndimage import binary_erosion, map_coordinates

from dry_data import Planned, simulate_with_short_orbits
from topsar.formats.geotiff import GeoTiff
from topsar.interferogram import Interferogram
from topsar.model import BBox
from topsar.raster import compute_pixel_centres, read_geoid, read_geotiff
from topsar.raster.geoid import EGM96
from topsar.simulate import Acquisition, dataset, recipe
from topsar.simulate.compare import compare_pair
from topsar.simulate.mode import RANGE_SAMPLING_HZ, SWATHS
from topsar.simulate.plan import ProductPlan
from topsar.simulate.recipe import Recipe, SwathCut
from topsar.simulate.terrain import Terrain, build_terrain

pytestmark = pytest.mark.slow

SAMPLES, OVERLAP, TOLD_APART_PX = 1600, 700, 3
CUTS = (
    SwathCut(swath="IW1", first_sample=SWATHS["IW1"].samples - SAMPLES, samples=SAMPLES),
    SwathCut(swath="IW2", first_sample=0, samples=SAMPLES),
    SwathCut(swath="IW3", first_sample=0, samples=SAMPLES),
)


def build_coast(chosen: Recipe, products: tuple[tuple[ProductPlan, ...], ...]) -> Terrain:
    """The recipe's ground, its water made the sea: level above EGM96."""
    ground = build_terrain(chosen, products)
    lon, lat = np.meshgrid(ground.longitude_deg, ground.latitude_deg)
    box = BBox(west=float(lon.min()), south=float(lat.min()), east=float(lon.max()), north=float(lat.max()))
    geoid = read_geoid(EGM96, box).interpolate(lon, lat)
    return replace(ground, height=(ground.height - ground.height.min() + geoid).astype(np.float32))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of an instrument whose middle swath is narrow, so that the outer ones meet it on both sides."""
    folder = tmp_path_factory.mktemp("coast")
    days = (
        Acquisition(day=date(2025, 3, 3)),
        Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=60.0, azimuth_shift_px=0.003, sync_s=1e-3),
    )
    near_s = SWATHS["IW2"].near_time_s + (SAMPLES - OVERLAP) / RANGE_SAMPLING_HZ
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SWATHS, "IW3", replace(SWATHS["IW3"], near_time_s=near_s))
        patch.setattr(dataset, "build_terrain", build_coast)
        simulate_with_short_orbits(
            folder, replace(recipe("tiny"), acquisitions=days, cuts=CUTS, water_share=0.3, truth_step=1)
        )
    return folder


@pytest.fixture(scope="module")
def mosaic(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Interferogram:
    scratch = tmp_path_factory.mktemp("mosaic")
    return Planned(data, scratch / "planned", UNWRAPPER="none").execute(scratch / "runs")


def test_phase_is_true_and_swaths_join_without_a_seam(data: Path, mosaic: Interferogram, tmp_path: Path) -> None:
    labels, burst = mosaic.facts["bursts"], mosaic.layers["burst"].values
    assert [label[:3] for label in labels] == ["IW1", "IW1", "IW2", "IW2", "IW3", "IW3"]
    west, east = burst[:, :-1], burst[:, 1:]
    meet = (west != east) & (west >= 0) & (east >= 0)
    swaths = np.array([int(label[2]) for label in labels])
    steps = np.stack([swaths[west[meet]], swaths[east[meet]]], axis=1)
    for near, far in ((1, 2), (2, 3)):
        assert (steps == (near, far)).all(axis=1).sum() > 250
    GeoTiff().write([mosaic], tmp_path)
    (tmp_path / "facts.json").write_text(json.dumps(mosaic.facts, default=str))
    found = compare_pair(tmp_path, data / "truth")
    assert found.pixels > 40_000
    assert abs(found.mean_rad) < 0.02
    assert found.deviation_rad < 1.2 * found.expected_rad
    assert found.tilt_rad < 0.05
    assert found.seam_rad < 0.03


def test_the_sea_is_water_and_has_no_signal(data: Path, mosaic: Interferogram) -> None:
    truth, source, _ = read_geotiff(next((data / "truth").glob("temporal_coherence_*.tif")))
    lon, lat = Transformer.from_crs(mosaic.grid.crs, source.crs, always_xy=True).transform(
        *compute_pixel_centres(mosaic.grid)
    )
    place = [(source.north - lat) / source.dy - 0.5, (lon - source.west) / source.dx - 0.5]
    sea = map_coordinates((truth == 0).astype(np.float32), place, order=1, cval=np.nan)
    coherence, water = (mosaic.layers[name].values for name in ("coherence", "water"))
    seen = np.isfinite(coherence)
    wet, dry = (seen & binary_erosion(sea == kind, iterations=TOLD_APART_PX) for kind in (1, 0))
    assert wet.sum() > 10_000
    assert dry.sum() > 30_000
    assert (water[wet] == 1).mean() > 0.99
    assert (water[dry] == 1).mean() < 0.001
    assert np.median(coherence[wet]) < 0.25 < 0.5 < np.median(coherence[dry])
