"""Files and folders that are whole or absent, what killed processes leave of them, and what may be deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fake_steps import Bench, chain, inspect
from topsar.errors import ProductError, TopsarError
from topsar.files import atomic_path, delete, find_leftovers, replaced_folder, size_of
from topsar.schedule.cleanup import Removable, Remover, find_removable, read_artifacts, remove_all
from topsar.schedule.evidence import Store
from topsar.schedule.jobs import Lifetime, Status

OLD, NEW = {"a": "old", "b": "old"}, {"a": "new", "c": "new"}
ODD_NAMES = ("", ".", "..", "/", "/etc/x", "a/..", "a/../..", "a/./x", "../outside", "a//x", ".lock", "record.jsonl")


def write(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


class TestReplacedFolder:
    def test_appears_only_when_whole_and_replaces_all_of_the_old_one(self, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "products"
        for before, after in ((None, OLD), (OLD, NEW)):
            with replaced_folder(target) as part:
                assert part.parent == target.parent
                assert list(part.iterdir()) == []
                write(part, after)
                assert (read(target) if target.exists() else None) == before
            assert read(target) == after
            assert list(target.parent.iterdir()) == [target]

    @pytest.mark.parametrize("failure", [KeyError("ours"), OSError(28, "refused"), KeyboardInterrupt()])
    def test_failure_keeps_the_old_folder(self, tmp_path: Path, failure: BaseException) -> None:
        write(tmp_path / "products", OLD)

        def fail() -> None:
            with replaced_folder(tmp_path / "products") as part:
                write(part / "deep", NEW)
                raise failure

        with pytest.raises(ProductError if isinstance(failure, OSError) else type(failure)) as caught:
            fail()
        if isinstance(failure, OSError):
            assert str(tmp_path / "products") in str(caught.value)
        assert read(tmp_path / "products") == OLD
        assert list(tmp_path.iterdir()) == [tmp_path / "products"]

    def test_the_old_folder_comes_back_when_the_new_one_cannot_be_renamed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path / "products", OLD)
        rename = Path.rename

        def refuse(path: Path, target: Path) -> Path:
            if target.name == "products" and not path.name.endswith(".old"):
                raise PermissionError(13, "refused")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", refuse)
        with pytest.raises(ProductError, match="products"), replaced_folder(tmp_path / "products") as part:
            write(part, NEW)
        assert read(tmp_path / "products") == OLD
        assert list(tmp_path.iterdir()) == [tmp_path / "products"]


KILLED = """
import os, signal, sys
from pathlib import Path
from topsar import files
folder, function, owner, nth = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
real, calls = getattr(Path if owner == "Path" else files.shutil, function), []
def die(*args, **rest):
    calls.append(1)
    if len(calls) == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **rest)
setattr(Path if owner == "Path" else files.shutil, function, die)
with files.replaced_folder(folder / "products") as part:
    (part / "a").write_text("new")
    (part / "c").write_text("new")
with files.atomic_path(folder / "facts.json") as part:
    part.write_text("new")
