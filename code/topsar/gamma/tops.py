"""Write TOPS_par: what GAMMA's programs read of the bursts of a swath."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from topsar.gamma.image import seconds_of_day

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from topsar.gamma.samples import SampleFormat
    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst, RangePolynomial
    from topsar.sentinel1.annotation import BurstTimes

_BURST_INTERVAL_S = 2.758273
"""Of ESA's burst grid: by it GAMMA counts bursts from the ascending node."""
_COEFFICIENTS = 5


def format_tops(found: Sequence[tuple[Burst, BurstTimes]], arc: OrbitArc, kind: SampleFormat) -> str:
    """The text of a TOPS_par; GAMMA's own limits between bursts (``burst_win``) are left to its programs.

    Parameters
    ----------
    found : sequence of (Burst, BurstTimes)
        Of one swath, in order.
    arc : OrbitArc
    kind : SampleFormat
    """
    first = found[0][0]
    grid = first.grid
    lines = [
        "Gamma Interferometric SAR Processor (ISP) - ScanSAR Burst Parameter File",
        f"number_of_bursts:  {len(found)}",
        f"lines_per_burst:  {grid.lines}",
        f"data_type:  {kind.value}",
        f"range_samples:  {grid.samples}",
        "range_looks:  1",
        "azimuth_looks:  1",
        f"az_steering_rate:  {-np.degrees(first.steering_rate_rad_s):.9f}  (deg/s)",
        f"burst_interval:  {_BURST_INTERVAL_S:.7f}  s",
    ]
    for number, (burst, times) in enumerate(found, start=1):
        offset = (number - 1) * grid.lines * grid.samples * kind.sample_bytes
        values = _describe_burst(burst, times, arc, grid.first_line_time) | {"burst_boffset": str(offset)}
        lines += ["", *(f"{key}_{number}:  {value}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _describe_burst(burst: Burst, times: BurstTimes, arc: OrbitArc, day: datetime) -> dict[str, str]:
    moments = {
        "burst": burst.grid.first_line_time,
        "sensing": times.sensing,
        "doppler": times.doppler,
        "az_fmrate": times.fm_rate,
    }
    keys = {"burst": "burst_start_time", "sensing": "sensing_start_time"}
    values = {}
    for name, moment in moments.items():
        values[f"{name}_date"] = f"{moment:%Y-%m-%dT%H:%M:%S.%f}"
        values[keys.get(name, f"{name}_time")] = f"{seconds_of_day(moment, day):.7f}  s"
    at = arc.seconds(times.sensing)
    values["sensing_position"] = f"{' '.join(f'{p:.4f}' for p in arc.position(at))}   m   m   m"
    values["sensing_velocity"] = f"{' '.join(f'{v:.5f}' for v in arc.velocity(at))}   m/s m/s m/s"
    for name, polynomial in (("doppler", burst.doppler), ("az_fmrate", burst.fm_rate)):
        values[f"{name}_srdelay"] = f"{polynomial.t0_s:.15e}  s"
        values[f"{name}_polynomial"] = _format_polynomial(polynomial)
    valid = burst.valid
    values |= {
        "first_valid_sample": str(valid.column),
        "last_valid_sample": str(valid.column_stop - 1),
        "first_valid_line": str(valid.row),
        "last_valid_line": str(valid.row_stop - 1),
        "burst_asc_node": f"{times.since_node_s / _BURST_INTERVAL_S:.6f}",
    }
    return values


def _format_polynomial(polynomial: RangePolynomial) -> str:
    missing = max(0, _COEFFICIENTS - len(polynomial.coefficients))
    return " ".join(f"{c:.12e}" for c in (*polynomial.coefficients, *[0.0] * missing))
