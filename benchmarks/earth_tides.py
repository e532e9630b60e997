"""Compare the tides of the solid earth with PySolid and pyTMD, which are no part of topsar.

    python -m venv /tmp/tides && /tmp/tides/bin/pip install pysolid pyTMD skyfield-data
    .venv/bin/python benchmarks/earth_tides.py /tmp/tides/bin/python --places 1000
    .venv/bin/python benchmarks/earth_tides.py /tmp/tides/bin/python --places 60 --write tests/earth_tides.csv

Both run in a process of that other Python, at random places and times from 2014-04 to 2026-12. PySolid (GPL-3) has
positions of Moon and Sun of its own, good to some arc minutes; pyTMD (MIT) is given those of JPL's DE421, which the
package skyfield-data brings.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np

from topsar.corrections.ephemeris import find_sky
from topsar.kernels.earth_tide import find_earth_tide
from topsar.kernels.geometry import geodetic_to_ecef, turn_to_local

REFERENCE = r"""
import csv, datetime as dt, importlib.metadata as metadata, io, pathlib, sys
from contextlib import redirect_stdout
import numpy as np, pysolid, skyfield_data, xarray
import pyTMD.astro, pyTMD.predict, timescale

count = int(sys.argv[1])
rng = np.random.default_rng(20260101)
lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count))).round(3)
lon = rng.uniform(-180, 180, count).round(3)
first, last = dt.datetime(2014, 4, 1), dt.datetime(2027, 1, 1)
minutes = rng.integers(0, int((last - first).total_seconds() // 60), count)
times = [first + dt.timedelta(minutes=int(one)) for one in minutes]

def solid(lat, lon, time):
    with redirect_stdout(io.StringIO()):
        found = pysolid.calc_solid_earth_tides_point(lat, lon, time, time + dt.timedelta(minutes=2), step_sec=60)
    assert found[0][0] == time
    return [part[0] for part in found[1:]]

a, f = 6378137.0, 1 / 298.257223563
phi, lam = np.radians(lat), np.radians(lon)
normal = a / np.sqrt(1 - f * (2 - f) * np.sin(phi) ** 2)
place = (normal * np.cos(phi) * np.cos(lam), normal * np.cos(phi) * np.sin(lam), normal * (1 - f) ** 2 * np.sin(phi))
east = np.stack([-np.sin(lam), np.cos(lam), 0 * lam], -1)
up = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)
days = np.array([(time - dt.datetime(1992, 1, 1)).total_seconds() / 86400 for time in times])
scale = timescale.time.Timescale(days + 48622.0)
kernel = pathlib.Path(skyfield_data.__file__).parent / "data" / "de421.bsp"
data = lambda parts: xarray.Dataset({name: ("time", np.asarray(part)) for name, part in zip("XYZ", parts)})
bodies = []
for find in (pyTMD.astro.solar_ecef, pyTMD.astro.lunar_ecef):
    found = find(scale.MJD, ephemerides="JPL", kernel=str(kernel))
    bodies.append(data([found[name] for name in "XYZ"] if hasattr(found, "data_vars") else found))
moved = pyTMD.predict.solid_earth_tide(days, data(place), *bodies, deltat=scale.tt_ut1)
moved = np.stack([np.asarray(moved[name]) for name in "XYZ"], -1)
tmd = np.stack([(moved * axis).sum(-1) for axis in (east, np.cross(up, east), up)], -1)

print("# solid earth tides, m, conventional tide free, height 0, by PySolid "
      f"{metadata.version('pysolid')} and pyTMD {metadata.version('pyTMD')} with JPL DE421; benchmarks/earth_tides.py")
writer = csv.writer(sys.stdout, lineterminator="\n")
writer.writerow("lat lon utc pysolid_e pysolid_n pysolid_u pytmd_e pytmd_n pytmd_u".split())
for one in range(count):
    row = [*solid(lat[one], lon[one], times[one]), *tmd[one]]
    writer.writerow([lat[one], lon[one], times[one].isoformat() + "+00:00", *(f"{part:.5f}" for part in row)])
"""


def compare(text: str) -> dict[str, float]:
    """The largest and the root mean square distance of topsar's displacements from the others', millimetres."""
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    lat, lon = (np.radians([float(row[name]) for row in rows]) for name in ("lat", "lon"))
    times = [datetime.fromisoformat(row["utc"]) for row in rows]
    seconds = np.array([(time - times[0]).total_seconds() for time in times])
    points = geodetic_to_ecef(lat, lon, 0.0)
    ours = turn_to_local(points, find_earth_tide(points, *find_sky(times[0], seconds)))
    found = {}
    for name in ("pysolid", "pytmd"):
        theirs = np.array([[float(row[f"{name}_{part}"]) for part in "enu"] for row in rows])
        off = 1000 * np.linalg.norm(ours - theirs, axis=-1)
        found |= {f"{name}, largest": off.max(), f"{name}, rms": np.sqrt((off**2).mean())}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="of the environment that has pysolid, pyTMD and skyfield-data")
    parser.add_argument("--places", type=int, default=1000)
    parser.add_argument("--write", type=Path, help="keep what the others found")
    given = parser.parse_args()
    command = [given.python, "-c", REFERENCE, str(given.places)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if given.write:
        given.write.write_text(text)
    for name, value in compare(text).items():
        print(f"{name:18} {value:6.3f} mm")


if __name__ == "__main__":
    main()
