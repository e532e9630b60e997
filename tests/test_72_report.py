"""The report of a batch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topsar.errors import ProductError
from topsar.report.network import NetworkDrawing, draw_networks
from topsar.report.page import write_report
from topsar.report.pair import read_pairs
from topsar.report.snapshot import Attempt, summarise_steps
from topsar.report.timeline import COLOURS, Timeline, draw_timeline
from topsar.schedule.jobs import Ended, Event, Outcome, Reason, Status
from topsar.schedule.record import Beginning, End, PlannedJob, PlannedStep, Pulse, Recorder, RunRecord
from topsar.settings import load_settings
from topsar.wording import bytes_text, rate_text, round_step, seconds_text

BEGAN = datetime(2024, 5, 1, 9, 30, tzinfo=timezone.utc)
VOID = {"meta", "img", "line", "circle", "path", "br", "input"}
GB = 1_000_000_000
FACTS = {
    "track": 52,
    "reference_date": "2023-09-04",
    "secondary_date": "2023-09-16",
    "perpendicular_baseline_m": -27.3,
    "coherence_mean": 0.631,
    "bursts": ["IW1_109870", "IW1_109871", "IW2_109870"],
    "orbits": {"2023-09-04": "S1A_OPER_AUX_POEORB_OPOD_20230924T080728_V1_2.EOF", "2023-09-16": "annotation"},
    "engine": "native",
    "engine_version": "0.1.0",
    "posting": "80 m",
    "versions": {"topsar": "0.1.0"},
    "steps": [
        {"job": "date", "name": "geocode", "seconds": 44.1, "peak_memory_bytes": 1_900_000_000},
        {"job": "T052_20230904T063730_20230916T063730", "name": "unwrap", "seconds": 71.0, "peak_memory_bytes": 9},
    ],
}
HOSTILE = "\x1b[31mred\x1b[0m & <script>alert(1)</script>"


class Reader(HTMLParser):
    """Checks that tags nest, and collects what is asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, key: str) -> list[str]:
        return [value for _, k, value in self.attributes if k == key]


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def event(job: str, step: str, status: Status, **known: Any) -> Event:
    return Event(time=BEGAN, job=job, step=step, status=status, **known)


def ended(seconds: float, peak: int = 2_300_000_000, reason: Reason = Reason.DONE, **known: Any) -> Ended:
    return Ended(
        reason=reason, exit_code=0, seconds=seconds, cpu_s=3 * seconds, peak_memory_bytes=peak, **known
    )  # fmt: skip


def outcome(job: str, status: Status, *events: Event, is_pair: bool = True, message: str = "") -> Outcome:
    return Outcome(job=job, title=f"title of {job}", status=status, is_pair=is_pair, events=events, message=message)


def done(
    runs: Path, job: str = "T052_20230904T063730_20230916T063730", status: Status = Status.DONE, **facts: Any
) -> Outcome:
    """A pair whose products are there, with other facts than `FACTS`."""
    folder = runs / job / "products"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.json").write_text(json.dumps({**FACTS, **facts}))
    return outcome(job, status, event(job, "unwrap", status, ended=ended(71.0)))


def failed(runs: Path, job: str = "T052_20230916T063730_20230928T063730") -> Outcome:
    (runs / job).mkdir(parents=True, exist_ok=True)
    (runs / job / "unwrap.log").write_text(f"{HOSTILE}\nKilled\n")
    events = event(job, "unwrap", Status.FAILED, ended=ended(5.0)), event(job, "products", Status.BLOCKED)
    return outcome(
        job, Status.FAILED, *events, message="unwrap was killed by memory\n  hint: <raise> MEMORY_GB"
    )  # fmt: skip


def write(runs: Path, *outcomes: Outcome, started: datetime = BEGAN, seconds: float = 421.0) -> Reader:
    settings = load_settings(env_file=None, data=runs, pairs=runs / "pairs.txt", flags={"POSTING": "80"})
    write_report(runs, outcomes, settings, started, seconds)
    return read(runs / "report.html")


