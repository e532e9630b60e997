"""``import topsar``: what it offers, on the smallest simulated data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import topsar
from dry_data import dry_data, dry_recipe
from topsar.errors import ProductError, SettingsError
from topsar.schedule.jobs import Event, Outcome, Status

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["Settings", "TopsarError", "find_pairs", "open_pair", "open_stack", "plan", "run"]
FIRST = "S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1"
SECOND = "S1A_IW_SLC__1SDV_20230916T063730_20230916T063757_050349_060FC7_1B2C"


def test_seven_names_and_no_more() -> None:
    assert topsar.__all__ == NAMES
    assert all(callable(getattr(topsar, name)) for name in NAMES)
    with pytest.raises(AttributeError, match="nonsense"):
        topsar.nonsense  # noqa: B018


def test_the_import_loads_nothing_but_itself() -> None:
    code = (
        "import sys, topsar; print(*(name for name in sys.modules if name.startswith(('topsar.', 'numpy', 'xarray'))))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.split() == []


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The notebook of the documentation, run in a folder of its own."""
    folder = tmp_path_factory.mktemp("notebook")
    book = nbformat.read(ROOT / "docs" / "first-steps.ipynb", as_version=4)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return folder / "first-steps", book


def test_the_notebook_is_stored_without_outputs() -> None:
    book = nbformat.read(ROOT / "docs" / "first-steps.ipynb", as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
def test_the_notebook_runs(notebook: tuple[Path, Any]) -> None:
    folder, book = notebook
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    tables = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert any("geocode" in table and "<td>pairs</td><td>1 to do, 0 done</td>" in table for table in tables)  # the plan
    assert any("<td>done</td>" in table for table in tables)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (folder / "stack.zarr").is_dir()
    assert (folder / "reliable.tif").is_file()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two dates."""
    folder: Path = tmp_path_factory.mktemp("api") / "data"
    dry_data(folder, dry_recipe())
    return folder


def test_pairs_by_name_or_in_a_file_run_once(folder: Path, tmp_path: Path) -> None:
    settings = topsar.Settings(data=folder, engine="native", unwrapper="none", formats=("geotiff",))
    events = list[Event]()
    (pair,) = topsar.find_pairs(folder)
    topsar.run([pair], settings)
    again = topsar.run([pair], settings, on_event=events.append)
    assert {event.status for event in events} <= {Status.CACHED, Status.UNNEEDED}
    (tmp_path / "pairs.txt").write_text(f"{pair[0]} {pair[1]}\n")
    planned = topsar.plan(tmp_path / "pairs.txt", settings)
    assert (planned.totals["pairs"], planned.missing, planned.refused) == ("0 to do, 1 done", (), ())
    assert "1 of 1 pairs done" in repr(again)
    assert [one.is_done for one in again] == [True]
    assert again.report.is_file()
    ifg = again[0].open()
    assert ifg.attrs["pair"] == again[0].folder.name
    assert float(ifg.coherence.mean()) == pytest.approx(ifg.attrs["coherence_mean"], abs=1e-3)


def test_rules_of_find_pairs(folder: Path) -> None:
    with pytest.raises(topsar.TopsarError, match="6 days"):
        topsar.find_pairs(folder, max_days=6)
    with pytest.raises(topsar.TopsarError, match="1 m"):
        topsar.find_pairs(folder, neighbours=None, max_baseline_m=1)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([], "lists no pairs"),
        ([(FIRST, SECOND), (FIRST, SECOND)], "pair 2: repeats the pair of pair 1"),
        ([(FIRST, SECOND), (FIRST, FIRST)], "pair 2: .* is on both sides"),
        ([(FIRST, "S1A_IW")], "pair 1: .*cut off"),
        ([(FIRST,)], "pair 1: .*found 1"),
    ],
)
def test_wrong_pairs_are_named_by_number(pairs: Any, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        topsar.plan(pairs)


def test_a_pair_that_failed_has_no_products(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failed = Outcome(job="a", title="pair <a>", status=Status.FAILED, is_pair=True, message="no DEM")
    shared = Outcome(job="slc", title="scene", status=Status.DONE, is_pair=False)
    monkeypatch.setattr("topsar.workflow.run", lambda *_, **__: (failed, shared))
    results = topsar.run([(FIRST, SECOND)], topsar.Settings(data=tmp_path))
    assert len(results) == len(results[:1]) == 1
    assert "0 of 1 pairs done" in repr(results)
    assert "pair &lt;a&gt;" in results._repr_html_()
    assert "no DEM" in results[0]._repr_html_()
    with pytest.raises(ProductError, match="no DEM"):
        results[0].open()


def test_a_stack_in_radar_geometry_is_one_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def end(job: str, title: str, status: Status = Status.DONE, message: str = "", *, is_pair: bool = False) -> Outcome:
        return Outcome(job=job, title=title, status=status, is_pair=is_pair, message=message)

    good, bad = "radar_stack_T131_VV_20250315", "radar_stack_T131_VV_2_20250303"
    outcomes = [
        end("T131_a_b", "another track", Status.FAILED, "no burst", is_pair=True),
        end(good, "ground"),
        end(f"{good}_20250303", "date", Status.CACHED),
        end(bad, "ground", Status.FAILED, "no <DEM>"),
        end(f"{bad}_20250303", "date", Status.BLOCKED),
    ]
    monkeypatch.setattr("topsar.workflow.run", lambda *_, **__: outcomes)
    results = topsar.run([(FIRST, SECOND)], topsar.Settings(data=tmp_path, grid="radar"))
    assert [one.is_done for one in results] == [True, False, False]
    assert results[0].folder == tmp_path / "runs" / "radar_stack" / "T131_VV_20250315"
    assert "1 of 3 stacks done" in repr(results)
    assert "no &lt;DEM&gt;" in results._repr_html_()
    with pytest.raises(ProductError, match="ground: no <DEM>"):
        results[1].open()
    with pytest.raises(ProductError, match="stack\\.json"):
        results[0].open()


def test_a_plan_says_what_is_to_be_fetched(tmp_path: Path) -> None:
    planned = topsar.plan([(FIRST, (SECOND,))], topsar.Settings(data=tmp_path, engine="native"))
    assert planned.preview is None
    assert [f"scene {name}" for name in (FIRST, SECOND)] == list(planned.missing[:2])
    assert f"scene {SECOND}" in repr(planned)
    assert f"scene {SECOND}" in planned._repr_html_()
