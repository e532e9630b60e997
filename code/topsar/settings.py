"""Settings: command line, environment and ``.env`` become one frozen object, once.

Each setting is one field below; its key, default, meaning and allowed values stand there and nowhere else.
Precedence: command line, then environment, then ``.env``, then default; an empty value is no value, and the next
place decides.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv.parser import Binding, parse_stream
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import PydanticBaseSettingsSource as Source

from topsar.errors import SettingsError
from topsar.files import encoding_of
from topsar.model import BBox, Looks

MASK = "********"
GIGABYTE = 1_000_000_000
LONG_DEG = 20.0
"""No interferogram is as long as this, degrees of latitude."""
SWATHS = ("IW1", "IW2", "IW3")


# --- from text to values ----------------------------------------------------------------------------------------


def parse_roi(value: object) -> object:
    """South, north, west, east in degrees, the order of ``.env``, as a box.

    Raises
    ------
    ValueError
        Saying which rule the four numbers break.
    """
    if not isinstance(value, str):
        return value
    try:
        south, north, west, east = (float(part) for part in re.split(r"[\s,;]+", value.strip("[]() \t,;")))
    except ValueError:
        msg = "expected four numbers in degrees: south,north,west,east"
        raise ValueError(msg) from None
    problem = _box_problem(south, north, west, east)
    if not _box_problem(north, east, south, west):  # a box as well when read as west, south, east, north
        if not problem and north - south > LONG_DEG > max(west - south, east - north):
            problem = f"from south {south:g} to north {north:g} is longer than any pass"
        if problem:
            problem += f"; the order looks like W,S,E,N: write {north:g},{east:g},{south:g},{west:g}"
    if problem:
        raise ValueError(problem)
    return BBox(west=west, south=south, east=east, north=north)


def _box_problem(south: float, north: float, west: float, east: float) -> str:
    if not all(-90 <= latitude <= 90 for latitude in (south, north)):
        return "south and north (the first two numbers) must lie between -90 and 90 degrees"
    if not all(-180 <= longitude <= 180 for longitude in (west, east)):
        return "west and east (the last two numbers) must lie between -180 and 180 degrees"
    if south >= north:
        return f"south {south:g} must be smaller than north {north:g}"
    if west - east > 180:
        return f"from west {west:g} to east {east:g} it crosses the 180th meridian, which one box cannot: use two runs"
    if west >= east:
        return f"west {west:g} must be smaller than east {east:g}"
    return ""


def parse_swaths(value: object) -> object:
    """``1,2`` or ``IW1 IW2`` or ``all`` as sorted swath names."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "all":
        return SWATHS
    parts = re.findall(r"[^\s,;\[\]()]+", value.upper())
    names = {part if part.startswith("IW") else f"IW{part}" for part in parts}
    if not names or not names <= set(SWATHS):
        msg = "expected some of 1,2,3 (or IW1,IW2,IW3), or all"
        raise ValueError(msg)
    return tuple(sorted(names))


def parse_looks(value: object) -> object:
    """``16x8`` as looks east by north; other text is left as it is."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,4})\s*[xX×*]\s*(\d{1,4})", value)):
        east, north = int(match[1]), int(match[2])
        if east and north:
            return Looks(east=east, north=north)
    return _lower(value)


def _crs(value: object) -> object:
    text = str(value).strip().lower()
    if text in {"auto", "utm", "latlon"}:
        return text
    if not re.fullmatch(r"epsg:\d{4,6}", text):
        msg = "expected auto, utm, latlon or EPSG:number such as EPSG:32629"
        raise ValueError(msg)
    return text.upper()


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _dask_scheduler(value: object) -> object:
    text = str(value).strip()
    if not re.fullmatch(r"(?:(?:tcp|tls)://\S+:\d+|slurm)?", text):
        msg = "expected tcp://host:port, tls://host:port, slurm, or empty"
        raise ValueError(msg)
    return text


def _switch(value: object) -> object:
    text = str(value).strip().lower()
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text, value)


def _polarisation(value: object) -> object:
    return "auto" if _lower(value) == "auto" else value.upper() if isinstance(value, str) else value


def text_of(value: object) -> str:
    """``value`` as one would write it in ``.env``; a secret is masked."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, BBox):
        return ",".join(f"{edge:.12g}" for edge in (value.south, value.north, value.west, value.east))
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, float):
        return f"{value:.12g}"
    return "" if value is None else str(value)


