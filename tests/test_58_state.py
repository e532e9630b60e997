"""Whatever has become of a file of state: its reader says so or does without, and nothing of the user's is removed."""

from __future__ import annotations

import ast
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import topsar
from fake_steps import Bench, chain, inspect, make_step
from topsar import files
from topsar.engines.step import load_task
from topsar.errors import ProductError, TopsarError
from topsar.files import delete, read_json, replaced_folder
from topsar.interferogram import read_pair
from topsar.schedule import lines
from topsar.schedule.cleanup import Remover, find_removable, read_artifacts, remove_all
from topsar.schedule.evidence import Store
from topsar.schedule.forecast import USAGE, Ledger
from topsar.schedule.graph import JOURNAL
from topsar.schedule.jobs import Job, Lifetime, Status
from topsar.schedule.journal import read_journal
from topsar.schedule.lock import LOCK, find_holder, hold_runs
from topsar.schedule.record import RECORD, read_record
from topsar.step import execute_step

BROKEN: dict[str, bytes] = {
    "empty": b"",
    "list": b"[]\n",
    "text": b'"x"\n',
    "nothing": b"null\n",
    "not a number": b"NaN\n",
    "torn": b'{"artifacts": {"a',
    "nested": b"[" * 200_000 + b"\n",
    "nested inside": b'{"artifacts": ' * 100_000 + b"\n",
    "no text": b"\xff\xfe\0\0\n",
    "endless numbers": b'{"pid": 1e999, "host": 1, "mark": [], "birth": {}, "time": 1e999, "at_s": 1e999}\n',
    "long integer": b'{"pid": ' + b"9" * 5000 + b"}\n",
    "another kind": b'{"artifacts": [], "jobs": {}, "engine": [], "line": "begin", "status": "done", "x": 3}\n',
}
ODD: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link to itself": lambda path: path.symlink_to(path.name),
    "too large": lambda path: path.write_bytes(b'{"a": "' + b" " * 300_000 + b'"}\n'),
}