def put_pictures(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(1).integers(0, 255, (300, 1600, 3), dtype=np.uint8)
    for name in names:
        Image.fromarray(noise).save(folder / f"{name}.png")


def test_says_what_became_of_the_batch(tmp_path: Path) -> None:
    date = outcome("date", Status.DONE, is_pair=False)
    words = write(tmp_path, date, done(tmp_path), failed(tmp_path)).words
    for expected in (
        "1 of 2",
        "7 min 01 s",
        "2.3 GB",
        "2023-09-04 → 2023-09-16",
        "2023-09-16 → 2023-09-28",
        "−27",
        "0.63",
        "−27.3 m",
        "3: IW1 2, IW2 1",
        "2023-09-04 POEORB, 2023-09-16 annotation",
        "native 0.1.0",
        "geocode title of date",
        "1 min 55 s",
        "POSTING",
        "flag",
        "failed",
    ):
        assert expected in words, expected


def test_what_to_beware_of_is_said(tmp_path: Path) -> None:
    page = write(tmp_path, done(tmp_path, remarks=["its coherence is <low>"]))
    assert any("its coherence is <low>" in words for words in page.words)


def test_everything_is_escaped(tmp_path: Path) -> None:
    reader = write(tmp_path, failed(tmp_path), done(tmp_path, engine=HOSTILE, reference_date=HOSTILE))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script") == 1, "ours"
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert "red & <script>alert(1)</script>\nKilled" in reader.words
    assert "red & <script>alert(1)</script> 0.1.0" in reader.words
    assert "unwrap was killed by memory\n  hint: <raise> MEMORY_GB" in reader.words


def test_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    pair = done(tmp_path)
    put_pictures(tmp_path / pair.job / "quicklook", "filtered_phase", "displacement", "masks")
    reader = write(tmp_path, pair, failed(tmp_path))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|<script src|<link", text)
    assert all(source.startswith("data:image/webp;base64,") for source in reader.values("data-src"))
    assert len(reader.values("data-src")) == 2
    assert reader.values("src") == []
    assert len(text) < 600_000


def test_links_are_relative_and_lead_somewhere(tmp_path: Path) -> None:
    pair = done(tmp_path, "T052 #1")
    put_pictures(tmp_path / pair.job / "quicklook", "displacement")
    (tmp_path / pair.job / "products" / "coherence.tif").touch()
    reader = write(tmp_path, pair, failed(tmp_path))
    links = reader.values("href")
    assert "T052%20%231/products/" in links
    assert "T052%20%231/quicklook/displacement.png" in links
    assert "T052%20%231/products/coherence.tif" in links
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors == {"pair-1", "pair-2"} <= set(reader.values("id"))


def test_layers_come_in_the_order_of_the_catalogue(tmp_path: Path) -> None:
    pair = done(tmp_path)
    for name in ("a_correction", "displacement", "coherence", "wrapped_phase"):
        (tmp_path / pair.job / "products" / f"{name}.tif").touch()
    put_pictures(tmp_path / pair.job / "products", "displacement", "coherence", "filtered_phase")
    links = write(tmp_path, pair).values("href")
    names = [Path(link).stem for link in links if link.endswith("png")]
    assert names == ["filtered_phase", "displacement", "coherence"]
    assert read_pairs(tmp_path, [pair])[0].layers == ["wrapped_phase", "coherence", "displacement", "a_correction"]


def test_damaged_picture_is_left_out(tmp_path: Path) -> None:
    pair = done(tmp_path)
    folder = tmp_path / pair.job / "quicklook"
    put_pictures(folder, "filtered_phase", "displacement")
    (folder / "displacement.png").write_bytes((folder / "displacement.png").read_bytes()[:2000])
    assert len(write(tmp_path, pair).values("data-src")) == 1


def test_facts_that_say_little(tmp_path: Path) -> None:
    odd = {"coherence_mean": float("nan"), "bursts": "all", "orbits": "none", "perpendicular_baseline_m": "?"}
    others = [done(tmp_path, "y", bursts=5, orbits=[], versions={}, steps=[]), outcome("x", Status.INTERRUPTED)]
    reader = write(tmp_path, *others, done(tmp_path, **odd, steps=[]))
    assert {"interrupted", "all", "none", "?"} <= set(reader.words)


def test_products_of_an_earlier_run_are_mentioned(tmp_path: Path) -> None:
    done(tmp_path, "x")
    words = write(tmp_path, outcome("x", Status.FAILED, message="no space")).words
    assert any("no space" in word and "x/products" in word for word in words)


def test_empty_batch(tmp_path: Path) -> None:
    assert "0 of 0" in write(tmp_path).words


def test_a_batch_without_pairs_counts_its_jobs(tmp_path: Path) -> None:
    page = write(
        tmp_path,
        outcome("radar_stack", Status.DONE, is_pair=False),
        outcome("radar_date", Status.FAILED, is_pair=False, message="no orbit"),
    )
    assert "1 of 2" in page.words
    assert "jobs done" in page.words
    assert "Pair by pair" not in page.words


def test_many_pairs_have_fewer_thumbnails(tmp_path: Path) -> None:
    pair = done(tmp_path)
    put_pictures(tmp_path / pair.job / "quicklook", "filtered_phase", "displacement", "coherence")
    for count, pictures in ((1, 3), (40, 2)):
        outcomes = [pair] + [failed(tmp_path)] * (count - 1)
        assert len(write(tmp_path, *outcomes).values("data-src")) == pictures


def test_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(ProductError, match=re.escape("report.html")):
        write(tmp_path / "runs")


def test_pairs_per_hour_count_those_of_this_run(tmp_path: Path) -> None:
    cached = done(tmp_path, "c", Status.CACHED)
    assert "4.0" in write(tmp_path, done(tmp_path, "a"), done(tmp_path, "b"), cached, seconds=1800).words
    assert "pairs per hour" not in write(tmp_path, cached, seconds=1800).words


class TestNetwork:
    def draw(self, runs: Path, *outcomes: Outcome) -> NetworkDrawing:
        (drawing,) = draw_networks(read_pairs(runs, outcomes))
        return drawing

    def test_baselines_of_dates_are_solved_from_all_pairs(self, tmp_path: Path) -> None:
        edges = [("01", "13", 10), ("13", "25", -30), ("01", "25", -20), ("25", "29", None)]
        pairs = [
            done(tmp_path, f"T052_{a}_{b}", reference_date=f"2023-09-{a}", secondary_date=f"2023-09-{b}",
                 perpendicular_baseline_m=metres) for a, b, metres in edges
        ]  # fmt: skip
        titles = [dot.title for dot in self.draw(tmp_path, *pairs).dots]
        assert titles[:3] == ["2023-09-01: +0 m", "2023-09-13: +10 m", "2023-09-25: -20 m"]

    def test_one_line_per_pair_and_one_dot_per_date(self, tmp_path: Path) -> None:
        drawing = self.draw(tmp_path, done(tmp_path), failed(tmp_path))
        assert (len(drawing.lines), len(drawing.dots)) == (2, 3)
        assert [tick.text for tick in drawing.date_ticks] == ["2023-09-04", "2023-09-16", "2023-09-28"]
        assert drawing.dots[1].title == "2023-09-16: -27 m"
        reader = write(tmp_path, done(tmp_path), failed(tmp_path))
        assert reader.values("class").count("pair-failed") == reader.values("class").count("pair-done") == 1
        assert any(word.endswith(": done, coherence 0.63") for word in reader.words)

    def test_nothing_to_draw(self, tmp_path: Path) -> None:
        assert draw_networks([]) == []
        assert draw_networks(read_pairs(tmp_path, [outcome("x", Status.FAILED)])) == []

    def test_coherent_pairs_are_stronger(self, tmp_path: Path) -> None:
        drawings = [self.draw(tmp_path, done(tmp_path, coherence_mean=value)) for value in (0.0, 0.4, 1.0)]
        assert [drawing.lines[0].opacity for drawing in drawings] == [0.2, 0.52, 1.0]

    def test_one_plot_per_track(self, tmp_path: Path) -> None:
        other = done(tmp_path, "T154_20230904T063730_20230916T063730", track=None)
        assert {"Track 52", "Track 154"} <= set(write(tmp_path, done(tmp_path), other).words)


# --- the timeline -----------------------------------------------------------------------------------------------


def attempt(start: float, end: float, step: str = "filter", status: Status = Status.DONE, **known: Any) -> Attempt:
    reason = Reason.DONE if status is Status.DONE else Reason.ERROR
    peak, written = known.pop("peak", 1_200_000_000), known.pop("written", 30_000_000)
    values = {"ended": ended(end - start, peak, reason, written_bytes=written), **known}
    planned = PlannedStep(name=step, status=Status.WAITING, memory_bytes=1_500_000_000)
    job = PlannedJob(id="a", title=values.pop("title", "pair <1>"), is_pair=True, steps=(planned,))
    return Attempt(job=job, step=planned, start_s=start, end_s=end, event=event("a", step, status, **values))


def draw(*attempts: Attempt, pulses: Iterable[Pulse] = ()) -> Timeline:
    begun = Beginning(started=BEGAN, pid=1, host="here", mark="m")
    last = max(one.end_s for one in attempts)
    drawing = draw_timeline(RunRecord(begun=begun, pulses=tuple(pulses), end=End(at_s=last, how="done")), attempts)
    assert drawing is not None
    return drawing


def pulse(at_s: float, memory: int | None) -> Pulse:
    return Pulse(
        at_s=at_s, running=1, memory_bytes=memory, reserved_bytes=4 * GB, budget_bytes=8 * GB, disk_free_bytes=GB
    )


def titles(drawing: Timeline) -> list[str]:
    return [bar.title for group in drawing.groups for bar in group.bars]


def size(drawing: Timeline) -> int:
    """About the number of characters on the page."""
    return len(json.dumps(asdict(drawing)))


class TestTimeline:
    def test_lanes_are_as_many_as_steps_at_once(self) -> None:
        bars = draw(attempt(5, 6), attempt(0, 4), attempt(1, 9), attempt(4, 5)).groups[0].bars
        assert [bar.y for bar in sorted(bars)] == [6, 24, 6, 6]

    def test_bars_are_where_their_time_is(self) -> None:
        groups = draw(attempt(0, 25), attempt(50, 100, "unwrap")).groups
        assert [(bar.x, bar.y, bar.width) for group in groups for bar in group.bars] == [(64, 6, 250), (564, 6, 500)]
        assert [group.colour for group in groups] == list(COLOURS[:2])

    def test_tooltips(self) -> None:
        drawing = draw(
            attempt(0, 20, status=Status.WAITING),
            attempt(20, 30, attempt=2, status=Status.FAILED),
            attempt(0, 200, "unwrap", title="\x1b[1mb"),
        )
        assert titles(drawing) == [
            "pair <1> · filter, 20 s, peak 1.2 GB, failed, tried again",
            "pair <1> · filter, 10 s, peak 1.2 GB, attempt 2, failed",
            "b · unwrap, 3 min 20 s, peak 1.2 GB",
        ]

    def test_failures_are_marked(self) -> None:
        clean, retried = draw(attempt(0, 20)), draw(attempt(0, 20, status=Status.WAITING), attempt(20, 30))
        broken = draw(attempt(0, 20, status=Status.FAILED))
        assert [list(one.marks) for one in (clean, retried, broken)] == [[], ["again"], ["failed"]]

    def test_memory_against_budget(self) -> None:
        drawing = draw(attempt(0, 100), pulses=(pulse(0, 2 * GB), pulse(50, 6 * GB), pulse(100, 0)))
        bottom = 6 + 18 + 20 + 120
        curves = drawing.curves
        assert drawing.bottom == bottom
        assert curves["used"].startswith(f"M64 {bottom - 30:.1f}H564V{bottom - 90:.1f}H1064V{bottom:.1f}")
        assert curves["budget"] == f"M64 {bottom - 120:.1f}H1064"
        assert curves["reserved"] == f"M64 {bottom - 60:.1f}H1064"
        assert drawing.memory_ticks[-1].text == "8.0 GB"

    def test_peaks_between_pixels_are_kept(self) -> None:
        pulses = tuple(pulse(number / 100, 7 * GB if number == 5001 else GB) for number in range(10_000))
        drawing = draw(attempt(0, 100), pulses=pulses)
        assert f"V{6 + 18 + 20 + 120 - 105:.1f}" in drawing.curves["used"]
        assert size(drawing) < 40_000

    def test_memory_nobody_could_measure_is_not_drawn_as_none_used(self) -> None:
        drawing = draw(attempt(0, 100), pulses=(pulse(0, None), pulse(50, None)))
        assert list(drawing.curves) == ["reserved", "budget"]

    @pytest.mark.parametrize(
        ("seconds", "ticks"),
        [
            (0.4, ["0", "0.05 s", "0.10 s"]),
            (9, ["0", "1 s", "2 s"]),
            (95, ["0", "10 s", "20 s"]),
            (270, ["0", "30 s", "1 min", "1:30 min"]),
            (5000, ["0", "10 min", "20 min"]),
            (30_000, ["0", "1 h", "2 h"]),
            (16_000, ["0", "30 min", "1 h", "1:30 h"]),
            (400_000, ["0", "12 h", "24 h", "36 h"]),
            (3_000_000, ["0", "5 d", "10 d"]),
        ],
    )
    def test_ticks(self, seconds: float, ticks: list[str]) -> None:
        found = [tick.text for tick in draw(attempt(0, seconds)).time_ticks]
        assert found[: len(ticks)] == ticks
        assert 3 <= len(found) <= 12
        assert len(set(found)) == len(found)

    def test_five_thousand_steps_stay_small(self) -> None:
        rng = np.random.default_rng(2)
        starts = np.sort(rng.uniform(0, 40_000, 5000))
        steps = [
            attempt(start, start + length, f"step {number % 12}", title="a long title " * 20)
            for number, (start, length) in enumerate(zip(starts, rng.lognormal(3, 1.5, 5000), strict=True))
        ]
        assert size(draw(*steps, pulses=(pulse(float(t), GB) for t in range(40_000)))) < 300_000

    def test_steps_narrower_than_a_pixel_share_a_bar(self) -> None:
        steps = [attempt(number / 10, (number + 1) / 10, "filter" if number % 5 else "export") for number in range(300)]
        failure = attempt(35.3, 35.4, status=Status.FAILED)
        found = titles(draw(*steps, attempt(35.1, 35.2), failure, attempt(500, 1000)))
        assert "10 attempts: 8 filter, 2 export" in found
        assert "2 attempts: 2 filter, 1 failed" in found
        assert len(found) < 40

    @pytest.mark.slow
    def test_a_hundred_thousand_steps_in_many_lanes(self) -> None:
        assert size(draw(*(attempt(number % 500, number % 500 + 0.9) for number in range(100_000)))) < 300_000

    def test_a_step_that_took_no_time(self) -> None:
        assert len(titles(draw(attempt(0, 0)))) == 1

    def test_more_names_than_colours(self) -> None:
        drawing = draw(*(attempt(number, number + 1, f"step {number}") for number in range(12)))
        assert [group.name for group in drawing.groups][-2:] == ["step 6", "other steps"]


def test_statistics_of_steps() -> None:
    kinds = summarise_steps(
        [
            attempt(0, 10, peak=GB, written=10),
            attempt(0, 30, peak=3 * GB, written=30),
            attempt(0, 20, peak=2 * GB, written=50),
            attempt(0, 40, status=Status.WAITING, peak=9 * GB),
            attempt(0, 5, "unwrap", Status.FAILED),
            attempt(0, 5, "geocode", Status.RUNNING, ended=None),
        ]
    )
    assert [(kind.name, kind.done, kind.failures, kind.total_seconds) for kind in kinds] == [
        ("filter", 3, 1, 100),
        ("unwrap", 0, 1, 5),
    ]
    one = kinds[0]
    assert (one.seconds, one.longest, one.cores) == (20, 30, 3)
    assert (one.peak_bytes, one.predicted_bytes, one.written_bytes) == (3 * GB, 1_500_000_000, 30)
    assert (kinds[1].seconds, kinds[1].cores, kinds[1].peak_bytes) == (None, None, None)


# --- from the record of a run -----------------------------------------------------------------------------------


@pytest.fixture
def broken_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Outcome, ...]:
    """A date that failed on its second attempt, the pair it blocks, one that was done before, and a view."""
    broke = ended(4.0, 2_700_000_000, Reason.ERROR, message="no orbit")

    def job(name: str, step: str, status: Status = Status.WAITING) -> PlannedJob:
        steps = (PlannedStep(name=step, status=status, memory_bytes=3 * GB),)
        return PlannedJob(id=name, title=f"title of {name}", is_pair=len(name) == 1, steps=steps)

    jobs = job("date", "geocode"), job("view", "look"), job("a", "unwrap"), job("b", "unwrap", Status.CACHED)
    events = [
        event("b", "unwrap", Status.CACHED, ended=broke),
        event("date", "geocode", Status.RUNNING),
        event("date", "geocode", Status.WAITING, ended=broke),
        event("date", "geocode", Status.RUNNING, attempt=2),
        event("date", "geocode", Status.FAILED, attempt=2, ended=broke),
        event("view", "look", Status.RUNNING),
        event("view", "look", Status.DONE, ended=ended(4.0, 2 * GB, written_bytes=30_000_000)),
        event("a", "unwrap", Status.BLOCKED),
    ]
    recorder = Recorder(tmp_path, Beginning(started=BEGAN, pid=1, host="here", mark="m", jobs=jobs))
    times = iter(range(0, 100, 4))
    monkeypatch.setattr(Recorder, "now_s", property(lambda _: next(times)))
    for one in events:
        recorder.event(one)
    recorder.append(pulse(0.1, GB))
    recorder.end("failed")
    for name, feeding in (("date", ["date"]), ("a", ["a", "date"]), ("b", ["b"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"jobs": feeding}))
    (tmp_path / "b" / "products").mkdir()
    (tmp_path / "b" / "products" / "facts.json").write_text('{"steps": []}')
    (tmp_path / "date" / "geocode.log").write_text("looking\nError: no <orbit>\n")
    (tmp_path / "a" / "unwrap.log").write_text("of an earlier run\n")
    return (
        outcome(
            "date", Status.FAILED, *(one for one in events if one.job == "date"), is_pair=False, message="no orbit"
        ),
        outcome("a", Status.BLOCKED, events[-1], message="title of date failed: no orbit"),
        outcome("b", Status.CACHED, events[0]),
    )


