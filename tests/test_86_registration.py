"""Misregistration that was put into simulated products: found, solved over dates, and removed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dry_data import Planned
from topsar.engines import load_engine
from topsar.engines.radar_stack import open_radar_stack
from topsar.formats.geotiff import GeoTiff
from topsar.interferogram import Interferogram
from topsar.schedule.graph import build_graph
from topsar.simulate import Acquisition, recipe, simulate
from topsar.simulate.compare import Comparison, compare_pair
from topsar.simulate.recipe import SwathCut

DAYS = ("2025-03-03", "2025-03-15", "2025-03-27")
SHIFTS = dict(zip(DAYS, (0.0, 0.005, -0.002), strict=True))
"""Azimuth timing of each date, lines."""
DELAYS = dict(zip(DAYS[1:], (0.1, 0.02), strict=True))
"""Range delay of the later dates, samples."""
BASELINES_M = dict(zip(DAYS, (0.0, 74.0, -41.0), strict=True))


class Runs:
    """A runs folder, brought up to date in this process: steps whose keys are others now are executed."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder
        self._done: dict[tuple[str, str], str] = {}

    def update(self, **flags: str) -> tuple[set[str], list[Interferogram]]:
        """Names of the steps that were executed, and the pairs."""
        planned = Planned(self.data, self.folder, UNWRAPPER="none", **flags)
        engine, executed = load_engine("native"), set()
        for node in build_graph(planned.plan.jobs).nodes.values():
            if self._done.get(node.id) != node.key:
                engine.execute(self.folder / node.job.id, node.step.name)
                self._done[node.id] = node.key
                executed.add(node.step.name)
        return executed, [engine.collect(self.folder / task.facts.pair) for task in planned.pairs]

    def copied(self, folder: Path) -> Runs:
        """One that goes on from here."""
        copy = Runs(self.data, Path(shutil.copytree(self.folder, folder)))
        copy._done = dict(self._done)
        return copy


def data_set(folder: Path, **changes: Any) -> Path:
    days = [
        Acquisition(
            day=date.fromisoformat(day),
            perpendicular_baseline_m=BASELINES_M[day],
            azimuth_shift_px=SHIFTS[day],
            range_shift_px=DELAYS.get(day, 0.0),
            sync_s=1e-3 if day == DAYS[1] else 0.0,
        )
        for day in DAYS
    ]
    simulate(folder, replace(recipe("tiny"), **{"acquisitions": tuple(days)} | changes))
    return folder


