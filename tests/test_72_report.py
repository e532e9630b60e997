"""The report of a batch."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topsar.errors import ProductError
from topsar.report import (
    AttemptEntry,
    FailureEntry,
    PairEntry,
    PulseEntry,
    SettingEntry,
    StepEntry,
    Timeline,
    Totals,
    step_kinds,
    write_report,
)
from topsar.report.network import date_baselines, network_svg
from topsar.report.timeline import COLOURS, pack, tick_text, timeline_section
from topsar.results import write_batch_report
from topsar.schedule.jobs import Ended, Event, Outcome, Reason, Status
from topsar.schedule.record import Beginning, PlannedJob, PlannedStep, Pulse, Recorder
from topsar.settings import load_settings
from topsar.wording import bytes_text, rate_text, round_step, seconds_text

TOTALS = Totals(started=datetime(2024, 5, 1, 9, 30, tzinfo=timezone.utc), seconds=421, peak_memory_bytes=2_300_000_000)
VOID = {"meta", "img", "line", "circle", "path", "br"}
GB = 1_000_000_000


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


def done(folder: Path | None = None, **changes: Any) -> PairEntry:
    facts = {
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
    }
    steps = (
        StepEntry(name="geocode", status=Status.DONE, seconds=44.1, peak_memory_bytes=1_900_000_000),
        StepEntry(name="unwrap", status=Status.CACHED, seconds=71.0, peak_memory_bytes=2_300_000_000),
    )
    values = {
        "pair_id": "T052_20230904T063730_20230916T063730",
        "status": Status.DONE,
        "facts": facts,
        "folder": folder,
        "steps": steps,
    }
    return PairEntry(**{**values, **changes})


def failed(**changes: Any) -> PairEntry:
    values = {
        "pair_id": "T052_20230916T063730_20230928T063730",
        "status": Status.FAILED,
        "message": "unwrap was killed by memory\n  hint: <raise> MEMORY_GB",
        "steps": (StepEntry(name="unwrap", status=Status.FAILED), StepEntry(name="export", status=Status.BLOCKED)),
        "log_tail": ("\x1b[31mred\x1b[0m & <script>alert(1)</script>", "Killed"),
    }
    return PairEntry(**{**values, **changes})


def write(path: Path, *pairs: PairEntry, **changes: Any) -> Reader:
    values: dict[str, Any] = {
        "title": "A <batch>",
        "machine": {"Host": "work & play", "Cores": "16"},
        "settings": [SettingEntry(key="POSTING", value="80", origin=".env:3", meaning="Metres")],
        "totals": TOTALS,
    }
    write_report(path, pairs=pairs, **{**values, **changes})
    return read(path)


@pytest.fixture
def products(tmp_path: Path) -> Path:
    folder = tmp_path / "T052 #1" / "products"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(1).integers(0, 255, (300, 1600, 3), dtype=np.uint8)
    for name in ("filtered_phase", "displacement"):
        Image.fromarray(noise).save(folder / f"{name}.png")
    return folder


def test_says_what_became_of_the_batch(tmp_path: Path, products: Path) -> None:
    words = write(tmp_path / "report.html", done(products), failed()).words
    for expected in (
        "A <batch>",
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
        "1 min 55 s",
        "POSTING",
        ".env:3",
        "blocked",
    ):
        assert expected in words, expected
    assert any("work & play" in word for word in words)


def test_everything_is_escaped(tmp_path: Path) -> None:
    reader = write(tmp_path / "report.html", failed())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "\x1b" not in text
    assert "red & <script>alert(1)</script>\nKilled" in reader.words
    assert "unwrap was killed by memory\n  hint: <raise> MEMORY_GB" in reader.words


def test_needs_nothing_from_elsewhere(tmp_path: Path, products: Path) -> None:
    reader = write(tmp_path / "report.html", done(products), failed())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", text)
    assert all(source.startswith("data:image/png;base64,") for source in reader.values("src"))
    assert len(reader.values("src")) == 2
    assert len(text) < 600_000


def test_links_are_relative_and_lead_somewhere(tmp_path: Path, products: Path) -> None:
    reader = write(tmp_path / "report.html", done(products), failed())
    links = reader.values("href")
    assert "T052%20%231/products/" in links
    assert "T052%20%231/products/displacement.png" in links
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors == set(reader.values("id")) == {"pair-1", "pair-2"}


def test_damaged_picture_is_left_out(tmp_path: Path, products: Path) -> None:
    (products / "displacement.png").write_bytes((products / "displacement.png").read_bytes()[:2000])
    assert len(write(tmp_path / "report.html", done(products)).values("src")) == 1


def test_bare_entries(tmp_path: Path) -> None:
    odd = {
        "coherence_mean": float("nan"),
        "bursts": "all",
        "orbits": "none",
        "track": 7,
        "perpendicular_baseline_m": "?",
    }
    reader = write(
        tmp_path / "report.html",
        PairEntry(pair_id="x", status=Status.INTERRUPTED),
        done(facts=odd, steps=()),
        machine={},
        settings=[],
    )
    assert "interrupted" in reader.words


def test_empty_batch(tmp_path: Path) -> None:
    assert "0 of 0" in write(tmp_path / "report.html").words


def test_many_pairs_have_fewer_thumbnails(tmp_path: Path, products: Path) -> None:
    Image.new("RGB", (40, 30)).save(products / "coherence.png")
    for count, pictures in ((1, 3), (40, 2)):
        entries = [done(products)] + [failed()] * (count - 1)
        assert len(write(tmp_path / "report.html", *entries).values("src")) == pictures


def test_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(ProductError, match="cannot write"):
        write(tmp_path / "runs" / "report.html")


class TestNetwork:
    def test_baselines_of_dates(self) -> None:
        a, b, c, d = (date(2023, 9, day) for day in (1, 13, 25, 29))
        solved = date_baselines([a, b, c, d], [(a, b, 10.0), (b, c, -30.0), (a, c, -20.0), (c, d, None)])
        assert solved[a] == 0
        assert solved[b] == pytest.approx(10)
        assert solved[c] == pytest.approx(-20)

    def test_one_line_per_pair_and_one_dot_per_date(self) -> None:
        svg = network_svg([done(), failed()])
        assert svg.count("<line ") == 2
        assert svg.count("stroke-dasharray") == 1
        assert svg.count("<circle ") == 3
        assert "coherence 0.63" in svg

    def test_nothing_to_draw(self) -> None:
        assert network_svg([]) == ""
        assert network_svg([PairEntry(pair_id="x", status=Status.FAILED)]) == ""

    def test_coherent_pairs_are_stronger(self) -> None:
        strengths = [
            float(re.findall(r'stroke-opacity="([\d.]+)"', network_svg([done(facts={"coherence_mean": value})]))[0])
            for value in (0.0, 0.4, 1.0)
        ]
        assert strengths == [0.2, 0.52, 1.0]

    def test_one_plot_per_track(self, tmp_path: Path) -> None:
        other = done(pair_id="T154_20230904T063730_20230916T063730", facts={})
        text_of = write(tmp_path / "report.html", done(), other)
        assert {"Track 52", "Track 154"} <= set(text_of.words)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (0.42, "0.4 s"), (9.97, "10 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (3720, "1 h 02 min")],
)
def test_seconds(seconds: float, text: str) -> None:
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
        (0, "0 B"),
        (512, "512 B"),
        (3_440_000, "3.4 MB"),
        (999_600, "1.0 MB"),
        (1_900_000_000, "1.9 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


# --- the timeline -----------------------------------------------------------------------------------------------


def attempt(start: float, end: float, step: str = "filter", status: Status = Status.DONE, **known: Any) -> AttemptEntry:
    ended = Ended(
        reason=Reason.DONE if status is Status.DONE else Reason.ERROR,
        exit_code=0,
        seconds=end - start,
        cpu_s=3 * (end - start),
        peak_memory_bytes=known.pop("peak", 1_200_000_000),
        written_bytes=known.pop("written", 30_000_000),
    )
    values = {"job": "pair <1>", "attempt": 1, "predicted_bytes": 1_500_000_000, "ended": ended, **known}
    return AttemptEntry(step=step, start_s=start, end_s=end, status=status, **values)


def section(*attempts: AttemptEntry, pulses: tuple[PulseEntry, ...] = (), **known: Any) -> str:
    last = max((one.end_s for one in attempts), default=0.0)
    return timeline_section(Timeline(**{"seconds": last, "attempts": attempts, "pulses": pulses, **known}))


def pulse(at_s: float, memory: int | None, reserved: int = 4 * GB, budget: int = 8 * GB) -> PulseEntry:
    return PulseEntry(at_s=at_s, memory_bytes=memory, reserved_bytes=reserved, budget_bytes=budget)


def drawn(text: str) -> str:
    return text[text.index("<svg") : text.index("</svg>")]


class TestTimeline:
    def test_is_part_of_the_page(self, tmp_path: Path) -> None:
        timeline = Timeline(seconds=90, attempts=(attempt(0, 90),), pulses=(pulse(1, GB),), steps=9)
        reader = write(tmp_path / "report.html", done(), timeline=timeline)
        assert {"Timeline", "Steps", "memory in use", "reserved", "budget", "9 steps."} <= set(reader.words)
        assert "Timeline" not in write(tmp_path / "report.html", done()).words

    def test_what_was_done_before_is_said(self) -> None:
        assert "9 steps, 4 done before the run began, 2 not needed." in section(
            attempt(0, 1), steps=9, done_before=4, not_needed=2
        )
        assert "<svg" not in section(steps=9, done_before=9)

    def test_lanes_are_as_many_as_steps_at_once(self) -> None:
        assert pack([attempt(5, 6), attempt(0, 4), attempt(1, 9), attempt(4, 5)]) == [0, 0, 1, 0]
        heights = {
            float(y) for y in re.findall(r'<rect x="[\d.]+" y="([\d.]+)"', section(attempt(0, 4), attempt(1, 9)))
        }
        assert len(heights) == 2

    def test_bars_are_where_their_time_is(self) -> None:
        text = drawn(section(attempt(0, 25), attempt(50, 100, "unwrap")))
        bars = re.findall(r'<rect x="([\d.]+)" y="6.0" width="([\d.]+)"', text)
        assert bars == [("64.0", "250.0"), ("564.0", "500.0")]
        assert f'fill="{COLOURS[0]}"' in text
        assert f'fill="{COLOURS[1]}"' in text

    def test_tooltips(self) -> None:
        text = section(
            attempt(0, 20, status=Status.WAITING),
            attempt(20, 30, attempt=2, status=Status.FAILED),
            attempt(0, 200, "unwrap", job="\x1b[1mb"),
        )
        assert "<title>pair &lt;1&gt; · filter, 20 s, peak 1.2 GB, failed, tried again</title>" in text
        assert "<title>pair &lt;1&gt; · filter, 10 s, peak 1.2 GB, attempt 2, failed</title>" in text
        assert "<title>b · unwrap, 3 min 20 s, peak 1.2 GB</title>" in text

    def test_failures_are_marked_and_in_the_legend(self) -> None:
        clean, retried = section(attempt(0, 20)), section(attempt(0, 20, status=Status.WAITING), attempt(20, 30))
        failed = section(attempt(0, 20, status=Status.FAILED))
        assert [text.count('class="again"') for text in (clean, retried, failed)] == [0, 2, 0]
        assert [text.count('class="failed"') for text in (clean, retried, failed)] == [0, 0, 2]

    def test_memory_against_budget(self) -> None:
        text = drawn(section(attempt(0, 100), pulses=(pulse(0, 2 * GB), pulse(50, 6 * GB), pulse(100, 0))))
        bottom = 6 + 18 + 20 + 120
        area = re.findall(r'class="used" d="M64 ([\d.]+)H564V([\d.]+)H1064V([\d.]+)', text)
        assert area == [(f"{bottom - 30:.1f}", f"{bottom - 90:.1f}", f"{bottom:.1f}")]
        assert f'class="budget" d="M64 {bottom - 120:.1f}H1064"' in text
        assert f'class="reserved" d="M64 {bottom - 60:.1f}H1064"' in text
        assert ">8.0 GB</text>" in text

    def test_peaks_between_pixels_are_kept(self) -> None:
        pulses = tuple(pulse(number / 100, 7 * GB if number == 5001 else GB) for number in range(10_000))
        text = drawn(section(attempt(0, 100), pulses=pulses))
        assert f"V{6 + 18 + 20 + 120 - 105:.1f}" in text
        assert len(text) < 40_000

    def test_memory_nobody_could_measure_is_not_drawn_as_none_used(self) -> None:
        text = section(attempt(0, 100), pulses=(pulse(0, None), pulse(50, None)))
        assert 'class="used"' not in text
        assert 'class="reserved"' in text

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
            (3_000_000, ["0", "5 d", "10 d"]),
        ],
    )
    def test_ticks(self, seconds: float, ticks: list[str]) -> None:
        found = re.findall(r"<text [^>]*>([^<]*)</text>", drawn(section(attempt(0, seconds))))
        assert found[: len(ticks)] == ticks
        assert 3 <= len(found) <= 12
        assert len(set(found)) == len(found)

    def test_whole_days_are_not_hours(self) -> None:
        assert [tick_text(number * 43200.0, 43200.0) for number in (1, 2, 3)] == ["12 h", "24 h", "36 h"]

    def test_five_thousand_steps_stay_small(self) -> None:
        rng = np.random.default_rng(2)
        starts = np.sort(rng.uniform(0, 40_000, 5000))
        steps = [
            attempt(start, start + length, f"step {number % 12}", job="a long title " * 20)
            for number, (start, length) in enumerate(zip(starts, rng.lognormal(3, 1.5, 5000), strict=True))
        ]
        text = drawn(section(*steps, pulses=tuple(pulse(float(t), GB) for t in range(40_000))))
        assert len(text.encode()) < 300_000
        reader = Reader()
        reader.feed(text + "</svg>")
        assert reader.open == []

    def test_steps_narrower_than_a_pixel_share_a_bar(self) -> None:
        steps = [attempt(number / 10, (number + 1) / 10, "filter" if number % 5 else "export") for number in range(300)]
        failure = attempt(35.3, 35.4, status=Status.FAILED)
        text = drawn(section(*steps, attempt(35.1, 35.2), failure, attempt(500, 1000)))
        assert "<title>10 tries: 8 filter, 2 export</title>" in text
        assert "<title>2 tries: 2 filter, 1 failed</title>" in text
        assert text.count("<rect") < 40

    def test_a_hundred_thousand_steps_in_many_lanes(self) -> None:
        steps = [attempt(number % 500, number % 500 + 0.9) for number in range(100_000)]
        assert len(drawn(section(*steps))) < 300_000

    def test_a_step_that_took_no_time(self) -> None:
        assert "<rect" in section(attempt(0, 0))

    def test_more_kinds_than_colours(self) -> None:
        text = section(*(attempt(number, number + 1, f"step {number}") for number in range(12)))
        assert "other steps</span>" in text
        assert "step 11</span>" not in text


class TestKinds:
    def test_statistics(self) -> None:
        kinds = step_kinds(
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

    def test_table(self) -> None:
        text = section(attempt(0, 60), attempt(0, 20, "unwrap <1>", peak=2 * GB))
        cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)[1:]]
        assert cells == [
            ["filter", "1", "–", "1 min 00 s", "1 min 00 s", "3.0", "1.2 GB", "1.5 GB", "30.0 MB", "75 %"],
            ["unwrap &lt;1&gt;", "1", "–", "20 s", "20 s", "3.0", "2.0 GB", "1.5 GB", "30.0 MB", "25 %"],
        ]


def test_pairs_per_hour_count_those_of_this_run(tmp_path: Path) -> None:
    totals = Totals(started=TOTALS.started, seconds=1800)
    assert "4.0" in write(tmp_path / "a.html", done(), done(), done(status=Status.CACHED), totals=totals).words
    assert "pairs per hour" not in write(tmp_path / "b.html", done(status=Status.CACHED), totals=totals).words


def test_what_failed_for_several_pairs_is_told_once(tmp_path: Path) -> None:
    failure = FailureEntry(
        title="date <2>",
        message="orbit is missing",
        log_tail=("first", "& last"),
        blocks=(failed().pair_id, "a pair of no report"),
    )
    reader = write(tmp_path / "report.html", done(), failed(), failures=[failure])
    assert {"date <2>", "orbit is missing", "first\n& last"} <= set(reader.words)
    assert reader.values("href").count("#pair-2") == 2


# --- from the record of a run -----------------------------------------------------------------------------------


def outcome(job: str, status: Status, *events: Event, is_pair: bool = True, message: str = "") -> Outcome:
    return Outcome(
        job=job, title=f"title of {job}", status=status, is_pair=is_pair, events=tuple(events), message=message
    )


def event(job: str, step: str, status: Status, **known: Any) -> Event:
    return Event(time=TOTALS.started, job=job, step=step, status=status, **known)


@pytest.fixture
def broken_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Outcome, ...]:
    """A date that failed on its second try, the pair it blocks, and one that was done before."""
    broke = Ended(
        reason=Reason.ERROR, exit_code=1, seconds=4.0, cpu_s=4.0, peak_memory_bytes=2_700_000_000, message="no orbit"
    )
    steps = (PlannedStep(name="geocode", status=Status.WAITING, memory_bytes=3 * GB),)
    jobs = (
        PlannedJob(id="date", title="title of date", is_pair=False, steps=steps),
        PlannedJob(
            id="a", title="title of a", is_pair=True, steps=(PlannedStep(name="unwrap", status=Status.WAITING),)
        ),
        PlannedJob(id="b", title="title of b", is_pair=True, steps=(PlannedStep(name="unwrap", status=Status.CACHED),)),
    )
    events = [
        event("b", "unwrap", Status.CACHED, ended=broke),
        event("date", "geocode", Status.RUNNING),
        event("date", "geocode", Status.WAITING, ended=broke),
        event("date", "geocode", Status.RUNNING, attempt=2),
        event("date", "geocode", Status.FAILED, attempt=2, ended=broke),
        event("a", "unwrap", Status.BLOCKED),
    ]
    recorder = Recorder(tmp_path, Beginning(started=TOTALS.started, pid=1, host="here", mark="m", jobs=jobs))
    times = iter(range(0, 100, 4))
    monkeypatch.setattr(Recorder, "now_s", property(lambda _: next(times)))
    for one in events:
        recorder.event(one)
    recorder.pulse(
        Pulse(
            at_s=0.1,
            running=1,
            memory_bytes=GB,
            reserved_bytes=3 * GB,
            budget_bytes=8 * GB,
            disk_free_bytes=GB,
        )
    )
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


def report_of(runs: Path, outcomes: tuple[Outcome, ...], started: datetime) -> list[str]:
    settings = load_settings(env_file=None, data=runs, pairs=runs / "pairs.txt", flags={})
    write_batch_report(runs, outcomes, settings, started, 60.0)
    return read(runs / "report.html").words


def test_a_run_as_it_was_recorded(tmp_path: Path, broken_run: tuple[Outcome, ...]) -> None:
    words = report_of(tmp_path, broken_run, TOTALS.started)
    assert "3 steps, 1 done before the run began." in words
    assert "title of date · geocode, 4.0 s, peak 2.7 GB, failed, tried again" in words
    assert "title of date · geocode, 4.0 s, peak 2.7 GB, attempt 2, failed" in words
    assert "memory in use" in words
    assert words.count("looking\nError: no <orbit>") == 1
    assert "title of date failed: no orbit" in words
    assert "of an earlier run" not in " ".join(words)
    links = read(tmp_path / "report.html").values("href")
    assert (links.count("#pair-1"), links.count("#pair-2")) == (2, 1)


def test_the_record_of_an_earlier_run_is_not_shown(tmp_path: Path, broken_run: tuple[Outcome, ...]) -> None:
    assert "Timeline" not in report_of(tmp_path, broken_run, TOTALS.started + timedelta(seconds=1))


def test_without_a_record_there_is_no_timeline(tmp_path: Path, broken_run: tuple[Outcome, ...]) -> None:
    (tmp_path / "record.jsonl").unlink()
    assert "Timeline" not in report_of(tmp_path, broken_run, TOTALS.started)