# --- the settings -----------------------------------------------------------------------------------------------

Lower = BeforeValidator(_lower)


def _key(key: str, default: object, meaning: str, allowed: str, **limits: Any) -> Any:
    return Field(default, validation_alias=key, description=meaning, json_schema_extra={"allowed": allowed}, **limits)


class Options(BaseModel):
    """What changes the numbers: enters checkpoint keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    engine: Annotated[Literal["auto", "native", "isce2"], Lower] = _key(
        "ENGINE",
        "auto",
        "Who does the radar work; auto takes isce2 where ISCE2's topsApp can be started, else native",
        "auto, native or isce2",
    )
    roi: Annotated[BBox | None, BeforeValidator(parse_roi)] = _key(
        "ROI",
        None,
        "Region of interest in degrees; empty takes everything that both dates share",
        "south,north,west,east such as 37.6,37.9,-25.9,-25.1, or empty",
    )
    polarization: Annotated[Literal["auto", "VV", "HH", "VH", "HV"], BeforeValidator(_polarisation)] = _key(
        "POLARIZATION", "auto", "Polarisation; auto takes VV where present, else HH", "auto, VV, HH, VH or HV"
    )
    swaths: Annotated[tuple[Literal["IW1", "IW2", "IW3"], ...], BeforeValidator(parse_swaths)] = _key(
        "SWATHS", SWATHS, "Subswaths to process; those that a product lacks are passed over", "some of IW1,IW2,IW3"
    )
    posting_m: float = _key(
        "POSTING",
        80.0,
        "Pixel size of the products in metres (on a lat/lon grid: about that many)",
        "a number from 1 to 10000",
        ge=1,
        le=10_000,
    )
    crs: Annotated[str, BeforeValidator(_crs)] = _key(
        "CRS",
        "auto",
        "Map projection of the products; auto and utm take the UTM zone of the centre of ROI, or, without one, of all "
        "bursts of the pairs of one track that touch each other",
        "auto, utm, latlon or EPSG:number such as EPSG:32629",
    )
    looks: Annotated[Literal["auto"] | Looks, BeforeValidator(parse_looks)] = _key(
        "LOOKS",
        "auto",
        "Pixels averaged into one: of the native engine's fine grid east x north, of isce2 range x azimuth; auto "
        "follows POSTING",
        "auto, or two whole numbers such as 16x8",
    )
    filter_strength: float = _key(
        "FILTER_STRENGTH", 0.5, "Strength of the Goldstein filter; 0 is off", "a number from 0 to 1", ge=0, le=1
    )
    esd: Annotated[Literal["auto", "network", "off"] | float, Lower] = _key(
        "ESD",
        "auto",
        "Azimuth misregistration of the secondary; auto lets the engine estimate it if it can (enhanced spectral "
        "diversity), network solves for one timing per date from all pairs (native engine), off corrects nothing, a "
        "number is used as given",
        "auto, network, off or a number of azimuth pixels such as 0.0025",
    )
    range_registration: Annotated[Literal["auto", "off"], Lower] = _key(
        "RANGE_REGISTRATION",
        "off",
        "Range delay of a date against the earliest; auto lets the native engine find it by correlation of amplitudes "
        "and correct what is significant",
        "auto or off",
    )
    topsapp_esd: Annotated[Literal["full", "own"], Lower] = _key(
        "TOPSAPP_ESD",
        "full",
        "How much isce2 corrects of the misregistration that it sees; topsApp's own value is a third of it",
        "full, or own for topsApp as it is",
    )
    esd_coherence: float = _key(
        "ESD_COHERENCE",
        0.85,
        "With isce2, burst overlaps below this coherence do not vote on the misregistration",
        "a number from 0 to 1",
        ge=0,
        le=1,
    )
    ionosphere: Annotated[bool, BeforeValidator(_switch)] = _key(
        "IONOSPHERE",
        False,  # noqa: FBT003 - the default of a switch
        "1 lets isce2 estimate the ionosphere by the split spectrum; the native engine cannot",
        "0 or 1",
    )
    use_gpu: Annotated[bool, BeforeValidator(_switch)] = _key(
        "USE_GPU",
        False,  # noqa: FBT003 - the default of a switch
        "1 lets isce2 use a GPU where ISCE2 was built for one",
        "0 or 1",
    )
    unwrapper: Annotated[Literal["snaphu", "whirlwind", "none"], Lower] = _key(
        "UNWRAPPER", "snaphu", "Phase unwrapping; none leaves the phase wrapped", "snaphu, whirlwind or none"
    )
    dem: str = _key(
        "DEM",
        "auto",
        "Height model: a raster file (relative paths start in data/dem), or a global model; auto takes the raster in "
        "data/dem and, where there is none, downloads SRTMGL1 with OPENTOPO_API_KEY, COP30 without",
        "auto, a path, or one of SRTMGL1, SRTMGL1_E, SRTMGL3, NASADEM, COP30, COP90, AW3D30, AW3D30_E",
    )
    dem_datum: Annotated[Literal["auto", "ellipsoid", "egm96", "egm2008"], Lower] = _key(
        "DEM_DATUM",
        "auto",
        "What the heights of DEM are measured from; auto believes the file's own declaration",
        "auto, ellipsoid, egm96 or egm2008",
    )
    geoid: str = _key(
        "GEOID",
        "",
        "Geoid raster that turns the DEM's heights into ellipsoidal ones; empty takes the EGM96 grid that comes with "
        "topsar, or downloads that of EGM2008",
        "a path, or empty",
    )
    water_mask: str = _key(
        "WATER_MASK",
        "",
        "Raster of water (not 0) for the layer water; relative paths start in the data folder; empty takes the level "
        "water of the DEM",
        "a path, or empty",
    )
    slc_stack: Annotated[bool, BeforeValidator(_switch)] = _key(
        "SLC_STACK",
        False,  # noqa: FBT003 - the default of a switch
        "1 keeps the geocoded SLC of every date in runs/slc_stack, with their amplitude dispersion (native engine)",
        "0 or 1",
    )


class Settings(Options, BaseSettings):
    """All settings of a run: `Options`, and what changes only how, where and how fast it is done.

    Only `load_settings` builds one; it reads nothing by itself.
    """

    model_config = SettingsConfigDict(
        populate_by_name=False, case_sensitive=True, enable_decoding=False, env_ignore_empty=True
    )

    workers: Annotated[Literal["auto"] | Annotated[int, Field(ge=1)], Lower] = _key(
        "WORKERS",
        "auto",
        "Pairs under way at the same time; auto follows cores and memory",
        "auto or a whole number from 1",
    )
    memory_gb: Annotated[Literal["auto"] | Annotated[float, Field(gt=0)], Lower] = _key(
        "MEMORY_GB", "auto", "Memory for all steps together in GB; auto takes what is free", "auto or a number above 0"
    )
    disk_reserve_gb: float = _key("DISK_RESERVE_GB", 2.0, "Disk space in GB that is left free", "a number from 0", ge=0)
    cleanup: Annotated[Literal["none", "scratch", "nuclear"], Lower] = _key(
        "CLEANUP",
        "scratch",
        "scratch removes the large intermediate files as soon as no later step needs them; nuclear removes everything "
        "but products, facts and logs; none keeps all",
        "none, scratch or nuclear",
    )
    retries: int = _key(
        "RETRIES",
        2,
        "How often a step is tried again after a failure that may pass (killed for memory, disk full)",
        "a whole number from 0 to 10",
        ge=0,
        le=10,
    )
    executor: Annotated[Literal["local", "dask"], Lower] = _key(
        "EXECUTOR", "local", "Where steps run: on this machine, or on the workers of a Dask cluster", "local or dask"
    )
    dask_scheduler: Annotated[str, BeforeValidator(_dask_scheduler)] = _key(
        "DASK_SCHEDULER",
        "",
        "With EXECUTOR=dask, the address of its scheduler; slurm starts workers as jobs of that queue, as Dask's own "
        "configuration of jobqueue.slurm says",
        "tcp://host:port, tls://host:port, slurm, or empty",
    )
    isce_home: str = _key(
        "ISCE_HOME",
        "",
        "ISCE2's folder isce, which holds applications/topsApp.py; empty asks ISCE_PYTHON",
        "a path, or empty",
    )
    isce_python: str = _key(
        "ISCE_PYTHON",
        "",
        "The Python that imports isce; empty tries topsar's own, then python3",
        "a path or a program's name, or empty",
    )
    offline: Annotated[bool, BeforeValidator(_switch)] = _key(
        "OFFLINE",
        False,  # noqa: FBT003 - the default of a switch
        "1 forbids the network; what is missing is then named",
        "0 or 1",
    )
    opentopo_api_key: SecretStr = _key(
        "OPENTOPO_API_KEY",
        SecretStr(""),
        "Key of your OpenTopography account, for downloading a DEM; without one Copernicus GLO-30 is taken",
        "the key, or empty",
    )
    earthdata_username: str = _key(
        "EARTHDATA_USERNAME",
        "",
        "Your NASA Earthdata account, for downloading SLCs; or keep it in ~/.netrc",
        "a name, or empty",
    )
    earthdata_password: SecretStr = _key("EARTHDATA_PASSWORD", SecretStr(""), "Its password", "the password, or empty")
    earthdata_token: SecretStr = _key(
        "EARTHDATA_TOKEN", SecretStr(""), "A token of that account, instead of name and password", "the token, or empty"
    )
    data: Path = Field(exclude=True)
    """Folder with ``raw``, ``orbit_data``, ``dem`` and ``runs``."""
    pairs: Path = Field(exclude=True)
    """The list of pairs."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: Source,
        *_: Source,
        **__: Source,
    ) -> tuple[Source, ...]:
        """Nothing but what `load_settings` passes: it reads the sources one by one, to know each value's origin."""
        return (init_settings,)

    @property
    def options(self) -> Options:
        """The part that changes the numbers."""
        return Options(**{name: getattr(self, name) for name in Options.model_fields})

    @property
    def engine_wanted(self) -> tuple[str, str, str]:
        """``ENGINE``, ``ISCE_HOME`` and ``ISCE_PYTHON``: what is needed to choose an engine."""
        return self.engine, self.isce_home, self.isce_python

    @property
    def memory_bytes(self) -> int | None:
        """``MEMORY_GB`` in bytes; None for auto."""
        return None if self.memory_gb == "auto" else int(self.memory_gb * GIGABYTE)

    @property
    def disk_reserve_bytes(self) -> int:
        """``DISK_RESERVE_GB`` in bytes."""
        return int(self.disk_reserve_gb * GIGABYTE)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each key's value comes from: ``flag``, ``environment``, ``.env`` or ``default``."""
        return {key.name: self._origins.get(key.name, "default") for key in KEYS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """How a setting is called outside, and what the user is told about it."""

    name: str
    field: str
    default: str
    meaning: str
    allowed: str
    secret: bool

    @property
    def flag(self) -> str:
        """The key as a command-line flag."""
        return "--" + self.name.lower().replace("_", "-")


def _keys() -> Iterable[Key]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.json_schema_extra, dict):
            yield Key(
                name=str(field.validation_alias),
                field=name,
                default=text_of(field.default),
                meaning=field.description or "",
                allowed=str(field.json_schema_extra["allowed"]),
                secret=isinstance(field.default, SecretStr),
            )


