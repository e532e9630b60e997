"""What deramping GAMMA's files takes, beside reading and writing them: a swath of bursts of noise."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import machine
import numpy as np

from topsar.gamma.deramp import deramp_tab
from topsar.gamma.image import Image, format_image
from topsar.gamma.samples import SampleFormat
from topsar.gamma.tab import TabRow, format_tab
from topsar.gamma.tops import format_tops
from topsar.sentinel1.annotation import BurstTimes
from topsar.simulate import recipe
from topsar.simulate.plan import plan_products
from topsar.simulate.recipe import SwathCut

_BLOCK_BYTES = 1 << 25


def main() -> None:
    """Write a swath, deramp it and copy it, each as often as asked; print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bursts", type=int, default=9)
    parser.add_argument("--samples", type=int, default=24629)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="a disk with room for three times the swath")
    args = parser.parse_args()
    print(machine.describe())
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        folder = Path(scratch)
        given, made = (folder / f"{name}.tab" for name in ("given", "made"))
        source, target = (_name_files(folder, name) for name in ("given", "made"))
        given.write_text(format_tab((source,)), encoding="utf-8")
        made.write_text(format_tab((target,)), encoding="utf-8")
        _write_swath(source, args.bursts, args.samples)
        seconds: dict[str, list[tuple[float, float]]] = {"read and write": [], "deramp": [], "put the ramp back": []}
        back = folder / "back.tab"
        back.write_text(format_tab((_name_files(folder, "back"),)), encoding="utf-8")
        deramp_tab(given, made)  # compiles
        for _ in range(args.repeats):
            seconds["read and write"].append(_time(lambda: _copy(source.slc, folder / "copy")))
            (folder / "copy").unlink()
            seconds["deramp"].append(_time(lambda: deramp_tab(given, made)))
            seconds["put the ramp back"].append(_time(lambda: deramp_tab(made, back, adds_ramp=True)))
            (folder / "back.slc").unlink()
        size = source.slc.stat().st_size
        copy = np.median(seconds["read and write"], axis=0)
        for name, taken in seconds.items():
            wall, cpu = np.median(taken, axis=0)
            times = f"{wall / copy[0]:5.2f} times copying, {cpu / copy[1]:5.2f} times its CPU time"
            print(f"{name:<18} {wall:7.2f} s, CPU {cpu:6.2f} s, {size / 8e6 / wall:6.1f} million samples/s: {times}")


def _name_files(folder: Path, name: str) -> TabRow:
    return TabRow(slc=folder / f"{name}.slc", image=folder / f"{name}.slc.par", tops=folder / f"{name}.slc.TOPS_par")


def _time(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall, and of CPU."""
    wall, cpu = time.perf_counter(), machine.cpu_time()
    work()
    return time.perf_counter() - wall, machine.cpu_time() - cpu


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy, _BLOCK_BYTES)


def _write_swath(row: TabRow, bursts: int, samples: int) -> None:
    """Bursts of IW2 that hold one block of noise again and again."""
    chosen = recipe("tiny")
    chosen = replace(chosen, cuts=(SwathCut(swath="IW2", first_sample=0, samples=samples),), bursts=bursts)
    product = plan_products(replace(chosen, acquisitions=chosen.acquisitions[:1]))[0][0]
    swath = product.swaths[0].bursts
    burst, margin = swath[0], timedelta(seconds=80)
    image = Image(
        title="noise",
        sensor="S1A IW IW2 VV",
        grid=replace(burst.grid, lines=swath[-1].first_line + burst.grid.lines),
        stop=swath[-1].grid.stop_time,
        format=SampleFormat.FCOMPLEX,
        radar_frequency_hz=burst.radar_frequency_hz,
        range_bandwidth_hz=burst.range_bandwidth_hz,
        azimuth_bandwidth_hz=burst.azimuth_bandwidth_hz,
        doppler=burst,
    )
    orbit = product.track.make_orbit(product.start - margin, product.stop + margin)
    row.image.write_text(format_image(image, orbit), encoding="utf-8")
    start = burst.grid.first_line_time
    times = BurstTimes(sensing=start, fm_rate=start, doppler=start, since_node_s=0.0, pulse_rate_hz=1700.0)
    row.tops.write_text(format_tops([(one, times) for one in swath], product.arc, image.format), encoding="utf-8")
    noise = np.random.default_rng(1).normal(size=(burst.grid.lines, samples, 2)).astype(">f4")
    with row.slc.open("wb") as file:
        for _ in swath:
            noise.tofile(file)


if __name__ == "__main__":
    main()
