"""Pictures: what they average, where their ticks lie, that they come out whole."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from topsar.errors import ProductError
from topsar.formats.quicklook import palette, view, write_quicklooks
from topsar.formats.quicklook.sheet import degree_labels, round_down, round_values
from topsar.formats.quicklook.view import ground_size_m, hillshade, view_of
from topsar.interferogram import Interferogram, Layer
from topsar.model import GeoGrid
from topsar.raster import inspect

NAMES = (
    "wrapped_phase",
    "filtered_phase",
    "unwrapped_phase",
    "displacement",
    "coherence",
    "amplitude",
    "components",
    "masks",
)
UTM = GeoGrid(crs="EPSG:32629", west=520_000, north=3_520_000, dx=80, dy=80, rows=120, columns=150)
DEGREES = GeoGrid(crs="EPSG:4326", west=-8.9, north=31.9, dx=1 / 1200, dy=1 / 1200, rows=120, columns=150)
FACTS: dict[str, Any] = {
    "track": 52,
    "direction": "descending",
    "reference_date": "2023-09-04",
    "secondary_date": "2023-09-16",
    "perpendicular_baseline_m": -27.3,
    "looks": "19x4",
    "engine": "native",
    "engine_version": "0.1.0",
}


def interferogram(grid: GeoGrid = UTM, facts: dict[str, Any] | None = None) -> Interferogram:
    """A bowl of subsidence among hills, with a lake and a slanted edge."""
    rows, columns = np.mgrid[: grid.rows, : grid.columns].astype(np.float32)
    rng = np.random.default_rng(1)
    distance = np.hypot(rows - grid.rows / 2, columns - grid.columns / 2) / grid.rows
    metres = (-0.1 * np.exp(-((distance / 0.2) ** 2))).astype(np.float32)
    unwrapped = -4 * np.pi / 0.0555 * metres
    lake = np.hypot(rows - 20, columns - 110) < 10
    coherence = np.where(lake, 0.1, 0.8).astype(np.float32)
    outside = columns < (grid.rows - rows) * 0.1
    values = {
        "wrapped_phase": np.angle(np.exp(1j * (unwrapped + 0.3 * rng.normal(size=grid.shape)))),
        "filtered_phase": np.angle(np.exp(1j * unwrapped)),
        "unwrapped_phase": np.where(lake, np.nan, unwrapped),
        "displacement": np.where(lake, np.nan, metres),
        "coherence": coherence,
        "amplitude": np.exp(rng.normal(size=grid.shape)),
        "height": 500 + 100 * np.sin(rows / 9) * np.cos(columns / 7),
        "los_east": np.full(grid.shape, 0.6),
        "los_north": np.full(grid.shape, -0.1),
        "los_up": np.full(grid.shape, 0.79),
    }
    units = {"displacement": "m", "height": "m"}
    layers = {
        name: Layer(
            name=name,
            values=np.where(outside, np.nan, array).astype(np.float32),
            unit=units.get(name, "1"),
            description=name,
            nodata=math.nan,
        )
        for name, array in values.items()
    }
    components = np.where(lake | outside, 0, 1).astype(np.uint8)
    layers["components"] = Layer(name="components", values=components, unit="1", description="", nodata=0)
    masks = {"layover_shadow": np.where(rows > 100, 1 + (columns % 3), 0), "water": lake}
    for name, mask in masks.items():
        layers[name] = Layer(name=name, values=mask.astype(np.uint8), unit="1", description="", nodata=255)
    return Interferogram(pair_id="T052_a_b", grid=grid, layers=layers, facts=FACTS if facts is None else facts)


def with_only(ifg: Interferogram, *names: str) -> Interferogram:
    return replace(ifg, layers={name: ifg.layers[name] for name in names})


class TestPictures:
    @pytest.mark.parametrize("grid", [UTM, DEGREES])
    def test_every_layer_that_has_one(self, tmp_path: Path, grid: GeoGrid) -> None:
        paths = write_quicklooks(interferogram(grid), tmp_path)
        assert [p.stem for p in paths] == list(NAMES)
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{name}.png" for name in NAMES)
        for path in paths:
            inspect(path)
            with Image.open(path) as image:
                assert 1200 <= image.width <= 1650
                assert 600 <= image.height <= 1400
                assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
            assert path.stat().st_size < 1_500_000

    def test_missing_layers_and_facts(self, tmp_path: Path) -> None:
        bare = replace(with_only(interferogram(), "wrapped_phase"), facts={})
        assert [p.name for p in write_quicklooks(bare, tmp_path)] == ["wrapped_phase.png"]

    @pytest.mark.parametrize("shape", [(1, 1), (2, 90)])
    def test_tiny_grids(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        grid = replace(UTM, rows=shape[0], columns=shape[1])
        tiny = with_only(
            interferogram(grid, facts={}), "wrapped_phase", "displacement", "components", "height", "los_up"
        )
        assert len(write_quicklooks(tiny, tmp_path)) == 3

    def test_nothing_but_holes(self, tmp_path: Path) -> None:
        empty = interferogram()
        for layer in empty.layers.values():
            layer.values[...] = layer.nodata
        assert len(write_quicklooks(empty, tmp_path)) == len(NAMES) - 1  # nothing is masked

    def test_masks_are_drawn_where_there_are_any(self, tmp_path: Path) -> None:
        plain = interferogram()
        for name in ("layover_shadow", "water"):
            plain.layers[name].values[...] = 0
        assert "masks.png" not in [path.name for path in write_quicklooks(plain, tmp_path)]

    def test_large_pictures_are_brought_to_few_colours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one = with_only(interferogram(), "amplitude")
        (path,) = write_quicklooks(one, tmp_path)
        before = path.stat().st_size
        monkeypatch.setattr("topsar.formats.quicklook.MAX_BYTES", 1000)
        write_quicklooks(one, tmp_path)
        assert path.stat().st_size < before

    def test_leaves_no_global_state(self, tmp_path: Path) -> None:
        before = dict(matplotlib.rcParams)
        ifg = with_only(interferogram(), "displacement", "height")
        worker = threading.Thread(target=write_quicklooks, args=(ifg, tmp_path))
        worker.start()
        worker.join()
        assert dict(matplotlib.rcParams) == before
        assert [p.name for p in tmp_path.iterdir()] == ["displacement.png"]

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "products").write_text("in the way")
        with pytest.raises(ProductError, match="cannot write"):
            write_quicklooks(interferogram(), tmp_path / "products")

    def test_words_around_the_map(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        words: list[str] = []
        original = Figure.text

        def text(self: Figure, x: float, y: float, s: str, *args: Any, **kwargs: Any) -> Any:
            words.append(s)
            return original(self, x, y, s, *args, **kwargs)

        monkeypatch.setattr(Figure, "text", text)
        write_quicklooks(with_only(interferogram(), "displacement"), tmp_path)
        together = "\n".join(words)
        for expected in (
            "Line-of-sight displacement",
            "2023-09-04 → 2023-09-16",
            "Track 52   ·   descending   ·   12 days   ·   B⊥ −27 m",
            "topsar, native 0.1.0 engine  ·  19 × 4 looks  ·  80 m posting  ·  EPSG:32629",
        ):
            assert expected in together


class TestView:
    def test_is_cut_to_the_data(self) -> None:
        whole = interferogram()
        for layer in whole.layers.values():
            layer.values[:30] = layer.nodata
            layer.values[:, 140:] = layer.nodata
        cut = view_of(whole)
        assert (cut.window.row, cut.window.rows, cut.window.column_stop) == (30, 90, 140)
        assert cut.factor == 1
        assert cut.grid.north == UTM.north - 30 * 80

    def test_phase_is_averaged_as_complex_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(view, "MAX_ROWS", 30)
        whole = interferogram()
        near_pi = np.where(np.indices(UTM.shape).sum(axis=0) % 2, 3.0, -3.0).astype(np.float32)
        layer = replace(whole.layers["wrapped_phase"], values=near_pi)
        reduced = view_of(replace(whole, layers={"wrapped_phase": layer}))
        assert reduced.factor == 4
        assert reduced.grid.shape == (30, 37)
        assert reduced.grid.dx == 320
        phase = reduced.phase("wrapped_phase")
        assert phase is not None
        np.testing.assert_allclose(np.abs(phase), np.pi, atol=1e-6)

    def test_means_skip_holes_and_labels_are_picked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(view, "MAX_ROWS", 60)
        whole = interferogram()
        values = np.full(UTM.shape, 5.0, np.float32)
        values[0, 0] = np.nan
        values[0:2, 2:4] = np.nan
        labels = np.where(np.arange(UTM.columns) % 2, 9, 4).astype(np.uint8) * np.ones((UTM.rows, 1), np.uint8)
        layers = {
            "coherence": replace(whole.layers["coherence"], values=values),
            "components": replace(whole.layers["components"], values=labels),
        }
        reduced = view_of(replace(whole, layers=layers))
        mean, picked = reduced.mean("coherence"), reduced.labels("components")
        assert mean is not None
        assert picked is not None
        assert mean[0, 0] == 5.0
        assert np.isnan(mean[0, 1])
        assert set(np.unique(picked)) <= {4, 9}
        assert reduced.mean("absent") is None

    def test_ground_size(self) -> None:
        for grid, expected in ((UTM, (12_000, 9_600)), (DEGREES, (11_820, 11_088))):
            assert ground_size_m(grid) == pytest.approx(expected, rel=2e-3)

    def test_hillshade_is_lit_from_the_north_west(self) -> None:
        rows, columns = np.mgrid[:60, :60].astype(np.float32)
        grid = replace(UTM, rows=60, columns=60)
        cone = 500 - 10 * np.hypot(rows - 30, columns - 30)
        shade = hillshade(cone.astype(np.float32), grid)
        assert shade[15, 15] > 0.6
        assert shade[45, 45] < 0.4
        assert (hillshade(np.full((60, 60), 7, np.float32), grid) == 0.5).all()
        assert (hillshade(np.full((60, 60), np.nan, np.float32), grid) == 0.5).all()


class TestSheet:
    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (31.13, 31.87, [31.2, 31.4, 31.6, 31.8]),
            (-8.1, -7.9, [-8.05, -8.0, -7.95]),
            (179.4, 180.6, [179.6, 179.8, 180, 180.2, 180.4]),
        ],
    )
    def test_ticks_are_round(self, low: float, high: float, expected: list[float]) -> None:
        np.testing.assert_allclose(round_values(low, high, 3), expected)

    @pytest.mark.parametrize(("value", "expected"), [(7.3, 5), (4.9, 2), (2, 2), (0.19, 0.1), (1e-9, 1e-9), (99, 50)])
    def test_round_down(self, value: float, expected: float) -> None:
        assert round_down(value) == pytest.approx(expected)

    def test_degree_labels(self) -> None:
        assert degree_labels(np.array([-0.5, 0.0, 0.5]), "EW") == ["0.5°W", "0.0°", "0.5°E"]
        assert degree_labels(np.array([-8.25, -8.0]), "NS") == ["8.25°S", "8.00°S"]
        assert degree_labels(np.array([179.0, 181.0]), "EW") == ["179°E", "179°W"]

    def test_phase_colours_close_and_have_even_steps(self) -> None:
        colours = palette.cyclic()(np.arange(256))[:, :3]
        steps = np.linalg.norm(np.diff(colours, axis=0, append=colours[:1]), axis=1)
        assert steps.max() < 2 * steps.mean()
        assert np.linalg.norm(colours - np.roll(colours, 128, axis=0), axis=1).min() > 0.3
