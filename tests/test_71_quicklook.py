"""Pictures: what they average, where their ticks lie, that they come out whole."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.ImageColor import getrgb

from sample_layers import DEGREES, UTM, sample, with_only
from topsar.errors import ProductError
from topsar.formats.quicklook import palette, pictures, view
from topsar.formats.quicklook.pictures import draw_pictures
from topsar.formats.quicklook.ticks import find_round_values, format_degrees, round_down
from topsar.formats.quicklook.view import cut_view, measure_ground_m, shade_relief
from topsar.interferogram import LAYERS, Drawing, Layer, LayerKind
from topsar.model import GeoGrid
from topsar.raster import inspect

LACKING = {"gamma0", "sigma0", "ionosphere", "ionosphere_burst_ramps"}
"""What the sample lacks."""
DRAWN = {kind.name for kind in LAYERS.values() if kind.drawing and kind.drawing.style != "mask"}
PICTURES = DRAWN - LACKING | {"masks"}


class TestPictures:
    @pytest.mark.parametrize("grid", [UTM, DEGREES])
    def test_every_layer_that_has_one(self, tmp_path: Path, grid: GeoGrid) -> None:
        paths = draw_pictures(sample(grid), tmp_path)
        assert len(PICTURES) == 8
        assert {p.stem for p in paths} == PICTURES
        assert sorted(tmp_path.iterdir()) == sorted(paths)
        for path in paths:
            inspect(path)
            with Image.open(path) as image:
                assert 1200 <= image.width <= 1650
                assert 600 <= image.height <= 1400
                assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
            assert path.stat().st_size < 1_500_000

    def test_missing_layers_and_facts(self, tmp_path: Path) -> None:
        bare = with_only(sample(facts={}), "wrapped_phase")
        assert [p.name for p in draw_pictures(bare, tmp_path)] == ["wrapped_phase.png"]

    @pytest.mark.parametrize("shape", [(1, 1), (2, 90)])
    def test_tiny_grids(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        grid = replace(UTM, rows=shape[0], columns=shape[1])
        tiny = with_only(sample(grid, {}), "wrapped_phase", "displacement", "components", "height", "los_up")
        assert len(draw_pictures(tiny, tmp_path)) == 3

    def test_nothing_but_holes(self, tmp_path: Path) -> None:
        empty = sample()
        for layer in empty.layers.values():
            layer.values[...] = layer.kind.nodata
        assert len(draw_pictures(empty, tmp_path)) == len(PICTURES) - 1  # nothing is masked

    def test_masks_are_drawn_where_there_are_any(self, tmp_path: Path) -> None:
        plain = with_only(sample(), "amplitude", "layover_shadow", "water")
        for name in ("layover_shadow", "water"):
            plain.layers[name].values[...] = 0
        assert "masks.png" not in [path.name for path in draw_pictures(plain, tmp_path)]

    def test_masks_that_overlap_are_both_seen(self) -> None:
        both = with_only(sample(), "amplitude", "layover_shadow", "water")
        both.layers["layover_shadow"].values[...] = 1
        rgba, key, _ = pictures._paint_masks(cut_view(both), [both.layers[name].kind for name in list(both.layers)[1:]])
        lake = rgba[12:28, 102:118, :3]
        shown = {name.split()[0]: np.divide(getrgb(colour), 255) for colour, name in key.entries}
        nearest = np.linalg.norm(lake[..., None, :] - np.array(list(shown.values())), axis=-1).argmin(axis=-1)
        assert list(shown) == ["layover", "water"]
        assert 0.3 < (nearest == 1).mean() < 0.7
        assert [name.split()[1] for _, name in key.entries] == ["100.0%", "1.8%"]

    def test_the_scale_reaches_the_peak_and_no_single_pixel_beyond(self) -> None:
        rows, columns = np.mgrid[:200, :200]
        peak = (8 * np.exp(-((rows - 60) ** 2 + (columns - 60) ** 2) / (2 * 3**2))).astype(np.float32)
        low, high = peak.min(), peak.max()
        assert np.percentile(peak, 99.8) < 0.9 * high
        peak[150, 150], peak[20, 180] = 50, np.nan
        assert pictures._find_range(peak) == (low, high)

    def test_where_unwrapping_is_not_reliable_is_not_the_colour_of_zero(self) -> None:
        ifg = sample(displacement=np.zeros(UTM.shape), height=np.zeros(UTM.shape))
        cut = cut_view(ifg)
        rgba, _, _ = pictures._paint_symmetric(cut, "displacement", LAYERS["displacement"].drawing)
        reliable = cut.pick_labels("components") > 0
        zero, unknown = (rgba[place & (rgba[..., 3] > 0), :3].mean(axis=0) for place in (reliable, ~reliable))
        assert np.abs(zero - unknown).min() > 0.3

    def test_large_pictures_are_brought_to_few_colours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one = with_only(sample(), "amplitude")
        (path,) = draw_pictures(one, tmp_path)
        before = path.stat().st_size
        monkeypatch.setattr("topsar.formats.quicklook.pictures.MAX_BYTES", 1000)
        draw_pictures(one, tmp_path)
        assert path.stat().st_size < before

    def test_a_layer_that_nobody_knew_is_drawn_as_its_kind_says(self, tmp_path: Path) -> None:
        ifg = sample()
        for style in ("symmetric", "range", "unit", "cyclic"):
            drawing = Drawing(style=style, label="Thickness (m)")  # type: ignore[arg-type]
            kind = LayerKind(name=style, long_name="Snow", unit="m", description="Snow", drawing=drawing)
            layers = {**ifg.layers, style: Layer(kind=kind, values=ifg.layers["height"].values)}
            before = set(tmp_path.iterdir())
            draw_pictures(with_only(replace(ifg, layers=layers), style, "coherence"), tmp_path)
            assert {path.stem for path in set(tmp_path.iterdir()) - before} == {style, "coherence"} - {
                path.stem for path in before
            }

    def test_another_thread_may_draw(self, tmp_path: Path) -> None:
        ifg = with_only(sample(), "displacement", "height")
        worker = threading.Thread(target=draw_pictures, args=(ifg, tmp_path))
        worker.start()
        worker.join()
        assert [p.name for p in tmp_path.iterdir()] == ["displacement.png"]

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "products").write_text("in the way")
        with pytest.raises(ProductError, match="cannot write"):
            draw_pictures(sample(), tmp_path / "products")

    def test_words_around_the_map(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        words: list[str] = []
        original = ImageDraw.ImageDraw.text

        def text(self: ImageDraw.ImageDraw, place: Any, text: str, *args: Any, **kwargs: Any) -> Any:
            words.append(text)
            return original(self, place, text, *args, **kwargs)

        monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
        draw_pictures(with_only(sample(), "displacement"), tmp_path)
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
        whole = sample()
        for layer in whole.layers.values():
            layer.values[:30] = layer.kind.nodata
            layer.values[:, 140:] = layer.kind.nodata
        cut = cut_view(whole)
        assert (cut.window.row, cut.window.rows, cut.window.column_stop) == (30, 90, 140)
        assert cut.factor == 1
        assert cut.grid.north == UTM.north - 30 * 80

    def test_phase_is_averaged_as_complex_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(view, "MAX_ROWS", 30)
        whole = sample()
        near_pi = np.where(np.indices(UTM.shape).sum(axis=0) % 2, 3.0, -3.0).astype(np.float32)
        layer = replace(whole.layers["wrapped_phase"], values=near_pi)
        reduced = cut_view(replace(whole, layers={"wrapped_phase": layer}))
        assert reduced.factor == 4
        assert reduced.grid.shape == (30, 37)
        assert reduced.grid.dx == 320
        phase = reduced.average_phase("wrapped_phase")
        np.testing.assert_allclose(np.abs(phase), np.pi, atol=1e-6)

    def test_means_skip_holes_and_labels_are_picked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(view, "MAX_ROWS", 60)
        whole = sample()
        values = np.full(UTM.shape, 5.0, np.float32)
        values[0, 0] = np.nan
        values[0:2, 2:4] = np.nan
        labels = np.where(np.arange(UTM.columns) % 2, 9, 4).astype(np.uint8) * np.ones((UTM.rows, 1), np.uint8)
        layers = {
            "coherence": replace(whole.layers["coherence"], values=values),
            "components": replace(whole.layers["components"], values=labels),
        }
        reduced = cut_view(replace(whole, layers=layers))
        mean, picked = reduced.average("coherence"), reduced.pick_labels("components")
        assert mean[0, 0] == 5.0
        assert np.isnan(mean[0, 1])
        assert set(np.unique(picked)) <= {4, 9}

    def test_ground_size(self) -> None:
        for grid, expected in ((UTM, (12_000, 9_600)), (DEGREES, (11_820, 11_088))):
            assert measure_ground_m(grid) == pytest.approx(expected, rel=2e-3)

    def test_hillshade_is_lit_from_the_north_west(self) -> None:
        rows, columns = np.mgrid[:60, :60].astype(np.float32)
        grid = replace(UTM, rows=60, columns=60)
        cone = 500 - 10 * np.hypot(rows - 30, columns - 30)
        shade = shade_relief(cone.astype(np.float32), grid)
        assert shade[15, 15] > 0.6
        assert shade[45, 45] < 0.4
        assert (shade_relief(np.full((60, 60), 7, np.float32), grid) == 0.5).all()
        assert (shade_relief(np.full((60, 60), np.nan, np.float32), grid) == 0.5).all()


class TestTicks:
    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (31.13, 31.87, [31.2, 31.4, 31.6, 31.8]),
            (-8.1, -7.9, [-8.05, -8.0, -7.95]),
            (179.4, 180.6, [179.6, 179.8, 180, 180.2, 180.4]),
        ],
    )
    def test_ticks_are_round(self, low: float, high: float, expected: list[float]) -> None:
        np.testing.assert_allclose(find_round_values(low, high, 3), expected)

    @pytest.mark.parametrize(("value", "expected"), [(7.3, 5), (4.9, 2), (2, 2), (0.19, 0.1), (1e-9, 1e-9), (99, 50)])
    def testround_down(self, value: float, expected: float) -> None:
        assert round_down(value) == pytest.approx(expected)

    def test_degree_labels(self) -> None:
        assert format_degrees(np.array([-0.5, 0.0, 0.5]), "EW") == ["0.5°W", "0.0°", "0.5°E"]
        assert format_degrees(np.array([-8.25, -8.0]), "NS") == ["8.25°S", "8.00°S"]
        assert format_degrees(np.array([179.0, 181.0]), "EW") == ["179°E", "179°W"]

    def test_phase_colours_close_and_have_even_steps(self) -> None:
        colours = palette.PHASE.table
        steps = np.linalg.norm(np.diff(colours, axis=0, append=colours[:1]), axis=1)
        assert steps.max() < 2 * steps.mean()
        assert np.linalg.norm(colours - np.roll(colours, 128, axis=0), axis=1).min() > 0.3