def test_a_run_as_it_was_recorded(tmp_path: Path, broken_run: tuple[Outcome, ...]) -> None:
    reader = write(tmp_path, *broken_run)
    words = reader.words
    assert "4 steps, 1 done before the run began." in words
    assert "title of date · geocode, 4.0 s, peak 2.7 GB, failed, tried again" in words
    assert "title of date · geocode, 4.0 s, peak 2.7 GB, attempt 2, failed" in words
    assert "memory in use" in words
    assert words.count("looking\nError: no <orbit>") == 1
    assert "title of date failed: no orbit" in words
    assert "of an earlier run" not in " ".join(words)
    assert "· look, 4.0 s, peak 2.0 GB" in " ".join(words)
    assert {"Timeline", "memory in use", "reserved", "budget", "failed and tried again, or interrupted"} <= set(words)
    links = reader.values("href")
    assert (links.count("#pair-1"), links.count("#pair-2")) == (2, 1)


def test_table_of_steps(tmp_path: Path, broken_run: tuple[Outcome, ...]) -> None:
    write(tmp_path, *broken_run)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr>(.*?)</tr>", text[text.index("<h2>Steps</h2>") :], re.DOTALL)[1:3]
    assert [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows] == [
        ["geocode", "0", "2", "–", "–", "–", "–", "–", "–", "67 %"],
        ["look", "1", "–", "4.0 s", "4.0 s", "3.0", "2.0 GB", "3.0 GB", "30.0 MB", "33 %"],
    ]


