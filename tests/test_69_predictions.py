"""What is predicted of each step's memory beside what it takes, over sizes and formats."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from topsar.simulate import Recipe, recipe, simulate

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "predictions.py"
TINY, DEMO = recipe("tiny"), recipe("demo")
MEDIUM = replace(DEMO, acquisitions=DEMO.acquisitions[:3], cuts=(replace(DEMO.cuts[1], samples=6000),))
EVERYTHING = {
    "ENGINE": "native",
    "FORMATS": "geotiff,quicklook,hyp3,hyp3_gamma,mintpy,licsbas,gunw,netcdf,netcdf_stack,stac,timeseries",
    "CORRECTIONS": "stratified_troposphere,solid_earth_tide,ionosphere",
    "SLC_STACK": "1",
    "RANGE_REGISTRATION": "auto",
    "ESD": "network",
}


def run_everything(data: Path, posting: str) -> Path:
    """In a process of its own: of a step that takes less than its scheduler only samples are known."""
    shutil.rmtree(data / "runs", ignore_errors=True)
    argv = [sys.executable, "-m", "topsar", "run", "--data", str(data), "--pairs", str(data / "pairs.txt")]
    subprocess.run(argv, env={**os.environ, **EVERYTHING, "POSTING": posting}, check=True, capture_output=True)
    return data / "runs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "postings"), [pytest.param(TINY, ("80",), id="small"), pytest.param(MEDIUM, ("80", "30"), id="medium")]
)
def test_memory_is_predicted(made: Recipe, postings: tuple[str, ...], tmp_path: Path) -> None:
    """Never below what is taken by more than 10 %, never 1.3 times above it."""
    simulate(tmp_path, made)
    run_everything(tmp_path, postings[0])  # compiles what is not compiled yet, which takes memory of its own
    for posting in postings:
        told = subprocess.run(
            [sys.executable, BENCHMARK, run_everything(tmp_path, posting)], check=False, capture_output=True, text=True
        )
        assert told.returncode == 0, told.stdout + told.stderr
