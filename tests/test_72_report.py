"""The report of a batch."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topsar.errors import ProductError
from topsar.model import Status
from topsar.products.report import PairEntry, SettingEntry, StepEntry, Totals, write_report
from topsar.products.report.network import date_baselines, network_svg
from topsar.products.report.page import bytes_text, seconds_text

TOTALS = Totals(started=datetime(2024, 5, 1, 9, 30, tzinfo=timezone.utc), seconds=421, peak_memory_bytes=2_300_000_000)
VOID = {"meta", "img", "line", "circle", "path", "br"}


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
