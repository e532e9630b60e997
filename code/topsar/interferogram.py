"""The layers of an interferogram, whichever engine fills them; interferograms in memory and in a folder of products."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from topsar.errors import ProductError, SettingsError
from topsar.files import read_json
from topsar.model import GeoGrid, Window
from topsar.registry import list_names, load_named

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UNKNOWN = 255
"""In masks, where nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How a layer is drawn.

    Styles: cyclic, hue goes round once from -π to π and fades over low coherence; symmetric, two colours around zero;
    range, from the lowest to the highest value but for outliers; unit, grey from 0 to 1; grey and power, decibels of an
    amplitude and of a power; classes, a colour per label; mask, ``classes`` (colour and name of the values 1, 2, ...)
    over the amplitude, all masks in one picture. ``label`` is that of the colour bar or the key, with the words
    ``ends`` below and above the bar; ``note`` stands beneath the map, with the mean for ``{mean}``; ``scale`` is the
    shown value over the layer's; ``thumbnail`` is the place among the small pictures of the report, from 1.
    """

    style: Literal["cyclic", "symmetric", "range", "unit", "grey", "power", "classes", "mask"]
    label: str
    note: str = ""
    scale: float = 1.0
    ends: tuple[str, str] = ("", "")
    classes: tuple[tuple[str, str], ...] = ()
    thumbnail: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKind:
    """What the values of a layer are: everything that engines, files, pictures and documentation say of it.

    ``name`` is that of the file, ``long_name`` a title, ``convention`` the sign or direction where there is one to
    know, ``standard_name`` that of the CF conventions where they have one, ``nodata`` the value of holes. Values that
    are ``cyclic`` are angles that wrap around: never average them; those that are ``antisymmetric``
    change their sign where the dates are swapped. Without a ``drawing`` there is no picture.
    """

    name: str
    long_name: str
    unit: str
    description: str
    convention: str = ""
    standard_name: str = ""
    dtype: type[np.generic] = np.float32
    nodata: float = np.nan
    cyclic: bool = False
    antisymmetric: bool = False
    drawing: Drawing | None = None


def _kind(name: str, long_name: str, unit: str, description: str, **rest: Any) -> LayerKind:
    return LayerKind(name=name, long_name=long_name, unit=unit, description=description, **rest)


_PHASE = {"convention": "interferogram = reference * conj(secondary)", "cyclic": True, "antisymmetric": True}
_TO_SATELLITE = {"convention": "unit vector from the ground to the satellite"}
_ELLIPSOID = {"convention": "area on the ellipsoid: slopes are not accounted for"}
_MASK = {"dtype": np.uint8, "nodata": UNKNOWN}
_BURST = {"dtype": np.int16, "nodata": -1}
_UNRELIABLE = "grey where unwrapping is not reliable"

_KINDS = (
    _kind(
        "wrapped_phase",
        "Wrapped phase",
        "rad",
        "Multilooked, unfiltered phase, reference · conj(secondary)",
        drawing=Drawing(style="cyclic", label="Phase (rad)"),
        **_PHASE,
    ),
    _kind(
        "filtered_phase",
        "Filtered phase",
        "rad",
        "Phase without the noise that coherence predicts",
        drawing=Drawing(style="cyclic", label="Phase (rad)", thumbnail=1),
        **_PHASE,
    ),
    _kind(
        "coherence",
        "Coherence",
        "1",
        "Sample coherence",
        drawing=Drawing(style="unit", label="Coherence", note="Mean {mean:.2f}", thumbnail=3),
    ),
    _kind(
        "amplitude",
        "Amplitude",
        "1",
        "Mean amplitude, uncalibrated",
        drawing=Drawing(style="grey", label="Amplitude (dB)", note="Uncalibrated"),
    ),
    _kind(
        "gamma0",
        "Gamma nought",
        "1",
        "Backscatter gamma nought, linear power, thermal noise subtracted; mean of both dates",
        drawing=Drawing(style="power", label="Gamma nought (dB)"),
        **_ELLIPSOID,
    ),
    _kind(
        "sigma0",
        "Sigma nought",
        "1",
        "Backscatter sigma nought, linear power, thermal noise subtracted; mean of both dates",
        standard_name="surface_backwards_scattering_coefficient_of_radar_wave",
        drawing=Drawing(style="power", label="Sigma nought (dB)"),
        **_ELLIPSOID,
    ),
    _kind(
        "height",
        "Height",
        "m",
        "Height above the WGS84 ellipsoid",
        convention="above the WGS84 ellipsoid",
        standard_name="height_above_reference_ellipsoid",
    ),
    _kind(
        "los_east", "Line of sight, east", "1", "East component of the unit vector to the satellite", **_TO_SATELLITE
    ),
    _kind(
        "los_north", "Line of sight, north", "1", "North component of the unit vector to the satellite", **_TO_SATELLITE
    ),
    _kind("los_up", "Line of sight, up", "1", "Up component of the unit vector to the satellite", **_TO_SATELLITE),
    _kind("burst", "Burst", "1", "Which of the bursts listed in facts.json the pixel comes from, from 0", **_BURST),
    _kind("incidence", "Incidence", "degree", "Incidence angle on the ellipsoid", standard_name="sensor_zenith_angle"),
    _kind(
        "unwrapped_phase",
        "Unwrapped phase",
        "rad",
        "Unwrapped, unfiltered phase; positive: range grew",
        convention="positive: range grew from reference to secondary",
        antisymmetric=True,
        drawing=Drawing(
            style="range", label="Unwrapped phase (rad)", note=f"Positive: range grew; {_UNRELIABLE}", thumbnail=4
        ),
    ),
    _kind(
        "filtered_unwrapped_phase",
        "Filtered unwrapped phase",
        "rad",
        "Unwrapped, filtered phase; positive: range grew",
        convention="positive: range grew from reference to secondary",
        antisymmetric=True,
    ),
    _kind(
        "displacement",
        "Line-of-sight displacement",
        "m",
        "Line-of-sight displacement, positive toward the satellite",
        convention="line of sight, positive toward the satellite",
        antisymmetric=True,
        drawing=Drawing(
            style="symmetric",
            label="Displacement in line of sight (cm)",
            note=f"Up to a constant; {_UNRELIABLE}",
            scale=100.0,
            ends=("away from\nthe satellite", "toward\nthe satellite"),
            thumbnail=2,
        ),
    ),
    _kind(
        "phase_noise",
        "Phase noise",
        "rad",
        "Standard deviation of the unfiltered phase, from coherence and independent looks",
    ),
    _kind(
        "layover_shadow",
        "Layover and shadow",
        "1",
        "1 layover, 2 shadow, 3 both, 0 neither",
        drawing=Drawing(
            style="mask", label="Mask", classes=(("#e8843c", "layover"), ("#6f4fae", "shadow"), ("#c23b6b", "both"))
        ),
        **_MASK,
    ),
    _kind(
        "water",
        "Water",
        "1",
        "1 water, 0 land",
        drawing=Drawing(style="mask", label="Mask", classes=(("#3f8fd0", "water"),)),
        **_MASK,
    ),
    _kind(
        "ionosphere",
        "Ionospheric phase",
        "rad",
        "Ionospheric phase by the split spectrum, up to a constant",
        convention="positive: the phase path grew from reference to secondary, the electron content fell",
        antisymmetric=True,
        drawing=Drawing(style="symmetric", label="Phase (rad)", note="By the split spectrum; up to a constant"),
    ),
    _kind(
        "ionosphere_std",
        "Uncertainty of the ionospheric phase",
        "rad",
        "Standard deviation of the ionospheric phase, from the noise of the sub-bands",
    ),
    _kind(
        "ionosphere_burst_ramps",
        "Ramps by the ionosphere in bursts",
        "rad",
        "Phase of shifts along azimuth by the ionosphere, and of the misregistration that was measured with them",
        convention="to be taken off the unwrapped phase, whose sign it has",
        antisymmetric=True,
        drawing=Drawing(style="symmetric", label="Phase (rad)", note="Shifts along azimuth, times Doppler"),
    ),
    _kind(
        "ionosphere_burst_ramps_std",
        "Uncertainty of the ramps by the ionosphere",
        "rad",
        "Standard deviation of the ramps, from that of the ionosphere and of burst overlaps",
    ),
    _kind(
        "components",
        "Connected components",
        "1",
        "Connected components of the unwrapped phase; 0 is not reliable",
        dtype=np.uint16,
        nodata=0,
        drawing=Drawing(style="classes", label="Component", note="Phase is consistent inside one component"),
    ),
)

LAYERS: Mapping[str, LayerKind] = {kind.name: kind for kind in _KINDS}
"""Every layer that engines make, in the order in which products list them. Corrections bring kinds of their own."""


def describe_deviation(kind: LayerKind) -> LayerKind:
    """Describe the layer of a correction's standard deviation, by that of the correction."""
    return LayerKind(
        name=f"{kind.name}_std",
        long_name=f"Standard deviation of {kind.name}",
        unit=kind.unit,
        description=f"Standard deviation of the layer {kind.name}, as far as its source tells",
    )


