"""What dates lack: lines, numbers, a swath, part of the range. The pair is made of the rest."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from dry_data import Planned, annotation, list_again, rewrite, unlist
from topsar.interferogram import Interferogram
from topsar.simulate import Acquisition, recipe, simulate
from topsar.simulate.recipe import SwathCut

DAYS = (Acquisition(day=date(2025, 3, 3)), Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=60.0))
FIRST, SAMPLES, LATER = {"IW1": 19300, "IW2": 0}, 1000, 300
GONE = slice(500, 700)
"""Lines of the first burst."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of two swaths, one burst each."""
    folder = tmp_path_factory.mktemp("data")
    cuts = tuple(SwathCut(swath=swath, first_sample=first, samples=SAMPLES) for swath, first in FIRST.items())
    simulate(folder, replace(recipe("tiny"), acquisitions=DAYS, cuts=cuts, bursts=1))
    return folder


def interferogram(data: Path, scratch: Path, **flags: str) -> Interferogram:
    return Planned(data, scratch / "planned", UNWRAPPER="none", ESD="off", **flags).execute(scratch / "runs")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Interferogram:
    return interferogram(data, tmp_path_factory.mktemp("whole"))


def copied(data: Path, folder: Path) -> Path:
    return shutil.copytree(data, folder / "data", copy_function=os.link)


@contextmanager
def opened(image: Path, **profile: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """An image to be written anew, and what it held; the links of other copies are left alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(image) as dataset:
            values, kept = dataset.read(1), dataset.profile
        image.unlink()
        with rasterio.open(image, "w", **{**kept, **profile}) as dataset:
            yield dataset, values
    list_again(image)


def image_of(data: Path, number: int, swath: str) -> Path:
    scene = sorted((data / "raw").iterdir())[number]
    return next((scene / "measurement").glob(f"*-{swath.lower()}-*.tiff"))


def lose(data: Path, value: complex, **profile: Any) -> None:
    """Of the second date, some lines of the near swath."""
    with opened(image_of(data, 1, "IW1"), **profile) as (image, samples):
        samples[GONE] = value
        image.write(samples, 1, window=RasterWindow(0, 0, samples.shape[1], samples.shape[0]))


def compare(whole: Interferogram, rest: Interferogram) -> tuple[np.ndarray, np.ndarray]:
    """Where the pair lost its phase, and by how much the phase of the rest differs."""
    window = whole.grid.window_of(rest.grid)
    before = whole.layers["wrapped_phase"].values[window.slices]
    after = rest.layers["wrapped_phase"].values
    assert np.isfinite(before).mean() > 0.2
    lost = np.isfinite(before) & np.isnan(after)
    kept = np.isfinite(before) & np.isfinite(after)
    return lost, np.angle(np.exp(1j * (after - before)[kept]))


@pytest.mark.parametrize("value", [0, complex(np.nan, np.nan), complex(np.inf, 0)], ids=["zero", "nan", "inf"])
def test_lines_without_signal_are_a_hole(data: Path, whole: Interferogram, tmp_path: Path, value: complex) -> None:
    gappy = copied(data, tmp_path)
    lose(gappy, value, **({"dtype": "complex64"} if value else {}))
    lost, difference = compare(whole, interferogram(gappy, tmp_path))
    assert 0.03 < lost.sum() / np.isfinite(whole.layers["wrapped_phase"].values).sum() < 0.12
    assert (difference == 0).mean() > 0.97  # but at the rim, where a pixel lacks some of its looks
    assert np.abs(difference).mean() < 0.01


def test_a_swath_that_one_date_lacks_is_left_out(data: Path, whole: Interferogram, tmp_path: Path) -> None:
    gappy = copied(data, tmp_path)
    scene = sorted((gappy / "raw").iterdir())[1]
    for file in scene.rglob("*-iw1-*"):
        file.unlink()
    assert re.search(r"20250315\S+: annotation/s1a-iw1-\S+ is missing", Planned(gappy, tmp_path / "listed").problem)
    unlist(scene, "-iw1-")
    rest = interferogram(gappy, tmp_path)
    assert [label[:3] for label in rest.facts["bursts"]] == ["IW2"]
    _, difference = compare(whole, rest)
    assert (difference == 0).mean() > 0.9  # of the rest the near swath had the pixel
    assert np.abs(difference).mean() < 0.03


def without_near_range(scene: Path, swath: str) -> None:
    """Take the nearest samples off a swath, as if its sampling window had opened later."""
    with opened(next((scene / "measurement").glob(f"*-{swath.lower()}-*.tiff")), width=SAMPLES - LATER) as (image, was):
        image.write(was[:, LATER:], 1)

    def later(text: str) -> str:
        rate = float(re.findall(r"<rangeSamplingRate>([^<]+)<", text)[0])
        start = float(re.findall(r"<imageInformation>.*?<slantRangeTime>([^<]+)<", text, flags=re.DOTALL)[0])
        text = re.sub(
            r"(<imageInformation>.*?<slantRangeTime>)[^<]+",
            lambda found: f"{found[1]}{start + LATER / rate:.15e}",
            text,
            flags=re.DOTALL,
        )
        for name in ("numberOfSamples", "samplesPerBurst"):
            text = text.replace(f"<{name}>{SAMPLES}<", f"<{name}>{SAMPLES - LATER}<")
        return re.sub(
            r"(<(?:first|last)ValidSample[^>]*>)([^<]+)",
            lambda found: found[1] + " ".join(str(max(int(n) - LATER, min(int(n), 0))) for n in found[2].split()),
            text,
        )

    rewrite(annotation(scene, swath), later)


def test_a_range_that_one_date_lacks_is_left_out(data: Path, whole: Interferogram, tmp_path: Path) -> None:
    cut = copied(data, tmp_path)
    without_near_range(sorted((cut / "raw").iterdir())[1], "IW1")
    lost, difference = compare(whole, interferogram(cut, tmp_path))
    share = lost.sum() / np.isfinite(whole.layers["wrapped_phase"].values).sum()
    assert 0.05 < share < 0.95 * LATER / SAMPLES  # of one swath of two
    assert np.abs(difference).mean() < 1e-3
