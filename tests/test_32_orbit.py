"""Orbit files: named, found, chosen and read."""

from __future__ import annotations

import gzip
import io
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from topsar.errors import ProvisionError
from topsar.model import OrbitFile, OrbitSource
from topsar.sentinel1 import (
    advise_on_orbit,
    choose_orbit,
    find_orbits,
    list_unused_orbits,
    parse_orbit_name,
    read_orbit,
)

START = datetime(2023, 9, 4, 6, 37, 30, tzinfo=timezone.utc)
STOP = START + timedelta(seconds=27)
NAME = "S1A_OPER_AUX_POEORB_OPOD_20230924T080000_V20230903T225942_20230905T005942.EOF"
SECOND = timedelta(seconds=1)


def eof(times: list[datetime], **changes: str) -> str:
    """Vectors of a straight line along all axes, 100 m/s; ten seconds apart where all times are one."""
    header = {"Mission": "Sentinel-1A", "File_Type": "AUX_POEORB", "Ref_Frame": "EARTH_FIXED", "Time_Reference": "UTC"}
    header |= changes
    vectors = "".join(
        f"<OSV><UTC>UTC={t:%Y-%m-%dT%H:%M:%S.%f}</UTC>"
        + "".join(
            f"<{tag}>{100 * ((t - times[0]).total_seconds() or 10 * k) + i:.0f}</{tag}><V{tag}>100</V{tag}>"
            for i, tag in enumerate("XYZ")
        )
        + "</OSV>"
        for k, t in enumerate(times)
    )
    fixed = f"<Mission>{header['Mission']}</Mission><File_Type>{header['File_Type']}</File_Type>"
    variable = "".join(f"<{tag}>{header[tag]}</{tag}>" for tag in ("Ref_Frame", "Time_Reference"))
    return (
        "<Earth_Explorer_File><Earth_Explorer_Header>"
        f"<Fixed_Header>{fixed}</Fixed_Header><Variable_Header>{variable}</Variable_Header>"
        f"</Earth_Explorer_Header><Data_Block><List_of_OSVs>{vectors}</List_of_OSVs></Data_Block></Earth_Explorer_File>"
    )


def every_ten_seconds(first_s: float = -300, last_s: float = 330) -> list[datetime]:
    return [START + s * SECOND for s in np.arange(first_s, last_s, 10.0)]


def written(folder: Path, text: str, name: str = NAME) -> Path:
    path = folder / name
    path.write_text(text)
    return path


moments = st.integers(0, 2**31).map(lambda s: datetime.fromtimestamp(s, timezone.utc))


@given(
    mission=st.sampled_from(["S1A", "S1B", "S1C", "S1D"]),
    source=st.sampled_from([OrbitSource.PRECISE, OrbitSource.RESTITUTED]),
    times=st.tuples(moments, moments, moments),
    ending=st.sampled_from([".EOF", ".EOF.zip"]),
)
def test_names_read_back(mission: str, source: OrbitSource, times: tuple[datetime, ...], ending: str) -> None:
    created, start, stop = (f"{t:%Y%m%dT%H%M%S}" for t in times)
    path = Path("x") / f"{mission}_OPER_AUX_{source.value}_OPOD_{created}_V{start}_{stop}{ending}"
    expected = OrbitFile(path=path, mission=mission, source=source, created=times[0], start=times[1], stop=times[2])
    assert parse_orbit_name(path) == expected


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1).filter(lambda s: s not in (".", "..")))
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ProvisionError, match="not the name of an orbit file"):
        parse_orbit_name(Path(name))


def test_a_date_that_does_not_exist() -> None:
    with pytest.raises(ProvisionError, match="a date that does not exist"):
        parse_orbit_name(Path(NAME.replace("V20230903", "V20231303")))


def test_orbits_are_found_in_subfolders_and_zips(tmp_path: Path) -> None:
    (tmp_path / "poeorb").mkdir()
    for name in (NAME, f"poeorb/{NAME}.zip", "S1A_notes.EOF", f"{NAME}.part", "README.md", f"._{NAME}"):
        (tmp_path / name).touch()
    (tmp_path / f"{NAME}.zip").symlink_to(tmp_path / "gone")
    assert [f.path.relative_to(tmp_path) for f in find_orbits(tmp_path)] == [Path(NAME), Path(f"poeorb/{NAME}.zip")]
    assert find_orbits(tmp_path / "nowhere") == ()
    named = [reason.partition(":")[0] for reason in list_unused_orbits(tmp_path)]
    assert named == ["README.md", f"{NAME}.zip", "S1A_notes.EOF"]


def pack(content: str, ending: str) -> bytes:
    if ending.lower().endswith(".gz"):
        return gzip.compress(content.encode())
    if not ending.lower().endswith(".zip"):
        return content.encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(NAME, content)
    return held.getvalue()


STEM = NAME.removesuffix(".EOF")
ENDINGS = (
    ".EOF|.eof|.EOF.zip|.EOF.ZIP|.zip|.EOF.gz|.EOF.xml|.EOF.txt| (1).EOF|(2).EOF| - Copy.EOF| copy.EOF| copy 2.EOF"
)
ENDINGS += "|.EOF (1)|.EOF (1).zip|.EOF(1).gz| (1).EOF.zip"


