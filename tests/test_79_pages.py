"""Pages in a real browser: what a click, a drag, a key and a download show is what the files hold."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from browser import CHROMIUM, Browser, start_browser
from sample_layers import UTM, sample, with_only
from test_72_report import done, failed, put_pictures
from test_72_report import write as write_report
from test_79_points import RULES, read_csv, with_amplitudes
from test_79_timeseries import DAYS, GRID, day_text, make_stack, write
from topsar.formats import open_format
from topsar.formats.quicklook.layers import write_layers
from topsar.formats.quicklook.palette import PHASE
from topsar.formats.quicklook.pictures import draw_pictures
from topsar.formats.quicklook.view import cut_view
from topsar.formats.viewer import MOST_STEPS, TILE, Shown, average, encode, pack_scene
from topsar.model import GeoGrid

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: pages are not tried in a browser")
READY = "document.body.dataset.ready === '1' && document.getElementById('viewer').dataset.ready === '1'"
MAP = "#viewer canvas"
UTM_FRAME = GeoGrid(crs="EPSG:32631", west=300000, north=5500000, dx=800, dy=800, rows=255, columns=360)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests here."""
    with start_browser(tmp_path_factory.mktemp("browser") / "profile") as started:
        yield started


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("series")
    return folder, write(folder, make_stack({DAYS[2]: 0.02 * np.sin(np.arange(70) / 5)[None, :] * np.ones((60, 1))}))


@pytest.fixture
def page(browser: Browser, series: tuple[Path, dict[str, np.ndarray]]) -> Iterator[Browser]:
    browser.open(series[0] / "timeseries.html")
    browser.wait_for(READY)
    yield browser
    assert browser.complaints == []