"""


@pytest.mark.parametrize(
    ("function", "owner", "nth", "products", "left"),
    [
        ("write_text", "Path", 2, OLD, 1),
        ("rename", "Path", 1, OLD, 1),
        ("rename", "Path", 2, None, 2),
        ("rmtree", "shutil", 1, NEW, 1),
        ("write_text", "Path", 3, NEW, 0),
        ("replace", "Path", 1, NEW, 1),
    ],
)
def test_a_kill_leaves_nothing_half_written_and_only_what_is_found(
    tmp_path: Path, function: str, owner: str, nth: int, products: dict[str, str] | None, left: int
) -> None:
    write(tmp_path / "products", OLD)
    code = subprocess.run([sys.executable, "-c", KILLED, tmp_path, function, owner, str(nth)], check=False).returncode
    assert code == -signal.SIGKILL
    assert (read(tmp_path / "products") if (tmp_path / "products").exists() else None) == products
    found = list(find_leftovers(tmp_path))
    assert len(found) == left
    assert set(tmp_path.iterdir()) - set(found) <= {tmp_path / "products"}
    for path in found:
        delete(path, within=tmp_path)
    assert list(find_leftovers(tmp_path)) == []


class TestLeftovers:
    @pytest.fixture
    def left(self, tmp_path: Path) -> list[Path]:
        """What killed steps left in a runs folder beside files that look alike."""
        names = ("a/.job.0123abcd.part.json", "a/out/.x.0123abcd.part.npy", ".record.0123abcd.part.jsonl")
        for name in (*names, ".trash/.x.0123abcd.part", "a/x.part", "a/.x.part", "a/.x.0123abcd.npy"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("four")
        folder = tmp_path / "a" / ".products.0123abcd.part.old"
        write(folder / "deep", OLD)
        return sorted([*(tmp_path / name for name in names), folder])

    def test_files_and_folders_are_found_by_their_names(self, tmp_path: Path, left: list[Path]) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "a")
        assert sorted(find_leftovers(tmp_path)) == left

    def test_both_ways_of_writing_use_such_names(self, tmp_path: Path) -> None:
        for path in (tmp_path / "job.json", tmp_path / "record", tmp_path / "a.tar.gz", tmp_path / ".hidden"):
            with atomic_path(path) as file, replaced_folder(path.with_name(f"{path.name}_")) as folder:
                file.touch()
                assert set(find_leftovers(tmp_path)) == {file, folder}

    def test_clean_lists_and_removes_them(self, tmp_path: Path, left: list[Path]) -> None:
        store = Store(tmp_path, inspect)
        artifacts = {"a/out": Lifetime.RESTART}
        found = find_removable(store, artifacts, cleanup="scratch", needed=())
        assert sorted(one.path for one in found) == sorted([*left, tmp_path / ".trash" / ".x.0123abcd.part"])
        spent = find_removable(store, artifacts, cleanup="nuclear", needed=())
        assert tmp_path / "a" / "out" in {one.path for one in spent}
        assert len(spent) == len(found)  # what lies inside a spent artifact is not counted twice
        before = size_of(tmp_path)
        assert remove_all(spent, runs=tmp_path) == before - size_of(tmp_path)
        assert {path.name for path in (tmp_path / "a").iterdir()} == {"x.part", ".x.part", ".x.0123abcd.npy"}

    def test_the_start_of_a_run_removes_them(self, tmp_path: Path, left: list[Path]) -> None:
        bench = Bench(tmp_path)
        assert bench.run(chain("b"))[0].status is Status.DONE
        assert not [path for path in left if path.exists()]
        assert not (tmp_path / ".trash").exists()


class TestDeletion:
    @pytest.fixture
    def runs(self, tmp_path: Path) -> Path:
        for name in ("outside/precious", "runs/a/x"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text("four")
        (tmp_path / "runs" / "link").symlink_to(tmp_path / "outside")
        return tmp_path / "runs"

    @pytest.mark.parametrize("name", ["", ".", "..", "a/..", "a/../..", "../outside", "link/precious", "/"])
    def test_nothing_that_lies_outside_is_deleted(self, runs: Path, name: str) -> None:
        with pytest.raises(ProductError, match="does not lie below"):
            delete(runs / name, within=runs)
        with pytest.raises(ProductError, match="does not lie below"):
            Remover(runs).remove(runs / name, lambda _: None)
        assert (runs / "a" / "x").exists()
        assert (runs.parent / "outside" / "precious").exists()

    def test_what_cannot_be_removed_is_told_of_and_does_not_keep_the_rest(self, runs: Path) -> None:
        found = [Removable(path=runs / name, size=4, why="") for name in ("link/precious", "a/x/y", "a/x")]
        with pytest.raises(TopsarError, match=r"link/precious .*\n.*a/x/y .*\n4 B of other files") as caught:
            remove_all(found, runs=runs)
        assert caught.value.hint
        assert not (runs / "a" / "x").exists()

    def test_links_files_folders_and_nothing(self, runs: Path) -> None:
        for name in ("link", "a", "never was"):
            delete(runs / name, within=runs)
            assert not os.path.lexists(runs / name)
        assert (runs.parent / "outside" / "precious").exists()

    def test_odd_names_in_a_run_json_are_refused(self, runs: Path) -> None:
        named = dict.fromkeys([*ODD_NAMES, "a/x"], "scratch")
        (runs / "a" / "run.json").write_text(json.dumps({"artifacts": named}))
        assert read_artifacts(runs / "a" / "run.json") == {"a/x": Lifetime.SCRATCH}
        store = Store(runs, inspect)
        for name in ODD_NAMES:
            with pytest.raises(TopsarError):
                store.locate(name)
        odd = dict.fromkeys(ODD_NAMES, Lifetime.SCRATCH)
        assert find_removable(store, odd, cleanup="nuclear", needed=()) == ()

    @pytest.mark.parametrize(
        "text", ["", "[]", '{"artifacts": []}', '{"artifacts": {"a": "x"}}', '{"artifacts": {"a": []}}']
    )
    def test_a_damaged_run_json_names_nothing(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "run.json").write_text(text)
        assert read_artifacts(tmp_path / "run.json") == {}
