"""topsar beside other software, on the same simulated products and cores: what is installed is run, a table printed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pipeline
from run import RESULTS, SIZES

from topsar.simulate.compare import compare_pair

_NATIVE = "topsar"
_TOPSAPP = "topsApp"
_ENGINES = {_NATIVE: "native", _TOPSAPP: "isce2"}


def main() -> None:
    """Parse, run, print."""
    args = _parse()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    chosen = pipeline.recipe_of(args.size, args.dates)
    data, _ = pipeline.data_of(chosen, args.folder)
    samples = pipeline.million_samples(chosen)
    rows = list(_measured(args, data))
    _show(rows, samples, args)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def _measured(args: argparse.Namespace, data: Path) -> Iterator[dict[str, Any]]:
    """One row for each program that is here and was asked for."""
    for name in args.only or _ENGINES:
        try:
            use = pipeline.run_pairs(data, flags=[f"ENGINE={_ENGINES[name]}", *args.flags])
        except SystemExit as exc:
            print(f"  {name} is left out: {exc}\n" + "".join(_last_lines(data / "run.log")))
            continue
        found = [compare_pair(folder, data / "truth") for folder in sorted((data / "runs").glob("*/products"))]
        yield {"program": name, **use, "accuracy_rad": [one.deviation_rad for one in found]}
    for text in args.also:
        name, _, command = text.partition("=")
        folder = data / "also"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        environment = {**os.environ, "DATA": str(data), "RUN": str(folder)}
        yield {"program": name, **pipeline.run_command(["sh", "-ec", command], folder, folder / "log", environment)}


def _last_lines(log: Path) -> list[str]:
    return [f"    {line}\n" for line in log.read_text(errors="replace").splitlines()[-3:]]


def _show(rows: list[dict[str, Any]], samples: float, args: argparse.Namespace) -> None:
    pairs = args.dates * (args.dates - 1) // 2
    first = next((row for row in rows if row["program"] == _NATIVE), None)
    print(
        f"\n{args.dates} dates, {pairs} pairs, {samples:.0f} million samples per date, "
        f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"  {'program':<12}{'seconds':>10}{'CPU s':>10}{'memory':>10}{'scratch':>10}{'rad':>8}{'time, scratch':>20}")
    for row in rows:
        accuracy = row.get("accuracy_rad") or []
        off = f"{max(accuracy):.3f}" if accuracy else "-"
        times = ""
        if first is not None and row is not first:
            times = (
                f"{row['seconds'] / first['seconds']:.1f} x, {row['peak_disk_bytes'] / first['peak_disk_bytes']:.1f} x"
            )
        print(
            f"  {row['program']:<12}{row['seconds']:>10.1f}{row['cpu_s']:>10.1f}{row['peak_bytes'] / 1e9:>7.2f} GB"
            f"{row['peak_disk_bytes'] / 1e9:>7.2f} GB{off:>8}{times:>20}"
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small", help="what is processed [small]")
    parser.add_argument("--dates", type=int, default=2, metavar="N", help="dates, all paired [2]")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to use [all]")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where simulated data are kept [results]")
    parser.add_argument("--only", nargs="*", choices=tuple(_ENGINES), help="programs to run [all]")
    parser.add_argument("--flags", nargs="*", default=[], metavar="NAME=VALUE", help="settings of topsar")
    parser.add_argument(
        "--also", nargs="*", default=[], metavar="NAME=COMMAND", help="a shell command that reads $DATA, writes in $RUN"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    return args


if __name__ == "__main__":
    main()