KEYS = tuple(_keys())
"""All keys, in the order in which they are shown."""
_PLACES = {"flag": "command line", "environment": "environment"}
_KEY_OF = {key.name: key for key in KEYS}


def resolved(settings: Settings) -> dict[str, Any]:
    """Every setting as text with its origin, secrets masked; JSON-able, saved with each run.

    Returns
    -------
    dict
        ``{"data": path, "pairs": path, "settings": {KEY: {"value": text, "origin": text}}}``.
    """
    values = {
        key.name: {"value": text_of(getattr(settings, key.field)), "origin": settings.origins[key.name]} for key in KEYS
    }
    return {"data": str(settings.data), "pairs": str(settings.pairs), "settings": values}


# --- loading ----------------------------------------------------------------------------------------------------


def load_settings(*, env_file: Path | None, data: Path, pairs: Path, flags: Mapping[str, str]) -> Settings:
    """Read command line, environment and ``.env``, the first that sets a key winning.

    Parameters
    ----------
    env_file : Path, optional
        The ``.env`` file, or None where there is none.
    data, pairs : Path
        Data folder and list of pairs; relative paths are taken from the current folder.
    flags : mapping of str to str
        Text per key, from the command line.

    Raises
    ------
    SettingsError
        Naming every problem at once: where, key, value and what was expected.
    """
    problems = [f"command line: {_unknown(key)}" for key in flags if key not in _KEY_OF]
    lines: dict[str, int] = {}
    layers = {"flag": _texts(flags), "environment": _texts(EnvSettingsSource(Settings)()), ".env": {}}
    if env_file is not None:
        lines, file_problems = _check_env_file(env_file)
        problems += file_problems
        source = DotEnvSettingsSource(Settings, env_file=env_file, env_file_encoding=encoding_of(env_file))
        layers[".env"] = _texts(source())

    origins = {key: origin for origin in reversed(layers) for key in layers[origin]}
    values: dict[str, Any] = {key: layers[origin][key] for key, origin in origins.items()}
    try:
        settings = Settings(data=data.expanduser().absolute(), pairs=pairs.expanduser().absolute(), **values)
    except ValidationError as exc:
        for key, expected in _complaints(exc).items():
            place = f"{env_file}, line {lines[key]}" if origins[key] == ".env" else _PLACES[origins[key]]
            shown = MASK if _KEY_OF[key].secret else values[key]
            problems.append(f"{place}: {key} = {shown!r}: {expected}")
        raise _refusal(problems) from exc
    if problems:
        raise _refusal(problems)
    settings._origins.update(origins)
    return settings