def test_the_record_of_an_earlier_run_is_not_shown(tmp_path: Path, broken_run: tuple[Outcome, ...]) -> None:
    assert "Timeline" not in write(tmp_path, *broken_run, started=BEGAN + timedelta(seconds=1)).words


def test_without_a_record_there_is_no_timeline(tmp_path: Path, broken_run: tuple[Outcome, ...]) -> None:
    (tmp_path / "record.jsonl").unlink()
    assert "Timeline" not in write(tmp_path, *broken_run).words


# --- numbers as text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0.0 s"),
        (0.42, "0.4 s"),
        (9.97, "10 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3720, "1 h 02 min"),
    ],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "0"), (0.0312, "0.031"), (0.84, "0.84"), (8.44, "8.4"), (84.4, "84"), (8440.0, "8440")],
)
def test_rates(rate: float, text: str) -> None:
    assert rate_text(rate) == text


@pytest.mark.parametrize(("least", "step"), [(0.003, 0.005), (1.0, 1.0), (1.1, 2.0), (6.0, 10.0), (210.0, 500.0)])
def test_round_steps(least: float, step: float) -> None:
    assert round_step(least) == pytest.approx(step)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (512, "512 B"),
        (3_440_000, "3.4 MB"),
        (999_600, "1.0 MB"),
        (1_900_000_000, "1.9 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_bytes(count: int | None, text: str) -> None:
    assert bytes_text(count) == text
