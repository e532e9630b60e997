"""Real pixels: a burst of the Azores is deramped, a coherent pair of Amsterdam located and multiplied."""

from __future__ import annotations

import json
import math
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from topsar.kernels.geometry import OrbitArc, fit_orbit, geo2rdr, geodetic_to_ecef, measure_baseline
from topsar.kernels.interferogram import cross_multiply
from topsar.kernels.mosaic import LookSums
from topsar.kernels.statistics import estimate_coherence
from topsar.kernels.tops import deramp, find_deramp_terms
from topsar.model import (
    SPEED_OF_LIGHT,
    Burst,
    Direction,
    Looks,
    Orbit,
    OrbitSource,
    RadarGrid,
    RangePolynomial,
    Scene,
    SwathFiles,
    Window,
)
from topsar.sentinel1 import find_orbits, read_annotation_orbit, read_bursts, read_orbit

pytestmark = pytest.mark.real


def deramped(slc: NDArray[np.complex64], burst: Burst, arc: OrbitArc, line: int, sample: int) -> NDArray[np.complex64]:
    """A crop of a burst that begins at ``line``, ``sample``, through the kernel."""
    terms = find_deramp_terms(burst, arc)
    eta = (line + np.arange(slc.shape[0]) - burst.grid.lines / 2) * burst.grid.line_interval_s
    columns = slice(sample, sample + slc.shape[1])
    real, imag = np.empty((2, *slc.shape), np.float32)
    deramp(slc, eta, terms.k_t[columns], terms.f_dc[columns], terms.eta_ref[columns], real, imag)
    return (real + 1j * imag).astype(np.complex64)


def share_in_band(values: NDArray[np.complex64], interval_s: float, band_hz: float = 327.0) -> float:
    """Share of the azimuth energy within a band around zero; the ends are tapered, for a crop is not periodic."""
    taper = np.hanning(len(values) + 2)[1:-1, None]
    spectrum = np.abs(np.fft.fft(values * taper, axis=0)) ** 2
    inside = np.abs(np.fft.fftfreq(len(values), interval_s)) <= band_hz / 2
    return float(spectrum[inside].sum() / spectrum.sum())


# --- Azores -----------------------------------------------------------------------------------------------------

AZORES_LINE, AZORES_SAMPLE, AZORES_BURST = 9799, 10999, 6
AZORES_START = datetime(2022, 9, 18, 7, 49, 21, tzinfo=timezone.utc)


def azores_scene(folder: Path, tmp_path: Path) -> Scene:
    """The lone annotation in a SAFE of its own."""
    (annotation,) = folder.glob("*.xml")
    (tmp_path / "annotation").mkdir()
    (tmp_path / "manifest.safe").touch()
    shutil.copy(annotation, tmp_path / "annotation")
    file = SwathFiles(
        swath="IW3",
        polarisation="VV",
        annotation=f"annotation/{annotation.name}",
        measurement=f"{annotation.stem}.tiff",
    )
    return Scene(
        name="azores",
        path=tmp_path,
        mission="S1A",
        start=AZORES_START,
        stop=AZORES_START + timedelta(seconds=25),
        track=82,
        absolute_orbit=45056,
        direction=Direction.DESCENDING,
        ipf="003.52",
        files=(file,),
    )


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("source", ["RESORB", "annotation"])
def test_the_pixels_of_the_azores_are_deramped(shared_data: Path, tmp_path: Path, source: str) -> None:
    folder = shared_data / "pixels" / "azores_iw3"
    scene = azores_scene(folder, tmp_path)
    burst = read_bursts(scene, "IW3", "VV")[AZORES_BURST]
    if source == "RESORB":
        orbit = read_orbit(find_orbits(folder)[0], scene.start, scene.stop)
    else:
        orbit = read_annotation_orbit(scene, "IW3", "VV")
    (image,) = folder.glob("*.tiff")
    with rasterio.open(image) as dataset:
        slc = dataset.read(1).astype(np.complex64)
    arc = fit_orbit(orbit, burst.grid.first_line_time, burst.grid.stop_time)
    baseband = deramped(slc, burst, arc, AZORES_LINE - burst.first_line, AZORES_SAMPLE)
    wrong = slc**2 * baseband.conj() / np.maximum(np.abs(slc), 1) ** 2  # slc · exp(-jφ)
    interval = burst.grid.line_interval_s
    assert share_in_band(baseband, interval) > 0.999
    assert share_in_band(slc, interval) < 0.8
    assert share_in_band(wrong, interval) < 0.8


# --- Amsterdam --------------------------------------------------------------------------------------------------

CROP_LINE, CROP_SAMPLE, CROP_SHAPE = 912, 9178, (84, 338)
BURST_SAMPLES = 25583


