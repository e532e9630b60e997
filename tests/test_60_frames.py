"""ARIA frames: found in the table of a package, they say which bursts are taken and where the grid lies."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import shapely

from dry_data import dry_data, dry_recipe, frame_around, plan_inputs
from topsar.engines.layout import lay_out
from topsar.errors import SettingsError
from topsar.model import Direction
from topsar.settings import Options, Settings, format_value, load_settings
from topsar.settings.frames import find_frame


class AriaEnumerationError(Exception):
    """As the package has it."""


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[int, SimpleNamespace]:
    """The package asf-enumeration, with one frame in its table."""
    square = shapely.box(-118, 33, -116, 35)
    frames = {25502: SimpleNamespace(path=64, flight_direction="ASCENDING", polygon=square)}

    def get_frame(number: int) -> SimpleNamespace:
        if number not in frames:
            msg = f"Frame ID is out of range, given {number}"
            raise AriaEnumerationError(msg)
        return frames[number]

    module = ModuleType("asf_enumeration.aria_s1_gunw")
    vars(module).update({"get_frame": get_frame, "AriaEnumerationError": AriaEnumerationError})
    monkeypatch.setitem(sys.modules, "asf_enumeration", ModuleType("asf_enumeration"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return frames


def load(folder: Path, **flags: str) -> Settings:
    return load_settings(env_file=None, data=folder, pairs=folder / "pairs.txt", flags=flags)


def test_a_frame_is_a_region_of_interest(table: object, tmp_path: Path) -> None:
    settings = load(tmp_path, FRAME="25502")
    assert settings.frame is not None
    assert (settings.frame.track, settings.frame.direction) == (64, Direction.ASCENDING)
    box = settings.options.roi
    assert box is not None
    assert (box.south, box.north, box.west, box.east) == (33, 35, -118, -116)
    assert settings.roi is None
    assert format_value(settings.frame) == "25502"
    assert Options(**settings.options.model_dump(mode="json")) == settings.options
    assert Settings(frame=25502).options.roi == box  # type: ignore[arg-type]


def test_what_cannot_be_a_frame_is_said(table: object, tmp_path: Path) -> None:
    for text, told in (("north", "number of one of ARIA"), ("99999", "there is no ARIA frame 99999")):
        with pytest.raises(SettingsError, match=told):
            load(tmp_path, FRAME=text)
    with pytest.raises(SettingsError, match="both say where"):
        load(tmp_path, FRAME="25502", ROI="1,2,3,4")


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "asf_enumeration", None)
    with pytest.raises(SettingsError, match=r"asf-enumeration.*\n?.*topsar\[aria\]"):
        load(tmp_path, FRAME="25502")


def test_the_real_table_is_read(table: dict[int, SimpleNamespace], shared_data: Path, tmp_path: Path) -> None:
    with gzip.open(shared_data / "aria_frames" / "aria_frames.geojson.gz") as packed:
        features = json.load(packed)["features"]
    (feature,) = (feature for feature in features if feature["properties"]["id"] == 25502)
    polygon, known = shapely.geometry.shape(feature["geometry"]), feature["properties"]
    table[25502] = SimpleNamespace(path=known["path"], flight_direction=known["dir"], polygon=polygon)
    frame = find_frame(25502)
    assert (frame.track, frame.direction.value.upper()) == (known["path"], known["dir"])
    assert frame.box.north - frame.box.south == pytest.approx(2, abs=1)
    assert shapely.Polygon(frame.outline).equals(polygon)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    dry_data(folder, dry_recipe())
    return folder


def test_the_bursts_of_the_frame_are_taken(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plan_inputs(data)
    everything = lay_out(whole.inputs, whole.settings.options).pairs[0].matched.bursts
    monkeypatch.setattr("topsar.settings.text.find_frame", partial(frame_around, data, share=0.45))
    planned = plan_inputs(data, FRAME="7")
    (laid,) = lay_out(planned.inputs, planned.settings.options).pairs
    roi = planned.settings.options.roi
    assert roi is not None
    box = plan_inputs(data, ROI=format_value(roi))
    touching = lay_out(box.inputs, box.settings.options).pairs[0].matched.bursts
    assert 0 < len(laid.matched.bursts) < len(touching) <= len(everything)  # neighbours reach into the box
    assert set(laid.matched.bursts) < set(touching)


def test_a_pair_of_another_track_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_other(number: int) -> object:
        frame = frame_around(data, number)
        return replace(frame, track=frame.track % 175 + 5)

    monkeypatch.setattr("topsar.settings.text.find_frame", find_other)
    planned = plan_inputs(data, FRAME="7")
    (problem,) = lay_out(planned.inputs, planned.settings.options).refused.values()
    assert "ARIA frame 7 is on track" in problem.message
