"""Benchmarks in one command: the machine, the kernels, and a whole run. See README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Parse, measure, print."""
    args = _parse()
    cores = sorted(os.sched_getaffinity(0))[: args.threads]
    os.sched_setaffinity(0, cores)  # before Numba counts them; every process started from here inherits it
    result: dict[str, Any] = {"machine": show_machine(len(cores))}
    if args.only != "pipeline":
        result["kernels"] = show_kernels(len(cores))
    if args.only != "kernels":
        result["pipeline"] = show_pipeline(args.size, args.folder, args.repeats or (3 if args.size == "small" else 1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def show_machine(threads: int) -> dict[str, Any]:
    """Print what the machine is and can."""
    import machine

    known = machine.describe()
    one, together = (machine.time_call(lambda: None, threads=n, repeats=0) for n in (1, threads))
    return known | {"one": one, "together": together}


def show_kernels(threads: int) -> list[dict[str, Any]]:
    """Print the speed of each kernel."""
    import kernels

    return list(kernels.measure(threads))
