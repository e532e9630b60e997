from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topsar.errors import SettingsError
from topsar.pairs.listing import PairLine, chain_scenes, parse_line, parse_product_name, read_pairs

ROOT = Path(__file__).resolve().parent.parent

A = "S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1"
A2 = "S1A_IW_SLC__1SDV_20230904T063755_20230904T063822_050174_0609E3_0001"
B = "S1A_IW_SLC__1SDV_20230916T063730_20230916T063757_050349_060FCD_6814"
B2 = "S1A_IW_SLC__1SDV_20230916T063755_20230916T063822_050349_060FCD_0002"
C = "S1C_IW_SLC__1SSH_20250406T022018_20250406T022024_001234_07421F_BABD"
D = "S1D_IW_SLC__1SDH_20250418T022018_20250418T022024_000805_074946_2685"


def read(tmp_path: Path, text: str | bytes) -> tuple[PairLine, ...]:
    path = tmp_path / "pairs.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_pairs(path)


def refusal(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "pairs.txt") in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        f"{A} {B}",
        f"{A},{B}",
        f"{A}; {B}",
        f"{A}\t{B}  ",
        f'("{A}.SAFE", "{B}.SAFE")',
        f"('{A}.SAFE', '{B}.zip'),",
        f'("{A}.SAFE", "{B}.SAFE"),  # good "pair"',
        f"{A}.zip {B}.SAFE.zip#comment",
        f"“{A}.SAFE”，“{B}.SAFE”",
        f"（‘{A}’， ‘{B}’）",
        f"【{A}、{B}】",
        f"\N{NO-BREAK SPACE}{A}\N{IDEOGRAPHIC SPACE}{B}",
        f'"/my data/{A}.SAFE/" ../raw/{B}.zip',
        f'"C:\\my data\\{A}.SAFE", D:\\{B}.SAFE',
        f'pairs = [("{A}", "{B}"),',
        f'("{A}", "{B}")]',
        f'[("{A}", "{B}")]',
        f'["{A}"], ["{B}"]',
        f"{A}, [{B}]",
    ],
)
def test_one_pair_however_it_is_written(line: str) -> None:
    assert parse_line(line) == ((A,), (B,))


@pytest.mark.parametrize("line", ["", "   ", "# comment", "\t# “comment", "pairs = [", "PAIRS=(", "]", ")", "],", "[]"])
def test_lines_without_a_pair(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    "line",
    [
        f'["{A}","{A2}"], ["{B}","{B2}"]',
        f'["{A2}","{A}"], ["{B2}","{B}"]',
        f'(["{A}.SAFE", "{A2}.SAFE"], ["{B}.SAFE", "{B2}.SAFE"]),',
        f"({A} {A2}) ({B} {B2})",
    ],
)
def test_slices_come_in_time_order(line: str) -> None:
    assert parse_line(line) == ((A, A2), (B, B2))


def test_slices_across_the_equator_share_the_data_take_not_the_orbit_number() -> None:
    later = A2.replace("_050174_", "_050175_")
    pair = parse_line(f"[{A} {later}] {B}")
    assert pair == ((A, later), (B,))


