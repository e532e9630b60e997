from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from topsar.errors import SettingsError
from topsar.model import BBox, Looks
from topsar.settings import KEYS, MASK, Options, Settings, describe_settings, format_value, load_settings
from topsar.settings.text import parse_roi

ROOT = Path(__file__).resolve().parent.parent
NAMES = [key.name for key in KEYS]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def load(tmp_path: Path, env: str | bytes | None = None, **flags: str) -> Settings:
    env_file = None
    if env is not None:
        env_file = tmp_path / ".env"
        env_file.write_bytes(env if isinstance(env, bytes) else env.encode())
    return load_settings(env_file=env_file, data=tmp_path / "data", pairs=tmp_path / "pairs.txt", flags=flags)


def refusal(tmp_path: Path, env: str | bytes | None = None, **flags: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, env, **flags)
    return str(caught.value)


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.options == Options()
    assert (settings.workers, settings.memory_gb, settings.cleanup, settings.retries) == ("auto", "auto", "scratch", 2)
    assert (settings.posting_m, settings.filter_strength, settings.swaths) == (80.0, 0.5, ("IW1", "IW2", "IW3"))
    assert set(settings.origins.values()) == {"default"}


def test_places_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(env_file=None, data=Path("data"), pairs=Path("pairs.txt"), flags={})
    assert settings.data == tmp_path / "data"
    assert settings.pairs == tmp_path / "pairs.txt"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("ENGINE", "Native", "native"),
        ("ROI", "37.6,37.9,-25.9,-25.1", BBox(south=37.6, north=37.9, west=-25.9, east=-25.1)),
        ("ROI", "[ 37.6 37.9; -25.9 -25.1 ]", BBox(south=37.6, north=37.9, west=-25.9, east=-25.1)),
        ("POLARIZATION", "hh", ("HH",)),
        ("POLARIZATION", "VH vv,VH", ("VV", "VH")),
        ("POLARIZATION", "AUTO", "auto"),
        ("SWATHS", "2", ("IW2",)),
        ("SWATHS", "3, iw1", ("IW1", "IW3")),
        ("SWATHS", "all", ("IW1", "IW2", "IW3")),
        ("POSTING", "40", 40.0),
        ("CRS", "epsg:32629", "EPSG:32629"),
        ("CRS", "LatLon", "latlon"),
        ("LOOKS", "16x8", Looks(east=16, north=8)),
        ("LOOKS", "16 X 8", Looks(east=16, north=8)),
        ("LOOKS", "Auto", "auto"),
        ("FILTER_STRENGTH", "0", 0.0),
        ("ESD", "off", "off"),
        ("ESD", "-0.0025", -0.0025),
        ("UNWRAPPER", "none", "none"),
        ("DEM", "dems/my height.tif", "dems/my height.tif"),
        ("DEM_DATUM", "EGM96", "egm96"),
        ("WORKERS", "4", 4),
        ("MEMORY_GB", "7.5", 7.5),
        ("CLEANUP", "none", "none"),
        ("RETRIES", "0", 0),
    ],
)
def test_values(tmp_path: Path, key: str, text: str, value: object) -> None:
    field = next(k.field for k in KEYS if k.name == key)
    for settings in load(tmp_path, **{key: text}), load(tmp_path, f"{key}={text}\n"):
        assert getattr(settings, field) == value
    assert load(tmp_path, **{key: format_value(value)}).options == settings.options


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ENGINE", "isce"),
        ("ROI", "1,2,3"),
        ("ROI", "a,b,c,d"),
        ("ROI", "nan,1,2,3"),
        ("POLARIZATION", "VX"),
        ("POLARIZATION", "VV,auto"),
        ("SWATHS", "4"),
        ("SWATHS", ","),
        ("POSTING", "0"),
        ("POSTING", "nan"),
        ("POSTING", "80m"),
        ("NETCDF_ATTRIBUTES", "creator=Ada"),
        ("NETCDF_ATTRIBUTES", "creator_name="),
        ("CRS", "WGS84"),
        ("LOOKS", "16"),
        ("LOOKS", "0x8"),
        ("FILTER_STRENGTH", "1.5"),
        ("FILTER_STRENGTH", "0,5"),
        ("ESD", "on"),
        ("ESD", "inf"),
        ("ESD", "30"),
        ("UNWRAPPER", "icu"),
        ("DEM_DATUM", "geoid"),
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("WORKERS", "2.5"),
        ("MEMORY_GB", "-1"),
        ("MEMORY_GB", "inf"),
        ("CLEANUP", "all"),
        ("RETRIES", "-1"),
    ],
)
def test_a_wrong_value_names_place_key_value_and_expectation(tmp_path: Path, key: str, text: str) -> None:
    message = refusal(tmp_path, f'# comment\n\n{key}="{text}"\n')
    assert f"{tmp_path / '.env'}, line 3: {key} = {text!r}: " in message
    assert f"command line: {key} = {text!r}: " in refusal(tmp_path, **{key: text})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-25.9,37.6,-25.1,37.9", "write 37.6,37.9,-25.9,-25.1"),
        ("-120.5,35.1,-120.1,35.9", "write 35.1,35.9,-120.5,-120.1"),
        ("46,45,11,12", "south 46 must be smaller than north 45"),
        ("38,37,10,11", "south 38 must be smaller than north 37"),
        ("37,38,11,10", "west 11 must be smaller than east 10"),
        ("-20,-10,179,-179", "180th meridian"),
        ("91,92,0,1", "between -90 and 90"),
        ("0,1,180,200", "between -180 and 180"),
    ],
)
def test_a_wrong_roi_says_which_rule_it_breaks(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_roi(text)


def test_a_roi_may_be_the_whole_world() -> None:
    assert parse_roi("-90,90,-180,180") == BBox(west=-180, south=-90, east=180, north=90)


def test_the_order_of_the_hint_is_accepted() -> None:
    with pytest.raises(ValueError, match="W,S,E,N") as caught:
        parse_roi("14.7 -37.9 15.3 -37.4")
    assert parse_roi(str(caught.value).rpartition("write ")[2]) == BBox(west=14.7, south=-37.9, east=15.3, north=-37.4)


def test_precedence_and_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "3")
    monkeypatch.setenv("POSTING", "60")
    monkeypatch.setenv("RETRIES", "")
    settings = load(tmp_path, "WORKERS=2\nPOSTING=50\nRETRIES=5\nUNWRAPPER=\n", POSTING="40")
    assert (settings.posting_m, settings.workers, settings.retries, settings.unwrapper) == (40, 3, 5, "snaphu")
    origins = settings.origins
    assert [origins[key] for key in ("POSTING", "WORKERS", "RETRIES", "UNWRAPPER")] == [
        "flag",
        "environment",
        ".env",
        "default",
    ]
    assert list(origins) == NAMES


