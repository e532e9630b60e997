"""Mutation trial: change one place of the package at a time and see whether the tests of its room notice.

    python benchmarks/mutations.py --sample 60 --seed 1 [--rooms kernels,schedule]

Each mutant is a copy of one module with one changed operator, constant, condition or return value. A first run of the
unchanged tests of its room notes how long each test takes and which functions it enters, in any process. Then each
mutant meets the tests that enter its function, the fastest first, until one fails. One that no test notices survives.
What no test can know exactly is left alone: messages, estimates of costs, waits in seconds, what a type checker reads.
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
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

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
    "schedule": "50 51 52 53 54 55 56 58_faults 58_state 59 73",
    "schedule/dask": "57",
    "engines/native/steps": "60_native_plan 60_steps 61 69_stack 84_gaps 86",
    "engines/isce2": "60_steps 61 69_fake 87 88",
}
"""Room or module, and the numbers (or beginnings) of its test files."""

MOST_TESTS_S = 180.0
"""A mutant meets no more tests than take this long unchanged: the fastest ones."""

LIMIT_FACTOR, LIMIT_EXTRA_S = 5, 30
"""A test that takes longer than the slowest unchanged one by this factor and these seconds has noticed the mutant."""

TRACER = """
import os, sys, threading
if "MUTATIONS_NOTES" in os.environ:
    seen, package = set(), os.path.dirname(__file__) + "/topsar/"
    file, write = os.open(os.environ["MUTATIONS_NOTES"], os.O_CREAT | os.O_APPEND | os.O_WRONLY), os.write
    def note(frame, event, arg):
        code = frame.f_code
        if code.co_filename.startswith(package):
            key = os.environ.get("PYTEST_CURRENT_TEST"), code.co_filename, code.co_firstlineno
            if key not in seen:
                seen.add(key)
                write(file, "\\t".join(map(str, key)).encode() + b"\\n")
    sys.settrace(note)
    threading.settrace(note)
"""
"""``sitecustomize.py`` of the copied tree: notes which function of the package is entered in which test."""

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
    """One changed place of a module: ``number`` counts the places in the order of the walk; ``function`` is a line."""

    module: Path
    number: int
    line: int
    function: int | None
    change: str

    @property
    def place(self) -> str:
        return _place(self.module)


def walk_code(node: ast.AST, function: int | None = None) -> Iterator[tuple[ast.AST, int | None]]:
    """Yield what runs and can be tested, and the first line of the Python function around it, if there is one."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "type_params", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                inside = _find_first_line(child) if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else None
                yield child, inside or function
                yield from walk_code(child, inside or function)


def _is_left_alone(node: ast.AST) -> bool:
    """Whether a place says no more than a message, an estimate, a type or that two lists are equally long."""
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.FunctionDef):
        return node.name in {"__repr__", "__str__"}
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "Cost" or ast.unparse(node.func).startswith(("log.", "warnings.warn"))
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple):
        return all(name.strip(" ()").endswith("_S") for name in ast.unparse(node.targets[0]).split(","))
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _find_first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int | None:
    """Find the line that a tracer knows a function by; of what Numba compiles it sees nothing."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    if any("njit" in decorator or "vectorize" in decorator for decorator in decorators):
        return None
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


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
        other = node.value + 1 if abs(node.value) < 10 else node.value * 2
        yield f"{node.value} -> {other}", lambda: setattr(node, "value", other)
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
        (getattr(node, "lineno", 0), function, text)
        for node, function in walk_code(ast.parse(module.read_text("utf-8")))
        for text, _ in list_changes(node)
    ]
    return [Mutant(module, number, *change) for number, change in enumerate(changes)]


def write_mutant(mutant: Mutant, tree: Path) -> None:
    """Write the changed module over the one in a copy of the tree."""
    syntax = ast.parse(mutant.module.read_text("utf-8"))
    changes = [change for node, _ in walk_code(syntax) for _, change in list_changes(node)]
    changes[mutant.number]()
    ast.fix_missing_locations(syntax)
    (tree / mutant.module.relative_to(ROOT)).write_text(ast.unparse(syntax), encoding="utf-8")


def find_tests(place: str) -> list[str]:
    """Name the test files of a module, or none where its room has none."""
    rooms = [room for room in TESTS if place == room or place.startswith(room + "/")]
    names = TESTS[max(rooms, key=len)].split() if rooms else []
    return [f"tests/{path.name}" for name in names for path in sorted((ROOT / "tests").glob(f"test_{name}*.py"))]


@dataclass(frozen=True)
class Known:
    """What the unchanged tests of a module took, in seconds, and with what the names of a function's visitors begin."""

    seconds: dict[str, float]
    visitors: dict[tuple[str, int], set[str]]

    def choose_tests(self, mutant: Mutant) -> list[str]:
        """Choose the tests that can notice a mutant: quick ones first, those of one file together."""
        beginnings = self.visitors[mutant.module.relative_to(PACKAGE).as_posix(), mutant.function or 0]
        names = [name for name in self.seconds if not mutant.function or name.startswith(tuple(beginnings))]
        chosen, left = [], MOST_TESTS_S
        for name in sorted(names, key=self._rank):
            left -= self.seconds[name]
            if left > 0 or not chosen:
                chosen.append(name)
        return chosen

    def _rank(self, name: str) -> tuple[int, str, float]:
        seconds = self.seconds[name]
        return (seconds > 0.3) + (seconds > 3), name.partition("::")[0], seconds


