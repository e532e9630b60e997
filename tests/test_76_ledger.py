"""The ledger of corrections: before and after, and a wrong sign that nobody can miss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sample_layers import FACTS, sample
from topsar.corrections import Estimate, open_correction
from topsar.corrections.ledger import weigh_corrections
from topsar.corrections.step import FOLDER, add_corrections
from topsar.files import read_json, save_array, write_json
from topsar.interferogram import Interferogram
from topsar.model import GeoGrid
from topsar.raster import write_geotiff
from topsar.registry import BUILT_IN
from topsar.report.closure import close_layer
from topsar.report.ledger import Summary, list_entries, summarise_corrections
from topsar.report.pair import PairReport
from topsar.schedule.jobs import Outcome, Status

WIDE = GeoGrid(crs="EPSG:32629", west=420_000, north=3_610_000, dx=4000, dy=4000, rows=45, columns=50)
NAMES = tuple(BUILT_IN["corrections"])
RAMP_RAD_PER_100_KM = 2.0


def facts_after(days: float) -> dict[str, Any]:
    """The sample's, with another secondary date."""
    facts = copy.deepcopy(dict(FACTS))
    flown, later = facts["passes"]["secondary"], timedelta(days=days - 12)
    for key in ("start", "stop"):
        flown[key] = (datetime.fromisoformat(flown[key]) + later).isoformat()
    flown["times"] = [(datetime.fromisoformat(time) + later).isoformat() for time in flown["times"]]
    return facts


def wide(days: float = 12) -> Interferogram:
    return sample(WIDE, facts_after(days))


@cache
def tide(days: float) -> np.ndarray:
    phase = open_correction("solid_earth_tide").compute(wide(days)).phase_rad
    assert phase is not None
    return phase


def layers_of_air(days: float) -> np.ndarray:
    rows, columns = np.mgrid[: WIDE.rows, : WIDE.columns]
    return np.asarray((days / 6 - 1.5) * np.sin(rows / 5) * np.cos(columns / 4), np.float32)


KNOWN: dict[str, Callable[[float], np.ndarray]] = {
    "solid_earth_tide": tide,
    "stratified_troposphere": layers_of_air,
    "weather_troposphere": layers_of_air,
    "ionosphere": layers_of_air,
    "ionosphere_burst_ramps": layers_of_air,
    "ionosphere_map": tide,
}
"""What each correction would find some days later; whoever adds one adds it here."""
ONE_PAIR_IS_ENOUGH = set(NAMES) - {"solid_earth_tide", "ionosphere_map"}
"""Others are hardly more than ramps, which air and orbits leave too."""


def put(folder: Path, name: str, found: Estimate) -> None:
    place = folder / FOLDER / name
    place.mkdir(parents=True)
    correction = open_correction(name)
    write_json(place / "facts.json", {"version": "1", "layer": correction.layer.name, **found.facts})
    if found.phase_rad is not None:
        save_array(place / f"{correction.layer.name}.npy", found.phase_rad.astype(np.float32))


def run(folder: Path, name: str, days: float, sign: int) -> Interferogram:
    """A pair whose phase has the correction, a ramp and noise, corrected with a sign."""
    rng, true = np.random.default_rng(int(days * 10)), KNOWN[name](days)
    rows, columns = np.mgrid[: WIDE.rows, : WIDE.columns]
    slopes = rng.normal(0, RAMP_RAD_PER_100_KM * WIDE.dx / 1e5, 2)
    phase = true + slopes[0] * columns + slopes[1] * rows + 0.5 * rng.normal(size=WIDE.shape) + 7.0
    ifg = sample(WIDE, facts_after(days), unwrapped_phase=phase, displacement=-0.0555 / (4 * math.pi) * phase)
    put(folder, name, Estimate(phase_rad=sign * true))
    return add_corrections(ifg, folder, (name,), apply=True)


def sum_up(folder: Path, name: str, sign: int) -> tuple[list[Interferogram], Summary]:
    pairs, reports = [], []
    for number, days in enumerate(range(1, 29)):
        place = folder / f"{sign}_{days}"
        pairs.append(run(place, name, days, sign))
        outcome = Outcome(job=place.name, title="", status=Status.DONE, is_pair=True)
        reports.append(PairReport(number=number, outcome=outcome, folder=place, facts=pairs[-1].facts))
    (summary,) = summarise_corrections(reports)
    return pairs, summary


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_objects_to_a_wrong_sign(name: str, tmp_path: Path) -> None:
    pairs, summary = sum_up(tmp_path, name, 1)
    assert not summary.objection
    assert summary.ramp[0] == pytest.approx(RAMP_RAD_PER_100_KM * math.sqrt(2), rel=0.5)
    assert summary.share == pytest.approx(1, abs=3 * (summary.error or 0))
    assert not any(pair.facts.get("remarks") for pair in pairs)
    flipped, wrong = sum_up(tmp_path, name, -1)
    assert "opposite sign" in wrong.objection
    assert wrong.std[1] is not None
    assert summary.std[1] is not None
    assert wrong.std[1] > summary.std[1]
    if name in ONE_PAIR_IS_ENOUGH:
        strong = [pair for pair in flipped if (pair.facts["corrections"][name]["ledger"]["share_error"] or 1) < 0.3]
        assert len(strong) > 10
        assert all(f"{name}: the phase has it with the opposite sign" in pair.facts["remarks"][0] for pair in strong)