def chunk(folder: Path, name: str) -> NDArray[np.float64]:
    """An array of one uncompressed chunk."""
    about = json.loads((folder / name / ".zarray").read_text())
    assert about["compressor"] is None
    assert about["chunks"] == about["shape"]
    return np.fromfile(folder / name / "0.0", dtype=about["dtype"]).reshape(about["shape"]).astype(np.float64)


def pixels(folder: Path, date: str) -> NDArray[np.complex64]:
    return (chunk(folder, f"i_VV_{date}") + 1j * chunk(folder, f"q_VV_{date}")).astype(np.complex64)


class Metadata:
    """A tree of named elements with attributes, as the pair's JSON holds it."""

    def __init__(self, element: dict[str, Any]) -> None:
        self.element = element

    @classmethod
    def of(cls, folder: Path) -> Metadata:
        elements = json.loads((folder / "SNAP" / "product_metadata.json").read_text())
        return cls({"elements": elements})

    def __truediv__(self, name: str) -> Metadata:
        return Metadata(next(e for e in self.element["elements"] if e["name"] == name))

    @property
    def children(self) -> list[Metadata]:
        return [Metadata(e) for e in self.element["elements"]]

    def value(self, name: str) -> Any:
        values = next(a for a in self.element["attributes"] if a["name"] == name)["data"]["elems"]
        return values[0] if isinstance(values, list) and len(values) == 1 else values

    def number(self, name: str) -> float:
        return float(self.value(name))

    def time(self, name: str) -> datetime:
        value = self.value(name)
        if isinstance(value, str):
            return datetime.fromisoformat(value).replace(tzinfo=timezone.utc)
        days, seconds, microseconds = value
        return datetime(2000, 1, 1, tzinfo=timezone.utc) + timedelta(days, seconds, microseconds)


def precise_orbit(metadata: Metadata) -> Orbit:
    """The precise vectors that the crop's geometry was computed with."""
    vectors = (metadata / "Orbit_State_Vectors").children
    times = [v.time("time") for v in vectors]
    return Orbit(
        source=OrbitSource.PRECISE,
        name="POEORB",
        epoch=times[0],
        times_s=np.array([(t - times[0]).total_seconds() for t in times]),
        positions_m=np.array([[v.number(f"{axis}_pos") for axis in "xyz"] for v in vectors]),
        velocities_m_s=np.array([[v.number(f"{axis}_vel") for axis in "xyz"] for v in vectors]),
    )


def annotated_orbit(product: Metadata) -> Orbit:
    vectors = (product / "generalAnnotation" / "orbitList").children
    times = [v.time("time") for v in vectors]
    return Orbit(
        source=OrbitSource.ANNOTATION,
        name="annotation",
        epoch=times[0],
        times_s=np.array([(t - times[0]).total_seconds() for t in times]),
        positions_m=np.array([[(v / "position").number(axis) for axis in "xyz"] for v in vectors]),
        velocities_m_s=np.array([[(v / "velocity").number(axis) for axis in "xyz"] for v in vectors]),
    )


def polynomial(estimates: Metadata, name: str, mid_time: datetime) -> RangePolynomial:
    """The estimate nearest to mid burst."""
    nearest = min(estimates.children, key=lambda e: abs(e.time("azimuthTime") - mid_time))
    coefficients = (nearest / name).value(name).split()
    return RangePolynomial(t0_s=nearest.number("t0"), coefficients=tuple(map(float, coefficients)))


def amsterdam_burst(product: Metadata) -> Burst:
    image = product / "imageAnnotation" / "imageInformation"
    common = product / "generalAnnotation" / "productInformation"
    grid = RadarGrid(
        first_line_time=image.time("productFirstLineUtcTime"),
        line_interval_s=image.number("azimuthTimeInterval"),
        near_range_m=image.number("slantRangeTime") * SPEED_OF_LIGHT / 2,
        range_spacing_m=SPEED_OF_LIGHT / (2 * common.number("rangeSamplingRate")),
        lines=int(image.number("numberOfLines")),
        samples=BURST_SAMPLES,
    )
    return Burst(
        scene="amsterdam",
        swath="IW3",
        polarisation="VV",
        index=0,
        burst_id=None,
        measurement="none",
        first_line=0,
        grid=grid,
        valid=Window(row=0, column=0, rows=grid.lines, columns=grid.samples),
        radar_frequency_hz=common.number("radarFrequency"),
        steering_rate_rad_s=math.radians(common.number("azimuthSteeringRate")),
        fm_rate=polynomial(
            product / "generalAnnotation" / "azimuthFmRateList", "azimuthFmRatePolynomial", grid.mid_time
        ),
        doppler=polynomial(product / "dopplerCentroid" / "dcEstimateList", "dataDcPolynomial", grid.mid_time),
        azimuth_bandwidth_hz=314.0,
        range_bandwidth_hz=42.79e6,
    )


@pytest.fixture(scope="module")
def amsterdam(shared_data: Path) -> Path:
    return shared_data / "pixels" / "amsterdam_iw3_pair"


