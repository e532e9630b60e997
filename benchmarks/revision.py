"""Whole runs of another revision of topsar beside those of this one, on the same data and in turns."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pipeline

ROOT = Path(__file__).resolve().parent.parent
_FIGURES = ("seconds", "cpu_s", "peak_bytes")


@contextlib.contextmanager
def check_out(revision: str) -> Iterator[Path]:
    """The tree of a revision, in a folder that goes at the end."""
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "tree.tar"
        subprocess.run(["git", "archive", "--output", archive, revision, "code"], cwd=ROOT, check=True)
        subprocess.run(["tar", "xf", archive, "-C", folder], check=True)
        yield Path(folder)


def compare(data: Path, revision: str, flags: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """Run both in turns, after one run of each that counts for nothing: it compiles the kernels.

    One row for the whole and for each step, with the medians of both; the other revision's begin with ``other_``.
    """
    with check_out(revision) as tree:
        trees = {"": ROOT, "other_": tree}
        uses: dict[str, list[dict[str, dict[str, float]]]] = {who: [] for who in trees}
        for turn in range(repeats + 1):
            for who, place in trees.items():
                use = _flatten(_run(data, place, flags))
                uses[who] += [use] if turn else []
    steps = [step for step in uses[""][0] if step in uses["other_"][0]]
    return [
        {"step": step}
        | {
            f"{who}{figure}": median(use[step][figure] for use in found)
            for who, found in uses.items()
            for figure in _FIGURES
        }
        for step in steps
    ]


def _run(data: Path, tree: Path, flags: Sequence[str]) -> dict[str, Any]:
    path = f"PYTHONPATH={tree / 'code'}"
    code = "import topsar; print(topsar.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tree / "code")}
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=True, text=True, capture_output=True)
    if not Path(found.stdout.strip()).is_relative_to(tree):
        sys.exit(f"error: {found.stdout.strip()} would be measured instead of {tree}")
    return pipeline.run_pairs(data, flags=[*flags, path])


def _flatten(use: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The figures of a run by step; ``all`` for the whole."""
    return {"all": use} | {row["step"]: row for row in use["steps"]}