@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_an_empty_text_leaves_the_choice_to_the_next_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    box = BBox(south=1, north=2, west=3, east=4)
    settings = load(tmp_path, "ROI=1,2,3,4\n", ROI=empty)
    assert (settings.roi, settings.origins["ROI"]) == (box, ".env")
    monkeypatch.setenv("ROI", empty)
    settings = load(tmp_path, "ROI=1,2,3,4\n", ROI=empty)
    assert (settings.roi, settings.origins["ROI"]) == (box, ".env")
    settings = load(tmp_path, f"ROI={empty}\n", ROI=empty)
    assert (settings.roi, settings.origins["ROI"]) == (None, "default")
    monkeypatch.setenv("ROI", "1,2,3,4")
    settings = load(tmp_path, "ROI=5,6,7,8\n", ROI=empty)
    assert (settings.roi, settings.origins["ROI"]) == (box, "environment")


def test_an_empty_flag_does_not_hide_a_wrong_value_below(tmp_path: Path) -> None:
    assert f"{tmp_path / '.env'}, line 1: WORKERS = 'many': " in refusal(tmp_path, "WORKERS=many\n", WORKERS="")


def test_the_environment_may_hold_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORKER", "workers", "data", "DATA", "PAIRS", "pairs", "ROI_"):
        monkeypatch.setenv(name, "nonsense")
    assert load(tmp_path) == load(tmp_path, "")