class Trial:
    """A copy of the tree in which tests run, with a compile cache that they share."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._tree = folder, folder / "tree"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*_cache", "data")
        shutil.copytree(ROOT, self._tree, ignore=ignored, symlinks=True)
        (self._tree / "code" / "sitecustomize.py").write_text(TRACER, encoding="utf-8")
        (folder / "numba").mkdir()
        self._known: dict[tuple[str, ...], Known] = {}

    def try_mutant(self, mutant: Mutant) -> tuple[bool, float, int]:
        """Run the tests that can notice a mutant: whether one did, the seconds it took, and how many could."""
        start, known = time.monotonic(), self._learn(tuple(find_tests(mutant.place)))
        chosen = known.choose_tests(mutant)
        if not chosen:
            return False, 0.0, 0
        write_mutant(mutant, self._tree)
        limit = LIMIT_EXTRA_S + LIMIT_FACTOR * max(known.seconds[name] for name in chosen)
        stop = ("-x", "-o", f"faulthandler_timeout={limit}", "-o", "faulthandler_exit_on_timeout=true")
        cache = self._copy_cache(mutant)
        passed = self._run((*stop, *chosen), cache, limit + LIMIT_FACTOR * sum(map(known.seconds.get, chosen)))
        shutil.copy2(mutant.module, self._tree / mutant.module.relative_to(ROOT))  # with its time: caches hold again
        return not passed, time.monotonic() - start, len(chosen)

    def _learn(self, tests: tuple[str, ...]) -> Known:
        """Run the unchanged tests once."""
        if tests not in self._known:
            notes, report = self._folder / "notes", self._folder / "report.xml"
            notes.write_text("")
            self._run((f"--junitxml={report}", *tests), self._folder / "numba", 3600, notes=str(notes))
            seconds = {}
            for case in ElementTree.parse(report).iter("testcase"):
                module, _, kind = case.get("classname", "").partition(".Test")
                name = "::".join(
                    [f"{module.replace('.', '/')}.py", *([f"Test{kind}"] * bool(kind)), case.get("name", "")]
                )
                if len(case) == 0:  # neither failed nor skipped
                    seconds[name] = float(case.get("time", "0"))
                elif case.find("skipped") is None:
                    print(f"left out, as it fails without any change: {name}", flush=True)
            rows = [line.split("\t") for line in notes.read_text("utf-8").splitlines()]
            named = {test.rpartition(" (")[0] for test, _, _ in rows}  # a report spells odd names in a way of its own
            seconds = {name: taken for name, taken in seconds.items() if name in named}
            visitors = defaultdict(set)
            for test, file, number in rows:
                name, _, phase = test.rpartition(" (")
                beginning = name.partition("::")[0] if phase == "setup)" else name  # a fixture serves its whole file
                place = Path(file).relative_to(self._tree / "code" / "topsar").as_posix()
                visitors[place, int(number)].add(beginning)  # empty: of modules that are imported, for all tests
            self._known[tests] = Known(seconds, visitors)
            print(f"{len(seconds)} tests pass unchanged in {sum(seconds.values()):.0f} s", flush=True)
        return self._known[tests]

    def _copy_cache(self, mutant: Mutant) -> Path:
        """Copy the compile cache without what holds code of the mutant's module: Numba looks at one file only."""
        if "numba" not in mutant.module.read_text("utf-8"):
            return self._folder / "numba"
        stale = {mutant.module.stem}
        texts = {path.stem: path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
        while more := {stem for stem, text in texts.items() if any(f".{one} import" in text for one in stale)} - stale:
            stale |= more
        copy = self._folder / "mutant-numba"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._folder / "numba", copy, ignore=shutil.ignore_patterns(*(f"{stem}.*" for stem in stale)))
        return copy

    def _run(self, arguments: tuple[str, ...], cache: Path, limit_s: float, *, notes: str = "") -> bool:
        scratch = self._folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        environment = os.environ | {"PYTHONPATH": str(self._tree / "code"), "NUMBA_CACHE_DIR": str(cache)}
        environment["NUMBA_BOUNDSCHECK"] = "1"  # a loop that is too long would spoil memory, and no test see it
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={scratch}"]
        with (self._folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [*command, *arguments], cwd=self._tree, env=environment | ({"MUTATIONS_NOTES": notes} if notes else {}),
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            return process.wait(limit_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Change one place of the package at a time and run its tests.")
    parser.add_argument("--rooms", default=",".join(TESTS), help="rooms or modules, separated by commas")
    parser.add_argument("--sample", type=int, default=60, help="mutants to try")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    args = parser.parse_args()
    rooms = args.rooms.split(",")
    modules = [
        path for path in sorted(PACKAGE.rglob("*.py"))
        if any(f"{_place(path)}/".startswith(room + "/") for room in rooms)
    ]  # fmt: skip
    mutants = [mutant for module in modules if find_tests(_place(module)) for mutant in find_mutants(module)]
    chosen = random.Random(args.seed).sample(mutants, min(args.sample, len(mutants)))
    print(f"{len(chosen)} of {len(mutants)} mutants in {len(modules)} modules, seed {args.seed}", flush=True)
    survivors = _try_all(chosen)
    killed = len(chosen) - len(survivors)
    print(f"killed {killed} of {len(chosen)} ({killed / max(len(chosen), 1):.0%}); survivors:")
    for mutant in sorted(survivors, key=lambda m: (m.place, m.line)):
        print(f"  {mutant.place}.py:{mutant.line}: {mutant.change}")


def _try_all(chosen: list[Mutant]) -> list[Mutant]:
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        trial = Trial(Path(folder))
        for mutant in chosen:
            is_killed, seconds, count = trial.try_mutant(mutant)
            word = "killed" if is_killed else "survived"
            text = f"{mutant.place}.py:{mutant.line}: {mutant.change}"
            print(f"{word:8} {seconds:5.0f} s {count:4} tests  {text}", flush=True)
            survivors += [mutant] * (not is_killed)
    return survivors


def _place(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").as_posix()


if __name__ == "__main__":
    main()