@pytest.mark.parametrize(
    "content",
    [
        f"# mine\n\n{A} {B}\n{C} {D}\n".encode(),
        f"\n\r\n{A} {B}\r\n{C} {D}".encode("utf-8-sig"),
        f"\r\n\r\n{A} {B}\r\n{C} {D}\r\n".encode("utf-16"),
        f"\r\r{A} {B}\r{C} {D}".encode(),
        f'pairs = [\n  # first\n  ("{A}", "{B}"),\n  ("{C}", "{D}"),\n]\n'.encode(),
    ],
)
def test_files_of_all_systems(tmp_path: Path, content: bytes) -> None:
    pairs = read(tmp_path, content)
    assert pairs == (
        PairLine(line=3, reference=(A,), secondary=(B,)),
        PairLine(line=4, reference=(C,), secondary=(D,)),
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (A.replace("SLC_", "GRDH"), "is a GRD product; expected SLC"),
        (A.replace("SLC__1", "RAW__0"), "is a RAW product; expected SLC"),
        (A.replace("IW", "EW"), "mode EW; expected IW"),
        (A.replace("IW", "S3"), "mode S3; expected IW"),
        (A[:50], "is cut off: it has 50 of 67 characters"),
        ("S1A", "is not the name"),
        ("S1A_IW", "is cut off: it has 6 of 67 characters"),
        (A.lower(), "small letters"),
        (A.replace("S1A", "S1E"), "is not the name"),
        ("S2A_MSIL1C_20230904", "is not the name"),
        ("...", "is not the name"),
        (A + "0", "is not a product name"),
        (A.replace("1SDV", "1ADV"), "is not a product name"),
        (A.replace("0904T063730", "0931T063730", 1), "20230931T063730, which is not a date"),
        (A.replace("T063757", "T063700"), "ends before it starts"),
    ],
)
def test_near_misses_say_what_is_wrong(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_product_name(name + ".SAFE")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (A, "expected two products, a reference and a secondary, found 1"),
        (f"{A} {B} {C}", 'found 3; several slices of one date are written ["A1","A2"], ["B1","B2"]'),
        (f"{A} {A}", "is on both sides"),
        (f"[{A} {A2}] {A2}", "is on both sides"),
        (f"{A} {A2}", "both sides are of the same date, 20230904"),
        (f"[{A} {B}] {C}", "different passes (orbits S1A 050174, S1A 050349)"),
        (f"[{A} {A}] {B}", f"{A} is listed twice"),
        (f"[{A} {A[:-4]}0000] {B}", "one slice is listed twice"),
        (f'"{A} {B}', "a quote at character 1 is never closed"),
        ("[] []", "expected a product between the brackets"),
        (f"{A} and {B}", "found 3"),
        (f"{A} later.SAFE", "'later' is not the name"),
    ],
)
def test_bad_lines_say_what_was_expected(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_line(line)


def test_a_pass_over_midnight_is_one_pass() -> None:
    before = "S1A_IW_SLC__1SDV_20230904T235930_20230904T235957_050174_0609E3_DAA1"
    after = "S1A_IW_SLC__1SDV_20230905T000010_20230905T000037_050174_0609E3_DAA2"
    with pytest.raises(ValueError, match="same date"):
        parse_line(f"{before} {after}")


def test_a_pair_in_both_directions_is_taken_once_and_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text(f"{A} {B}\n{B} {A}\n{C} {D}\n")
    assert [pair.line for pair in read_pairs(file)] == [1, 3]
    assert "line 2" in caplog.text
    assert "line 1" in caplog.text


def test_every_bad_line_is_named_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, f"{A} {B}\n{A}\n\n# fine\n{C}.SAFE,{D}\nfoo bar\n({A}.zip {B})\n{A[:-4]}0000 {B}\n")
    lines = message.splitlines()
    assert lines[0].endswith("has 4 bad lines:")
    assert [re.match(r"  line (\d+): ", line)[1] for line in lines[1:5]] == ["2", "6", "7", "8"]  # type: ignore[index]
    assert lines[3].endswith("repeats the pair of line 1")
    assert lines[4].endswith("repeats the pair of line 1 with other files of the same start times")
    assert lines[5].startswith("  hint: write one pair per line")


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "\ufeff", "pairs = [\n]\n"])
def test_a_file_without_pairs(tmp_path: Path, text: str) -> None:
    assert "lists no pairs" in refusal(tmp_path, text)


@pytest.mark.parametrize("content", [b"PK\x03\x04\x00\x00", b"\x89PNG\r\n\x1a\n", b"\xff\xfeA"])
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    assert "text" in refusal(tmp_path, content)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"pairs\.txt cannot be read: No such file"):
        read_pairs(tmp_path / "pairs.txt")


def test_the_file_of_the_project_lists_no_pairs_yet() -> None:
    with pytest.raises(SettingsError, match="lists no pairs"):
        read_pairs(ROOT / "pairs.txt")


