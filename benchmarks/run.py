"""Benchmarks in one command: the machine, the kernels, and whole runs. What the figures mean: README.md beside this."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
SIZES = ("small", "bursts", "swath", "frame")


def main() -> None:
    """Parse, measure, print."""
    args = _parse()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])  # Numba and all children count these
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as empty:
        if args.cold:
            os.environ["NUMBA_CACHE_DIR"] = empty
        result = measure(args, threads)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(args: argparse.Namespace, threads: int) -> dict[str, Any]:
    """Measure and print all that was asked for."""
    result: dict[str, Any] = {"machine": show_machine(threads, args.folder)}
    if args.only == "formats":
        return result | {"formats": show_formats(args.folder)}
    if args.compare:
        return result | {"comparison": show_comparison(args)}
    if args.only != "pipeline":
        result["startup"] = show_startup()
        result["kernels"] = show_kernels(threads, result["machine"]["copy_gb_s"])
        show_regressions(result["kernels"], keep=args.keep)
    if args.only != "kernels":
        result["pipeline"] = show_pipeline(args)
    return result


def show_machine(threads: int, folder: Path) -> dict[str, Any]:
    """Print what the machine is and can."""
    import machine

    folder.mkdir(parents=True, exist_ok=True)

    found = machine.describe() | {
        "multiply_adds_per_core_g_s": machine.peak_rate(1),
        "multiply_adds_all_cores_g_s": machine.peak_rate(threads),
        "copy_gb_s": machine.copy_bandwidth(),
        "disk_read_gb_s": machine.disk_read(folder),
        "first_touch_s_per_gb": machine.first_touch(),
    }
    print("Machine")
    for key, value in found.items():
        print(f"  {key.replace('_', ' '):<28} {value:.1f}" if isinstance(value, float) else f"  {key:<28} {value}")
    return found


def show_startup() -> list[dict[str, Any]]:
    """Print how long it takes to start."""
    import startup

    rows = list(startup.measure())
    print("\nStart, CPU seconds: " + ", ".join(f"{row['start']} {row['cpu_s']:.2f}" for row in rows))
    waits = startup.measure_admission()
    texts = (f"{name} {1e3 * statistics.median(seconds):.0f}" for name, seconds in waits.items())
    print("From admission to a step's first line, milliseconds: " + ", ".join(texts))
    return [*rows, {"admission_s": waits}]


def show_kernels(threads: int, copy_gb_s: float) -> list[dict[str, Any]]:
    """Print the speed of each kernel."""
    import kernels

    print(f"\nKernels: millions per second on one core (CPU time) and on {threads} (wall time)")
    print(
        f"  {'kernel':<18}{'unit':<10}{'first call':>12}{'one core':>12}{'all cores':>12}{'multiply-adds each':>20}"
        f"{'of copy':>10}{'of adds':>10}"
    )
    rows = []
    for row in kernels.measure(threads, copy_gb_s):
        together = f"{row['all_cores']:.2f}" if row["all_cores"] else "-"
        limits = (row["share_of_copy"], row["share_of_multiply_adds"])
        print(
            f"  {row['kernel']:<18}{row['unit']:<10}{row['first_call_s']:>10.2f} s{row['per_core']:>12.2f}"
            f"{together:>12}{row['multiply_adds_each']:>20.0f}"
            + "".join(f"{f'{100 * share:.0f} %' if share else '-':>10}" for share in limits),
            flush=True,
        )
        rows.append(row)
    return rows


def show_regressions(rows: list[dict[str, Any]], *, keep: bool) -> None:
    """Print what is slower than the baseline, or make these rows the baseline."""
    import baseline

    if keep:
        baseline.keep(rows)
        print(f"\nBaseline written to {baseline.BASELINE}")
        return
    found = list(baseline.regressions(rows))
    print("\nRegressions: " + ("none" if not found else ""))
    for line in found:
        print(f"  {line}")


def show_formats(folder: Path) -> list[dict[str, Any]]:
    """Print what each format of a large pair takes."""
    import formats

    rows = []
    print(f"\nFormats of a pair of {formats.SHAPE[0]} x {formats.SHAPE[1]} pixels")
    print(f"  {'format':<14}{'seconds':>10}{'CPU s':>10}{'peak memory':>14}{'written':>12}{'files':>8}")
    for row in formats.measure(folder):
        print(
            f"  {row['format']:<14}{row['seconds']:>10.1f}{row['cpu_s']:>10.1f}{row['peak_bytes'] / 1e6:>11.0f} MB"
            f"{row['bytes'] / 1e6:>9.0f} MB{row['files']:>8}",
            flush=True,
        )
        rows.append(row)
    return rows


def show_pipeline(args: argparse.Namespace) -> dict[str, Any]:
    """Simulate once, run as often as asked, print the run of median duration."""
    import pipeline

    size, repeats = args.size, args.repeats or (3 if args.size == "small" else 1)
    chosen = pipeline.recipe_of(size, args.dates)
    data, simulated_s = pipeline.data_of(chosen, args.folder)
    if args.zip:
        data = pipeline.zipped(data)
    samples = pipeline.million_samples(chosen)
    limit = args.memory and int(args.memory * 1e9)
    uses = sorted(
        (pipeline.run_pairs(data, limit, args.flags) for _ in range(repeats)), key=lambda use: float(use["seconds"])
    )
    use = uses[(repeats - 1) // 2]
    dates = len(chosen.acquisitions)
    print(
        f"\nPipeline, size {size}: {dates} dates, {dates * (dates - 1) // 2} pairs, {samples:.1f} million SLC samples "
        f"per date, in {data}"
    )
    print(f"  simulated in {simulated_s:.1f} s" if simulated_s else "  simulated earlier")
    print("  seconds of the runs, sorted: " + ", ".join(f"{one['seconds']:.1f}" for one in uses))
    print(f"  {'step':<12}{'steps':>6}{'seconds':>10}{'CPU s':>10}{'peak memory':>14}")
    for row in (*use["steps"], use | {"step": "all", "count": ""}):
        print(
            f"  {row['step']:<12}{row['count']:>6}{row['seconds']:>10.1f}{row['cpu_s']:>10.1f}"
            f"{row['peak_bytes'] / 1e6:>11.0f} MB"
        )
    print(
        f"  per million samples: {use['seconds'] / samples:.3f} s, {use['cpu_s'] / samples:.3f} CPU s\n"
        f"  disk: runs folder at most {use['peak_disk_bytes'] / 1e6:.0f} MB "
        f"({use['peak_disk_bytes'] / samples / 1e6:.0f} bytes per sample), products {use['product_bytes'] / 1e6:.1f} "
        f"MB, read {use['read_bytes'] / 1e6:.0f} MB, written {use['written_bytes'] / 1e6:.0f} MB"
    )
    if limit:
        print(
            f"  in a cgroup of {args.memory:g} GB: at most {use['cgroup_bytes'] / 1e9:.2f} GB but for the disk's cache"
        )
    return {"size": size, "million_samples": samples, "simulated_s": simulated_s, "runs": uses}


def show_comparison(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Print what another revision takes beside what this one does."""
    import pipeline
    import revision

    data, _ = pipeline.data_of(pipeline.recipe_of(args.size, args.dates), args.folder)
    rows = revision.compare(data, args.compare, args.flags, args.repeats or 5)
    print(f"\nThis revision beside {args.compare}, size {args.size}, medians")
    print(
        f"  {'step':<16}{'seconds':>9}{'other':>9}{'ratio':>8}{'CPU s':>9}{'other':>9}{'ratio':>8}{'memory ratio':>14}"
    )
    for row in rows:
        seconds, cpu, memory = ((row[key], row[f"other_{key}"]) for key in ("seconds", "cpu_s", "peak_bytes"))
        print(
            f"  {row['step']:<16}"
            + "".join(f"{ours:>9.2f}{other:>9.2f}{ours / other:>8.2f}" for ours, other in (seconds, cpu))
            + f"{memory[0] / memory[1]:>14.2f}"
        )
    return rows


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small", help="what the whole run processes [small]")
    parser.add_argument("--dates", type=int, default=2, metavar="N", help="dates of the whole run, all paired [2]")
    parser.add_argument("--zip", action="store_true", help="products as deflated zips, as they are downloaded")
    parser.add_argument("--memory", type=float, metavar="GB", help="whole runs in a cgroup of so much memory")
    parser.add_argument("--flags", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the whole runs")
    parser.add_argument("--keep", action="store_true", help="make the kernels' figures the baseline")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to use [all]")
    shown = "whole runs [3 of size small, else 1; 5 of each to compare]"
    parser.add_argument("--repeats", type=int, metavar="N", help=shown)
    parser.add_argument("--compare", metavar="REV", help="whole runs of this revision and of another one, in turns")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where simulated data are kept [results]")
    parser.add_argument("--only", choices=("kernels", "pipeline", "formats"), help="one part alone")
    parser.add_argument("--cold", action="store_true", help="compile anew: first calls and the first run show it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    return args


if __name__ == "__main__":
    main()
