"""A network of dates at small scenes: killed at random and started again until it is complete; and what costs how much.

What is counted, and how: README.md beside this. Exits with 1 unless nothing is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pipeline
import psutil
from run import RESULTS

from topsar.raster import read_geotiff
from topsar.report.closure import COHERENT, Closure, close_triplets
from topsar.schedule.jobs import Event, Status
from topsar.schedule.journal import read_journal
from topsar.schedule.lock import find_holder
from topsar.simulate import Acquisition, Recipe, recipe
from topsar.simulate.compare import compare_pair
from topsar.simulate.recipe import SwathCut

NEIGHBOURS = 3
"""Each date is paired with so many next ones; the first so many with one more, which makes three per step of time."""
FIT_SAMPLES = 2500
"""Of a burst in the fits: wide enough that work, and not starting, decides."""
_ENVIRONMENT = {**os.environ, "ENGINE": "native"}
_SAMPLE_S, _DISK_EVERY = 0.25, 8
_MOST_MEAN_RAD, _MOST_JUMPS = 0.1, 0.001
_BOUND_DEVIATIONS = 1.5
"""A phase may be so many times further from the truth than coherence and looks say."""


@dataclass
class Use:
    """What all starts of one run used together; steps that a kill cut off count in all but CPU seconds."""

    starts: int = 0
    kills: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    peak_disk_bytes: int = 0


@dataclass
class Verdict:
    """What was found at the end, and what is wrong with it."""

    figures: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def demand(self, is_so: bool, otherwise: str) -> None:  # noqa: FBT001 - as assert
        """Note what is wrong unless it is so."""
        if not is_so:
            self.wrong.append(otherwise)


# --- data -----------------------------------------------------------------------------------------------------------


def recipe_of(dates: int, *, bursts: int, samples: int, seed: int) -> Recipe:
    """A strip of IW2, seen every twelve days from orbits and with burst timings that chance chose."""
    tiny, chance = recipe("tiny"), random.Random(seed)
    first = tiny.acquisitions[0]
    later = tuple(
        Acquisition(
            day=first.day + timedelta(days=12 * number),
            perpendicular_baseline_m=chance.gauss(0, 50),
            azimuth_shift_px=chance.gauss(0, 0.002),
            sync_s=chance.uniform(-2e-3, 2e-3),
        )
        for number in range(1, dates)
    )
    cut = SwathCut(swath="IW2", first_sample=12000, samples=samples)
    name = f"network-{bursts}-{samples}"
    return replace(tiny, name=name, acquisitions=(first, *later), cuts=(cut,), bursts=bursts, decorrelation_days=48.0)


def data_of(chosen: Recipe, folder: Path) -> Path:
    """The simulated data, made if they are not there yet."""
    data, seconds = pipeline.data_of(chosen, folder)
    print(f"{chosen.name}: " + (f"simulated in {seconds:.0f} s" if seconds else "simulated earlier"), flush=True)
    return data


def list_neighbours(data: Path) -> Path:
    """Each date with its next ones, as ``topsar pairs`` lists them, and the first few with one more."""
    pairs = data / "network.txt"
    argv = (*_topsar("pairs", data, pairs), "--neighbours", str(NEIGHBOURS), "--force")
    done = subprocess.run(argv, cwd=data, env=_ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: topsar pairs failed: {done.stderr}")
    names = names_of(data)
    more = zip(names[:NEIGHBOURS], names[NEIGHBOURS + 1 :], strict=False)
    pairs.write_text(pairs.read_text() + "".join(f"{first}, {second}\n" for first, second in more))
    return pairs


def list_pairs(data: Path, chosen: Sequence[tuple[int, int]]) -> Path:
    """The chosen pairs of dates, by their numbers."""
    names, pairs = names_of(data), data / "chosen.txt"
    pairs.write_text("".join(f"{names[a]}, {names[b]}\n" for a, b in chosen))
    return pairs


def names_of(data: Path) -> list[str]:
    """The products, in order of time."""
    return sorted(scene.stem for scene in (data / "raw").glob("*.SAFE"))


def _topsar(verb: str, data: Path, pairs: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "topsar", verb, "--data", str(data), "--pairs", str(pairs))


# --- a run that is killed -------------------------------------------------------------------------------------------


def run_killed(data: Path, pairs: Path, delays_s: Sequence[float]) -> Use:
    """Start a run, kill its scheduler after each of the delays, and let the last start come to its end."""
    use, runs = Use(), data / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    started, cpu = time.perf_counter(), _children_cpu_s()
    with (data / "network.log").open("w") as log:
        for delay_s in (*delays_s, None):
            argv = _topsar("run", data, pairs)
            use.starts += 1
            with subprocess.Popen(argv, cwd=data, stdout=log, stderr=log, env=_ENVIRONMENT) as process:
                is_killed = _watch(process, runs, use, delay_s)
            use.kills += is_killed
            how = "killed" if is_killed else f"ended with {process.returncode}"
            print(f"  {time.perf_counter() - started:6.1f} s: {how}, {_progress(runs)}", flush=True)
            if not is_killed:
                break
    use.seconds, use.cpu_s = time.perf_counter() - started, _children_cpu_s() - cpu
    return use


def _watch(process: subprocess.Popen[bytes], runs: Path, use: Use, delay_s: float | None) -> bool:
    """Note memory and disk until it ends; kill it so long after it took the runs folder, and say whether it was."""
    root, turn, until = psutil.Process(process.pid), 0, math.inf
    while process.poll() is None:
        if delay_s is not None and until == math.inf and (holder := find_holder(runs)) and holder.pid == process.pid:
            until = time.monotonic() + delay_s
        if time.monotonic() >= until:
            process.kill()
            return True
        with contextlib.suppress(psutil.Error):
            alive = (root, *root.children(recursive=True))
            use.peak_bytes = max(use.peak_bytes, sum(pipeline.resident(one) for one in alive))
        if turn % _DISK_EVERY == 0:
            use.peak_disk_bytes = max(use.peak_disk_bytes, pipeline.allocated(runs))
        turn += 1
        time.sleep(_SAMPLE_S)
    return False


def _progress(runs: Path) -> str:
    ended = Counter(event.step for event in events_of(runs) if event.status is Status.DONE)
    return ", ".join(f"{number} {step}" for step, number in ended.items()) or "no step has ended"


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- what it left ---------------------------------------------------------------------------------------------------


def events_of(runs: Path) -> list[Event]:
    """All that the journals say."""
    return [event for journal in sorted(runs.glob("*/journal.jsonl")) for event in read_journal(journal)]


def check(data: Path, chosen: Recipe, pairs: Path, args: argparse.Namespace) -> Verdict:
    """All pairs are there, nothing was done twice, triangles close, and phases are true."""
    verdict, runs = Verdict(), data / "runs"
    listed = sum(bool(line.strip()) and not line.startswith("#") for line in pairs.read_text().splitlines())
    folders = sorted(runs.glob("T*/products"))
    whole = [one for one in folders if (one / "unwrapped_phase.tif").is_file() and (one / "facts.json").is_file()]
    verdict.figures["pairs"] = f"{len(whole)} of {listed}"
    verdict.demand(len(whole) == listed, f"{listed} pairs are listed, {len(whole)} have products")
    verdict.demand((runs / "report.html").is_file(), "no report")
    check_steps(events_of(runs), geocodings=len(chosen.acquisitions) * len(chosen.cuts), pairs=listed, verdict=verdict)
    check_closure(runs, whole, verdict)
    check_truth(data, random.Random(args.seed).sample(whole, min(args.compare, len(whole))), verdict)
    return verdict


def check_steps(events: Sequence[Event], *, geocodings: int, pairs: int, verdict: Verdict) -> None:
    """Each step succeeded once, and none was started again after that."""
    started, done, again = Counter[str](), Counter[str](), []
    for event in events:
        node = f"{event.job}/{event.step}"
        if event.status is Status.RUNNING:
            again += [node] if done[node] else []
            started[node] += 1
        elif event.status is Status.DONE:
            done[node] += 1
    by_name = Counter(node.rpartition("/")[2] for node in done)
    failed = [event for event in events if event.status is Status.FAILED]
    verdict.figures |= {
        "steps": f"{len(done)} ({', '.join(f'{number} {name}' for name, number in by_name.items())})",
        "starts of steps": f"{started.total()}, {started.total() - done.total()} of them cut off",
        "repeated steps": f"{len(again)}",
        "geocodings": f"{by_name['geocode']} for {geocodings} dates times swaths",
    }
    verdict.demand(not again, f"done again after success: {again[:5]}")
    verdict.demand(not failed, f"failed: {[(one.job, one.step, one.ended) for one in failed[:3]]}")
    verdict.demand(by_name["geocode"] == geocodings, f"{by_name['geocode']} geocodings, expected {geocodings}")
    for name in ("mosaic", "filter", "unwrap", "format_geotiff"):
        verdict.demand(by_name[name] == pairs, f"{by_name[name]} times {name}, expected {pairs}")


def check_closure(runs: Path, folders: Sequence[Path], verdict: Verdict) -> None:
    """Wrapped triangles close to noise; unwrapped ones to one number of cycles where all three pairs are coherent."""
    closures = close_triplets(folders)
    found = closures.found
    verdict.demand(len(found) == closures.total > 0, f"{len(found)} of {closures.total} triangles could be closed")
    if not found:
        return
    worst = max(found, key=lambda one: abs(one.mean_rad))
    jumps = {one.dates: jumps_of(runs, one) for one in found}
    verdict.figures |= {
        "triangles": f"{len(found)}, {fmean(one.pixels for one in found):.0f} pixels each",
        "closure mean": f"{fmean(one.mean_rad for one in found):+.4f} rad, worst {worst.mean_rad:+.4f}",
        "closure rms": f"{_rms([one.rms_rad for one in found]):.3f} rad, "
        f"worst {max(one.rms_rad for one in found):.3f}; "
        f"of independent pairs {_rms([one.expected_rad for one in found]):.3f}",
        "2 pi jumps": f"{100 * fmean(jumps.values()):.4f} % of coherent pixels, "
        f"worst {100 * max(jumps.values()):.3f} %, none in {sum(not share for share in jumps.values())} triangles",
    }
    verdict.demand(abs(worst.mean_rad) < _MOST_MEAN_RAD, f"{worst.dates} closes to {worst.mean_rad:+.3f} rad")
    loud = [one.dates for one in found if one.rms_rad > one.expected_rad]
    verdict.demand(not loud, f"closure above the noise of independent pairs: {loud[:5]}")
    torn = {dates: share for dates, share in jumps.items() if share > _MOST_JUMPS}
    verdict.demand(not torn, f"share of coherent pixels with jumps: {dict(list(torn.items())[:5])}")


def jumps_of(runs: Path, one: Closure) -> float:
    """Share of the pixels, coherent in all three pairs, whose unwrapped phases close to other cycles than most do."""
    loop, seen = 0.0, True
    for pair, sign in zip(one.pairs, (1, 1, -1), strict=True):
        phase, coherence, components = (
            read_geotiff(runs / pair / "products" / f"{name}.tif")[0]
            for name in ("unwrapped_phase", "coherence", "components")
        )
        loop = loop + sign * phase.astype(np.float64)
        seen = seen & (coherence > COHERENT) & (components > 0)
    cycles = np.round(loop[seen & np.isfinite(loop)] / (2 * np.pi)).astype(np.int64)
    return float(1 - np.unique(cycles, return_counts=True)[1].max() / cycles.size) if cycles.size else 0.0


def check_truth(data: Path, folders: Sequence[Path], verdict: Verdict) -> None:
    """Phases of some pairs against what was put in."""
    found = [compare_pair(folder, data / "truth") for folder in folders]
    if not found:
        return
    verdict.figures["phase minus truth"] = (
        f"{len(found)} pairs: mean {fmean(one.mean_rad for one in found):+.4f} rad, deviation "
        f"{_rms([one.deviation_rad for one in found]):.3f}, expected {_rms([one.expected_rad for one in found]):.3f}, "
        f"largest seam {max(one.seam_rad for one in found):.3f}"
    )
    for one in found:
        is_true = one.deviation_rad < _BOUND_DEVIATIONS * one.expected_rad
        verdict.demand(is_true, f"{one.pair}: {one.deviation_rad:.3f} rad, expected {one.expected_rad:.3f}")


def _rms(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def show_network(args: argparse.Namespace) -> bool:
    """Simulate, run and kill, check, print; whether nothing is wrong."""
    chosen = recipe_of(args.dates, bursts=args.bursts, samples=args.samples, seed=args.seed)
    data, chance = data_of(chosen, args.folder), random.Random(args.seed)
    pairs = data / "network.txt" if args.check else list_neighbours(data)
    use = None if args.check else run_killed(data, pairs, [chance.uniform(*args.apart) for _ in range(args.kills)])
    verdict = check(data, chosen, pairs, args)
    million = pipeline.million_samples(chosen)
    print(f"\n{args.dates} dates of {million:.1f} million samples, {_cores()} cores, seed {args.seed}")
    for name, text in (verdict.figures | (figures_of(use, data) if use else {})).items():
        print(f"  {name:<20} {text}")
    print("  wrong: " + ("nothing" if not verdict.wrong else ""))
    for line in verdict.wrong:
        print(f"    {line}")
    return not verdict.wrong


def figures_of(use: Use, data: Path) -> dict[str, str]:
    """What the run used, in words."""
    pairs = max(1, len(list((data / "runs").glob("T*/products"))))
    return {
        "starts": f"{use.starts}, {use.kills} of them killed",
        "wall": f"{use.seconds:.1f} s, {use.seconds / pairs:.2f} s per pair",
        "CPU": f"{use.cpu_s:.1f} s, {use.cpu_s / pairs:.2f} s per pair",
        "peak memory": f"{use.peak_bytes / 1e6:.0f} MB",
        "runs folder": f"at most {use.peak_disk_bytes / 1e6:.0f} MB, {pipeline.allocated(data / 'runs') / 1e6:.0f} MB "
        "at the end",
    }


# --- what costs how much --------------------------------------------------------------------------------------------


class Size(NamedTuple):
    """A run of a fit: how many there are of what the fit is over, the data, and the pairs of dates."""

    number: int
    recipe: Recipe
    pairs: tuple[tuple[int, int], ...]
    cores: int | None = None


def fits(seed: int) -> dict[str, tuple[Size, ...]]:
    """The runs of each fit; those over pairs geocode the same four dates every time."""

    def sized(dates: int, bursts: int = 2) -> Recipe:
        return recipe_of(dates, bursts=bursts, samples=FIT_SAMPLES, seed=seed)

    eight = sized(8)
    apart = ((0, 1), (2, 3), (4, 5), (6, 7))
    among_four = (*apart[:2], (1, 2), (0, 2), (1, 3), (0, 3))
    return {
        "bursts": tuple(Size(bursts, sized(2, bursts), apart[:1]) for bursts in (2, 4, 6)),
        "dates": tuple(Size(dates, eight, apart[: dates // 2]) for dates in (2, 4, 8)),
        "pairs": tuple(Size(pairs, eight, among_four[:pairs]) for pairs in (2, 4, 6)),
        "cores": tuple(Size(cores, eight, apart[:2], cores) for cores in (1, _cores())),
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Wall and CPU seconds of one undisturbed run."""
    data, all_cores = data_of(size.recipe, folder), os.sched_getaffinity(0)
    runs, argv = data / "runs", _topsar("run", data, list_pairs(data, size.pairs))
    shutil.rmtree(runs, ignore_errors=True)
    os.sched_setaffinity(0, sorted(all_cores)[: size.cores])
    try:
        return pipeline.run_command(argv, runs, data / "run.log", _ENVIRONMENT)
    finally:
        os.sched_setaffinity(0, all_cores)