def test_the_examples_in_the_file_of_the_project_are_good(tmp_path: Path) -> None:
    text = (ROOT / "pairs.txt").read_text(encoding="utf-8")
    examples = [line[1:].strip() for line in text.splitlines() if "S1A_IW" in line]
    assert len(examples) == 2
    assert {read(tmp_path, example)[0].reference for example in examples} == {(A,)}


# --- properties -------------------------------------------------------------------------------------------------


@st.composite
def names(draw: st.DrawFn, day: int) -> str:
    start = datetime(2014, 10, 3, tzinfo=timezone.utc) + timedelta(
        days=2 * draw(st.integers(0, 3000)) + day, seconds=draw(st.integers(0, 80000))
    )
    stop = start + timedelta(seconds=draw(st.integers(5, 40)))
    mission, kind = draw(st.sampled_from("ABCD")), draw(st.sampled_from(["1SDV", "1SSV", "1SDH", "1SSH"]))
    orbit, take, crc = draw(st.integers(1, 999999)), draw(st.integers(0, 0xFFFFFF)), draw(st.integers(0, 0xFFFF))
    return f"S1{mission}_IW_SLC__{kind}_{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}_{orbit:06d}_{take:06X}_{crc:04X}"


QUOTES = st.sampled_from(["{}", '"{}"', "'{}'", "“{}”", "‘{}’", "＂{}＂", "「{}」"])
SUFFIXES = st.sampled_from(["", ".SAFE", ".zip", ".safe", ".ZIP", ".SAFE/", ".SAFE.zip"])
FOLDERS = st.sampled_from(["", "/data/raw/", "./", "C:\\raw\\", "~/s1/"])
SEPARATORS = st.sampled_from([" ", "\t", ",", ", ", " ,", "，", "；", ";", " 、 "])
BRACKETS = st.sampled_from(["{}", "({})", "[{}]", "（{}）", "【{}】", "{{{}}}", "({}),", "[({})],", "pairs = [({}),"])
COMMENTS = st.sampled_from(["", "  ", " # note", "# it's (a [note", "\ufeff"])


@given(st.data(), names(day=0), names(day=1))
def test_any_way_to_write_a_pair_gives_its_names(data: st.DataObject, first: str, second: str) -> None:
    written = [data.draw(QUOTES).format(data.draw(FOLDERS) + name + data.draw(SUFFIXES)) for name in (first, second)]
    line = data.draw(BRACKETS).format(data.draw(SEPARATORS).join(written)) + data.draw(COMMENTS)
    assert parse_line(line) == ((first,), (second,))


@given(st.binary(max_size=300) | st.text(alphabet="[](){}\"',;# \n\r=S1A_IWSLC“（", max_size=300).map(str.encode))
def test_any_file_gives_pairs_or_a_settings_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any_pairs.txt"
    path.write_bytes(content)
    with pytest.raises(SettingsError):
        read_pairs(path)


def test_brackets_of_any_depth() -> None:
    assert parse_line("[" * 5000 + A + "]" * 5000 + "," + "(" * 5000 + B) is not None


# --- scenes of a stack ------------------------------------------------------------------------------------------

LATER = "S1A_IW_SLC__1SDV_20230928T063730_20230928T063757_050524_060FCE_6815"


def test_scenes_are_chained_date_by_date_whatever_their_order(tmp_path: Path) -> None:
    listed = tmp_path / "scenes.txt"
    listed.write_text(f"# two of them\n{LATER}.zip\n\n{A}\n")
    first, second = chain_scenes([str(listed), f"data/raw/{B2}.SAFE", B, A])
    assert (first.reference, first.secondary) == ((A,), (B, B2))
    assert (second.reference, second.secondary) == ((B, B2), (LATER,))


def test_a_stack_needs_two_dates_of_products() -> None:
    with pytest.raises(SettingsError, match="2 products of 1 date"):
        chain_scenes([B, B2])
    with pytest.raises(SettingsError, match="not the name of a Sentinel-1 product"):
        chain_scenes([A, "scene.zip"])
