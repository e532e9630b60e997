"""Networks of pairs: passes, rules, islands, the file and its picture."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dry_data import DAYS, dry_data, dry_recipe
from services.earthdata import archived, catalogue
from services.loopback import Loopback
from topsar.errors import ProductError, ProvisionError, SettingsError
from topsar.kernels.geometry import OrbitArc
from topsar.model import Direction
from topsar.pairs.listing import read_pairs
from topsar.pairs.network import (
    Network,
    Rules,
    Slice,
    build_network,
    format_pairs,
    group_passes,
    write_pairs,
)
from topsar.provision.endpoints import Services
from topsar.provision.scene_search import Search, search_granules
from topsar.provision.scenes import find_local_slices
from topsar.report.network_picture import MAX_PANELS, write_network
from topsar.simulate.dataset import Dataset
from topsar.simulate.recipe import SwathCut

EPOCH = datetime(2024, 1, 1, tzinfo=timezone.utc)


def arc_beside(start: datetime, offset_m: float) -> OrbitArc:
    """A circle over the equator's plane, beside its track by ``offset_m`` at about right angles to the look."""
    t, rate, radius = np.linspace(-40.0, 60.0, 60), 1.0e-3, 7.07e6
    outward = 0.8 * offset_m
    x, z = (radius + outward) * np.cos(rate * t), (radius + outward) * np.sin(rate * t)
    points = np.stack([x, np.full_like(t, 0.6 * offset_m), z], axis=1)
    fit = np.polynomial.polynomial.polyfit((t - 10.0) / 50.0, points, 8)
    return OrbitArc(epoch=start, origin_s=10.0, scale_s=50.0, coefficients=np.ascontiguousarray(fit.T))


def one(
    day: int,
    offset_m: float | None = 0.0,
    *,
    mission: str = "S1A",
    at_s: float = 6 * 3600,
    track: int = 36,
    direction: Direction = Direction.DESCENDING,
    polarisations: tuple[str, ...] = ("VH", "VV"),
    seconds: float = 27.0,
    tail: str = "DAA1",
) -> Slice:
    start = EPOCH + timedelta(days=day, seconds=at_s)
    stop = start + timedelta(seconds=seconds)
    orbit = f"{50000 + day:06d}_{0x60000 + day:06X}"
    return Slice(
        name=f"{mission}_IW_SLC__1SDV_{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}_{orbit}_{tail}",
        mission=mission,
        start=start,
        stop=stop,
        track=track,
        direction=direction,
        polarisations=polarisations,
        arc=None if offset_m is None else arc_beside(start, offset_m),
    )


def network(slices: Sequence[Slice], **rules: float) -> Network:
    return build_network(group_passes(slices), Rules(**rules))  # type: ignore[arg-type]


def days_of(found: Network) -> list[tuple[int, int]]:
    """Pairs as days since the first of January."""
    return [tuple((p.start - EPOCH).days for p in (c.reference, c.secondary)) for c in found.connections]  # type: ignore[misc]


TWELVE = tuple(one(12 * number) for number in range(6))

# --- rules ------------------------------------------------------------------------------------------------------


def test_all() -> None:
    assert days_of(network(TWELVE[:3])) == [(0, 12), (0, 24), (12, 24)]
    assert str(Rules()) == "every date with every other"


def test_baseline() -> None:
    slices = [one(0, 0.0), one(12, 100.0), one(24, 30.0)]
    lengths = {
        days: c.baseline_m for days, c in zip(days_of(network(slices)), network(slices).connections, strict=True)
    }
    assert all(length is not None for length in lengths.values())
    near = sorted(days for days, length in lengths.items() if abs(length or 0) <= 50)
    assert near == [(0, 24)]
    assert days_of(network(slices, max_baseline_m=50)) == near