def test_the_ledger_says_what_was_before_and_after(tmp_path: Path) -> None:
    rows, columns = np.mgrid[: WIDE.rows, : WIDE.columns].astype(np.float32)
    height = 500 + 200 * np.sin(rows / 5)
    ramp, air = 0.04 * columns - 0.08 * rows, 0.01 * (height - 500)
    ifg = sample(WIDE, height=height, unwrapped_phase=air + ramp)
    found = weigh_corrections(ifg, {"air": air.astype(np.float32), "ramp": ramp})
    seen = ifg.layers["components"].values > 0
    ramp_std, air_std = (float(values[seen].std()) for values in (ramp, air))
    assert found["air"]["pixels"] == seen.sum()
    assert found["air"]["std_rad"] == pytest.approx((float((ramp + air)[seen].std()), ramp_std), abs=1e-3)
    assert found["ramp"]["std_rad"][1] == pytest.approx(air_std, abs=1e-3)
    # 4 km a pixel: 0.04 rad a column is 1 rad over 100 km to the east, -0.08 a row 2 rad to the north
    assert found["air"]["ramp_rad_per_100_km"][1] == pytest.approx((1, 2), rel=5e-3)
    assert found["ramp"]["ramp_rad_per_100_km"][0] != pytest.approx((1, 2), rel=5e-3)
    expected = [np.corrcoef(side[seen], height[seen])[0, 1] for side in (ramp + air, ramp)]
    assert found["air"]["height_correlation"] == pytest.approx(expected, abs=1e-3)
    assert found["ramp"]["height_correlation"][1] == pytest.approx(1, abs=1e-4)
    assert found["air"]["share"] == pytest.approx(1, abs=2 * found["air"]["share_error"])


def test_verdicts_say_why(tmp_path: Path) -> None:
    names = ("stratified_troposphere", "solid_earth_tide")
    put(tmp_path, names[0], Estimate(phase_rad=None, facts={"refused": "it is flat"}))
    put(tmp_path, names[1], Estimate(phase_rad=tide(12)))
    ifg = wide()
    kept = add_corrections(ifg, tmp_path, names, apply=False).facts["corrections"]
    assert kept[names[0]]["verdict"] == "not applied because it is flat"
    assert "APPLY_CORRECTIONS" in kept[names[1]]["verdict"]
    wrapped = replace(ifg, layers={name: ifg.layers[name] for name in ("wrapped_phase", "height")})
    told = add_corrections(wrapped, tmp_path, names, apply=True).facts["corrections"][names[1]]
    assert "no displacement" in told["verdict"]
    assert "ledger" not in told
    applied = add_corrections(ifg, tmp_path, names, apply=True)
    assert applied.facts["corrections"][names[1]]["verdict"] == "applied"
    assert "corrections_together" not in applied.facts


def test_what_is_applied_together_is_weighed_together(tmp_path: Path) -> None:
    found = {"stratified_troposphere": layers_of_air(20), "solid_earth_tide": tide(12)}
    for name, phase in found.items():
        put(tmp_path, name, Estimate(phase_rad=phase))
    phase = found["stratified_troposphere"] + found["solid_earth_tide"]
    told = add_corrections(sample(WIDE, unwrapped_phase=phase), tmp_path, tuple(found), apply=True).facts
    assert told["corrections_together"]["std_rad"][1] < 1e-3
    assert told["corrections_together"]["share"] == pytest.approx(1, abs=1e-3)


def test_layers_that_do_not_close_are_measured(tmp_path: Path) -> None:
    days = ("2025-03-03", "2025-03-15", "2025-03-27")
    rng = np.random.default_rng(3)
    delay = {day: rng.normal(size=WIDE.shape).astype(np.float32) for day in days}
    pairs = {}
    for first, second in ((0, 1), (2, 1), (0, 2)):
        folder = tmp_path / f"{first}_{second}" / "products"
        values = delay[days[first]] - delay[days[second]]
        write_geotiff(folder / "air.tif", values, WIDE, nodata=math.nan)
        facts = {"pair": "x", "track": 1, "reference_date": days[first], "secondary_date": days[second], "grid": WIDE}
        write_json(folder / "facts.json", facts)
        pairs[folder] = read_json(folder / "facts.json")
    assert close_layer(pairs, "air") == pytest.approx(0, abs=1e-6)
    assert close_layer(dict(list(pairs.items())[:2]), "air") is None
    write_geotiff(folder / "air.tif", values + np.float32(0.4), WIDE, nodata=math.nan)
    assert close_layer(pairs, "air") == pytest.approx(0.4, abs=1e-5)


def test_facts_of_others_are_read_with_care() -> None:
    assert list_entries({}) == []
    assert list_entries({"corrections": "none"}) == []
    (entry,) = list_entries(
        {
            "corrections": {
                "tide": {"applied": True, "std_rad": 0.25, "ledger": {"std_rad": ["?", 1], "share": math.nan}}
            }
        }
    )
    assert (entry.name, entry.std, entry.ramp, entry.share) == ("tide", (None, 1.0), (None, None), None)
    assert entry.uncertainty == 0.25