@pytest.fixture(params=[*BROKEN, *ODD])
def spoil(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Put something else in the place of a file."""
    monkeypatch.setattr(files, "_MOST_JSON_BYTES", 250_000 if request.param == "too large" else 1 << 26)
    monkeypatch.setattr(lines, "_LONGEST_LINE", 250_000)

    def put(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if request.param in BROKEN:
            path.write_bytes(BROKEN[request.param])
        else:
            ODD[request.param](path)

    return put


def test_readers_of_one_object_say_what_is_wrong(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    for name in ("run.json", "job.json", "facts.json"):
        spoil(tmp_path / name)
    readers: tuple[Callable[[], Any], ...] = (
        lambda: read_json(tmp_path / "run.json", pair=str),
        lambda: load_task(tmp_path, "view", dict),
        lambda: execute_step(tmp_path / "job.json", "view"),
        lambda: execute_step(tmp_path / "job.json", "format_geotiff"),
        lambda: execute_step(tmp_path / "job.json", "correction_stratified_troposphere"),
        lambda: read_pair(tmp_path),
    )
    for read in readers:
        with pytest.raises(TopsarError, match=re.escape(str(tmp_path))):
            read()
    assert read_artifacts(tmp_path / "run.json") == {}


def test_readers_of_lines_and_of_the_lock_do_without(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    for name in (JOURNAL, RECORD, USAGE, LOCK):
        spoil(tmp_path / name)
    step = make_step("x", memory=5)
    assert read_journal(tmp_path / JOURNAL) == ()
    assert read_record(tmp_path) is None
    assert Ledger(tmp_path).predict(step).needs == step.needs
    assert find_holder(tmp_path) is None


def test_a_run_goes_on_whatever_lies_in_the_place_of_its_state(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    bench = Bench(tmp_path / "runs")
    for path in (RECORD, USAGE, "a/run.json", f"z/{JOURNAL}", "z/run.json"):
        spoil(bench.runs / path)
    assert bench.run(chain("a"))[0].status is Status.DONE
    assert find_removable(Store(bench.runs, inspect), {}, cleanup="nuclear", needed=()) == ()


def test_a_broken_journal_costs_its_job_alone(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    bench = Bench(tmp_path / "runs")
    spoil(bench.runs / "a" / JOURNAL)
    broken, whole = bench.run(chain("a"), chain("b"))
    assert whole.status is Status.DONE
    assert broken.status is Status.DONE or "journal" in broken.message


@pytest.mark.parametrize("name", ["seconds", "peak_memory_bytes", "size"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "1" + "0" * 400])
def test_nothing_is_learned_from_impossible_numbers(tmp_path: Path, name: str, value: str) -> None:
    bench = Bench(tmp_path)
    step = replace(make_step("x", keeps=("a/x",), memory=5), kind="k", size=4.0)
    assert bench.run(Job(id="a", title="a", steps=(step,)))[0].status is Status.DONE
    known = json.loads((tmp_path / USAGE).read_text())
    assert Ledger(tmp_path).predict(step).learned_from == 1
    (tmp_path / USAGE).write_text(json.dumps(known | {name: "@"}).replace('"@"', value))
    assert Ledger(tmp_path).predict(step).learned_from == 0


# --- what the user put there ----------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder beside the user's folders, one of which lies elsewhere, with every link that could lead there."""
    data = tmp_path / "raw" / "data"  # a name that says nothing: the data folder itself lies below it
    (tmp_path / "archive").mkdir(parents=True)
    data.mkdir(parents=True)
    (data / "dem").symlink_to(tmp_path / "archive")
    for name in files.USERS:
        (data / name).mkdir(exist_ok=True)
        (data / name / "S1A.zip").write_text("precious")
    runs = data / "runs"
    (runs / "a").mkdir(parents=True)
    for name in files.USERS:
        (runs / name).symlink_to(data / name)
    (runs / "data").symlink_to(data)
    (runs / "a" / "up").symlink_to(data.parent)
    return runs


def is_whole(runs: Path) -> bool:
    return all((runs.parent / name / "S1A.zip").read_text() == "precious" for name in files.USERS)


@pytest.mark.parametrize("inner", ["", "/S1A.zip", "/.."])
@pytest.mark.parametrize("way", ["", "data/", "../", "a/up/data/", "a/up/../data/"])
@pytest.mark.parametrize("kept", files.USERS)
def test_what_the_user_put_there_is_never_removed(runs: Path, kept: str, way: str, inner: str) -> None:
    name = f"{way}{kept}{inner}"
    (runs / "a" / "run.json").write_text(json.dumps({"artifacts": {name: "scratch", f"./{name}": "scratch"}}))
    store, found = Store(runs, inspect), read_artifacts(runs / "a" / "run.json")
    odd = find_removable(store, found | {name: Lifetime.SCRATCH}, cleanup="nuclear", needed=())
    callers: tuple[Callable[[], object], ...] = (
        lambda: delete(runs / name, within=runs),
        lambda: delete(runs / name, within=runs.parent),
        lambda: Remover(runs).remove(runs / name, lambda _: None),
        lambda: remove_all(odd, runs=runs),
    )
    for remove in callers:
        with suppress(TopsarError):
            remove()
        assert is_whole(runs)


@pytest.mark.parametrize("kept", files.USERS)
def test_a_runs_folder_that_is_a_link_to_them_is_refused(runs: Path, kept: str) -> None:
    linked = runs.parent / "linked"
    linked.symlink_to(kept)
    with pytest.raises(ProductError, match=kept), hold_runs(linked):
        pass
    with pytest.raises(ProductError, match=kept):
        delete(linked / "S1A.zip", within=linked)
    with pytest.raises(ProductError, match=kept), replaced_folder(runs.parent / kept):
        pass
    assert is_whole(runs)


def test_a_data_folder_below_a_folder_of_such_a_name_is_cleaned(runs: Path) -> None:
    (runs / "a" / "x").write_text("spent")
    delete(runs / "a" / "x", within=runs)
    assert not (runs / "a" / "x").exists()


DELETERS = {"rmtree", "unlink", "rmdir", "remove", "removedirs"}
ELSEWHERE = {
    "kernels/__init__.py": 1,  # the index of Numba's cache
    "raster/geotiff.py": 1,  # what GDAL leaves beside a file that it was writing
    "raster/isce_image.py": 1,  # a header beside the image that it is written for
    "provision/web/transfer.py": 4,  # a part of a download, and the note beside it
    "schedule/cleanup.py": 2,  # the trash, where it is a link or empty
    "schedule/dask/executor.py": 1,  # an empty folder
}
"""Modules that delete otherwise than by `files.delete`, and what: files of their own, by name."""


def test_one_function_deletes() -> None:
    root = Path(topsar.__file__).parent
    found: Counter[str] = Counter()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DELETERS:
                owner = ast.unparse(node.func.value)
                if node.func.attr != "remove" or owner in ("os", "shutil"):
                    found[path.relative_to(root).as_posix()] += 1
    assert found.pop("files.py") == 2
    assert dict(found) == ELSEWHERE