@pytest.mark.parametrize("ending", ENDINGS.split("|"))
def test_forms_in_which_people_keep_orbits(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"{STEM}{ending}").write_bytes(pack(eof(every_ten_seconds()), ending))
    (found,) = find_orbits(tmp_path)
    assert found.name == NAME
    assert read_orbit(found, START, STOP).name == NAME
    assert list_unused_orbits(tmp_path) == ()


def test_links_and_files_of_other_names(tmp_path: Path) -> None:
    """A folder is linked, a file is known by its target's name, another by the one in its header; each counts once."""
    store, folder = tmp_path / "store", tmp_path / "orbit_data"
    store.mkdir()
    folder.mkdir()
    written(store, eof(every_ten_seconds()))
    (folder / "linked").symlink_to(store)
    (folder / "mine.EOF").symlink_to(store / NAME)
    (store / "circle").symlink_to(folder)
    text = eof(every_ten_seconds()).replace("<Fixed_Header>", f"<Fixed_Header><File_Name>{STEM}</File_Name>")
    (folder / "march.xml").write_text(text)
    found = find_orbits(folder)
    assert {file.path.relative_to(folder).as_posix() for file in found} == {f"linked/{NAME}", "march.xml", "mine.EOF"}
    assert {read_orbit(file, START, STOP).name for file in found} == {NAME}


def test_advice_depends_on_the_age_of_the_pass() -> None:
    now = datetime.now(timezone.utc)
    assert "OFFLINE=0" in advise_on_orbit(now - timedelta(days=580))
    assert "run again" in advise_on_orbit(now - timedelta(days=2))


def test_a_file_that_unpacks_without_end_is_no_orbit(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(bytes(1 << 27), 1))
    with pytest.raises(ProvisionError, match="larger than any orbit"):
        read_orbit(find_orbits(tmp_path)[0], START, STOP)


@pytest.mark.parametrize("pass_s", [-1000, 1000])
def test_leap_second_in_a_day_of_vectors(tmp_path: Path, pass_s: float) -> None:
    """Vectors are ten seconds apart in truth; UTC calls the one of the leap second 23:59:60."""
    midnight = datetime(2017, 1, 1, tzinfo=timezone.utc)
    start, truth = midnight + timedelta(seconds=pass_s), np.arange(-2000.0, 2000.0, 10.0)
    names = [
        "2016-12-31T23:59:60.000000" if t == 0 else f"{midnight + timedelta(seconds=t - (t > 0)):%Y-%m-%dT%H:%M:%S.%f}"
        for t in truth
    ]
    text = eof([midnight] * len(truth))
    for name in names:
        text = text.replace(f"{midnight:%Y-%m-%dT%H:%M:%S.%f}", name, 1)
    name = NAME.replace("V20230903T225942_20230905T005942", "V20161230T225942_20170102T005942")
    for near in (start, midnight - 30 * SECOND, midnight + 30 * SECOND):
        orbit = read_orbit(parse_orbit_name(written(tmp_path, text, name)), near, near + 20 * SECOND)
        np.testing.assert_array_equal(np.diff(orbit.times_s), 10.0)
        at = float(np.interp((near - orbit.epoch).total_seconds(), orbit.times_s, orbit.positions_m[:, 0]))
        offset = (near - midnight).total_seconds() + (near > midnight)
        assert at == pytest.approx(100 * (offset + 2000.0))


def file(source: str = "POEORB", before: float = 3600, after: float = 3600, created: int = 0, mission: str = "S1A"):
    return OrbitFile(
        path=Path(f"{source}-{before}-{after}-{created}"),
        mission=mission,
        source=OrbitSource(source),
        created=STOP + timedelta(days=created),
        start=START - before * SECOND,
        stop=STOP + after * SECOND,
    )


@pytest.mark.parametrize(
    ("files", "best"),
    [
        ([], None),
        ([file(mission="S1B")], None),
        ([file(before=4)], None),
        ([file(after=4)], None),
        ([file(before=5, after=5)], 0),
        ([file("RESORB", created=9), file()], 1),
        ([file(created=1), file(created=3), file(created=2)], 1),
        ([file(before=30, created=9), file(before=60, after=60)], 1),
        ([file("RESORB"), file(before=30)], 1),
        ([file("RESORB", before=10, created=9), file("RESORB")], 1),
    ],
)
def test_the_best_orbit_is_chosen(files: list[OrbitFile], best: int | None) -> None:
    assert choose_orbit(files, "S1A", START, STOP) is (None if best is None else files[best])


def test_only_vectors_around_the_pass_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, eof(every_ten_seconds(-3600, 3600)))
    orbit = read_orbit(parse_orbit_name(path), START, STOP)
    assert (orbit.source, orbit.name) == (OrbitSource.PRECISE, NAME)
    assert orbit.epoch == START - 120 * SECOND
    np.testing.assert_allclose(orbit.times_s, np.arange(0, 261, 10))
    np.testing.assert_allclose(orbit.positions_m[0], [348000, 348001, 348002])
    np.testing.assert_allclose(orbit.velocities_m_s[0], [100, 100, 100])


