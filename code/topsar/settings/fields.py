"""Every setting: its key, type, default, meaning and allowed values, in one place each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from topsar.errors import SettingsError
from topsar.model import BBox, Frame, Looks
from topsar.registry import CANONICAL, list_names
from topsar.settings.text import (
    MASK,
    SWATHS,
    check_attributes,
    format_value,
    join_choices,
    lower,
    parse_crs,
    parse_frame,
    parse_looks,
    parse_names,
    parse_place,
    parse_polarisations,
    parse_roi,
    parse_swaths,
    split_names,
)

GIGABYTE = 1_000_000_000
ENGINES = ("auto", *list_names("engines"))
EXECUTORS = list_names("executors")

SCHEDULER = StringConstraints(strip_whitespace=True, pattern=r"^((tcp|tls)://\S+:\d+|slurm)?$")
CRS = StringConstraints(pattern=r"^(auto|utm|latlon|EPSG:\d{4,6})$")
Lower = BeforeValidator(lower)
Place = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


def _key(key: str, default: object, meaning: str, allowed: str = "", **limits: Any) -> Any:
    """A field with its key and what users are told about it; of a choice, the type says what is allowed."""
    return Field(default, description=meaning, json_schema_extra={"key": key, "allowed": allowed}, **limits)


def _switch(key: str, meaning: str) -> Any:
    return _key(key, default=False, meaning=meaning, allowed="0 or 1")


def _choose_from(names: tuple[str, ...]) -> AfterValidator:
    """One of the names, in whatever case it is written."""
    by_text = {name.lower(): name for name in names}

    def choose(value: str) -> str:
        if value.lower() not in by_text:
            msg = f"expected {join_choices(names)}"
            raise ValueError(msg)
        return by_text[value.lower()]

    return AfterValidator(choose)


class Options(BaseModel):
    """What changes the numbers: enters checkpoint keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    engine: Annotated[str, _choose_from(ENGINES)] = _key(
        "ENGINE",
        "auto",
        "Who does the radar work; auto takes isce2 where ISCE2's topsApp can be started, else native",
        join_choices(ENGINES),
    )
    roi: Annotated[BBox | None, BeforeValidator(parse_roi)] = _key(
        "ROI",
        None,
        "Region of interest in degrees; empty takes everything that both dates share",
        "south,north,west,east such as 37.6,37.9,-25.9,-25.1, or empty",
    )
    frame: Annotated[Frame | None, BeforeValidator(parse_frame)] = _key(
        "FRAME",
        None,
        "ARIA's frame: its bursts are taken, and the box around it is ROI (native engine; needs topsar[aria])",
        "a number such as 25502, or empty",
    )
    polarization: Annotated[Literal["auto"] | tuple[str, ...], BeforeValidator(parse_polarisations)] = _key(
        "POLARIZATION",
        "auto",
        "Polarisations, each of which makes a pair of its own of every line; auto takes VV where present, else HH",
        "auto, or some of VV, HH, VH and HV such as VV,VH",
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
    crs: Annotated[str, BeforeValidator(parse_crs), CRS] = _key(
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
        "FILTER_STRENGTH", 0.5, "Strength of the phase filter; 0 is off", "a number from 0 to 1", ge=0, le=1
    )
    esd: Annotated[Literal["auto", "network", "off"] | Annotated[float, Field(ge=-1, le=1)], Lower] = _key(
        "ESD",
        "auto",
        "Azimuth misregistration of the secondary; auto lets the engine estimate it if it can (enhanced spectral "
        "diversity), network solves for one timing per date from all pairs (native engine), off corrects nothing, a "
        "number is used as given",
        "auto, network, off or a number of azimuth pixels from -1 to 1 such as 0.0025",
    )
    range_registration: Annotated[Literal["auto", "off"], Lower] = _key(
        "RANGE_REGISTRATION",
        "off",
        "Range delay of a date against the earliest; auto lets the native engine find it by correlation of amplitudes "
        "and correct what is significant",
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
    use_gpu: bool = _switch("USE_GPU", "1 lets isce2 use a GPU where ISCE2 was built for one")
    unwrapper: Annotated[Literal["snaphu", "whirlwind", "none"], Lower] = _key(
        "UNWRAPPER", "snaphu", "Phase unwrapping; none leaves the phase wrapped"
    )
    dem: str = _key(
        "DEM",
        "auto",
        "Height model: a raster file (relative paths start in data/dem), or a global model; auto takes the raster in "
        "data/dem and, where there is none, downloads SRTMGL1 with OPENTOPO_API_KEY, COP30 without",
        "auto, a path, or one of SRTMGL1, SRTMGL1_E, SRTMGL3, NASADEM, COP30, COP90, AW3D30, AW3D30_E",
    )
    dem_datum: Annotated[Literal["auto", "ellipsoid", "egm96", "egm2008"], Lower] = _key(
        "DEM_DATUM", "auto", "What the heights of DEM are measured from; auto believes the file's own declaration"
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
    backscatter: Annotated[Literal["gamma0", "sigma0", "none"], Lower] = _key(
        "BACKSCATTER",
        "gamma0",
        "Calibrated backscatter, the mean of both dates with thermal noise subtracted, as a layer of that name; none "
        "leaves it out (native engine)",
    )
    formats: Annotated[tuple[str, ...], BeforeValidator(partial(parse_names, "formats"))] = _key(
        "FORMATS",
        (CANONICAL, "quicklook"),
        "What is written of each pair or track; geotiff is always written, and all others are made from it",
        "names with commas such as geotiff,quicklook",
    )
    corrections: Annotated[tuple[str, ...], BeforeValidator(partial(parse_names, "corrections"))] = _key(
        "CORRECTIONS",
        (),
        "Phases that are not ground motion, each estimated and added to the products as a layer",
        "names with commas such as ionosphere,solid_earth_tide, or empty",
    )
    troposphere: Annotated[Literal["auto", "files", "geos-fp", "hrrr"], Lower] = _key(
        "TROPOSPHERE",
        "auto",
        "Weather model for weather_troposphere: files takes TROPOSPHERE_DIR; geos-fp (everywhere, from December 2017 "
        "on) and hrrr (North America) are downloaded, without an account; auto takes TROPOSPHERE_DIR where it is set, "
        "else hrrr where it covers all pairs, else geos-fp",
    )
    troposphere_dir: str = _key(
        "TROPOSPHERE_DIR",
        "",
        "Folder with zenith delays for weather_troposphere: files of OPERA L4 TROPO-ZENITH, RAiDER or GACOS; relative "
        "paths start in the data folder",
        "a path, or empty",
    )
    ionex_dir: str = _key(
        "IONEX_DIR",
        "",
        "Folder with daily IONEX maps for ionosphere_map; relative paths start in the data folder",
        "a path, or empty",
    )
    apply_corrections: bool = _switch("APPLY_CORRECTIONS", "1 takes the corrections off the layer displacement")
    netcdf_attributes: Annotated[str, AfterValidator(check_attributes)] = _key(
        "NETCDF_ATTRIBUTES",
        "",
        "Who made and who publishes the data, for netCDF files, by the names of ACDD-1.3: "
        "creator_name=Ada Example; creator_email=ada@example.org; publisher_name=Example Institute",
        "name=value with semicolons between them, or empty",
    )
    grid: Annotated[Literal["map", "radar"], Lower] = _key(
        "GRID",
        "map",
        "Geometry of the results: map gives pairs on a map grid; radar coregisters all listed dates to one of them, in "
        "its radar geometry, as ISCE2's topsStack does (native engine)",
    )
    stack_reference: Annotated[str, StringConstraints(pattern=r"^(auto|20\d{6})$")] = _key(
        "STACK_REFERENCE",
        "auto",
        "Reference date of a stack in radar geometry; auto takes that of the stack that is there, else one in the "
        "middle of the baselines in time and space",
        "auto, or a date such as 20250315",
    )
    interferograms: Annotated[Literal["listed"] | Annotated[int, Field(ge=0)], Lower] = _key(
        "INTERFEROGRAMS",
        "listed",
        "With GRID=radar, which interferograms are made: those of the listed pairs, or of each date with so many next "
        "ones",
        "listed, or a whole number from 0",
    )
    timeseries: Annotated[Literal["least-squares", "insar-rs", "dolphin", "phase-linking", "mintpy"], Lower] = _key(
        "TIMESERIES",
        "least-squares",
        "Who makes a time series of the pairs: topsar's weighted least squares, the package insar-rs "
        "(topsar[insar-rs]), or the program of dolphin or MintPy; phase-linking lets dolphin link the SLCs of all "
        "dates, and inverts what it unwraps",
    )
    timeseries_program: str = _key(
        "TIMESERIES_PROGRAM",
        "",
        "The program dolphin, or ifgram_inversion.py of MintPy, of an environment of its own; empty looks in PATH, "
        "then where `run_local.sh timeseries --with` puts it",
        "the name of a program, with its folder or in PATH, or empty",
    )
    timeseries_reference: Annotated[tuple[float, float] | None, BeforeValidator(parse_place)] = _key(
        "TIMESERIES_REFERENCE",
        None,
        "Place that does not move, for the format timeseries; empty takes the one of least noise and motion",
        "latitude,longitude in degrees such as 37.62,-25.43, or empty",
    )
    points: Annotated[tuple[Literal["csv", "gpkg", "parquet", "stamps"], ...], BeforeValidator(split_names)] = _key(
        "POINTS",
        ("csv", "gpkg", "stamps"),
        "Files of the points of a time series: CSV, GeoPackage, GeoParquet (needs topsar[parquet]), text as StaMPS has "
        "it; empty writes none",
        "some of csv, gpkg, parquet and stamps with commas, or empty",
    )
    point_dispersion: float = _key(
        "POINT_DISPERSION",
        0.25,
        "Most amplitude dispersion of a point: of the SLCs with SLC_STACK=1, else of the pairs",
        "a number above 0",
        gt=0,
    )
    point_coherence: float = _key(
        "POINT_COHERENCE", 0.7, "Least temporal coherence of a point", "a number from 0 to 1", ge=0, le=1
    )
    slc_stack: bool = _switch(
        "SLC_STACK",
        "1 keeps the geocoded SLC of every date in runs/slc_stack, with their amplitude dispersion (native engine)",
    )


class Settings(Options):
    """All settings of a run: `Options`, and what changes only how, where and how fast it is done.

    It reads neither the environment nor ``.env``: `load_settings` does. A SettingsError names every field that is
    unknown or has a wrong value, and what was expected.
    """

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
    )
    retries: int = _key(
        "RETRIES",
        2,
        "How often a step is tried again after a failure that may pass (killed for memory, disk full)",
        "a whole number from 0 to 10",
        ge=0,
        le=10,
    )
    fork_steps: bool = _key(
        "FORK_STEPS",
        default=True,
        meaning="Fork steps from a process that has loaded their modules; 0 starts each anew, half a second slower",
        allowed="0 or 1",
    )
    executor: Annotated[str, _choose_from(EXECUTORS)] = _key(
        "EXECUTOR",
        "local",
        "Where steps run: on this machine, or on the workers of a Dask cluster",
        join_choices(EXECUTORS),
    )
    dask_scheduler: Annotated[str, SCHEDULER] = _key(
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
    offline: bool = _switch("OFFLINE", "1 forbids the network; what is missing is then named")
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
    data: Place = Field(default=Path("data"), exclude=True, validate_default=True)
    """Folder with ``raw``, ``orbit_data``, ``dem`` and ``runs``."""
    pairs: Place = Field(default=Path("pairs.txt"), exclude=True, validate_default=True)
    """The list of pairs."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _name_wrong_fields(cls, data: Any, handler: ModelWrapValidatorHandler[Settings]) -> Settings:
        try:
            return handler(data)
        except ValidationError as exc:
            shown = {key.field: MASK for key in KEYS if key.secret}
            complaints = find_complaints(exc).items()
            problems = [f"{field} = {shown.get(field, data[field])!r}: {text}" for field, text in complaints]
            raise make_refusal(problems) from exc

    @model_validator(mode="after")
    def _refuse_two_places(self) -> Settings:
        if self.frame is not None and self.roi is not None:
            msg = f"FRAME = {self.frame} and ROI both say where"
            raise SettingsError(msg, hint="leave one of them empty")
        return self

    @model_validator(mode="after")
    def _refuse_two_models(self) -> Settings:
        if self.troposphere in ("geos-fp", "hrrr") and self.troposphere_dir:
            msg = f"TROPOSPHERE = {self.troposphere} downloads a weather model, and TROPOSPHERE_DIR names files"
            raise SettingsError(msg, hint="leave TROPOSPHERE_DIR empty, or set TROPOSPHERE=files")
        return self

    @property
    def options(self) -> Options:
        """The part that changes the numbers."""
        values = {name: getattr(self, name) for name in Options.model_fields}
        return Options(**values | ({"roi": self.frame.box} if self.frame else {}))

    @property
    def engine_wanted(self) -> tuple[str, str, str]:
        """``ENGINE``, ``ISCE_HOME`` and ``ISCE_PYTHON``: what is needed to choose an engine."""
        name = "native" if self.grid == "radar" and self.engine == "auto" else self.engine
        return name, self.isce_home, self.isce_python

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
        """Where each key's value comes from: ``flag``, ``environment``, ``.env``, ``argument`` or ``default``."""
        own = {key.name: "argument" if key.field in self.model_fields_set else "default" for key in KEYS}
        return own | self._origins


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """How a setting is called outside, and what users are told about it."""

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


def _list_keys() -> Iterator[Key]:
    for name, field in Settings.model_fields.items():
        extra: Any = field.json_schema_extra
        if extra:
            yield Key(
                name=extra["key"],
                field=name,
                default=format_value(field.default),
                meaning=field.description or "",
                allowed=extra["allowed"] or join_choices(get_args(field.annotation)),
                secret=isinstance(field.default, SecretStr),
            )


KEYS = tuple(_list_keys())
"""All keys, in the order in which they are shown."""


def describe_settings(settings: Settings) -> dict[str, Any]:
    """Every setting as text with its origin, secrets masked; saved with each run."""
    texts = {key.name: format_value(getattr(settings, key.field)) for key in KEYS}
    values = {name: {"value": texts[name], "origin": origin} for name, origin in settings.origins.items()}
    return {"data": str(settings.data), "pairs": str(settings.pairs), "settings": values}


def describe_unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What to say about a name that no setting has.

    Parameters
    ----------
    kind : str
        ``key`` or ``field``.
    name : str
    known : iterable of str
        The names there are.
    """
    alike = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), alike, n=1, cutoff=0.6)
    return f"unknown {kind} {name!r}" + (f", did you mean {alike[near[0]]}?" if near else "")


def find_complaints(exc: ValidationError) -> dict[str, str]:
    """What was expected, by field; a union complains once per member."""
    keys = {key.field: key for key in KEYS}
    complaints: dict[str, str] = {}
    for error in exc.errors(include_url=False, include_input=False):
        field = str(error["loc"][0])
        if error["type"] == "value_error":
            complaint = str(error["ctx"]["error"])
        elif error["type"] == "extra_forbidden":
            complaint = describe_unknown("field", field, Settings.model_fields)
        else:
            complaint = f"expected {keys[field].allowed if field in keys else 'a path'}"
        complaints.setdefault(field, complaint)
    return complaints


def make_refusal(problems: Sequence[str]) -> SettingsError:
    """Make one error of all that is wrong."""
    heading = [f"{len(problems)} settings cannot be used:"] if len(problems) > 1 else []
    hint = "`topsar settings` and .env.example show every key with its meaning"
    return SettingsError("\n  ".join([*heading, *problems]), hint=hint)
