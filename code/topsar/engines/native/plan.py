"""From pairs to jobs: one geocoding job per date and swath, one job per pair, on one snapped grid."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.engines.native.ground import check_projection, from_lonlat, lonlat_box
from topsar.engines.native.match import MatchedPair, Survey, box_of, union
from topsar.engines.native.tasks import (
    BurstPair,
    BurstWindow,
    GeocodeTask,
    OrbitChoice,
    PairFacts,
    PairTask,
    dump_task,
)
from topsar.engines.protocol import Inputs, Plan
from topsar.errors import ProvisionError, SettingsError, TopsarError
from topsar.model import Artifact, BBox, GeoGrid, Job, Looks, Resources, Step, Window
from topsar.raster import require_cover

if TYPE_CHECKING:
    from topsar.model import Burst, Dem
    from topsar.settings import Options

VERSION = "1"
"""Enters every checkpoint key: raised when the same input would give other numbers."""
_KEY = f"native {VERSION}"

FINE_EAST_M, FINE_NORTH_M = 5.0, 10.0
"""Fine pixels are about this large: near a resolution cell in range, half of one in azimuth."""
SNAP_PIXELS = 32
"""Grids of pairs end at whole multiples of so many pixels: a date added later seldom moves them."""
METRES_PER_DEGREE = 111_319.49
_BASE_MEMORY = 400_000_000
_UTM_REACH_DEG = 12.0


def plan(inputs: Inputs, options: Options) -> Plan:
    """Match bursts, lay the grid, and cut the work into jobs."""
    check_unwrapper(options.unwrapper)
    survey, found = Survey(inputs, options), []
    refused: dict[str, TopsarError] = {}
    for pair in inputs.pairs:
        try:
            found.append(survey.match(pair))
        except TopsarError as exc:
            refused[pair.id] = exc
    if not found:
        return Plan(jobs=(), tasks={}, refused=refused)
    everything = union([one.box for one in found])
    crs = choose_crs(options, everything)
    posting = posting_in(crs, options.posting_m)
    looks = choose_looks(options, crs, posting, everything)
    region = GeoGrid.covering(_project(crs, options.roi), crs=crs, dx=posting, dy=posting) if options.roi else None
    matched, windows = [], []
    for one in found:
        part = _windows(one, crs, posting, region)
        try:
            require_cover(inputs.dem, lonlat_box(_hull(part)))
        except TopsarError as exc:
            refused[one.pair.id] = exc
        else:
            matched.append(one)
            windows.append(part)
    grids = _shared_grids(matched, windows, region)
    return _jobs(matched, windows, grids, looks, inputs, options, refused)


def check_unwrapper(name: str) -> None:
    """Refuse an unwrapper that is not installed.

    Raises
    ------
    SettingsError
        With the alternative.
    """
    if name != "none" and find_spec(name) is None:
        msg = f"UNWRAPPER={name}: the package is not installed (whirlwind needs Python 3.11 or newer)"
        raise SettingsError(msg, hint="set UNWRAPPER=snaphu or UNWRAPPER=none")


# --- the grid ---------------------------------------------------------------------------------------------------


def choose_crs(options: Options, box: BBox) -> str:
    """The projection of a batch: as set, or the UTM zone of the centre of the region or of all bursts.

    Raises
    ------
    SettingsError
        If the projection that is set cannot be used here.
    ProvisionError
        If the batch is too wide for one UTM zone.
    """
    if options.crs in ("latlon", "EPSG:4326"):
        return "EPSG:4326"
    if options.crs not in ("auto", "utm"):
        check_projection(options.crs, box)
        return options.crs
    if box.east - box.west > _UTM_REACH_DEG:
        msg = f"the pairs reach from {box.west:.1f} to {box.east:.1f} degrees east, too far for one UTM zone"
        raise ProvisionError(msg, hint="set CRS=latlon or CRS=EPSG:number, or list fewer pairs")
    lon, lat = (options.roi or box).centre
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{32600 + zone if lat >= 0 else 32700 + zone}"


def posting_in(crs: str, posting_m: float) -> float:
    """The posting in units of ``crs``; in degrees a whole fraction of one, so that grids snap to whole degrees."""
    return 1 / max(round(METRES_PER_DEGREE / posting_m), 1) if crs == "EPSG:4326" else posting_m


def choose_looks(options: Options, crs: str, posting: float, box: BBox) -> Looks:
    """Looks as set, or such that fine pixels measure about 5 m east by 10 m north."""
    if isinstance(options.looks, Looks):
        return options.looks
    east = north = posting
    if crs == "EPSG:4326":
        north = posting * METRES_PER_DEGREE
        east = north * float(np.cos(np.radians(box.centre[1])))
    return Looks(east=max(round(east / FINE_EAST_M), 1), north=max(round(north / FINE_NORTH_M), 1))


def _project(crs: str, box: BBox) -> BBox:
    """Box in map units around a box in degrees."""
    degrees = GeoGrid(
        crs="EPSG:4326", west=box.west, north=box.north, dx=box.east - box.west, dy=box.north - box.south, rows=1,
        columns=1,
    )  # fmt: skip
    steps = np.linspace(0, 1, 21)
    lon, lat = np.meshgrid(box.west + steps * degrees.dx, box.south + steps * degrees.dy)
    return box_of(*from_lonlat(crs, lon, lat))


def _windows(
    matched: MatchedPair, crs: str, posting: float, region: GeoGrid | None
) -> tuple[tuple[GeoGrid, GeoGrid], ...]:
    """The output pixels that each burst may touch, on both dates."""
    return tuple(
        (_window(near, crs, posting, region), _window(far, crs, posting, region)) for near, far in matched.outlines
    )


def _hull(windows: tuple[tuple[GeoGrid, GeoGrid], ...]) -> GeoGrid:
    """The smallest grid around the windows of a pair."""
    grids = [grid for both in windows for grid in both]
    box = union([grid.bbox for grid in grids])
    return GeoGrid.covering(box, crs=grids[0].crs, dx=grids[0].dx, dy=grids[0].dy)


def _window(lonlat: tuple[Any, Any], crs: str, posting: float, region: GeoGrid | None) -> GeoGrid:
    box = box_of(*from_lonlat(crs, *lonlat)).grown(posting)
    if region is not None:
        box = box.intersection(region.bbox) or region.bbox
    return GeoGrid.covering(box, crs=crs, dx=posting, dy=posting)


def _shared_grids(
    matched: list[MatchedPair], windows: list[tuple[tuple[GeoGrid, GeoGrid], ...]], region: GeoGrid | None
) -> list[GeoGrid]:
    """One grid for all pairs of a track that touch each other, so that they stack."""
    groups: list[tuple[int, BBox]] = []
    hulls = [_hull(part) for part in windows]
    for one, hull in zip(matched, hulls, strict=True):
        grown = hull.bbox
        apart = []
        for track, other in groups:
            if track == one.pair.track and other.intersects(grown):
                grown = grown.union(other)
            else:
                apart.append((track, other))
        groups = [*apart, (one.pair.track, grown)]
    return [
        _snapped(
            next(box for track, box in groups if track == one.pair.track and box.contains(hull.bbox)), hull, region
        )
        for one, hull in zip(matched, hulls, strict=True)
    ]


def _snapped(box: BBox, like: GeoGrid, region: GeoGrid | None) -> GeoGrid:
    """The grid around ``box`` that ends at whole multiples of `SNAP_PIXELS`, or where the region of interest does."""
    coarse = GeoGrid.covering(box, crs=like.crs, dx=like.dx * SNAP_PIXELS, dy=like.dy * SNAP_PIXELS)
    snapped = coarse.refined(Looks(east=SNAP_PIXELS, north=SNAP_PIXELS))
    if region is None:
        return snapped
    whole = Window(row=0, column=0, rows=snapped.rows, columns=snapped.columns)
    inside = snapped.window_of(region).intersection(whole)
    return snapped.crop(inside) if inside else snapped


# --- jobs -------------------------------------------------------------------------------------------------------


def _jobs(
    matched: list[MatchedPair],
    windows: list[tuple[tuple[GeoGrid, GeoGrid], ...]],
    grids: list[GeoGrid],
    looks: Looks,
    inputs: Inputs,
    options: Options,
    refused: dict[str, TopsarError],
) -> Plan:
    geocodings = _geocodings(matched, windows, looks, inputs.dem)
    jobs: dict[str, Job] = {}
    tasks: dict[str, str] = {}
    for one, part, grid in zip(matched, windows, grids, strict=True):
        task = _pair_task(one, part, grid, looks, inputs.dem, options)
        for name in sorted({_geocode_id(*side) for side in _sides(one)}):
            tasks[name] = dump_task(geocodings[name])
            jobs.setdefault(name, _geocode_job(name, geocodings[name]))
        tasks[one.pair.id] = dump_task(task)
        jobs[one.pair.id] = _pair_job(task)
    return Plan(jobs=tuple(jobs.values()), tasks=tasks, refused=refused)


def _sides(one: MatchedPair) -> list[tuple[OrbitChoice, Burst]]:
    return [side for both in one.bursts for side in ((one.orbits[0], both.reference), (one.orbits[1], both.secondary))]


def _geocode_id(orbit: OrbitChoice, burst: Burst) -> str:
    scene = orbit.scene
    return f"slc_{scene.start:%Y%m%d}_{scene.mission}_{scene.absolute_orbit:06d}_{burst.swath}_{burst.polarisation}"


def _geocodings(
    matched: list[MatchedPair], windows: list[tuple[tuple[GeoGrid, GeoGrid], ...]], looks: Looks, dem: Dem
) -> dict[str, GeocodeTask]:
    """What each date and swath must geocode for all pairs together."""
    found: dict[str, dict[str, BurstWindow]] = {}
    orbits: dict[str, OrbitChoice] = {}
    for one, part in zip(matched, windows, strict=True):
        flat = [grid for both in part for grid in both]
        for (orbit, burst), grid in zip(_sides(one), flat, strict=True):
            name = _geocode_id(orbit, burst)
            window = BurstWindow(burst=burst, grid=grid)
            found.setdefault(name, {})[window.filename] = window
            known = orbits.setdefault(name, orbit)
            orbits[name] = replace(known, start=min(known.start, orbit.start), stop=max(known.stop, orbit.stop))
    return {
        name: GeocodeTask(
            windows=tuple(by_file[key] for key in sorted(by_file)), looks=looks, orbit=orbits[name], dem=dem
        )
        for name, by_file in found.items()
    }


def _pair_task(
    one: MatchedPair,
    windows: tuple[tuple[GeoGrid, GeoGrid], ...],
    grid: GeoGrid,
    looks: Looks,
    dem: Dem,
    options: Options,
) -> PairTask:
    bursts = []
    for both, (near, far) in zip(one.bursts, windows, strict=True):
        reference = BurstWindow(burst=both.reference, grid=near)
        secondary = BurstWindow(burst=both.secondary, grid=far)
        bursts.append(
            BurstPair(
                reference=reference,
                secondary=secondary,
                reference_file=f"{_geocode_id(one.orbits[0], both.reference)}/slc/{reference.filename}",
                secondary_file=f"{_geocode_id(one.orbits[1], both.secondary)}/slc/{secondary.filename}",
            )
        )
    pair = one.pair
    facts = PairFacts(
        pair=pair.id,
        track=pair.track,
        direction=pair.reference[0].direction.value,
        reference_date=pair.reference[0].start,
        secondary_date=pair.secondary[0].start,
        reference_scenes=tuple(scene.name for scene in pair.reference),
        secondary_scenes=tuple(scene.name for scene in pair.secondary),
        ipf=tuple(sorted({scene.ipf for scene in (*pair.reference, *pair.secondary)})),
        polarisation=one.polarisation,
    )
    return PairTask(
        facts=facts,
        grid=grid,
        looks=looks,
        bursts=tuple(bursts),
        reference_orbit=one.orbits[0],
        secondary_orbit=one.orbits[1],
        dem=dem,
        esd=options.esd,
        filter_strength=options.filter_strength,
        unwrapper=options.unwrapper,
    )


def _geocode_job(name: str, task: GeocodeTask) -> Job:
    pixels = [window.grid.refined(task.looks) for window in task.windows]
    samples = max(window.burst.valid.rows * window.burst.valid.columns for window in task.windows)
    block = max(grid.columns for grid in pixels) * 512 * 12
    burst = task.windows[0].burst
    step = Step(
        name="geocode",
        argv=_argv("geocode"),
        signature=_signature(task, *_inputs(task.windows), task.orbit.path),
        writes=(Artifact(path=f"{name}/slc", scratch=True),),
        needs=Resources(
            memory_bytes=_BASE_MEMORY + samples * 8 + block,
            threads=8,
            disk_bytes=sum(grid.rows * grid.columns for grid in pixels) * 4,
        ),
        timeout_s=3600.0 + 600 * len(task.windows),
    )
    return Job(id=name, title=f"{task.orbit.scene.start:%Y-%m-%d} {burst.swath} {burst.polarisation}", steps=(step,))


def _pair_job(task: PairTask) -> Job:
    pair = task.facts.pair
    slcs = tuple(
        sorted({name.rpartition("/")[0] for b in task.bursts for name in (b.reference_file, b.secondary_file)})
    )
    pixels = task.grid.rows * task.grid.columns
    bursts = sum(b.reference.grid.rows * b.reference.grid.columns for b in task.bursts)
    block = max(b.reference.grid.columns for b in task.bursts) * task.looks.count * 32 * 24
    without = {"filter_strength": 0.0, "unwrapper": "none"}
    plain = replace(task, **without)  # type: ignore[arg-type]
    made = {
        "interfere": _step(
            pair,
            "interfere",
            slcs,
            _signature(plain),
            _BASE_MEMORY + pixels * 150 + bursts * 28 + block,
            8,
        ),
        "filter": _step(
            pair, "filter", (f"{pair}/interfere",), f"{_KEY} {task.filter_strength}", _BASE_MEMORY + pixels * 60, 1
        ),
        "unwrap": _step(
            pair,
            "unwrap",
            (f"{pair}/interfere", f"{pair}/filter"),
            f"{_KEY} {task.unwrapper}",
            _BASE_MEMORY + pixels * 400,
            2,
        ),
    }
    title = f"{task.facts.reference_date:%Y-%m-%d} to {task.facts.secondary_date:%Y-%m-%d} T{task.facts.track:03d}"
    return Job(id=pair, title=title, steps=tuple(made.values()), is_pair=True)


def _step(pair: str, name: str, reads: tuple[str, ...], signature: str, memory: int, threads: int) -> Step:
    return Step(
        name=name,
        argv=_argv(name),
        signature=signature,
        reads=reads,
        writes=(Artifact(path=f"{pair}/{name}"),),
        needs=Resources(memory_bytes=memory, threads=threads),
        timeout_s=6 * 3600.0,
    )


def _argv(step: str) -> tuple[str, ...]:
    """Steps run in their job's folder."""
    return (sys.executable, "-m", "topsar", "step", "job.json", step)


def _inputs(windows: tuple[BurstWindow, ...]) -> list[Path]:
    return [Path(window.burst.measurement) for window in windows]


def _signature(task: GeocodeTask | PairTask, *files: Path) -> str:
    """A task without the folders its inputs lie in, and what identifies these inputs."""
    known = json.loads(dump_task(task))
    files = (*files, task.dem.path, *([task.dem.geoid] if task.dem.geoid else []))
    return json.dumps([_KEY, _without_folders(known), sorted({_identity(path) for path in files})], sort_keys=True)


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: str(part).rpartition("/")[2] if key in ("path", "measurement", "geoid") else _without_folders(part)
            for key, part in value.items()
        }
    return [_without_folders(part) for part in value] if isinstance(value, list) else value


def _identity(path: Path) -> str:
    """Name, size and time of a file, of its archive for a file inside one; the name alone of a folder."""
    archive = re.match(r"/vsizip/\{(.+)\}/", str(path))
    outer = Path(archive[1]) if archive else path
    if not outer.is_file():
        return outer.name
    stat = outer.stat()
    return f"{outer.name} {stat.st_size} {stat.st_mtime_ns}"
