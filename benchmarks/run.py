"""Benchmarks in one command: the machine, the kernels, and whole runs. What the figures mean: README.md beside this."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
SIZES = ("small", "swath", "frame")


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
    result: dict[str, Any] = {"machine": show_machine(threads)}
    if args.only != "pipeline":
        result["kernels"] = show_kernels(threads)
    if args.only != "kernels":
        result["pipeline"] = show_pipeline(args.size, args.folder, args.repeats or (3 if args.size == "small" else 1))
    return result


def show_machine(threads: int) -> dict[str, Any]:
    """Print what the machine is and can."""
    import machine

    found = machine.describe() | {
        "multiply_adds_per_core_g_s": machine.peak_rate(1),
        "multiply_adds_all_cores_g_s": machine.peak_rate(threads),
        "copy_gb_s": machine.copy_bandwidth(),
    }
    print("Machine")
    for key, value in found.items():
        print(f"  {key.replace('_', ' '):<28} {value:.1f}" if isinstance(value, float) else f"  {key:<28} {value}")
    return found


def show_kernels(threads: int) -> list[dict[str, Any]]:
    """Print the speed of each kernel."""
    import kernels

    print(f"\nKernels: millions per second on one core (CPU time) and on {threads} (wall time)")
    print(f"  {'kernel':<18}{'unit':<10}{'first call':>12}{'one core':>12}{'all cores':>12}{'multiply-adds each':>20}")
    rows = []
    for row in kernels.measure(threads):
        together = f"{row['all_cores']:.2f}" if row["all_cores"] else "-"
        print(
            f"  {row['kernel']:<18}{row['unit']:<10}{row['first_call_s']:>10.2f} s{row['per_core']:>12.2f}"
            f"{together:>12}{row['multiply_adds_each']:>20.0f}",
            flush=True,
        )
        rows.append(row)
    return rows


def show_pipeline(size: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Simulate once, run as often as asked, print the run of median duration."""
    import pipeline

    data, simulated_s = pipeline.data_of(size, folder)
    samples = pipeline.million_samples(pipeline.recipe_of(size))
    uses = sorted((pipeline.run_pairs(data) for _ in range(repeats)), key=lambda use: float(use["seconds"]))
    use = uses[(repeats - 1) // 2]
    print(f"\nPipeline, size {size}: one pair of {samples:.1f} million SLC samples per date, in {data}")
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
    return {"size": size, "million_samples": samples, "simulated_s": simulated_s, "runs": uses}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small", help="what the whole run processes [small]")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to use [all]")
    parser.add_argument("--repeats", type=int, metavar="N", help="whole runs [3 of size small, else 1]")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where simulated data are kept [results]")
    parser.add_argument("--only", choices=("kernels", "pipeline"), help="leave out the other part")
    parser.add_argument("--cold", action="store_true", help="compile anew: first calls and the first run show it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    return args


if __name__ == "__main__":
    main()