@pytest.mark.parametrize(
    "env",
    [
        "WORKERS = 2\nROI = 1, 2, 3, 4\n",
        "WORKERS=2   # two\nROI='1,2,3,4'\n",
        'export WORKERS="2"\r\nROI="1,2,3,4"\r\n',
        "\ufeffWORKERS=2\nROI=1,2,3,4",
        "\ufeffWORKERS=2\r\nROI=1,2,3,4\r\n".encode("utf-16-le"),
        "# only\n\n\nWORKERS=2\nGEOID=   # nothing\nROI=1 2 3 4\nDEM=\n",
    ],
)
def test_env_files_as_users_write_them(tmp_path: Path, env: str | bytes) -> None:
    settings = load(tmp_path, env)
    assert settings.workers == 2
    assert settings.roi == BBox(south=1, north=2, west=3, east=4)
    assert (settings.geoid, settings.dem) == ("", "auto")
    assert settings.origins["WORKERS"] == ".env"


def test_all_problems_of_a_file_at_once(tmp_path: Path) -> None:
    env = "WORKER=2\nENGINE=foo\n\n\nnot a setting\nPOLARISATION=VV\nRETRIES=1\nposting=3\nRETRIES=99\nXYZZY=\nLOOKS\n"
    message = refusal(tmp_path, env)
    for line, text in {
        1: "unknown key 'WORKER', did you mean WORKERS?",
        2: "ENGINE = 'foo': expected auto, native or isce2",
        5: "expected KEY=value",
        6: "unknown key 'POLARISATION', did you mean POLARIZATION?",
        8: "unknown key 'posting', did you mean POSTING?",
        9: "RETRIES is already set on line 7",
        10: "unknown key 'XYZZY'",
        11: "expected KEY=value",
    }.items():
        assert f", line {line}: {text}\n" in message
    assert "line 9: RETRIES = '99': expected a whole number from 0 to 10" in message
    assert message.startswith("9 settings")


def test_an_unknown_flag(tmp_path: Path) -> None:
    assert "command line: unknown key 'workers', did you mean WORKERS?" in refusal(tmp_path, workers="2")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"WORKERS=2\nDEM=\xe9\n", b"WORKERS=\0\n"])
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    assert str(tmp_path / ".env") in refusal(tmp_path, content)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.env cannot be read: No such file"):
        load_settings(env_file=tmp_path / "nowhere.env", data=tmp_path, pairs=tmp_path, flags={})


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    secret = "0123456789abcdef"
    settings = load(tmp_path, f"OPENTOPO_API_KEY={secret}\n")
    assert settings.opentopo_api_key.get_secret_value() == secret
    saved = describe_settings(settings)
    assert saved["settings"]["OPENTOPO_API_KEY"] == {"value": MASK, "origin": ".env"}
    messages = [refusal(tmp_path, f"OPENTOPO_API_KY={secret}\nOPENTOPO_API_KEY {secret}\nENGINE=x\n")]
    for text in (repr(settings), str(settings), json.dumps(saved), settings.model_dump_json(), *messages):
        assert secret not in text


def test_resolved_reads_back(tmp_path: Path) -> None:
    settings = load(tmp_path, LOOKS="4x2", ROI="1,2,3,4", ESD="0.001", SWATHS="1,3", CRS="EPSG:4326")
    values = json.loads(json.dumps(describe_settings(settings)))["settings"]
    assert load(tmp_path, **{key: value["value"] for key, value in values.items()}).options == settings.options


def test_options_are_frozen_strict_and_hashable() -> None:
    options = Options(posting_m=40, looks=Looks(east=2, north=1))
    assert hash(options) == hash(Options(posting_m=40, looks=Looks(east=2, north=1)))
    with pytest.raises(ValidationError):
        options.posting_m = 20  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Options(postings=20)  # type: ignore[call-arg]
    json.loads(options.model_dump_json())