@pytest.fixture(scope="module")
def estimated(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Three dates of one swath, two bursts; each pair with its own estimate."""
    runs = Runs(data_set(tmp_path_factory.mktemp("data")), tmp_path_factory.mktemp("runs"))
    runs.update()
    return runs


@pytest.fixture
def runs(estimated: Runs, tmp_path: Path) -> Runs:
    return estimated.copied(tmp_path / "runs")


def injected(pair: Interferogram) -> float:
    return SHIFTS[pair.facts["secondary_date"]] - SHIFTS[pair.facts["reference_date"]]


def compared(pair: Interferogram, data: Path, folder: Path) -> Comparison:
    """The pair against the truth."""
    folder.mkdir()
    GeoTiff().write([pair], folder)
    (folder / "facts.json").write_text(json.dumps(pair.facts, default=str))
    return compare_pair(folder, data / "truth")


# --- azimuth ----------------------------------------------------------------------------------------------------


def test_each_pair_finds_its_shift_and_says_how_surely(runs: Runs, tmp_path: Path) -> None:
    executed, pairs = runs.update()
    assert not executed
    assert len(pairs) == 3
    for number, pair in enumerate(pairs):
        found = pair.facts["azimuth_misregistration"]
        assert found["source"] == "enhanced spectral diversity"
        assert found["pixels"] == found["estimate"]["pixels"] == found["estimate"]["swaths"]["IW2"]["pixels"]
        assert abs(found["pixels"] - injected(pair)) < min(5e-4, 4 * found["standard_error_pixels"])
        assert found["estimate"]["voting_pixels"] > 50
        assert compared(pair, runs.data, tmp_path / str(number)).seam_rad < 0.03


def test_a_network_of_dates_is_solved_without_multiplying_anew(runs: Runs, tmp_path: Path) -> None:
    own = [pair.facts["azimuth_misregistration"] for pair in runs.update()[1]]
    executed, pairs = runs.update(ESD="network")
    assert executed == {"solve", "filter", "unwrap"}
    timing = {}
    for number, pair in enumerate(pairs):
        found = pair.facts["azimuth_misregistration"]
        network = found["network"]
        assert found["source"] == "enhanced spectral diversity, network of dates"
        assert abs(found["pixels"] - injected(pair)) < 5e-4
        assert 0 < found["standard_error_pixels"] < 5e-4
        assert (network["dates"], network["pairs"], network["triangles"]) == (3, 3, 1)
        assert found["pixels"] == pytest.approx(network["secondary_pixels"] - network["reference_pixels"])
        assert network["residual_pixels"] == pytest.approx(own[number]["pixels"] - found["pixels"])
        assert found["estimate"] == own[number]["estimate"]
        for side in ("reference", "secondary"):
            timing.setdefault(pair.facts[f"{side}_date"], set()).add(network[f"{side}_pixels"])
        assert compared(pair, runs.data, tmp_path / str(number)).seam_rad < 0.03
    assert [len(values) for values in timing.values()] == [1, 1, 1]
    assert timing[DAYS[0]] == {0.0}


def test_triangles_of_estimates_that_do_not_close_are_listed(runs: Runs) -> None:
    measured = {}
    for pair in runs.update()[1]:
        file = runs.folder / pair.pair_id / "mosaic" / "registration.json"
        known = json.loads(file.read_text())
        measured[pair.facts["reference_date"], pair.facts["secondary_date"]] = known["estimate"]["pixels"]
    runs.update(ESD="network")
    (solved,) = runs.folder.glob("esd_T131_20250303*/solve/network.json")
    closure = json.loads(solved.read_text())["closure"]
    missed = measured[DAYS[:2]] + measured[DAYS[1:]] - measured[DAYS[::2]]
    assert closure["worst"][0]["pixels"] == pytest.approx(missed)
    assert closure["rms_pixels"] == pytest.approx(abs(missed))
    assert [re.findall(r"_\d{6}(\d\d)T", name) for name in closure["worst"][0]["pairs"]] == [
        ["03", "15"],
        ["15", "27"],
        ["03", "27"],
    ]


def test_the_setting_is_settled_after_the_interferogram(runs: Runs, tmp_path: Path) -> None:
    before = runs.update()[1][0]
    executed, (off, *_) = runs.update(ESD="off")
    assert executed == {"filter", "unwrap"}
    assert off.facts["azimuth_misregistration"]["pixels"] == 0
    assert off.facts["azimuth_misregistration"]["source"] == "off"
    jump = 2 * np.pi * 4500 * 2.0556e-3 * abs(injected(off))  # of bursts whose Doppler differs by 4500 Hz
    assert compared(off, runs.data, tmp_path / "off").seam_rad == pytest.approx(jump, rel=0.2)
    own = off.facts["azimuth_misregistration"]["estimate"]["pixels"]
    _, (given, *_) = runs.update(ESD=f"{own:.12f}")
    assert given.facts["azimuth_misregistration"]["source"] == "given"
    phases = [pair.layers["wrapped_phase"].values for pair in (given, before)]
    assert np.nanmax(np.abs(np.angle(np.exp(1j * (phases[0] - phases[1]))))) < 1e-4


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bursts": 1}, "no two bursts of a swath overlap"),
        pytest.param(
            {"stable": (0.0, 0.0), "decorrelation_days": 0.1},
            r"\d+ coherent pixels in burst overlaps, 50 are needed",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_where_nothing_can_be_estimated_nothing_is_removed(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    days = recipe("tiny").acquisitions
    cut = SwathCut(swath="IW2", first_sample=12000, samples=400)
    runs = Runs(data_set(tmp_path / "data", acquisitions=days, cuts=(cut,), **changes), tmp_path / "runs")
    for setting, expected in (("auto", why), ("network", "no estimate connects the two dates")):
        _, (pair,) = runs.update(ESD=setting)
        found = pair.facts["azimuth_misregistration"]
        assert (found["pixels"], found["estimate"]) == (0.0, None)
        assert re.fullmatch(f"not estimated: {expected}", found["source"])


# --- range ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_range_delays_are_found_and_corrected(runs: Runs, tmp_path: Path) -> None:
    before = runs.update()[1]
    executed, pairs = runs.update(RANGE_REGISTRATION="auto")
    assert executed == {"delay", "geocode", "multiply_IW2", "mosaic", "filter", "unwrap"}
    for number, pair in enumerate(pairs):
        found = {one["date"]: one for one in pair.facts["range_misregistration"]}
        assert set(found) == {pair.facts["reference_date"], pair.facts["secondary_date"]} & set(DELAYS)
        for day, one in found.items():
            assert abs(one["pixels"] - DELAYS[day]) < min(0.01, 5 * one["standard_error_pixels"])
            assert one["applied_pixels"] == one["pixels"]
            assert (one["against"], one["why"]) == (DAYS[0], "")
        result = compared(pair, runs.data, tmp_path / str(number))
        assert abs(result.mean_rad) < 0.02
        assert result.deviation_rad < 1.2 * result.expected_rad
    apart = [abs(DELAYS.get(b, 0) - DELAYS.get(a, 0)) for a, b in combinations(DAYS, 2)]
    gains = {}
    for old, new in zip(before, pairs, strict=True):
        gains[old.facts["reference_date"], old.facts["secondary_date"]] = (
            new.facts["coherence_mean"] / old.facts["coherence_mean"]
        )
    lost = 1 - np.array([1 / gains[dates] for dates in combinations(DAYS, 2)])
    np.testing.assert_allclose(lost, 0.6 * np.array(apart) ** 2, atol=0.001)  # what a shifted Hamming band loses


@pytest.mark.slow
def test_range_delays_are_found_and_corrected_in_a_stack(runs: Runs) -> None:
    """The image of a date lies later by its delay; read there, it is flat against the reference in range."""
    flags = {"GRID": "radar", "STACK_REFERENCE": "20250303", "INTERFEROGRAMS": "0"}
    coherences = []
    for setting in ("off", "auto"):
        runs.update(RANGE_REGISTRATION=setting, **flags)
        stack = open_radar_stack(runs.folder / "radar_stack" / "T131_VV_20250303")
        reference, other = (stack.read_slc(day.replace("-", "")) for day in DAYS[:2])
        power = np.vdot(reference, reference).real * np.vdot(other, other).real
        blocks = (reference * other.conj())[:2700, :1150].reshape(270, 10, 115, 10).sum(axis=(1, 3))
        coherences.append(float(np.abs(blocks).sum() / np.sqrt(power)))
        for one in stack.dates:
            day = f"{one.date[:4]}-{one.date[4:6]}-{one.date[6:]}"
            wanted = DELAYS.get(day, 0.0) if setting == "auto" else 0.0
            assert one.range_delay_pixels == pytest.approx(wanted, abs=0.01)
    gain = coherences[1] / coherences[0]
    assert gain == pytest.approx(1 / (1 - 0.6 * DELAYS[DAYS[1]] ** 2), abs=0.001)


@pytest.mark.slow
def test_a_delay_that_is_small_or_has_no_witnesses_is_not_applied(tmp_path: Path) -> None:
    days = (Acquisition(day=date(2025, 3, 3)), Acquisition(day=date(2025, 3, 15)))
    cut = SwathCut(swath="IW2", first_sample=12000, samples=600)
    runs = Runs(data_set(tmp_path / "data", acquisitions=days, cuts=(cut,), bursts=1), tmp_path / "runs")
    for region, why in (
        ("", "below 0.01 sample or 3 standard errors"),
        ("37.197,37.203,28.396,28.404", "fewer than 4 patches of ground correlate with 2025-03-03"),
    ):
        _, (pair,) = runs.update(RANGE_REGISTRATION="auto", ROI=region)
        (found,) = pair.facts["range_misregistration"]
        assert (found["applied_pixels"], found["why"]) == (0.0, why)


# --- constants of bursts between satellites ---------------------------------------------------------------------


@pytest.mark.slow
def test_constants_of_bursts_between_satellites_are_found_and_leave_no_step(tmp_path: Path) -> None:
    """Steps of about 1.5 rad from burst to burst, as S1C and S1D show them, and a misregistration."""
    phases = {"IW1": (0.3, 1.8, 3.4), "IW2": (-0.4, 1.05, 2.6)}
    second = Acquisition(
        day=date(2025, 3, 15), mission="S1D", azimuth_shift_px=0.002, burst_phases_rad=tuple(phases.items())
    )
    cuts = SwathCut(swath="IW1", first_sample=20_040, samples=600), SwathCut(swath="IW2", first_sample=0, samples=700)
    days = Acquisition(day=date(2025, 3, 3), mission="S1C"), second
    made = replace(recipe("tiny"), acquisitions=days, cuts=cuts, bursts=3, stable=(0.7, 1.0))
    simulate(tmp_path / "data", made)
    ifg = Planned(tmp_path / "data", tmp_path / "planned", UNWRAPPER="none").execute(tmp_path / "runs")
    found = ifg.facts["burst_constants"]
    assert found["removed"]
    labels = sorted(found["bursts"])
    known = np.array([found["bursts"][label]["rad"] for label in labels])
    put_in = -np.concatenate([phases["IW1"], phases["IW2"]])  # the secondary is conjugated
    np.testing.assert_allclose(known - known.mean(), put_in - put_in.mean(), atol=0.08)
    shift = ifg.facts["azimuth_misregistration"]
    assert abs(shift["pixels"] - 0.002) < 4 * shift["standard_error_pixels"] < 0.005
    assert compared(ifg, tmp_path / "data", tmp_path / "compared").seam_rad < 0.03