@pytest.fixture(scope="module")
def metadata(amsterdam: Path) -> Metadata:
    return Metadata.of(amsterdam / "20230331-coreg.znap")


@pytest.fixture(scope="module")
def product(metadata: Metadata) -> Metadata:
    return (metadata / "Original_Product_Metadata" / "annotation").children[0] / "product"


@pytest.fixture(scope="module")
def points(amsterdam: Path) -> NDArray[np.float64]:
    folder = amsterdam / "20230331-coreg.znap"
    lat, lon, height = (chunk(folder, f"{name}_VV") for name in ("latitude", "longitude", "elevation"))
    assert lat.shape == CROP_SHAPE
    return geodetic_to_ecef(np.radians(lat), np.radians(lon), height)


def crop_misfit(points: NDArray[np.float64], burst: Burst, orbit: Orbit) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lines and samples between where we see the pixels and where they lie."""
    arc = fit_orbit(orbit, burst.grid.first_line_time, burst.grid.stop_time)
    time, range_m = geo2rdr(points, arc)
    rows, columns = np.indices(CROP_SHAPE)
    line = (time - arc.seconds(burst.grid.first_line_time)) / burst.grid.line_interval_s - CROP_LINE
    return line - rows, (range_m - burst.grid.near_range_m) / burst.grid.range_spacing_m - CROP_SAMPLE - columns


def test_the_pixels_of_amsterdam_are_seen_where_they_lie(
    metadata: Metadata, product: Metadata, points: NDArray[np.float64]
) -> None:
    """Single pixels scatter by ±0.016, for their latitude and longitude are rounded to 4e-6 degrees."""
    line, sample = crop_misfit(points, amsterdam_burst(product), precise_orbit(metadata / "Abstracted_Metadata"))
    for misfit in (line, sample):
        assert abs(misfit.mean()) < 0.002
        assert misfit.std() < 0.01
        assert np.abs(misfit).max() < 0.02
        assert abs(misfit[:, :169].mean() - misfit[:, 169:].mean()) < 0.002, "no drift"
    line, sample = crop_misfit(points, amsterdam_burst(product), annotated_orbit(product))
    assert abs(line.mean()) < 0.03
    assert abs(sample.mean()) < 0.03


def test_the_baseline_of_amsterdam_is_the_stated_one(
    amsterdam: Path, metadata: Metadata, points: NDArray[np.float64]
) -> None:
    """33.9 m by SNAP, which counts in the other direction than we (and ISCE2) do."""
    other = (Metadata.of(amsterdam / "20230319-coreg.znap") / "Slave_Metadata").children[0]
    arcs = []
    for orbit in (precise_orbit(metadata / "Abstracted_Metadata"), precise_orbit(other)):
        start = orbit.epoch + timedelta(seconds=8)
        arcs.append(fit_orbit(orbit, start, start + timedelta(seconds=6)))
    baseline = measure_baseline(points, *arcs)
    np.testing.assert_allclose(baseline, -33.9, atol=0.3)


def test_the_pixels_of_amsterdam_are_deramped(amsterdam: Path, metadata: Metadata, product: Metadata) -> None:
    burst = amsterdam_burst(product)
    orbit = precise_orbit(metadata / "Abstracted_Metadata")
    arc = fit_orbit(orbit, burst.grid.first_line_time, burst.grid.stop_time)
    slc = pixels(amsterdam / "20230331-coreg.znap", "31Mar2023")
    assert share_in_band(slc, burst.grid.line_interval_s) < 0.7
    baseband = deramped(slc, burst, arc, CROP_LINE, CROP_SAMPLE)
    assert share_in_band(baseband, burst.grid.line_interval_s) > 0.999
    shift = np.angle((baseband[1:] * np.conj(baseband[:-1])).sum()) / (2 * np.pi * burst.grid.line_interval_s)
    assert abs(shift) < 10, "what is left is the uncertainty of the annotated Doppler centroid"


def test_the_pair_of_amsterdam_is_coherent(amsterdam: Path) -> None:
    dates = [
        pixels(amsterdam / f"{name}-coreg.znap", date)
        for name, date in (("20230331", "31Mar2023"), ("20230319", "19Mar2023"))
    ]
    looks = Looks(east=15, north=5)
    rows, columns = CROP_SHAPE[0] // looks.north, CROP_SHAPE[1] // looks.east
    sums = LookSums.zeros((rows, columns))
    cut = np.s_[: rows * looks.north, : columns * looks.east]
    parts = [np.stack([d.real, d.imag], axis=-1)[cut].astype(np.float16) for d in dates]
    cross_multiply(*parts, looks, sums)
    assert estimate_coherence(sums, looks, looks.count).mean() >= 0.70
    spectrum = np.abs(np.fft.fft2(dates[0] * np.conj(dates[1])))
    assert spectrum.argmax() == 0, "flat earth is gone: no fringe is left"
