"""An interferogram that no engine made: a bowl of subsidence among hills, with a lake and a slanted edge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from topsar.engines.passes import PassFacts
from topsar.interferogram import Interferogram, make_layers
from topsar.model import Direction, GeoGrid, OrbitSource
from topsar.simulate.orbit import displace_pass, find_pass

UTM = GeoGrid(crs="EPSG:32629", west=520_000, north=3_520_000, dx=80, dy=80, rows=120, columns=150)
DEGREES = GeoGrid(crs="EPSG:4326", west=-8.9, north=31.9, dx=1 / 1200, dy=1 / 1200, rows=120, columns=150)


def fly(direction: Direction) -> dict[str, Any]:
    """Fly over the ground of the sample twice, twelve days apart; as JSON has it."""
    nominal = find_pass((31.8, -8.1), 870_000.0, direction, datetime(2023, 9, 4, tzinfo=timezone.utc))
    first = datetime(2023, 9, 4, 6, 37, 40, tzinfo=timezone.utc)
    start = first - timedelta(seconds=4)
    passes = {}
    for name, baseline_m, day in (("reference", 0.0, 0), ("secondary", -27.3, 12)):
        epoch = first + timedelta(days=day)
        orbit = displace_pass(nominal, epoch, baseline_m, 870_000.0).make_orbit(
            epoch - timedelta(seconds=60), epoch + timedelta(seconds=60)
        )
        passes[name] = PassFacts(
            mission="S1A",
            absolute_orbit=50174 + day * 175 // 12,
            orbit_source=OrbitSource.PRECISE,
            start=start + timedelta(days=day),
            stop=start + timedelta(days=day, seconds=8),
            near_range_m=848_000.0,
            far_range_m=890_000.0,
            range_spacing_m=2.329562,
            line_interval_s=0.0020555563,
            times=tuple(orbit.epoch + timedelta(seconds=float(time)) for time in orbit.times_s),
            positions_m=tuple(map(tuple, orbit.positions_m.tolist())),
            velocities_m_s=tuple(map(tuple, orbit.velocities_m_s.tolist())),
        )
    written: dict[str, Any] = TypeAdapter(dict[str, PassFacts]).dump_python(passes, mode="json")
    return written


FACTS: Mapping[str, Any] = {
    "pair": "T052_20230904T063730_20230916T063730",
    "track": 52,
    "direction": "descending",
    "polarisation": "VV",
    "reference_date": "2023-09-04",
    "secondary_date": "2023-09-16",
    "reference_time": "2023-09-04T06:37:30+00:00",
    "secondary_time": "2023-09-16T06:37:30+00:00",
    "reference_scenes": ["S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1"],
    "secondary_scenes": ["S1A_IW_SLC__1SDV_20230916T063730_20230916T063757_050349_060FCD_6814"],
    "passes": fly(Direction.DESCENDING),
    "bursts": ["IW2_109905", "IW2_109906"],
    "dem": {"file": "dem.tif", "datum": "egm96"},
    "created": "2026-01-01T00:00:00+00:00",
    "temporal_baseline_days": 12.0,
    "perpendicular_baseline_m": -27.3,
    "wavelength_m": 0.0555,
    "looks": "19x4",
    "engine": "native",
    "engine_version": "0.1.0",
}


def sample(grid: GeoGrid = UTM, facts: Mapping[str, Any] = FACTS, **changed: np.ndarray) -> Interferogram:
    """All layers but those of the ionosphere; ``changed`` are arrays in the place of the usual ones."""
    rows, columns = np.mgrid[: grid.rows, : grid.columns].astype(np.float32)
    rng = np.random.default_rng(1)
    distance = np.hypot(rows - grid.rows / 2, columns - grid.columns / 2) / grid.rows
    metres = -0.1 * np.exp(-((distance / 0.2) ** 2))
    unwrapped = -4 * np.pi / 0.0555 * metres
    lake = np.hypot(rows - 20, columns - 110) < 10
    outside = columns < (grid.rows - rows) * 0.1
    up = np.full(grid.shape, 0.79)
    values = {
        "wrapped_phase": np.angle(np.exp(1j * (unwrapped + 0.3 * rng.normal(size=grid.shape)))),
        "filtered_phase": np.angle(np.exp(1j * unwrapped)),
        "filtered_unwrapped_phase": np.where(lake, np.nan, unwrapped),
        "unwrapped_phase": np.where(lake, np.nan, unwrapped),
        "displacement": np.where(lake, np.nan, metres),
        "coherence": np.where(lake, 0.1, 0.8),
        "amplitude": np.exp(rng.normal(size=grid.shape)),
        "phase_noise": np.where(lake, 1.5, 0.2),
        "height": 500 + 100 * np.sin(rows / 9) * np.cos(columns / 7),
        "los_east": np.full(grid.shape, 0.6),
        "los_north": np.full(grid.shape, -0.1),
        "los_up": up,
        "incidence": np.degrees(np.arccos(up)),
    } | changed
    arrays: dict[str, np.ndarray] = {name: np.where(outside, np.nan, array) for name, array in values.items()}
    arrays["components"] = np.where(lake | outside, 0, 1)
    arrays["burst"] = np.where(outside, -1, rows > 60)
    arrays["layover_shadow"] = np.where(rows > 100, 1 + (columns % 3), 0)
    arrays["water"] = lake
    pair = str(facts.get("pair", "T052_a_b"))
    return Interferogram(pair_id=pair, grid=grid, layers=make_layers(arrays), facts=dict(facts))


def with_only(ifg: Interferogram, *names: str) -> Interferogram:
    """The interferogram with some of its layers."""
    return replace(ifg, layers={name: ifg.layers[name] for name in names})


def same_layers(one: Interferogram, other: Interferogram) -> bool:
    """Whether both have the same layers: kinds, types and values to the last bit."""
    return list(one.layers) == list(other.layers) and all(
        layer.kind == other.layers[name].kind
        and layer.values.dtype == other.layers[name].values.dtype
        and np.array_equal(layer.values, other.layers[name].values, equal_nan=not math.isfinite(layer.kind.nodata))
        for name, layer in one.layers.items()
    )
