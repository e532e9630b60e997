"""A time series of thirteen real dates of Mexico City, pairs that another processor made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from test_79_timeseries import SETTINGS, facts_of
from topsar.errors import ProductError
from topsar.formats import open_format
from topsar.formats.timeseries.foreign import read_foreign_pairs
from topsar.interferogram import read_part
from topsar.model import GeoGrid, Window
from topsar.raster import read_geotiff, write_geotiff

PAIRS = Path("stack/PyRate_cropA/tests/test_data/cropA/geotiffs")
WAVELENGTH_M = 0.05546576


@pytest.mark.real
def test_mexico_city_sinks_as_plain_least_squares_says(shared_data: Path, tmp_path: Path) -> None:
    pairs = list(read_foreign_pairs(shared_data / PAIRS, wavelength_m=WAVELENGTH_M, looks=20))
    open_format("timeseries", SETTINGS).write(iter(pairs), tmp_path)
    made = {path.stem: read_geotiff(path)[0] for path in tmp_path.glob("*.tif")}
    facts = facts_of(tmp_path)
    dates = facts["dates"]
    assert len(dates) == 13
    assert len(pairs) == 30
    # The same without weights, by NumPy alone, of pixels that have all pairs.
    phase = np.stack([pair.layers["unwrapped_phase"].values for pair in pairs]).reshape(len(pairs), -1)
    whole = np.isfinite(phase).all(axis=0) & np.isfinite(made["velocity"].ravel())
    days = np.array(dates, "datetime64[D]").astype(float)
    ends = [[dates.index(str(pair.facts[f"{side}_date"])) for pair in pairs] for side in ("reference", "secondary")]
    design = np.zeros((len(pairs), len(dates)))
    design[np.arange(len(pairs)), ends[0]], design[np.arange(len(pairs)), ends[1]] = -1, 1
    series = np.zeros((len(dates), whole.sum()))
    series[1:] = np.linalg.lstsq(design[:, 1:], phase[:, whole].astype(float), rcond=None)[0]
    years = (days - days.mean()) / 365.25
    plain = -WAVELENGTH_M / (4 * np.pi) * (years @ (series - series.mean(axis=0))) / (years**2).sum()
    ours = made["velocity"].ravel()[whole]
    difference = (ours - plain) - np.median(ours - plain)
    deviation = np.median(made["velocity_std"].ravel()[whole])
    assert np.nanmedian(made["residual_rms"]) == pytest.approx(0.22, abs=0.03)
    assert np.ptp(ours) > 0.1
    assert np.sqrt((difference**2).mean()) < deviation
    assert np.corrcoef(ours, plain)[0, 1] > 0.99


def test_a_folder_without_dates_in_its_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="two dates"):
        next(read_foreign_pairs(tmp_path, wavelength_m=WAVELENGTH_M, looks=20))


def test_what_a_foreign_file_calls_no_data_is_a_hole(tmp_path: Path) -> None:
    grid = GeoGrid(crs="EPSG:4326", west=-99.2, north=19.5, dx=1e-3, dy=1e-3, rows=4, columns=5)
    phase, coherence = np.ones(grid.shape, np.float32), np.full(grid.shape, 0.8, np.float32)
    phase[0, 0], phase[0, 1], coherence[0, 2] = -9999, 0, 0
    for name, values in (("unw", phase), ("cc", coherence)):
        write_geotiff(tmp_path / f"20180106-20180130_{name}.tif", values, grid, nodata=-9999)
    (pair,) = read_foreign_pairs(tmp_path, wavelength_m=WAVELENGTH_M, looks=20)
    holes = np.isnan(pair.layers["unwrapped_phase"].values)
    assert np.argwhere(holes).tolist() == [[0, 0], [0, 1], [0, 2]]
    corner = Window(row=0, column=1, rows=2, columns=3)
    for name, layer in pair.layers.items():
        assert np.array_equal(read_part(pair, name, corner), layer.values[corner.slices], equal_nan=True), name