def test_rules_together() -> None:
    found = network(TWELVE, neighbours=3, max_days=24)
    assert days_of(found) == days_of(network(TWELVE, max_days=24))
    assert days_of(network(TWELVE, neighbours=1, max_days=100)) == days_of(network(TWELVE, neighbours=1))
    assert str(found.rules) == "each date with the next 3, at most 24 days"


@pytest.mark.parametrize(
    "rule", [{"neighbours": 0}, {"max_days": 0}, {"max_baseline_m": -1.0}, {"max_baseline_m": math.nan}]
)
def test_rules_that_make_no_sense(rule: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected at least"):
        Rules(**rule)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(
    days=st.sets(st.integers(0, 400), min_size=2, max_size=9),
    neighbours=st.none() | st.integers(1, 5),
    max_days=st.none() | st.integers(1, 200),
)
def test_what_holds_for_every_network(days: set[int], neighbours: int | None, max_days: int | None) -> None:
    ordered = sorted(days)
    passes = group_passes([one(day, None) for day in reversed(ordered)])
    expected = {
        (a, b)
        for i, a in enumerate(ordered)
        for b in ordered[i + 1 :][:neighbours]
        if max_days is None or b - a <= max_days
    }
    rules = Rules(neighbours=neighbours, max_days=max_days)
    if not expected:
        with pytest.raises(ProvisionError, match="no pair is allowed"):
            build_network(passes, rules)
        return
    found = build_network(passes, rules)
    assert len(found.connections) == len(expected)
    assert set(days_of(found)) == expected
    (stack,) = found.stacks
    assert sum(len(part) for part in stack.parts) == len(ordered)
    told = any("falls into" in note or "no pair for" in note for note in found.notes)
    assert told == (len(stack.parts) > 1)


# --- passes and stacks ------------------------------------------------------------------------------------------


def test_slices_of_one_pass_are_one_date() -> None:
    slices = [one(day, at_s=6 * 3600 + 25 * k) for day in (0, 12) for k in (2, 0, 1)]
    passes = group_passes(slices)
    assert [len(p.slices) for p in passes] == [3, 3]
    assert all(list(p.names) == sorted(p.names) for p in passes)
    assert days_of(network(slices)) == [(0, 12)]


def test_far_parts_of_a_track_are_stacks_of_their_own() -> None:
    slices = [one(day, at_s=at) for day in (0, 12) for at in (6 * 3600, 6 * 3600 + 300)]
    found = network(slices)
    assert len(found.stacks) == 2
    assert all(c.reference.start.time() == c.secondary.start.time() for c in found.connections)


def test_pass_around_midnight() -> None:
    slices = [one(0, at_s=86_390), one(12, at_s=86_395), one(25, at_s=2)]
    assert len(network(slices).connections) == 3


def test_days_are_counted_by_the_pass_and_not_by_the_calendar() -> None:
    before, after = one(0, at_s=86_399), one(13, at_s=1)
    assert len(network([before, after], max_days=12).connections) == 1


def test_a_date_with_a_slice_missing_is_one_neighbour() -> None:
    whole = [one(0, at_s=6 * 3600, seconds=81)]
    halves = [one(12, at_s=6 * 3600), one(12, at_s=6 * 3600 + 54)]
    found = network([*whole, *halves, one(24, at_s=6 * 3600, seconds=81)], neighbours=1)
    assert days_of(found) == [(0, 12), (0, 12), (12, 24), (12, 24)]


def test_slices_that_share_no_polarisation_are_no_pass() -> None:
    slices = [one(day, at_s=6 * 3600 + 25 * k, polarisations=(("VV",), ("HH",))[k]) for day in (0, 12) for k in (0, 1)]
    assert len(network(slices).connections) == 2


@pytest.mark.parametrize(
    "other",
    [
        one(12, track=131),
        one(12, direction=Direction.ASCENDING),
        one(12, polarisations=("HH",)),
        one(12, at_s=6 * 3600 + 60),
        one(0, at_s=6 * 3600, mission="S1C"),
    ],
    ids=["track", "direction", "polarisation", "ground", "date"],
)
def test_what_cannot_be_paired(other: Slice) -> None:
    first, second = group_passes([one(0), other])
    with pytest.raises(ProvisionError, match="no two dates of one track") as caught:
        build_network((first, second), Rules())
    assert "2024-01-01 track 36" in caught.value.message


def test_nothing_at_all() -> None:
    with pytest.raises(ProvisionError, match="among 0 passes: none"):
        build_network((), Rules())


def test_single_polarisation_goes_with_dual() -> None:
    assert len(network([one(0, polarisations=("VV",)), one(12)]).connections) == 1


def test_two_versions_of_a_slice(caplog: pytest.LogCaptureFixture) -> None:
    passes = group_passes([one(0, tail="00B1"), one(0, tail="00A1"), one(0, tail="00B1")])
    assert [p.names[0][-4:] for p in passes] == ["00B1"]
    assert caplog.text.count("two versions of one slice") == 1


def test_different_satellites_are_flagged() -> None:
    found = network([one(0), one(6, mission="S1C"), one(12)])
    mixed = [str(c) for c in found.connections if c.is_mixed]
    assert mixed == [
        "2024-01-01 to 2024-01-07: 6 days, B_perp +0 m, S1A with S1C",
        "2024-01-07 to 2024-01-13: 6 days, B_perp +0 m, S1C with S1A",
    ]
    assert "2 pairs of two different satellites" in found.notes[-1]


def test_islands_are_told() -> None:
    slices = [one(day, None) for day in (0, 12, 24, 200, 212, 400)]
    found = network(slices, max_days=30)
    text = " / ".join(found.notes)
    assert (
        "falls into 2 parts that no pair connects: 2024-01-01 to 2024-01-25 (3 dates); 2024-07-19 to 2024-07-31" in text
    )
    assert "no pair for 2025-02-04" in text
    assert [len(part) for part in found.stacks[0].parts] == [3, 2, 1]


def test_date_without_company_is_told() -> None:
    assert network([*TWELVE[:2], one(5, track=9)]).notes == (
        "2024-01-06 (track 9): no other date over the same ground",
    )


# --- baselines --------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(first=st.floats(-300, 300), second=st.floats(-300, 300), third=st.floats(-300, 300))
def test_baselines_add_up(first: float, second: float, third: float) -> None:
    slices = [one(0, first), one(12, second), one(24, third)]
    ab, ac, bc = (c.baseline_m or 0.0 for c in network(slices, neighbours=None).connections)
    (back,) = network([one(0, second), one(12, first)]).connections
    ba = back.baseline_m or 0.0
    assert ab + bc == pytest.approx(ac, abs=0.5)
    assert ba == pytest.approx(-ab, abs=0.5)
    assert abs(ab) <= abs(second - first) + 1e-6


def test_unknown_orbits() -> None:
    slices = [one(0), one(12, None), one(24)]
    found = network(slices)
    assert [c.baseline_m is None for c in found.connections] == [True, False, True]
    assert found.stacks[0].baselines_m == (0.0, None, pytest.approx(0.0, abs=1e-6))
    assert "B_perp unknown" in format_pairs(found)
    assert found.notes == ("Track 36, descending: no orbit, so no baseline, for 2024-01-13",)
    narrowed = network(slices, max_baseline_m=100)
    assert days_of(narrowed) == [(0, 24)]
    assert any("leaves out" in note for note in narrowed.notes)


def test_baseline_of_different_slicing() -> None:
    """The slices that lie nearest to each other are compared, not the first with the first."""
    offsets = (0.0, 500.0, 0.0)
    whole = [one(0, offset, at_s=6 * 3600 + 25 * k) for k, offset in enumerate(offsets)]
    (near,) = network([*whole, one(12, 500.0, at_s=6 * 3600 + 27)]).connections
    assert near.baseline_m == pytest.approx(0.0, abs=5.0)
    (far,) = network([*whole, one(12, 500.0, at_s=6 * 3600 + 2)]).connections
    assert abs(far.baseline_m or 0.0) > 200


# --- what lies in data/raw, what the catalogue knows ------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cut = SwathCut(swath="IW2", first_sample=500, samples=300)
    recipe = dry_recipe(acquisitions=DAYS, cuts=(cut,), bursts=2, zipped=True)
    return dry_data(tmp_path_factory.mktemp("pairing"), recipe)


def true_baselines(data: Dataset) -> list[float]:
    return [acquisition.perpendicular_baseline_m for acquisition in data.recipe.acquisitions]


@pytest.mark.parametrize("orbits", ["orbit_data", "none"])
def test_local_scenes(data: Dataset, orbits: str) -> None:
    """With orbit files, and with the annotation's orbit alone."""
    slices = find_local_slices(data.folder / "raw", data.folder / orbits)
    found = network(slices, neighbours=1)
    assert [p.names for p in found.stacks[0].passes] == [(scenes[0].stem,) for scenes in data.scenes]
    assert found.stacks[0].baselines_m == pytest.approx(true_baselines(data), abs=1.0)
    assert [c.days for c in found.connections] == [12, 12]
    assert found.stacks[0].title == "Track 131, ascending"


def test_catalogue_scenes(data: Dataset) -> None:
    """Two state vectors per scene give the baseline."""
    scenes = [archived(slices[0]) for slices in data.scenes]
    with Loopback(catalogue(scenes)) as server:
        granules = search_granules(Services(asf_search=server.url), box=scenes[0].box, search=Search(track=131))
    found = network([granule.slice for granule in granules])
    assert found.stacks[0].baselines_m == pytest.approx(true_baselines(data), abs=1.0)
    assert [c.reference.names[0] for c in found.connections] == [scenes[k].name for k in (0, 0, 1)]


def test_scene_that_cannot_be_opened_is_passed_over(
    data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for (path,) in data.scenes:
        (raw / path.name).symlink_to(path)
    (raw / f"{one(3).name}.zip").write_bytes(b"no zip")
    (raw / "notes.txt").write_text("S1A")
    assert len(find_local_slices(raw, tmp_path)) == 3
    assert "not a readable zip" in caplog.text


def test_damaged_orbit_file_gives_way_to_the_annotation(
    data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in data.orbits:
        (tmp_path / path.name).write_text("<html>")
    slices = find_local_slices(data.folder / "raw", tmp_path)
    assert network(slices).stacks[0].baselines_m == pytest.approx(true_baselines(data), abs=1.0)
    assert "the annotation's orbit is taken" in caplog.text


def test_empty_folder(tmp_path: Path) -> None:
    assert find_local_slices(tmp_path / "raw", tmp_path) == ()


# --- the file ---------------------------------------------------------------------------------------------------


def test_file_is_read_back(tmp_path: Path) -> None:
    slices = [one(day, at_s=6 * 3600 + 25 * k) for day in (0, 12, 24) for k in range(2 if day else 1)]
    found = network(slices)
    path = tmp_path / "pairs.txt"
    assert write_pairs(path, found) is None
    lines = read_pairs(path)
    assert [(line.reference, line.secondary) for line in lines] == [
        (c.reference.names, c.secondary.names) for c in found.connections
    ]
    text = path.read_text()
    assert "# 2024-01-01 to 2024-01-13: 12 days, B_perp +0 m" in text
    assert "# 3 pairs: every date with every other" in text


@settings(max_examples=25)
@given(
    days=st.lists(st.integers(0, 1000), min_size=2, max_size=7, unique=True),
    slices=st.integers(1, 3),
    missions=st.lists(st.sampled_from(["S1A", "S1B", "S1C", "S1D"]), min_size=7, max_size=7),
)
def test_every_file_is_read_back(
    days: list[int], slices: int, missions: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = [
        one(day, None, mission=mission, at_s=6 * 3600 + 25 * k)
        for day, mission in zip(days, missions, strict=False)
        for k in range(slices)
    ]
    # one data take, as the slices of a pass have
    made = [replace(s, name="_".join([*s.name.split("_")[:-1], f"{k:04X}"])) for k, s in enumerate(made)]
    path = tmp_path_factory.mktemp("read_back") / "pairs.txt"
    found = network(made)
    write_pairs(path, found)
    assert len(read_pairs(path)) == len(found.connections) == len(days) * (len(days) - 1) // 2


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("# my own list\n")
    with pytest.raises(SettingsError) as caught:
        write_pairs(path, network(TWELVE))
    assert str(path) in caught.value.message
    assert "--force" in caught.value.hint
    assert path.read_text() == "# my own list\n"
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.txt"]


def test_what_is_overwritten_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("# my own list\n")
    assert write_pairs(path, network(TWELVE[:2]), force=True) == tmp_path / "pairs.txt.bak"
    assert write_pairs(path, network(TWELVE), force=True) == tmp_path / "pairs.txt.bak2"
    assert (tmp_path / "pairs.txt.bak").read_text() == "# my own list\n"
    assert (tmp_path / "pairs.txt.bak2").read_text() == format_pairs(network(TWELVE[:2]))
    assert path.read_text() == format_pairs(network(TWELVE))
    assert write_pairs(tmp_path / "new.txt", network(TWELVE), force=True) is None


# --- the picture ------------------------------------------------------------------------------------------------


def picture(found: Network, path: Path) -> np.ndarray:
    assert write_network(found, path) == path
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def count(image: np.ndarray, colour: str) -> int:
    """Pixels of about that colour."""
    rgb = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return int((np.abs(image - rgb).max(axis=2) < 12).sum())


def test_picture_shows_dates_and_satellites(tmp_path: Path) -> None:
    alike = picture(network([one(12 * n, 40.0 * (n % 3)) for n in range(6)], neighbours=2), tmp_path / "a.png")
    mixed = picture(
        network([one(12 * n, 40.0 * (n % 3), mission="S1A" if n % 2 else "S1C") for n in range(6)], neighbours=2),
        tmp_path / "b.png",
    )
    assert alike.shape == mixed.shape
    assert count(alike, "#c4572e") == 0
    assert count(mixed, "#c4572e") > 500
    assert count(alike, "#2f6db3") > 1.5 * count(mixed, "#2f6db3")


def test_picture_has_a_panel_per_stack(tmp_path: Path) -> None:
    single = picture(network(TWELVE), tmp_path / "one.png")
    three = picture(network([one(day, track=t) for t in (1, 2, 3) for day in (t, 12 + t)]), tmp_path / "three.png")
    every = [one(day, None, track=t) for t in range(1, MAX_PANELS + 3) for day in (t, 80 + t)]
    many = picture(network(every), tmp_path / "many.png")
    panel = (three.shape[0] - single.shape[0]) / 2
    assert single.shape[1] == three.shape[1]
    assert panel > 400
    assert many.shape[0] == pytest.approx(single.shape[0] + (MAX_PANELS - 1) * panel, abs=20)


def test_picture_of_the_awkward(tmp_path: Path) -> None:
    """No orbit at all; all baselines alike; a date without a pair; a century of passes."""
    picture(network([one(day, None) for day in (0, 1)]), tmp_path / "unknown.png")
    picture(network([one(0), one(12), one(24, None), one(400)], max_days=30), tmp_path / "alone.png")
    picture(network([one(12 * n, 50 * math.sin(n)) for n in range(60)], neighbours=3), tmp_path / "long.png")


def test_picture_is_a_png(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="as PNG"):
        write_network(network(TWELVE), tmp_path / "network.pdf")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProductError):
        write_network(network(TWELVE), tmp_path / "file" / "network.png")


def test_log_is_quiet(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.INFO)
    write_network(network(TWELVE), tmp_path / "network.png")
    assert caplog.text == ""