def list_points(page: Browser) -> list[list[str]]:
    found: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('#points tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def read_number(text: str) -> float:
    return float(text.split()[0].replace("−", "-"))


def look_up(values: np.ndarray, place: str) -> float:
    latitude, longitude = map(float, place.split(", "))
    x, y = Transformer.from_crs("EPSG:4326", GRID.crs, always_xy=True).transform(longitude, latitude)
    return float(values[int((GRID.north - y) / GRID.dy), int((x - GRID.west) / GRID.dx)])


@needs_browser
def test_two_points_that_are_clicked_show_what_the_files_hold(page: Browser, series: Any, tmp_path: Path) -> None:
    made = series[1]
    page.click(MAP)
    page.wait_for("document.querySelectorAll('#points td').length === 3")
    page.click("#compare")
    page.click(MAP, 0.45, 0.7)
    page.wait_for("document.querySelectorAll('#points tr').length === 3")
    *points, difference = list_points(page)
    step = page.evaluate("Object.fromEntries(viewer.names.map(name => [name, viewer.rasters[name].step / 2 + 0.051]))")
    for place, velocity, coherence in points:
        assert read_number(velocity) == pytest.approx(1000 * look_up(made["velocity"], place), abs=step["velocity"])
        deviation = read_number(velocity.partition("±")[2])
        assert deviation == pytest.approx(1000 * look_up(made["velocity_std"], place), abs=step["velocity_std"])
        assert float(coherence) == pytest.approx(look_up(made["temporal_coherence"], place), abs=0.01)
    assert read_number(difference[1]) == pytest.approx(read_number(points[1][1]) - read_number(points[0][1]), abs=0.11)
    assert page.evaluate("document.querySelectorAll('#series .dot').length") == 2 * len(DAYS)
    assert page.evaluate("document.querySelectorAll('#series .errorbar').length") == 2 * len(DAYS)
    lines = page.download(tmp_path, "#csv", "series.csv").decode().splitlines()
    last = [float(text) for text in lines[-1].split(",")[1:]]
    assert [line.partition(",")[0] for line in lines] == ["date", *map(day_text, DAYS)]
    name = f"displacement_{day_text(DAYS[-1]).replace('-', '')}"
    for (place, *_), moved in zip(points, last[::2], strict=True):
        assert moved == pytest.approx(1000 * look_up(made[name], place), abs=0.1)


@needs_browser
def test_a_date_to_look_at_is_marked_in_the_network(page: Browser) -> None:
    assert day_text(DAYS[2]) in page.evaluate("document.querySelector('main').innerText")
    dashed = page.evaluate("document.querySelectorAll('#network .pair[style*=dasharray]').length")
    assert dashed == page.evaluate("scene.network.links.filter(link => link.includes(2)).length") > 0


@needs_browser
def test_a_profile_is_dragged_and_downloaded(page: Browser, series: Any, tmp_path: Path) -> None:
    page.evaluate("[...document.querySelectorAll('button')].find(one => one.textContent === 'Profile').click()")
    page.drag(*(page.find(MAP, x, 0.507) for x in (0.3, 0.4, 0.7)))
    page.wait_for("document.getElementById('plotname').textContent === 'Profile'")
    text = page.download(tmp_path, "#profilecsv", "profile_velocity.csv").decode()
    lines = [line.split(",") for line in text.splitlines()]
    assert lines[0] == ["distance_km", "latitude", "longitude", "velocity"]
    known = [line for line in lines[1:] if line[3]]
    assert len(known) > 200
    step = page.evaluate("viewer.rasters.velocity.step")
    assert step < 500 * np.nanmedian(series[1]["velocity_std"])
    for line in known[::40]:
        expected = 1000 * look_up(series[1]["velocity"], f"{line[1]}, {line[2]}")
        assert float(line[3]) == pytest.approx(expected, abs=0.51 * step)
    assert float(lines[-1][0]) == pytest.approx(measure_km(lines[1], lines[-1]), rel=0.01)


def measure_km(one: list[str], other: list[str]) -> float:
    north, east = (float(other[k]) - float(one[k]) for k in (1, 2))
    return float(np.hypot(north * 111.2, east * 111.3 * np.cos(np.deg2rad(float(one[1])))))


@needs_browser
def test_keys_move_the_map_and_read_its_middle(page: Browser) -> None:
    page.evaluate(f"document.querySelector('{MAP}').focus()")
    before = page.evaluate("viewer.view.zoom")
    page.press("+", 187)
    page.press("ArrowLeft", 37)
    assert page.evaluate("viewer.view.zoom") == pytest.approx(1.5 * before)
    page.press("Enter", 13)
    page.wait_for("document.querySelectorAll('#points td').length === 3")
    middle = page.evaluate("viewer.name(viewer.fromScreen(viewer.canvas.width / 2, viewer.canvas.height / 2))")
    assert list_points(page)[0][0] == middle


@needs_browser
def test_swipe_opacity_range_and_picture(page: Browser, tmp_path: Path) -> None:
    page.choose("[aria-label^='Layer to the right']", "temporal_coherence")
    page.choose(".swiper", "250", "input")
    page.choose("[aria-label='Upper end of the colours']", "20")
    assert page.evaluate("[viewer.split, ...viewer.ranges.velocity]") == [0.25, -20, 20]
    page.wait_for(READY)
    legends = page.evaluate("document.querySelector('.legends').innerText")
    for said in ("Left: Velocity", "positive toward the satellite", "20 mm/yr", "away", "Right: Temporal coherence"):
        assert said in legends
    assert "no reliable value" in legends
    content = page.download(tmp_path, ".tools button:last-child", "velocity_temporal_coherence.png")
    picture = np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    colourful = np.ptp(picture[100:500], axis=2).max(axis=0)
    split = picture.shape[1] // 4
    assert colourful[: split - 5].max() > 60
    assert colourful[split + 5 :].max() < 12, "coherence is grey"


@needs_browser
def test_a_place_behind_the_address_is_opened(page: Browser, series: Any) -> None:
    page.click(MAP)
    page.wait_for("document.querySelectorAll('#points td').length === 3")
    place = list_points(page)[0]
    page.open(series[0] / "timeseries.html", "#" + place[0].replace(" ", ""), width=390, height=844)
    page.wait_for(READY)
    assert list_points(page)[0][1:] == place[1:]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out on a phone"


@needs_browser
def test_a_click_near_a_point_takes_it(browser: Browser, tmp_path: Path) -> None:
    open_format("timeseries", RULES).write(iter(with_amplitudes(make_stack())), tmp_path)
    table = read_csv(tmp_path)
    browser.open(tmp_path / "timeseries.html")
    browser.wait_for(READY)
    browser.click(MAP, 0.45, 0.6)
    browser.wait_for("document.querySelectorAll('#points td').length === 3")
    place, velocity, _ = list_points(browser)[0]
    assert "point of dispersion" in place
    latitude, longitude = map(float, place.split(", ")[:2])
    nearest = int(np.hypot(table["lat"] - latitude, table["lon"] - longitude).argmin())
    assert (latitude, longitude) == pytest.approx((table["lat"][nearest], table["lon"][nearest]), abs=2e-5)
    assert read_number(velocity) == pytest.approx(1000 * table["velocity"][nearest], abs=0.06)
    lines = browser.evaluate("makeCsv()").splitlines()
    assert len(lines) == 1 + len(DAYS)
    last = f"D{day_text(DAYS[-1]).replace('-', '')}"
    assert float(lines[-1].split(",")[1]) == pytest.approx(1000 * table[last][nearest], abs=0.02)
    browser.click("#dots")
    browser.click(MAP, 0.45, 0.6)
    browser.wait_for("!document.getElementById('points').textContent.includes('point of')")
    assert browser.complaints == []


@needs_browser
def test_what_is_packed_is_what_the_browser_unpacks(page: Browser) -> None:
    rng = np.random.default_rng(5)
    for shape in ((1, 1), (3, 7), (40, 33)):
        whole = rng.integers(-MOST_STEPS, MOST_STEPS + 1, shape).astype(np.float32)
        whole[rng.random(shape) < 0.3] = np.nan
        code = f"unpack({encode(whole)!r}, {shape[0]}, {shape[1]}, 0.5)"
        code += ".then(found => [...found].map(x => Number.isNaN(x) ? null : x))"
        found = np.array([np.nan if one is None else one for one in page.evaluate(code)]).reshape(shape)
        np.testing.assert_array_equal(found, whole * 0.5)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs that are done, of which one has lost its layers, and one that failed."""
    runs = tmp_path_factory.mktemp("runs")
    names = [f"T052_20230904T063730_2023{day}T063730" for day in ("0916", "1010")]
    days = ("2023-09-16", "2023-10-10")
    outcomes = [
        done(runs, name, secondary_date=day, coherence_mean=coherence)
        for name, day, coherence in zip(names, days, (0.8, 0.3), strict=True)
    ]
    for name in names:
        put_pictures(runs / name / "quicklook", "filtered_phase")
        write_layers(cut_view(sample(UTM)), runs / name / "quicklook")
    write_report(runs, *outcomes, failed(runs))
    (runs / names[1] / "quicklook" / "layers.js").unlink()
    return runs / "report.html"


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Browser]:
    browser.open(report)
    yield browser
    assert browser.complaints == []


LOOK = "document.getElementById('viewer').dataset.ready === '1'"
NAMES = "[...document.querySelectorAll('#pairs tbody tr:not([hidden])')].map(row => row.cells[0].textContent.slice(-5))"


@needs_browser
def test_the_table_of_the_report_is_sorted_and_filtered(opened: Browser) -> None:
    assert opened.evaluate(NAMES) == ["09-16", "10-10", "09-28"]
    opened.click("#pairs th:nth-child(5) button")
    assert opened.evaluate(NAMES) == ["10-10", "09-16", "09-28"], "what has no coherence comes last"
    opened.click("#pairs th:nth-child(5) button")
    assert opened.evaluate(NAMES) == ["09-16", "10-10", "09-28"]
    assert opened.evaluate("document.querySelector('#pairs th:nth-child(5)').ariaSort") == "descending"
    opened.click("#pairs th:nth-child(1) button")
    assert opened.evaluate(NAMES) == ["09-16", "10-10", "09-28"]
    opened.choose("#find", "Killed memory", "input")
    assert opened.evaluate(NAMES) == ["09-28"]
    assert opened.evaluate("[...document.querySelectorAll('.pair:not([hidden]) h3')].length") == 1
    assert opened.evaluate("document.getElementById('count').textContent") == "1 of 3 pairs"
    opened.choose("#find", "", "input")
    opened.choose("#status", "done")
    assert opened.evaluate(NAMES) == ["09-16", "10-10"]


@needs_browser
def test_pictures_and_details_of_a_pair_come_when_they_are_wanted(opened: Browser) -> None:
    assert opened.evaluate("document.querySelectorAll('#pair-1 .facts').length") == 0
    opened.click("#pair-1 summary")
    opened.wait_for("document.querySelector('#pair-1 .facts td')")
    opened.wait_for("document.querySelector('#pair-1 img').naturalWidth === 480")
    opened.resize(390, 844)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390


def read_values(opened: Browser, row: int, column: int) -> dict[str, str]:
    """What the page says of all layers at the middle of a pixel of the sample."""
    x, y = UTM.west + (column + 0.5) * UTM.dx, UTM.north - (row + 0.5) * UTM.dy
    longitude, latitude = Transformer.from_crs(UTM.crs, "EPSG:4326", always_xy=True).transform(x, y)
    opened.evaluate(f"readValues(viewer.fromDegrees([{latitude}, {longitude}]))")
    lines = opened.evaluate("document.getElementById('values').innerText").splitlines()[1:]
    return dict(line.rsplit(": ", 1) for line in lines)


@needs_browser
def test_the_layers_of_a_pair_are_read_in_the_report(opened: Browser) -> None:
    ifg = sample(UTM)
    opened.click("#pair-1 .look")
    opened.wait_for(LOOK)
    for row, column in ((60, 75), (75, 40)):
        said = read_values(opened, row, column)
        for name, title, scale, near in (
            ("displacement", "Line-of-sight displacement", 100, 0.1),
            ("unwrapped_phase", "Unwrapped phase", 1, 0.2),
            ("filtered_phase", "Filtered phase", 1, 0.03),
            ("coherence", "Coherence", 1, 0.01),
        ):
            expected = scale * ifg.layers[name].values[row, column]
            assert read_number(said[title]) == pytest.approx(expected, abs=near), (name, row, column)
    assert read_values(opened, 20, 110)["Line-of-sight displacement"] == "no value", "nothing unwraps a lake"
    opened.choose("#viewer select", "displacement")
    opened.choose("[aria-label^='Layer to the right']", "filtered_phase")
    opened.wait_for(LOOK)
    legends = opened.evaluate("document.querySelector('.legends').innerText")
    assert "positive toward the satellite" in legends
    assert "reference * conj(secondary)" in legends
    opened.click("#close")
    assert not opened.evaluate("document.getElementById('look').open")


@needs_browser
def test_the_colour_wheel_has_the_colours_of_the_phase(opened: Browser) -> None:
    opened.click("#pair-1 .look")
    opened.wait_for(LOOK)
    for phase in (-3.0, -1.5, 0.0, 1.5, 3.0):
        x, y = 120 + 60 * np.cos(phase), 90 - 60 * np.sin(phase)
        code = f"[...document.querySelector('.wheel').getContext('2d').getImageData({int(x)}, {int(y)}, 1, 1).data]"
        expected = PHASE.pick_bytes((phase + np.pi) / (2 * np.pi))
        np.testing.assert_allclose(opened.evaluate(code)[:3], expected, atol=12)


@needs_browser
def test_layers_that_are_not_beside_the_report_are_said(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.click("#pair-2 .look")
    browser.wait_for("document.querySelector('#viewer .error')")
    assert "layers.js" in browser.evaluate("document.querySelector('#viewer .error').textContent")


@needs_browser
@pytest.mark.slow
def test_nine_hundred_pairs_stay_below_25_megabytes(browser: Browser, tmp_path: Path) -> None:
    quicklook = tmp_path / "quicklook"
    quicklook.mkdir()
    draw_pictures(with_only(sample(UTM), "filtered_phase", "displacement", "coherence", "height"), quicklook)
    outcomes = []
    for number in range(900):
        outcomes.append(done(tmp_path, f"T052_{number:03d}", reference_date=day_text(number // 3)))
        (tmp_path / outcomes[-1].job / "quicklook").symlink_to(quicklook)
    write_report(tmp_path, *outcomes)
    assert (tmp_path / "report.html").stat().st_size < 25_000_000
    browser.open(tmp_path / "report.html")
    drawn = "[...document.images].filter(one => one.src).length"
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert browser.evaluate(drawn) < 60, "pictures are drawn when they are seen"
    browser.evaluate("document.getElementById('pair-900').scrollIntoView()")
    browser.wait_for("document.querySelector('#pair-900 img').naturalWidth === 280")
    assert browser.evaluate(drawn) < 120
    assert browser.complaints == []


def shown(values: np.ndarray, style: str = "range") -> Shown:
    return Shown(values=values.astype(np.float32), step=0.01, title="x", unit="", style=style, low=0, high=1)


def test_a_scene_that_takes_too_much_loses_its_finest_level() -> None:
    rng = np.random.default_rng(1)
    noise, calm = rng.normal(size=(600, 700)), np.zeros((600, 700))
    grid = GeoGrid(crs=GRID.crs, west=GRID.west, north=GRID.north, dx=80, dy=80, rows=600, columns=700)
    whole = pack_scene(grid, {"noise": shown(noise), "calm": shown(calm)}, 10**9)["layers"]
    assert [len(level) for level in whole["noise"]["levels"]] == [9, 4, 1]
    most = sum(sum(map(len, level)) for level in whole["noise"]["levels"][1:]) + 10_000
    cut = pack_scene(grid, {"noise": shown(noise), "calm": shown(calm)}, most)["layers"]
    assert (cut["noise"]["first"], cut["calm"]["first"]) == (1, 0)
    assert cut["noise"]["levels"] == whole["noise"]["levels"][1:]


def test_averages_leave_out_holes_and_wrap_angles() -> None:
    values = np.array([[1.0, np.nan, 5.0], [3.0, 2.0, np.nan]], np.float32)
    np.testing.assert_allclose(average(values, 2), [[2.0, 5.0]])
    assert np.isnan(average(np.full((2, 2), np.nan), 2)).all()
    angles = np.array([[np.pi - 0.1, -np.pi + 0.3]], np.float32)
    np.testing.assert_allclose(average(angles, 2, cyclic=True), [[-np.pi + 0.1]], atol=1e-5)


def test_places_on_a_frame_are_those_of_its_projection() -> None:
    """Parallels are bent across a frame: corners alone would be off by a kilometre."""
    scene = pack_scene(UTM_FRAME, {"x": shown(np.zeros(UTM_FRAME.shape))}, 10**9)
    latitude, longitude = (np.array(one).reshape(17, 17) for one in scene["mesh"])
    to_degrees = Transformer.from_crs(UTM_FRAME.crs, "EPSG:4326", always_xy=True)
    x, y = UTM_FRAME.west + 7.5 / 16 * 288_000, UTM_FRAME.north - 7.5 / 16 * 204_000
    expected = to_degrees.transform(x, y)[::-1]
    found = latitude[7:9, 7:9].mean(), longitude[7:9, 7:9].mean()
    assert np.hypot(*(np.array(found) - expected) * (111e3, 71e3)) < 10


def test_a_page_needs_nothing_from_elsewhere(series: Any) -> None:
    text = (series[0] / "timeseries.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|<script src|<link", text)
    assert text.count("</script>") == 2
    assert TILE == 256
