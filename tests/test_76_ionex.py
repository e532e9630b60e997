"""The ionosphere from IONEX maps."""

from __future__ import annotations

import gzip
import math
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from sample_layers import sample
from topsar.corrections.ionex import choose_maps, find_content, list_maps, read_maps
from topsar.corrections.ionosphere_map import IonosphereMap
from topsar.errors import ProvisionError
from topsar.interferogram import Interferogram, swap_dates

DAYS = (datetime(2023, 9, 4, tzinfo=timezone.utc), datetime(2023, 9, 16, tzinfo=timezone.utc))
LATITUDES, LONGITUDES = np.arange(87.5, -90, -2.5), np.arange(-180.0, 181, 5)
RAD_PER_TECU = 3.126
"""Two-way, at Sentinel-1's frequency."""


def write_maps(folder: Path, day: datetime, content: float = 20.0, *, bulge: float = 0.0, modern: bool = False) -> Path:
    """Thirteen maps of so many TECU, with a bulge below the Sun; the rms is 2 TECU."""
    lines = [
        (f"  {day:%Y    %m    %d}     0     0     0", "EPOCH OF FIRST MAP"),
        ("    13", "# OF MAPS IN FILE"),
        ("  6371.0", "BASE RADIUS"),
        ("   450.0 450.0   0.0", "HGT1 / HGT2 / DHGT"),
        ("    87.5 -87.5  -2.5", "LAT1 / LAT2 / DLAT"),
        ("  -180.0 180.0   5.0", "LON1 / LON2 / DLON"),
        ("    -1", "EXPONENT"),
        ("", "END OF HEADER"),
    ]
    for kind in ("TEC", "RMS"):
        for number in range(13):
            time = day + timedelta(hours=2 * number)
            lines += [
                (f"{number + 1:6}", f"START OF {kind} MAP"),
                (f"{time:%Y %m %d %H %M %S}", "EPOCH OF CURRENT MAP"),
            ]
            below_sun = 180 - 15 * 2 * number
            values = (
                content + bulge * np.cos(np.radians(LONGITUDES - below_sun)) if kind == "TEC" else 0 * LONGITUDES + 2
            )
            for latitude in LATITUDES:
                lines.append((f"  {latitude:6.1f}-180.0 180.0   5.0 450.0", "LAT/LON1/LON2/DLON/H"))
                numbers = [f"{round(10 * value):5d}" for value in values]
                lines += [("".join(numbers[first : first + 16]), "") for first in range(0, len(numbers), 16)]
            lines.append((f"{number + 1:6}", f"END OF {kind} MAP"))
    text = "".join(f"{told:60}{label}".rstrip() + "\n" for told, label in lines)
    folder.mkdir(exist_ok=True)
    name = f"JPL0OPSFIN_{day:%Y%j}0000_01D_02H_GIM.INX.gz" if modern else f"jplg{day:%j}0.{day:%y}i"
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if modern else text.encode())
    return path


def test_more_electrons_bring_the_phase_forward(tmp_path: Path) -> None:
    write_maps(tmp_path / "maps", DAYS[0], 20.0)
    write_maps(tmp_path / "maps", DAYS[1], 30.0, modern=True)
    ifg = sample()
    found = IonosphereMap(str(tmp_path / "maps")).compute(ifg)
    assert found.phase_rad is not None, found.facts
    seen = ~ifg.layers["wrapped_phase"].holes
    np.testing.assert_array_equal(np.isfinite(found.phase_rad), seen)
    # seen at about 39 degrees on the ground, at 36 in the shell: 12 TECU more along the line of sight
    slant = found.facts["slant_tecu"]["secondary"] - found.facts["slant_tecu"]["reference"]
    assert 10 / math.cos(math.radians(33)) < slant < 10 / math.cos(math.radians(40))
    assert float(np.nanmean(found.phase_rad)) == pytest.approx(-RAD_PER_TECU * slant * 0.0555 / 0.0554658, rel=5e-3)
    # a group delay of 17 cm: the range seems larger, and the phase says that it shrank
    assert found.facts["std_rad"] == pytest.approx(RAD_PER_TECU * slant / 10 * math.hypot(2, 2), rel=1e-2)
    assert found.std_rad is not None
    np.testing.assert_array_equal(np.isfinite(found.std_rad), seen)
    np.testing.assert_allclose(found.std_rad[seen], found.facts["std_rad"], rtol=0.02)
    other = IonosphereMap(str(tmp_path / "maps")).compute(swap_dates(ifg)).phase_rad
    assert other is not None
    np.testing.assert_allclose(other, -found.phase_rad, atol=0.05)


