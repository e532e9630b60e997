"""Mutation trial: change one place of the package at a time and see whether the tests of its room notice.

    python benchmarks/mutations.py --sample 60 --seed 1 [--rooms kernels,schedule]

Each mutant is a copy of one module with one changed operator, constant, condition or return value. The tests of its
room run on it in a copy of the tree, with a compile cache of their own. A mutant that no test notices survives.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "code" / "topsar"

TESTS = {  # the longest prefix of a module's place decides; tests in the order that finds a fault soonest
    "kernels/filter": "24",
    "kernels/geometry": "20 22_resample",
    "kernels/half": "26_half",
    "kernels/interferogram": "23 26_half",
    "kernels/mosaic": "23",
    "kernels/registration": "26_registration",
    "kernels/resample": "22_resample",
    "kernels/statistics": "23 26_registration",
    "kernels/tile": "22_resample",
    "kernels/tops": "21 22_resample",
    "kernels/unwrap": "25",
    "kernels/visibility": "26_visibility",
    "schedule": "50 51 52 53 54 55 58 59 73",
    "schedule/dask": "57",
    "engines/native/steps": "60_native_plan 61 65 69_stack 80 86",
    "engines/isce2": "61 69_fake 87 88",
}
"""Room or module, and the numbers (or beginnings) of its test files."""

LIMIT_FACTOR, LIMIT_EXTRA_S = 4, 60
"""A mutant that runs longer than the unchanged tests by this factor and these seconds counts as killed."""

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One changed place of a module: ``number`` counts the places in the order of the walk."""

    module: Path
    number: int
    line: int
    change: str

    @property
    def place(self) -> str:
        return self.module.relative_to(PACKAGE).with_suffix("").as_posix()


def walk_code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run: no annotations, docstrings, messages, nor what only a type checker reads."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "type_params", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(
                child, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)
            ):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            yield child
            yield from walk_code(child)


def list_changes(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the changes that one node allows: what it says, and a function that makes it in place."""
    if isinstance(node, ast.Compare):
        for k, operator in enumerate(node.ops):
            other = _COMPARISONS[type(operator)]
            yield f"{type(operator).__name__} -> {other.__name__}", lambda k=k, o=other: node.ops.__setitem__(k, o())
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _ARITHMETIC:
        swap = _ARITHMETIC[type(node.op)]
        yield f"{type(node.op).__name__} -> {swap.__name__}", lambda: setattr(node, "op", swap())
    elif isinstance(node, ast.BoolOp):
        turn = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{type(node.op).__name__} -> {turn.__name__}", lambda: setattr(node, "op", turn())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", lambda: setattr(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield f"{node.value} -> {node.value + 1}", lambda: setattr(node, "value", node.value + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "-x -> +x", lambda: setattr(node, "op", ast.UAdd())
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(node.test, ast.Constant):
        negated = ast.UnaryOp(op=ast.Not(), operand=node.test)
        yield "condition negated", lambda: setattr(node, "test", negated)
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield "return value -> None", lambda: setattr(node, "value", ast.Constant(None))


def find_mutants(module: Path) -> list[Mutant]:
    """List all mutants of a module."""
    changes = [
        (node, text) for node in walk_code(ast.parse(module.read_text("utf-8"))) for text, _ in list_changes(node)
    ]
    return [Mutant(module, k, getattr(node, "lineno", 0), text) for k, (node, text) in enumerate(changes)]


def write_mutant(mutant: Mutant, tree: Path) -> None:
    """Write the changed module over the one in a copy of the tree."""
    syntax = ast.parse(mutant.module.read_text("utf-8"))
    changes = [change for node in walk_code(syntax) for _, change in list_changes(node)]
    changes[mutant.number]()
    ast.fix_missing_locations(syntax)
    (tree / mutant.module.relative_to(ROOT)).write_text(ast.unparse(syntax), encoding="utf-8")


def find_tests(place: str) -> list[str]:
    """Name the test files of a module, or none where its room has none."""
    rooms = [room for room in TESTS if place == room or place.startswith(room + "/")]
    names = TESTS[max(rooms, key=len)].split() if rooms else []
    return [f"tests/{path.name}" for name in names for path in sorted((ROOT / "tests").glob(f"test_{name}*.py"))]


def run_tests(tree: Path, tests: list[str], limit_s: float) -> tuple[bool, float]:
    """Run tests in a copy of the tree; whether all passed, and the seconds it took."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        environment = os.environ | {
            "PYTHONPATH": str(tree / "code"), "NUMBA_CACHE_DIR": f"{scratch}/numba", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-xq",
            "-p",
            "no:cacheprovider",
            f"--basetemp={scratch}/tests",
            *tests,
        ]
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            passed = process.wait(limit_s) == 0
        except subprocess.TimeoutExpired:
            passed = False
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return passed, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Change one place of the package at a time and run its tests.")
    parser.add_argument("--rooms", default=",".join(TESTS), help="rooms or modules, separated by commas")
    parser.add_argument("--sample", type=int, default=60, help="mutants to try")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    args = parser.parse_args()
    rooms = args.rooms.split(",")
    modules = [
        path for path in sorted(PACKAGE.rglob("*.py"))
        if any(f"{path.relative_to(PACKAGE).with_suffix('').as_posix()}/".startswith(room + "/") for room in rooms)
    ]  # fmt: skip
    mutants = [mutant for module in modules if find_tests(_place(module)) for mutant in find_mutants(module)]
    chosen = random.Random(args.seed).sample(mutants, min(args.sample, len(mutants)))
    print(f"{len(chosen)} of {len(mutants)} mutants in {len(modules)} modules, seed {args.seed}", flush=True)
    survivors = _try_all(chosen)
    killed = len(chosen) - len(survivors)
    print(f"killed {killed} of {len(chosen)} ({killed / max(len(chosen), 1):.0%}); survivors:")
    for mutant in survivors:
        print(f"  {mutant.place}.py:{mutant.line}: {mutant.change}")


def _place(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").as_posix()


def _try_all(chosen: list[Mutant]) -> list[Mutant]:
    survivors: list[Mutant] = []
    limits: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder) / "tree"  # its package comes before the installed one: PYTHONPATH
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*_cache", "data")
        shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
        for mutant in sorted(chosen, key=lambda m: (m.place, m.number)):
            tests = find_tests(mutant.place)
            if mutant.place not in limits:
                passed, seconds = run_tests(tree, tests, 1800)
                if not passed:
                    sys.exit(f"the unchanged tests of {mutant.place} fail: {' '.join(tests)}")
                limits[mutant.place] = LIMIT_FACTOR * seconds + LIMIT_EXTRA_S
            write_mutant(mutant, tree)
            passed, seconds = run_tests(tree, tests, limits[mutant.place])
            shutil.copy(mutant.module, tree / mutant.module.relative_to(ROOT))
            word = "survived" if passed else "killed"
            print(f"{word:8} {seconds:5.0f} s  {mutant.place}.py:{mutant.line}: {mutant.change}", flush=True)
            survivors += [mutant] * passed
    return survivors


if __name__ == "__main__":
    main()