def find_kind(name: str) -> LayerKind | None:
    """Find the kind of a layer, of `LAYERS` or of an installed correction; None where nobody knows the name."""
    if name in LAYERS:
        return LAYERS[name]
    for correction in list_names("corrections"):
        with suppress(SettingsError):  # a correction that cannot be imported has no say
            kind: LayerKind = load_named("corrections", correction).layer
            for known in (kind, describe_deviation(kind)):
                if known.name == name:
                    return known
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One raster of an interferogram; ``values`` is (row, column)."""

    kind: LayerKind
    values: NDArray[Any]

    @property
    def holes(self) -> NDArray[np.bool_]:
        """Where there is no value, (row, column)."""
        holes = self.values == self.kind.nodata
        return np.asarray(holes | np.isnan(self.values) if self.values.dtype.kind == "f" else holes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interferogram:
    """The hinge: every engine ends in one, every format begins with one.

    ``folder`` is that of the products that it was read from, as long as its layers are theirs.
    """

    pair_id: str
    grid: GeoGrid
    layers: Mapping[str, Layer]
    facts: dict[str, Any]
    folder: Path | None = None


def read_number(value: object) -> float | None:
    """A value of facts if it is a finite number."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def make_layers(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Layer]:
    """Make layers from arrays (rows, columns) by name, in the order of `LAYERS`."""
    return {
        name: Layer(kind=kind, values=arrays[name].astype(kind.dtype, copy=False))
        for name, kind in LAYERS.items()
        if name in arrays
    }