def test_maps_are_turned_with_the_sun(tmp_path: Path) -> None:
    """A bulge that follows the Sun is as high between the maps as in them."""
    maps = read_maps(write_maps(tmp_path, DAYS[0], 40.0, bulge=30.0))
    for hours in (6.0, 6.5, 7.0, 7.9, 23.0, 24.0):
        longitude = np.array([180 - 15 * hours, -120.0, 179.0])
        place = (np.array([10.0, -20.0, 45.0]), longitude)
        found = find_content(maps, maps.content, place, DAYS[0] + timedelta(hours=hours))
        expected = 40 + 30 * np.cos(np.radians(longitude - (180 - 15 * hours)))
        np.testing.assert_allclose(found, expected, atol=0.13)  # of rounding, and of the chord over 5 degrees
    assert np.isnan(find_content(maps, maps.content, place, DAYS[0] + timedelta(hours=25))).all()
    assert np.isnan(find_content(maps, maps.content, place, DAYS[0] - timedelta(hours=1))).all()


def refusal(folder: Path | str, ifg: Interferogram | None = None) -> str:
    found = IonosphereMap(str(folder)).compute(ifg or sample())
    assert found.phase_rad is None
    return str(found.facts["refused"])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert "IONEX_DIR" in refusal("")
    path = write_maps(tmp_path, DAYS[0])
    assert "2023-09-04 and 2023-09-16" in refusal(tmp_path)
    other = write_maps(tmp_path, DAYS[1])
    other.rename(tmp_path / other.name.replace("jpl", "cod"))
    assert "no centre" in refusal(tmp_path)
    assert not choose_maps(list_maps(tmp_path), DAYS)
    write_maps(tmp_path, DAYS[1])
    assert [one.path.name for one in choose_maps(list_maps(tmp_path), DAYS)] == ["jplg2470.23i", "jplg2590.23i"]
    assert len(IonosphereMap(str(tmp_path)).find_files(DAYS)) == 2
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 4])
    assert "maps of 13" in refusal(tmp_path)
    path.write_text("nothing")
    with pytest.raises(ProvisionError, match="END OF HEADER"):
        read_maps(path)
    path.write_text(whole.replace("  200", " 9999"))
    assert "no electron content over the scene" in refusal(tmp_path)


@pytest.mark.real
def test_a_real_map_says_what_others_read_in_it(shared_data: Path) -> None:
    """64.96605 TECU of dolphin's tests is that of maps which are not turned, at 23:07 UTC."""
    maps = read_maps(shared_data / "ionex" / "jplg3190.15i")
    assert len(maps.times) == 13
    assert maps.rms is not None
    time = datetime(2015, 11, 15, 23, 7, tzinfo=timezone.utc)
    place = (np.array([-21.3]), np.array([-67.4]))
    still = [find_content(maps, maps.content, place, maps.times[number])[0] for number in (11, 12)]
    later = (time - maps.times[11]) / (maps.times[12] - maps.times[11])
    assert (1 - later) * still[0] + later * still[1] == pytest.approx(64.96605174, abs=1e-6)
    turned = find_content(maps, maps.content, place, time)[0]
    assert 55 < turned < 75
    assert abs(turned - 64.96605174) > 0.1