def test_typed_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTING", "60")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("POSTING=50\n")
    box = BBox(south=37.4, north=37.9, west=14.7, east=15.3)
    settings = Settings(data="~/etna", roi=(37.4, 37.9, 14.7, 15.3), looks=(16, 8), swaths=(3, 1), offline=True)
    assert (settings.roi, settings.looks) == (box, Looks(east=16, north=8))
    assert (settings.swaths, settings.offline, settings.posting_m) == (("IW1", "IW3"), True, 80.0)
    assert (settings.data, settings.pairs) == (tmp_path / "etna", tmp_path / "pairs.txt")
    assert (settings.origins["ROI"], settings.origins["POSTING"]) == ("argument", "default")
    assert Settings(roi=box) == Settings(roi=(37.4, 37.9, 14.7, 15.3))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("posting_m", 0, "a number from 1 to 10000"),
        ("posting_m", "wide", "a number from 1 to 10000"),
        ("roi", (1, 2, 3), "four numbers"),
        ("roi", (38, 37, 10, 11), "south 38 must be smaller than north 37"),
        ("swaths", (4,), "IW1,IW2,IW3"),
        ("looks", (0, 8), "two whole numbers"),
        ("engine", "isce", "auto, native or isce2"),
        ("executor", "cloud", "local or dask"),
        ("offline", 2, "0 or 1"),
        ("data", 7, "a path"),
        ("posting", 40, "did you mean posting_m?"),
    ],
)
def test_a_wrong_typed_value_names_the_field(field: str, value: object, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(**{"workers": 0, field: value})  # type: ignore[arg-type]
    first, second = sorted(caught.value.message.split("\n  ")[1:], key=lambda line: "workers" in line)
    assert field in first
    assert says in first
    assert "workers" in second


def test_options_survive_json(tmp_path: Path) -> None:
    options = load(tmp_path, ROI="1,2,3,4", LOOKS="16x8", SWATHS="1,3", ESD="0.01", POLARIZATION="vh").options
    assert Options.model_validate_json(options.model_dump_json()) == options


def test_options_leave_out_what_changes_no_number(tmp_path: Path) -> None:
    assert load(tmp_path, WORKERS="1", RETRIES="0", CLEANUP="none", MEMORY_GB="3").options == Options()
    assert load(tmp_path, POSTING="81").options != Options()


@pytest.mark.parametrize(
    ("written", "expected", "doubt"),
    [
        ("'${HOME}/a'", "${HOME}/a", ""),
        ('"${HOME}/a"', "/home/me/a", ""),
        ("${HOME}/a # where it lies", "/home/me/a", ""),
        ("'a #b$c'", "a #b$c", ""),
        ("a#b", "a#b", ""),
        ("/disk/a #1/dem.tif", "/disk/a", "quotes"),
        ("a${NOT_SET}b", "ab", "NOT_SET"),
        ("a${NOT_SET:-c}b", "acb", ""),
        ("\u201ca b\u201d", "a b", "quotes of print"),
        ("a\u200bb", "ab", "ZERO WIDTH SPACE"),
        ("a\u00a0b", "a b", "NO-BREAK SPACE"),
    ],
)
def test_values_are_read_as_a_shell_reads_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    written: str,
    expected: str,
    doubt: str,
) -> None:
    """Or a warning says where something may not have been meant so."""
    monkeypatch.setenv("HOME", "/home/me")
    assert load(tmp_path, f"POSTING=40\n\nDEM={written}\n").dem == expected
    assert [doubt in message for message in caplog.messages] == ([True] if doubt else [])
    assert all(message.startswith(f"{tmp_path / '.env'}, line 3: DEM: ") for message in caplog.messages)


def test_a_password_that_is_cut_is_told_of_and_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = load(tmp_path, "EARTHDATA_USERNAME=me\nEARTHDATA_PASSWORD=hush # hush\n")
    assert found.earthdata_password.get_secret_value() == "hush"
    assert ".env, line 2: EARTHDATA_PASSWORD: the value ends before" in caplog.text
    assert "hush" not in caplog.text


def test_env_example_documents_every_key_with_its_default(tmp_path: Path) -> None:
    path = ROOT / ".env.example"
    assert dict(dotenv_values(path)) == {key.name: key.default for key in KEYS}
    assert load(tmp_path, path.read_bytes()).options == Options()
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    for key in KEYS:
        block = next(block for block in blocks if re.search(rf"^{key.name}=", block, re.MULTILINE))
        words = " ".join(line.removeprefix("#").strip() for line in block.splitlines())
        assert f"{key.meaning}. Value: {key.allowed}. {key.name}=" in words


@given(st.dictionaries(st.sampled_from([name for name in NAMES if name != "DEM"]), st.text(max_size=30)))
def test_any_text_gives_settings_or_a_settings_error(flags: dict[str, str]) -> None:
    try:
        load_settings(env_file=None, data=Path("data"), pairs=Path("pairs.txt"), flags=flags)
    except SettingsError as exc:
        assert "command line: " in str(exc)  # noqa: PT017


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_gives_settings_or_a_settings_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.env"
    path.write_bytes(content)
    try:
        load_settings(env_file=path, data=Path("data"), pairs=Path("pairs.txt"), flags={})
    except SettingsError as exc:
        assert str(path) in str(exc)  # noqa: PT017
