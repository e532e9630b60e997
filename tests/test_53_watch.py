"""Files that steps read and no step made: one that is swapped is never taken for what was planned."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fake_steps import Bench, make_step
from topsar.schedule.jobs import Job, Status
from topsar.schedule.watch import identify, list_changed, watch


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "raw" / "product" / "measurement" / "image.tiff"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(range(256)) * 1000)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "runs").mkdir()
    return Bench(tmp_path / "runs")


def make_job(*inputs: Path, does: str = "") -> Job:
    step = make_step("read", keeps=("a/out",), does=does, inputs=inputs)
    return Job(id="a", title="pair a", is_pair=True, steps=(step,))


def swap(path: Path, content: bytes) -> None:
    """Put another content there, of the same size, under the same name and time."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_input_that_stays_is_read(bench: Bench, image: Path) -> None:
    assert bench.run(make_job(image, image.parents[1]))[0].status is Status.DONE
    assert bench.run(make_job(image, image.parents[1]))[0].status is Status.CACHED


def test_an_input_swapped_after_planning_is_not_read(bench: Bench, image: Path) -> None:
    job = make_job(image)
    swap(image, image.read_bytes()[::-1])
    (outcome,) = bench.run(job)
    assert outcome.status is Status.FAILED
    assert "image.tiff changed after the run was planned" in outcome.message


def test_an_input_that_is_gone_is_named(bench: Bench, image: Path) -> None:
    job = make_job(image)
    image.unlink()
    assert str(image) in bench.run(job)[0].message


@pytest.mark.parametrize("how", ["written", "moved", "product moved"])
def test_an_input_swapped_and_put_back_while_it_is_read_is_read_again(bench: Bench, image: Path, how: str) -> None:
    """The second time nobody swaps it: the step is done, and was run twice."""
    product, kept = image.parents[1], bench.runs.parent / "kept"
    other = shutil.copytree(product, bench.runs.parent / "other")
    script = {
        "written": f"cp -p {image} {kept}; echo x > {image}; cp -p {kept} {image}",
        "moved": f"mv {image} {kept}; cp -p {kept} {image}; mv {kept} {image}",
        "product moved": f"mv {product} {kept}; mv {other} {product}; mv {product} {other}; mv {kept} {product}",
    }[how]
    once = f"if [ ! -e {bench.runs}/once ]; then touch {bench.runs}/once; {script}; fi"
    assert bench.run(make_job(image, product, does=once))[0].status is Status.DONE
    assert bench.executed == ["a/read"] * 2


def test_an_input_that_never_rests_fails_the_step(bench: Bench, image: Path) -> None:
    (outcome,) = bench.run(make_job(image, does=f"chmod u+w {image}"), retries=1)
    assert outcome.status is Status.FAILED
    assert "image.tiff was changed or moved while the step read it" in outcome.message


def test_what_is_noted_of_a_file(image: Path) -> None:
    watched, before = watch([image, image, image.parent]), identify(image)
    assert [one.path for one in watched] == [image, image.parent]
    assert list_changed(watched) == []
    swap(image, image.read_bytes()[::-1])
    assert list_changed(watched) == [image]
    assert identify(image) != before


def test_another_target_of_a_link_is_another_input(tmp_path: Path, image: Path) -> None:
    link = tmp_path / "link.tiff"
    link.symlink_to(image)
    before = identify(link)
    link.unlink()
    link.symlink_to(shutil.copy2(image, tmp_path / "other.tiff"))
    assert identify(link) != before
