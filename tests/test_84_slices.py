"""Passes of several slices, and bursts that one date lacks, from products to interferogram."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dry_data import Planned, drop_burst
from topsar.formats.geotiff import GeoTiff
from topsar.interferogram import Interferogram
from topsar.simulate import Acquisition, recipe, simulate
from topsar.simulate.compare import compare_pair
from topsar.simulate.recipe import SwathCut

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two passes of two slices, each of two bursts in two swaths, cut narrow around their common edge."""
    folder = tmp_path_factory.mktemp("data")
    days = (Acquisition(day=date(2025, 3, 3)), Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=60.0))
    cuts = (
        SwathCut(swath="IW1", first_sample=19300, samples=1000),
        SwathCut(swath="IW2", first_sample=0, samples=1000),
    )
    simulate(folder, replace(recipe("tiny"), acquisitions=days, cuts=cuts, slices=2, bursts=2))
    return folder


def interferogram(data: Path, scratch: Path) -> Interferogram:
    return Planned(data, scratch / "planned", UNWRAPPER="none", ESD="off").execute(scratch / "runs")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Interferogram:
    return interferogram(data, tmp_path_factory.mktemp("whole"))


def test_slices_are_joined_without_a_seam(data: Path, whole: Interferogram, tmp_path: Path) -> None:
    assert [label[:3] for label in whole.facts["bursts"]] == ["IW1"] * 4 + ["IW2"] * 4
    GeoTiff().write([whole], tmp_path)
    (tmp_path / "facts.json").write_text(json.dumps(whole.facts, default=str))
    found = compare_pair(tmp_path, data / "truth")
    assert found.pixels > 20_000
    assert abs(found.mean_rad) < 0.02
    assert found.deviation_rad < 1.2 * found.expected_rad
    assert found.seam_rad < 0.04
    seen = np.isfinite(whole.layers["wrapped_phase"].values)
    for row in seen:
        inside = np.flatnonzero(row)
        assert inside.size == 0 or row[inside[0] : inside[-1] + 1].all()
    rows = np.flatnonzero(seen.any(axis=1))
    assert seen[rows[0] : rows[-1] + 1].any(axis=1).all()


def test_bursts_that_one_date_lacks_leave_holes(data: Path, whole: Interferogram, tmp_path: Path) -> None:
    gappy = shutil.copytree(data, tmp_path / "data", copy_function=os.link)
    scenes = sorted((gappy / "raw").iterdir())  # slices of the first date, then those of the second
    drop_burst(scenes[2], 1, "IW2")
    drop_burst(scenes[0], 1, "IW1")
    drop_burst(scenes[3], 1, "IW1")
    result = interferogram(gappy, tmp_path)
    labels = whole.facts["bursts"]
    left = [labels[k] for k in (0, 2, 4, 6, 7)]
    assert result.facts["bursts"] == left
    window = whole.grid.window_of(result.grid)
    before, after = (
        {name: ifg.layers[name].values for name in ("burst", "wrapped_phase", "coherence")} for ifg in (whole, result)
    )
    before = {name: values[window.slices] for name, values in before.items()}
    kept = np.isin(before["burst"], [labels.index(label) for label in left])
    for name in ("wrapped_phase", "coherence"):
        np.testing.assert_allclose(after[name][kept], before[name][kept], atol=1e-5)
    for gone in (1, 5):  # the third lay at the edge: the grid ends before it
        hole = before["burst"] == gone
        assert hole.sum() > 1000
        assert np.isnan(after["wrapped_phase"][hole]).mean() > 0.5  # neighbours reach over the overlaps
