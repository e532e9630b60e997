"""Closure of triplets, and how the report tells of it."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from topsar.files import write_json
from topsar.model import GeoGrid
from topsar.raster import write_geotiff
from topsar.report import closure, page, template
from topsar.report.closure import Closure, Closures, close_triplets
from topsar.settings import load_settings

GRID = GeoGrid(crs="EPSG:32629", west=0, north=8000, dx=80, dy=80, rows=60, columns=50)
DAYS = ("2025-03-03", "2025-03-15", "2025-03-27", "2025-04-08")
NOISE = 0.05


def put_pair(
    folder: Path, first: str, second: str, phase: np.ndarray, *, coherence: float = 0.9, grid: GeoGrid = GRID
) -> Path:
    """A products folder with what closure looks at; ``phase`` is unwrapped."""
    products = folder / f"{first}_{second}"
    wrapped = np.angle(np.exp(1j * phase)).astype(np.float32)
    layers = {
        "wrapped_phase": (wrapped, math.nan),
        "coherence": (np.full(grid.shape, coherence, np.float32), math.nan),
        "filtered_unwrapped_phase": (phase.astype(np.float32), math.nan),
        "phase_noise": (np.full(grid.shape, NOISE, np.float32), math.nan),
        "components": (np.ones(grid.shape, np.uint16), 0),
    }
    for name, (values, nodata) in layers.items():
        write_geotiff(products / f"{name}.tif", values, grid, nodata=nodata)
    facts = {"pair": products.name, "track": 131, "reference_date": first, "secondary_date": second, "grid": grid}
    write_json(products / "facts.json", facts)
    return products


def phases(seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {day: np.cumsum(rng.normal(0, 0.3, GRID.shape), axis=1) for day in DAYS}


def test_consistent_pairs_close(tmp_path: Path) -> None:
    a, b, c, _ = DAYS
    phase = phases()
    pairs = [put_pair(tmp_path, x, y, phase[y] - phase[x]) for x, y in ((a, b), (b, c), (a, c))]
    (loop,) = close_triplets(pairs).found
    assert loop.dates == (a, b, c)
    assert loop.pairs == (f"{a}_{b}", f"{b}_{c}", f"{a}_{c}")
    assert loop.pixels == GRID.rows * GRID.columns
    assert loop.rms_rad < 1e-5
    assert loop.jumps == 0
    assert loop.expected_rad == pytest.approx(math.sqrt(3) * NOISE)


def test_the_order_of_the_dates_of_a_pair_does_not_matter(tmp_path: Path) -> None:
    a, b, c, _ = DAYS
    phase = phases()
    pairs = [put_pair(tmp_path, x, y, phase[y] - phase[x]) for x, y in ((b, a), (b, c), (c, a))]
    (loop,) = close_triplets(pairs).found
    assert loop.rms_rad < 1e-5


def test_what_does_not_close_is_measured(tmp_path: Path) -> None:
    a, b, c, _ = DAYS
    phase = phases()
    pairs = [put_pair(tmp_path, x, y, phase[y] - phase[x]) for x, y in ((a, b), (b, c))]
    long = phase[c] - phase[a] - 0.3
    long[:6] += 2 * np.pi
    (loop,) = close_triplets([*pairs, put_pair(tmp_path, a, c, long)]).found
    assert loop.mean_rad == pytest.approx(0.3, abs=1e-4)
    assert loop.rms_rad == pytest.approx(0.3, abs=1e-4)
    assert loop.deviation_rad < 1e-4
    assert loop.jumps == pytest.approx(0.1)


def test_triangles_need_one_grid_and_coherence(tmp_path: Path) -> None:
    a, b, c, d = DAYS
    phase = phases()
    first = [put_pair(tmp_path, x, y, phase[y] - phase[x]) for x, y in ((a, b), (b, c))]
    elsewhere = GeoGrid(crs=GRID.crs, west=800, north=8000, dx=80, dy=80, rows=60, columns=50)
    assert close_triplets([*first, put_pair(tmp_path, a, c, phase[c], grid=elsewhere)]) == Closures(found=(), total=0)
    dark = put_pair(tmp_path, a, c, phase[c] - phase[a], coherence=0.2)
    assert close_triplets([*first, dark]) == Closures(found=(), total=1)
    assert close_triplets([*first, put_pair(tmp_path, a, d, phase[d])]).total == 0


def test_no_more_than_a_sensible_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "MOST_TRIPLETS", 2)
    phase = phases()
    pairs = [put_pair(tmp_path, x, y, phase[y] - phase[x]) for i, x in enumerate(DAYS) for y in DAYS[i + 1 :]]
    closures = close_triplets(pairs)
    assert closures.total == 4
    assert [one.dates for one in closures.found] == [DAYS[:3], DAYS[1:]]  # the two of 24 days


def test_large_grids_are_read_as_an_overview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "MOST_PIXELS", 800)
    a, b, c, _ = DAYS
    phase = phases()
    pairs = [put_pair(tmp_path, x, y, phase[y] - phase[x]) for x, y in ((a, b), (b, c), (a, c))]
    (loop,) = close_triplets(pairs).found
    assert loop.pixels == 30 * 25
    assert loop.rms_rad < 1e-5


def test_pixels_of_an_overview_without_phase_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "MOST_PIXELS", 800)
    a, b, c, _ = DAYS
    phase = phases()
    holes = np.zeros(GRID.shape, bool)
    holes[:, ::3] = holes[::3] = True
    pairs = [
        put_pair(tmp_path, x, y, np.where(holes, np.nan, phase[y] - phase[x])) for x, y in ((a, b), (b, c), (a, c))
    ]
    (loop,) = close_triplets(pairs).found
    assert 0 < loop.pixels < 800
    assert loop.rms_rad < 1e-5


def test_without_unwrapped_phase_there_are_no_jumps(tmp_path: Path) -> None:
    a, b, c, _ = DAYS
    phase = phases()
    pairs = [put_pair(tmp_path, x, y, phase[y] - phase[x]) for x, y in ((a, b), (b, c), (a, c))]
    (pairs[1] / "filtered_unwrapped_phase.tif").unlink()
    assert [one.jumps for one in close_triplets(pairs).found] == [None]


def test_facts_that_do_not_tell_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(json.dumps({"pair": "x"}))
    assert close_triplets([tmp_path]).total == 0


# --- the report -------------------------------------------------------------------------------------------------


def made(rms: float) -> Closure:
    return Closure(
        pairs=("p", "q", "r"), dates=("2025-03-03", "2025-03-15", "2025-03-27"), pixels=1000, mean_rad=-0.01,
        rms_rad=rms, deviation_rad=rms, expected_rad=0.2, jumps=0.0125,
    )  # fmt: skip


def render(runs: Path, monkeypatch: pytest.MonkeyPatch, closures: Closures) -> str:
    """The section Closure of a page whose pairs close so."""
    monkeypatch.setattr(page, "close_triplets", lambda _: closures)
    settings = load_settings(env_file=None, data=runs, pairs=runs / "pairs.txt", flags={})
    page.write_report(runs, [], settings, datetime(2025, 5, 1, tzinfo=timezone.utc), 1.0)
    text = (runs / "report.html").read_text(encoding="utf-8")
    return text.partition("<h2>Closure</h2>")[2].partition("<h2>")[0]


def test_the_worst_come_first_and_the_rest_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closures = Closures(found=tuple(made(0.01 * number) for number in range(1, 26)), total=70)
    section = render(tmp_path, monkeypatch, closures)
    rows = section.split("<tr>")[2:]
    assert len(rows) == template.MOST_CLOSURES
    assert all(f"{0.25 - 0.01 * place:.3f}" in row for place, row in enumerate(rows))
    for expected in ("70 triangles", "25 of them", "20 worst", "−0.0100", "0.250", "1.25 %"):
        assert expected in section, expected


def test_nothing_is_said_without_triangles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert render(tmp_path, monkeypatch, Closures(found=(), total=3)) == ""
