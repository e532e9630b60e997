"""More than one polarisation in a run: a pair each, with names that stay, and geometry that is shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from dry_data import DAYS, Planned, dry_data, dry_recipe
from topsar.engines import load_engine
from topsar.errors import SettingsError
from topsar.formats.step import finish_jobs
from topsar.model import name_track
from topsar.settings import Settings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dates in VV and VH."""
    folder = tmp_path_factory.mktemp("dual")
    dry_data(folder, dry_recipe(acquisitions=DAYS, cuts=dry_recipe().cuts[:1], bursts=2, polarisations=("VV", "VH")))
    return folder


def names(planned: Planned) -> list[str]:
    return [pair.facts.pair for pair in planned.pairs]


def test_names_do_not_depend_on_what_else_is_processed(data: Path, tmp_path: Path) -> None:
    plain, crossed, both = (
        names(Planned(data, tmp_path / wanted, POLARIZATION=wanted)) for wanted in ("VV", "vh", "VH, VV")
    )
    assert plain == names(Planned(data, tmp_path / "auto"))
    assert crossed == [f"{name}_VH" for name in plain]
    assert sorted(both) == sorted([*plain, *crossed])


def test_geometry_is_shared(data: Path, tmp_path: Path) -> None:
    one, both = (
        Planned(data, tmp_path / wanted, POLARIZATION=wanted, RANGE_REGISTRATION="auto", ESD="network")
        for wanted in ("VV", "VV,VH")
    )
    assert both.views == one.views
    assert set(both.delays) == set(one.delays)
    used = (burst.burst for task in both.delays.values() for pair in task.bursts for burst in pair)
    assert {burst.polarisation for burst in used} == {"VV"}
    delays = {name: task.delay for name, task in both.geocodings.items()}
    assert all(delays[name] == delays[name.replace("_VH", "_VV")] for name in delays)
    assert set(one.networks) < set(both.networks) == {*one.networks, *(f"{name}_VH" for name in one.networks)}
    known = one.signatures()
    assert known.items() <= both.signatures().items()


def test_a_polarisation_that_a_product_lacks_is_refused_alone(tmp_path: Path) -> None:
    made = dry_data(tmp_path / "data", dry_recipe(cuts=dry_recipe().cuts[:1], bursts=1))
    planned = Planned(made.folder, tmp_path / "jobs", POLARIZATION="VV,VH")
    (refused,) = planned.plan.refused
    assert [refused] == [f"{name}_VH" for name in names(planned)]
    assert "no VH in common" in planned.problem


def test_formats_of_a_track_take_one_polarisation(data: Path, tmp_path: Path) -> None:
    planned = Planned(data, tmp_path, POLARIZATION="VV,VH")
    options = Settings(formats=("licsbas",)).options
    jobs = finish_jobs(planned.plan.jobs, load_engine("native"), options)
    read = {job.id: job.steps[0].reads for job in jobs if job.id.startswith("licsbas")}
    assert set(read) == {"licsbas_T131", "licsbas_T131_VH"}
    for name, paths in read.items():
        assert {name_track(path.split("/")[0]) for path in paths} == {name.removeprefix("licsbas_")}
        assert len(paths) == 3


def test_a_format_that_cannot_be_written_is_refused_when_planned(data: Path, tmp_path: Path) -> None:
    planned, native = Planned(data, tmp_path, POLARIZATION="VV,VH"), load_engine("native")
    jobs = planned.plan.jobs
    with pytest.raises(SettingsError, match=r"FORMATS=mintpy.*T131_\w+_VH") as caught:
        finish_jobs(jobs, native, Settings(formats=("mintpy",)).options)
    assert "POLARIZATION=VV" in str(caught.value.hint)
    assert finish_jobs([job for job in jobs if "VH" not in job.id], native, Settings(formats=("mintpy",)).options)
    for name in ("mintpy", "licsbas", "gunw", "timeseries"):
        with pytest.raises(SettingsError, match=f"FORMATS={name}.*UNWRAPPER is none"):
            finish_jobs(jobs, native, Settings(formats=(name,), unwrapper="none").options)


def test_a_series_waits_for_the_stack_of_its_own_polarisation(data: Path, tmp_path: Path) -> None:
    planned = Planned(data, tmp_path, POLARIZATION="VV,VH", SLC_STACK="1")
    jobs = finish_jobs(planned.plan.jobs, load_engine("native"), Settings(formats=("timeseries",)).options)
    beside = {
        job.id: [path for path in job.steps[0].reads if path.startswith("slc_stack")]
        for job in jobs
        if job.id.startswith("timeseries")
    }
    assert beside == {
        "timeseries_T131": ["slc_stack/T131_VV/amplitude_dispersion.tif"],
        "timeseries_T131_VH": ["slc_stack/T131_VH/amplitude_dispersion.tif"],
    }