def _texts(layer: Mapping[str, Any]) -> dict[str, str]:
    """What a layer sets; an empty text is no value, nor is a lone comment (python-dotenv < 1.2.4 keeps it)."""
    texts = {key: layer[key].strip() for key in layer if key in _KEY_OF}
    return {key: text for key, text in texts.items() if text and not text.startswith("#")}


def _check_env_file(path: Path) -> tuple[dict[str, int], list[str]]:
    """Line of each known key, and what is wrong with the file besides wrong values. Values are never shown."""
    lines: dict[str, int] = {}
    problems = []
    for binding in parse_stream(io.StringIO(path.read_text(encoding=encoding_of(path)))):
        line = _line_of(binding)
        if binding.error or (binding.key is not None and binding.value is None):
            problems.append(f"{path}, line {line}: expected KEY=value")
        elif binding.key is not None and binding.key not in _KEY_OF:
            problems.append(f"{path}, line {line}: {_unknown(binding.key)}")
        elif binding.key is not None:
            if binding.key in lines:
                problems.append(f"{path}, line {line}: {binding.key} is already set on line {lines[binding.key]}")
            lines[binding.key] = line
    return lines, problems


def _line_of(binding: Binding) -> int:
    """python-dotenv counts blank lines before a statement to it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key.upper().replace("-", "_"), _KEY_OF, n=1, cutoff=0.6)
    return f"unknown key {key!r}" + (f", did you mean {near[0]}?" if near else "")


def _complaints(exc: ValidationError) -> dict[str, str]:
    """What was expected, per key; a union complains once per member."""
    complaints: dict[str, str] = {}
    for error in exc.errors(include_url=False, include_input=False):
        key = str(error["loc"][0])
        own = error["type"] == "value_error"
        complaints.setdefault(key, str(error["ctx"]["error"]) if own else f"expected {_KEY_OF[key].allowed}")
    return complaints


def _refusal(problems: list[str]) -> SettingsError:
    hint = "`topsar settings` and .env.example show every key with its meaning"
    if len(problems) == 1:
        return SettingsError(problems[0], hint=hint)
    return SettingsError("\n  ".join([f"{len(problems)} settings cannot be used:", *problems]), hint=hint)