def show_fits(args: argparse.Namespace) -> None:
    """Run all sizes, and print each line through them."""
    for name, sizes in fits(args.seed).items():
        if args.only and name not in args.only:
            continue
        uses = []
        for size in sizes:
            uses.append(measure(size, args.folder))
            print(f"  {size.number} {name}: {uses[-1]['seconds']:.1f} s, {uses[-1]['cpu_s']:.1f} CPU s", flush=True)
        numbers = [size.number for size in sizes]
        if name == "cores":
            print(f"{name}: {uses[0]['seconds'] / uses[-1]['seconds']:.2f} times as fast on {numbers[-1]} as on 1")
            continue
        for key in ("seconds", "cpu_s"):
            print(f"{name}, {key}: {fitted(numbers, [float(use[key]) for use in uses])}", flush=True)


def fitted(numbers: Sequence[int], seconds: Sequence[float]) -> str:
    """The line of least squares, in words."""
    slope, intercept = np.polyfit(numbers, seconds, 1)
    residuals = [abs(s - intercept - slope * n) / s for n, s in zip(numbers, seconds, strict=True)]
    return f"{slope:.2f} s each and {intercept:.2f} s at the start, off by at most {100 * max(residuals):.1f} %"


def main() -> None:
    """Parse, run, print."""
    args = _parse()
    if args.fit:
        show_fits(args)
        return
    sys.exit(not show_network(args))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dates", type=int, default=30, metavar="N", help="dates of the network [30]")
    parser.add_argument("--bursts", type=int, default=2, metavar="N", help="bursts of a date [2]")
    parser.add_argument("--samples", type=int, default=1200, metavar="N", help="samples of a burst's line [1200]")
    parser.add_argument("--kills", type=int, default=8, metavar="N", help="how often the scheduler is killed [8]")
    parser.add_argument(
        "--apart", type=float, nargs=2, default=(5.0, 40.0), metavar="S", help="seconds of work until a kill [5 40]"
    )
    parser.add_argument("--compare", type=int, default=12, metavar="N", help="pairs that are compared with truth [12]")
    parser.add_argument("--seed", type=int, default=0, help="of orbits, burst timings and kills [0]")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where simulated data are kept [results]")
    parser.add_argument("--check", action="store_true", help="only check what an earlier run left")
    parser.add_argument("--fit", action="store_true", help="undisturbed runs of several sizes, and lines through them")
    parser.add_argument(
        "--only", nargs="*", choices=("bursts", "dates", "pairs", "cores"), help="of the fits, these [all]"
    )
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    return args


if __name__ == "__main__":
    main()
