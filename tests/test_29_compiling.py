"""All kernels are compiled by the set-up, and no run compiles one after it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from pkgutil import iter_modules

import pytest
from numba.core.dispatcher import Dispatcher
from numba.types import NamedTuple

import topsar.kernels
import topsar.simulate
from topsar.compiling import KERNELS
from topsar.simulate.scatter import add_targets  # for tests alone

SIMULATE = """
from dataclasses import replace
from pathlib import Path
from dry_data import simulate_with_short_orbits
from topsar.simulate import recipe

tiny = recipe("tiny")
narrow = replace(tiny.cuts[0], samples=500)
simulate_with_short_orbits(Path("data"), replace(tiny, cuts=(narrow,), dem_posting_arcsec=3))
"""
RUNS = (
    {"SLC_STACK": "1", "CORRECTIONS": "ionosphere", "RANGE_REGISTRATION": "auto"},
    {"GRID": "radar", "INTERFEROGRAMS": "1"},
)


def test_every_kernel_is_compiled_by_the_set_up() -> None:
    found = set()
    for room in (topsar.kernels, topsar.simulate):
        for module in (import_module(f"{room.__name__}.{one.name}") for one in iter_modules(room.__path__)):
            kernels = (value for value in vars(module).values() if isinstance(value, Dispatcher))
            found |= {kernel for kernel in kernels if kernel.targetoptions.get("inline") != "always"}
    assert found - {add_targets} == {kernel for kernel, _ in KERNELS}
    assert len(KERNELS) == len(set(KERNELS))
    for kernel, given in KERNELS:
        assert len(given) == len(signature(kernel.py_func).parameters), kernel.__name__
        records = [one for one in given if isinstance(one, NamedTuple)]
        assert all(len(one.types) == len(one.instance_class._fields) for one in records), kernel.__name__


@pytest.mark.slow
def test_no_run_compiles_after_the_set_up(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(Path(__file__).parent)}

    def start(*arguments: str, **settings: str) -> None:
        argv = [sys.executable, *arguments]
        done = subprocess.run(argv, cwd=tmp_path, env=environment | settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def list_compiled() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb*")}

    start("-m", "topsar.compiling")
    compiled = list_compiled()
    assert len([path for path in compiled if path.suffix == ".nbc"]) == len(KERNELS)
    start("-c", SIMULATE)
    for settings in RUNS:
        start("-m", "topsar", "run", "--data=data", "--pairs=data/pairs.txt", ENGINE="native", **settings)
    assert list_compiled() == compiled