def test_a_zipped_orbit_is_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"somewhere/{NAME}", eof(every_ten_seconds()))
    orbit = read_orbit(parse_orbit_name(path), START, STOP)
    assert orbit.name == NAME
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([], "no state vector lies near"),
        (every_ten_seconds(-3600, -600), "no state vector lies near"),
        (every_ten_seconds(0), "first state vector is of 2023-09-04T06:37:30"),
        (every_ten_seconds(-300, 40), "last state vector is of 2023-09-04T06:38:00"),
        (every_ten_seconds(-300, -10) + every_ten_seconds(40), "a gap of 60 s"),
        (every_ten_seconds()[::-1], "not in time order"),
        (sorted(every_ten_seconds() * 2), "not in time order"),
    ],
)
def test_an_orbit_that_does_not_cover_the_pass(tmp_path: Path, times: list[datetime], words: str) -> None:
    with pytest.raises(ProvisionError, match=words) as caught:
        read_orbit(parse_orbit_name(written(tmp_path, eof(times))), START, STOP)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [("Mission", "Sentinel-1B"), ("File_Type", "AUX_RESORB"), ("Ref_Frame", "GM2000"), ("Time_Reference", "TAI")],
)
def test_a_header_that_contradicts_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ProvisionError, match=f"{key} is {value}"):
        read_orbit(parse_orbit_name(written(tmp_path, eof(every_ten_seconds(), **{key: value}))), START, STOP)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda t: t[: len(t) // 2], "not well-formed XML"),
        (lambda _: "", "the file is empty"),
        (lambda _: "<html>404</html>", "Earth_Explorer_Header is missing"),
        (lambda t: t.replace("<X>", "<X>?"), "element X holds"),
        (lambda t: t.replace("<VY>", "<VY>inf"), "element VY holds"),
        (lambda t: t.replace("UTC>", "U>"), "element UTC is missing"),
        (lambda t: t.replace("<X>30000<", "<X>30001<"), "06:37:30 are not of one orbit, by 1 m"),
        (lambda t: t.replace("<Y>31001</Y><VY>100", "<Y>31001</Y><VY>101"), "06:37:.0 are not of one orbit"),
    ],
)
def test_a_damaged_orbit_is_named(tmp_path: Path, damage, words: str) -> None:
    with pytest.raises(ProvisionError, match=f"{NAME}: .*{words}"):
        read_orbit(parse_orbit_name(written(tmp_path, damage(eof(every_ten_seconds())))), START, STOP)


def test_a_missing_file_and_bad_zips(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="cannot be read"):
        read_orbit(parse_orbit_name(tmp_path / NAME), START, STOP)
    with pytest.raises(ProvisionError, match="cannot be read"):
        read_orbit(parse_orbit_name(written(tmp_path, "no zip", f"{NAME}.zip")), START, STOP)
    with zipfile.ZipFile(tmp_path / f"{NAME}.zip", "w") as archive:
        archive.writestr("a.txt", "")
    with pytest.raises(ProvisionError, match=r"holds 0 \.EOF files"):
        read_orbit(parse_orbit_name(tmp_path / f"{NAME}.zip"), START, STOP)


@pytest.mark.real
def test_every_real_orbit_file_reads(shared_data: Path) -> None:
    files = [f for name in ("orbits", "referee", "pixels") for f in find_orbits(shared_data / name)]
    assert len(files) == 14
    for f in files:
        utc = [line for line in f.path.read_text().splitlines() if "<UTC>" in line]
        first, last = (
            datetime.fromisoformat(line.split("=")[1].split("<")[0]).replace(tzinfo=timezone.utc)
            for line in (utc[0], utc[-1])
        )
        orbit = read_orbit(f, first + 5 * SECOND, last - 5 * SECOND)
        assert orbit.times_s.size == len(utc)
        assert np.abs(np.linalg.norm(orbit.positions_m, axis=1) - 7.07e6).max() < 2e4


@pytest.mark.real
def test_restituted_minus_precise_is_as_others_measured(shared_data: Path) -> None:
    files = {f.source: f for f in find_orbits(shared_data / "orbits") if f"{f.stop:%Y%m}" == "202310"}
    restituted = files[OrbitSource.RESTITUTED]
    start, stop = restituted.start + 10 * SECOND, restituted.stop - 10 * SECOND
    coarse = read_orbit(restituted, start, stop)
    fine = read_orbit(files[OrbitSource.PRECISE], start, stop)
    spline = CubicHermiteSpline(fine.times_s, fine.positions_m, fine.velocities_m_s)
    difference = spline(coarse.times_s + (coarse.epoch - fine.epoch).total_seconds()) - coarse.positions_m
    assert np.sqrt((difference**2).sum(axis=1).mean()) == pytest.approx(0.027, abs=0.0005)