def swap_dates(ifg: Interferogram) -> Interferogram:
    """Take the secondary date for the reference: phases, displacements and baselines change their signs.

    The line of sight stays that of the former reference: both differ by thousandths of a degree.
    """
    facts = dict(ifg.facts)
    for what in ("date", "time", "scenes"):
        one, other = f"reference_{what}", f"secondary_{what}"
        facts |= {one: facts[other], other: facts[one]}
    facts["passes"] = {"reference": facts["passes"]["secondary"], "secondary": facts["passes"]["reference"]}
    facts |= {key: -facts[key] for key in ("perpendicular_baseline_m", "temporal_baseline_days")}
    return replace(ifg, layers=_Mapped(ifg.layers, _negate), facts=facts, folder=None)


def _negate(layer: Layer) -> Layer:
    return replace(layer, values=-layer.values) if layer.kind.antisymmetric else layer


class _Mapped(Mapping[str, Layer]):
    """Layers that a function changes when they are asked for."""

    def __init__(self, layers: Mapping[str, Layer], change: Callable[[Layer], Layer]) -> None:
        self._layers, self._change = layers, change

    def __getitem__(self, name: str) -> Layer:
        return self._change(self._layers[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __contains__(self, name: object) -> bool:
        return name in self._layers


def join_grids(pairs: Sequence[Interferogram]) -> GeoGrid:
    """Find the smallest grid that covers those of all pairs; they are snapped, so it has their pixels.

    Raises
    ------
    ProductError
        If projections or pixel sizes differ.
    """
    first = pairs[0].grid
    for pair in pairs:
        grid = pair.grid
        if grid.crs != first.crs or not np.allclose((grid.dx, grid.dy), (first.dx, first.dy), rtol=1e-9, atol=0):
            ours, theirs = (f"{one.crs} with {one.dx:.9g} x {one.dy:.9g}" for one in (first, grid))
            msg = f"pixels differ: {pairs[0].pair_id} has {ours}, {pair.pair_id} {theirs}"
            raise ProductError(msg, hint="process all pairs with the same CRS and POSTING")
    windows = [first.window_of(pair.grid) for pair in pairs]
    row, column = min(one.row for one in windows), min(one.column for one in windows)
    rows, columns = max(one.row_stop for one in windows) - row, max(one.column_stop for one in windows) - column
    return first.crop(Window(row=row, column=column, rows=rows, columns=columns))


def place_on(ifg: Interferogram, grid: GeoGrid) -> Interferogram:
    """Lay an interferogram on a grid that covers its own and has its pixels; what it lacks there is a hole.

    Parameters
    ----------
    ifg : Interferogram
    grid : GeoGrid
    """
    inside = grid.window_of(ifg.grid).slices

    def place(layer: Layer) -> Layer:
        values = np.full(grid.shape, layer.kind.nodata, layer.values.dtype)
        values[inside] = layer.values
        return replace(layer, values=values)

    return ifg if grid == ifg.grid else replace(ifg, grid=grid, layers=_Mapped(ifg.layers, place), folder=None)


PRODUCTS = "products"
"""Folder of a pair's canonical products: a GeoTIFF per layer and ``facts.json``."""
_AGAIN = "run again: the products will be made anew"


def read_pair(folder: Path) -> Interferogram:
    """Open a pair's folder of products; a layer is read when it is first asked for.

    A ProductError says that ``facts.json`` cannot be read; on access to a layer, that its file cannot be read or has
    another grid.
    """
    hint = f"is it the folder of a finished pair, data/runs/T131_...? If so, {_AGAIN}"
    facts = read_json(folder / "facts.json", hint)
    try:
        pair_id, grid, layers = facts["pair"], GeoGrid(**facts.pop("grid")), facts.pop("layers")
    except (ValueError, TypeError, KeyError) as exc:
        msg = f"cannot read {folder / 'facts.json'}: {exc}"
        raise ProductError(msg, hint=hint) from exc
    files = _LayerFiles(folder, grid, layers)
    return Interferogram(pair_id=pair_id, grid=grid, layers=files, facts=facts, folder=folder)


def read_part(ifg: Interferogram, name: str, window: Window) -> NDArray[Any]:
    """Values of a layer in a window of its grid; of a pair that lies on the disk nothing else is read.

    Parameters
    ----------
    ifg : Interferogram
    name : str
    window : Window
    """
    if isinstance(ifg.layers, LayersOnDisk):
        return ifg.layers.read_window(name, window)
    return ifg.layers[name].values[window.slices]


def read_kind(ifg: Interferogram, name: str) -> LayerKind:
    """What is known of a layer of an interferogram; of a pair that lies on the disk no raster is read.

    Parameters
    ----------
    ifg : Interferogram
    name : str
    """
    return ifg.layers.read_kind(name) if isinstance(ifg.layers, LayersOnDisk) else ifg.layers[name].kind


_KEPT = 4
"""Layers in memory: what a format makes one raster of. All of a frame's would be more than half a gigabyte."""


class LayersOnDisk(Mapping[str, Layer]):
    """Layers whose windows can be read alone."""

    @abstractmethod
    def read_window(self, name: str, window: Window) -> NDArray[Any]:
        """Read a window of a layer; nothing of it is kept."""

    @abstractmethod
    def read_kind(self, name: str) -> LayerKind:
        """What is known of a layer; no raster is read."""


class _LayerFiles(LayersOnDisk):
    """The layers of `read_pair`; those that were asked for last stay in memory."""

    def __init__(self, folder: Path, grid: GeoGrid, described: Mapping[str, Mapping[str, Any]]) -> None:
        self._folder, self._grid, self._described = folder, grid, described
        self._read: dict[str, Layer] = {}

    def __getitem__(self, name: str) -> Layer:
        if name in self._read:
            self._read[name] = layer = self._read.pop(name)
            return layer
        from topsar.raster import read_geotiff

        kind, path = self.read_kind(name), self._folder / f"{name}.tif"
        values, grid, _ = read_geotiff(path)
        self._require_shape(path, grid.shape)
        self._read[name] = Layer(kind=kind, values=values)
        while len(self._read) > _KEPT:
            del self._read[next(iter(self._read))]
        return self._read[name]

    def read_kind(self, name: str) -> LayerKind:
        """By its name, else by the facts."""
        described = self._described[name]
        return find_kind(name) or LayerKind(  # of a correction that is not installed here
            name=name, long_name=name, unit=described["unit"], description=described["description"]
        )

    def read_window(self, name: str, window: Window) -> NDArray[Any]:
        from topsar.raster.geotiff import open_to_read

        path = self._folder / f"{name}.tif"
        with open_to_read(path) as dataset:
            self._require_shape(path, dataset.shape)
            values: NDArray[Any] = dataset.read(1, window=window.spans)
            return values

    def _require_shape(self, path: Path, shape: tuple[int, ...]) -> None:
        if shape != self._grid.shape:
            msg = f"{path} has {shape} pixels, facts.json says {self._grid.shape}"
            raise ProductError(msg, hint=_AGAIN)

    def __iter__(self) -> Iterator[str]:
        return iter(self._described)

    def __len__(self) -> int:
        return len(self._described)

    def __contains__(self, name: object) -> bool:
        return name in self._described
