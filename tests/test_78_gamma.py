"""GAMMA's files of bursts: written from a product, read back, deramped and reramped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from dry_data import DAYS, dry_recipe, simulate_with_short_orbits
from test_41_real_pixels import AZORES_BURST, AZORES_LINE, AZORES_SAMPLE, azores_scene
from topsar import cli
from topsar.errors import SceneError
from topsar.gamma.deramp import deramp_tab
from topsar.gamma.image import Image, format_image
from topsar.gamma.parameters import read_parameters
from topsar.gamma.samples import SampleFormat
from topsar.gamma.swath import GammaSwath, read_swath
from topsar.gamma.tab import TabRow, read_tab
from topsar.gamma.tops import format_tops
from topsar.kernels.geometry import fit_orbit
from topsar.kernels.tops import find_deramp_terms
from topsar.model import Burst, RangePolynomial, Window
from topsar.sentinel1 import (
    find_orbits,
    open_scene,
    read_annotation_orbit,
    read_burst_times,
    read_bursts,
    read_orbit,
    read_samples,
)
from topsar.simulate.dataset import Dataset
from topsar.simulate.plan import ProductPlan, SwathPlan

BAND_HZ = 327.0


def eta_of(burst: Burst) -> NDArray[np.float64]:
    return (np.arange(burst.grid.lines) - burst.grid.lines / 2) * burst.grid.line_interval_s


def noise_in_band(product: ProductPlan, _swath: SwathPlan, burst: Burst, *, surface: object) -> NDArray[np.int16]:
    """Whole numbers whose deramped spectrum fills the band, instead of a focused burst."""
    rng = np.random.default_rng(burst.first_line)
    lines, samples = burst.grid.shape
    spectrum = rng.normal(size=(lines, samples)) + 1j * rng.normal(size=(lines, samples))
    spectrum[np.abs(np.fft.fftfreq(lines, burst.grid.line_interval_s)) > burst.azimuth_bandwidth_hz / 2] = 0
    base = np.fft.ifft(spectrum, axis=0)
    slc = base / np.abs(base).std() * 300 * np.exp(-1j * find_deramp_terms(burst, product.arc).phase(eta_of(burst)))
    return np.stack([slc.real, slc.imag], axis=-1).round().astype(np.int16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topsar.simulate.safe.focus_burst", noise_in_band)
        return simulate_with_short_orbits(tmp_path_factory.mktemp("gamma"), dry_recipe(acquisitions=DAYS[:1]))


@pytest.fixture(scope="module")
def written(data: Dataset) -> Path:
    """``20250303.SLC_tab`` of ``topsar burst gamma``, with what it lists."""
    folder = data.folder / "slc"
    assert cli.main(["burst", "gamma", data.scenes[0][0].name, "--data", str(data.folder), "--to", str(folder)]) == 0
    return folder / "20250303.SLC_tab"


def samples_of(path: Path, swath: GammaSwath, kind: str = ">c8") -> NDArray[np.complex64]:
    lines, samples = swath.shape
    return np.fromfile(path, kind).reshape(lines, samples).astype(np.complex64)


def name_outputs(tab: Path, folder: Path) -> Path:
    """Another tab, of files in ``folder``."""
    folder.mkdir(exist_ok=True)
    rows = [" ".join(str(folder / path.name) for path in row.paths) for row in read_tab(tab)]
    (folder / "tab").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "tab"


def share_in_band(values: NDArray[np.complex64], burst: Burst) -> float:
    taper = np.hanning(len(values) + 2)[1:-1, None]
    spectrum = np.abs(np.fft.fft(values * taper, axis=0)) ** 2
    inside = np.abs(np.fft.fftfreq(len(values), burst.grid.line_interval_s)) <= BAND_HZ / 2
    return float(spectrum[inside].sum() / spectrum.sum())


def test_a_product_comes_back_as_it_was_written(data: Dataset, written: Path) -> None:
    scene = open_scene(data.scenes[0][0])
    rows = read_tab(written)
    assert [row.slc.name for row in rows] == ["20250303.IW1.slc", "20250303.IW2.slc"]
    for row, name in zip(rows, scene.swaths, strict=True):
        swath, bursts = read_swath(row), read_bursts(scene, name, "VV")
        slc = samples_of(row.slc, swath)
        for got, burst in zip(swath.bursts, bursts, strict=True):
            whole = Window(row=0, column=0, rows=burst.grid.lines, columns=burst.grid.samples)
            place = slice(burst.first_line, burst.first_line + burst.grid.lines)
            np.testing.assert_array_equal(slc[place], read_samples(burst, whole))
            assert got.grid.first_line_time == burst.grid.first_line_time
            assert got.grid.near_range_m == pytest.approx(burst.grid.near_range_m, abs=1e-6)
            orbit = read_orbit(find_orbits(data.folder / "orbit_data")[0], scene.start, scene.stop)
            arc = fit_orbit(orbit, bursts[0].grid.first_line_time, bursts[-1].grid.stop_time)
            phases = [find_deramp_terms(one, by).phase(eta_of(burst)) for one, by in ((got, swath.arc), (burst, arc))]
            np.testing.assert_allclose(*phases, atol=1e-4)


def test_the_parameters_say_where_the_image_lies(data: Dataset, written: Path) -> None:
    image = read_parameters(read_tab(written)[0].image)
    bursts = read_bursts(open_scene(data.scenes[0][0]), "IW1", "VV")
    assert image.read_words("date") == ["2025", "03", "03"]
    assert image.read_numbers("heading")[0] == pytest.approx(-13, abs=2), "ascending, and the Earth turns"
    assert image.read_numbers("azimuth_pixel_spacing")[0] == pytest.approx(14, abs=0.2)
    assert image.read_numbers("sar_to_earth_center")[0] == pytest.approx(7.07e6, rel=0.01)
    assert 6.35e6 < image.read_numbers("earth_radius_below_sensor")[0] < 6.38e6
    start, middle, stop = (image.read_numbers(f"{key}_time")[0] for key in ("start", "center", "end"))
    last = bursts[-1].grid.stop_time - bursts[0].grid.first_line_time
    assert stop - start == pytest.approx(last.total_seconds(), abs=1e-5)
    assert middle == pytest.approx((start + stop) / 2)


@pytest.mark.parametrize("kind", ["FCOMPLEX", "SCOMPLEX"])
def test_reramped_is_what_was_deramped(data: Dataset, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "slc"
    flags = ["--scomplex"] if kind == "SCOMPLEX" else []
    place = ["--data", str(data.folder), "--to", str(folder), "--swaths", "IW2"]
    assert cli.main(["burst", "gamma", data.scenes[0][0].name, *place, *flags]) == 0
    tab = folder / "20250303.SLC_tab"
    deramped, back = name_outputs(tab, tmp_path / "deramped"), name_outputs(tab, tmp_path / "back")
    assert cli.main(["deramp", str(tab), str(deramped), "0", "1"]) == 0
    assert cli.main(["deramp", str(deramped), str(back), "1"]) == 0
    (first,), (second,), (third,) = (read_tab(one) for one in (tab, deramped, back))
    swath = read_swath(first)
    assert swath.format.value == kind
    raw = np.fromfile(first.slc, ">i2" if kind == "SCOMPLEX" else ">f4").reshape(*swath.shape, 2)
    given = raw[..., 0] + 1j * raw[..., 1]
    base, again = samples_of(second.slc, swath), samples_of(third.slc, swath)
    seen = np.abs(given) > 1
    assert np.abs(np.angle(again[seen] * given[seen].conj())).max() < 1e-4
    np.testing.assert_allclose(np.abs(again), np.abs(given), rtol=1e-5)
    ramp = np.fromfile(f"{second.slc}.dph", ">f4").reshape(swath.shape)
    assert np.ptp(ramp) > 1000, "it is not wrapped"
    off = np.angle(given[seen] * np.exp(-1j * ramp[seen].astype(np.float64)) * base[seen].conj())
    assert np.abs(off).max() < 1e-3, "single precision of thousands of radians"
    burst = swath.bursts[1]
    lines = slice(burst.first_line, burst.first_line + burst.grid.lines)
    assert share_in_band(given[lines], burst) < 0.7 < 0.99 < share_in_band(base[lines], burst)


def test_a_product_is_deramped_without_a_detour(data: Dataset, written: Path, tmp_path: Path) -> None:
    place = ["--data", str(data.folder), "--to", str(tmp_path), "--swaths", "IW1", "--bursts", "2-3"]
    assert cli.main(["deramp", "--safe", str(data.scenes[0][0]), *place, "--phase"]) == 0
    (row,) = read_tab(tmp_path / "20250303.SLC_tab.deramp")
    made = name_outputs(written, tmp_path / "by_tab")
    assert cli.main(["deramp", str(written), str(made)]) == 0
    lines = 2 * read_swath(row).bursts[0].grid.lines
    straight = samples_of(row.slc, read_swath(row))
    through = samples_of(read_tab(made)[0].slc, read_swath(read_tab(made)[0]))[-lines:]
    np.testing.assert_allclose(straight, through, atol=0.05, err_msg="amplitudes are some hundred")
    assert Path(f"{row.slc}.dph").stat().st_size * 2 == row.slc.stat().st_size


def test_the_published_terms_are_printed(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GAMMA's table of S1A 2014-08-09, IW1.

    Put in are near range, spacing, k_s and, as lines through the published points, f_d and k_a; k_t comes out.
    """
    published = {
        1: ((800420.570, -126.489, -2326.3644, 1781.1924), (847011.810, -115.383, -2194.2432, 1702.6945)),
        2: ((800420.570, -69.985, -2326.2973, 1781.1530), (847011.810, -101.714, -2194.1705, 1702.6508)),
    }
    row = read_tab(written)[0]
    swath = read_swath(row)
    samples, lines = 20001, 4
    speed = float(np.linalg.norm(swath.arc.velocity(0.0)))
    tau = [2 * r / 299_792_458.0 for r in (800420.5701, 847011.810)]
    image = {"range_samples": samples, "azimuth_lines": 2 * lines, "near_range_slc": 800420.5701}
    image["range_pixel_spacing"] = 2.329562
    tops: dict[str, object] = {"number_of_bursts": 2, "lines_per_burst": lines, "range_samples": samples}
    tops["burst_start_time_2"] = swath.tops.read_numbers("burst_start_time_1")[0] + 0.02  # at the same speed
    frequency = swath.bursts[0].radar_frequency_hz
    tops["az_steering_rate"] = np.degrees(7600.724 * 299_792_458.0 / (2 * speed * frequency))
    for number, ((_, f1, a1, _), (_, f2, a2, _)) in published.items():
        for name, first, last in (("doppler", f1, f2), ("az_fmrate", a1, a2)):
            tops[f"{name}_srdelay_{number}"] = f"{tau[0]:.15e}"
            tops[f"{name}_polynomial_{number}"] = f"{first} {(last - first) / (tau[1] - tau[0]):.12e} Hz Hz/s"
    names = TabRow(slc=tmp_path / "a.slc", image=tmp_path / "a.par", tops=tmp_path / "a.tops_par")
    names.image.write_text(swath.image.replace({key: str(value) for key, value in image.items()}), encoding="utf-8")
    names.tops.write_text(swath.tops.replace({key: str(value) for key, value in tops.items()}), encoding="utf-8")
    np.zeros((2 * lines, samples), ">c8").tofile(names.slc)
    given = tmp_path / "tab"
    given.write_text(" ".join(map(str, names.paths)), encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["deramp", str(given), str(name_outputs(given, tmp_path / "out"))]) == 0
    shown = capsys.readouterr().out
    assert len(re.findall(r"k_s 7600\.7\d\d", shown)) == 2
    found = (re.findall(r"-?\d+\.\d+", line) for line in shown.splitlines())
    table = [[float(number) for number in numbers] for numbers in found if len(numbers) == 4]
    for points in published.values():
        for expected in points:
            nearest = min(table, key=lambda row: np.abs(np.subtract(row, expected)).max())
            np.testing.assert_array_less(np.abs(np.subtract(nearest, expected)), [0.003, 0.0011, 2e-4, 3e-4])


def test_files_of_older_programs_are_read(written: Path, tmp_path: Path) -> None:
    """A positive steering rate, no data_type, a burst past midnight."""
    row = read_tab(written)[0]
    before = read_swath(row)
    tops = row.tops.read_text(encoding="utf-8").replace("az_steering_rate:  -", "az_steering_rate:  ")
    old = TabRow(slc=row.slc, image=tmp_path / "a.par", tops=tmp_path / "a.tops_par")
    old.tops.write_text(re.sub(r"(data_type|range_\w+|azimuth_looks):.*\n", "", tops), encoding="utf-8")
    shutil.copy(row.image, old.image)
    after = read_swath(old)
    assert [burst.steering_rate_rad_s for burst in after.bursts] == [
        burst.steering_rate_rad_s for burst in before.bursts
    ]
    shift = 86_400 - before.image.read_numbers("start_time")[0] - 1  # the first burst starts a second before midnight
    starts = {
        f"burst_start_time_{burst.index + 1}": (
            before.tops.read_numbers(f"burst_start_time_{burst.index + 1}")[0] + shift
        )
        % 86_400
        for burst in before.bursts
    }
    assert min(starts.values()) < 10
    old.tops.write_text(before.tops.replace({key: f"{value:.7f}" for key, value in starts.items()}), encoding="utf-8")
    vectors = before.image.read_numbers("time_of_first_state_vector")[0]
    old.image.write_text(
        before.image.replace({"start_time": "86399.0", "time_of_first_state_vector": f"{vectors + shift}"}),
        encoding="utf-8",
    )
    late = read_swath(old).bursts
    for one, other in zip(late, before.bursts, strict=True):
        moved = one.grid.first_line_time - other.grid.first_line_time
        assert moved.total_seconds() == pytest.approx(shift, abs=2e-6)


def spoil(key: str, value: str | None) -> Callable[[str], str]:
    line = re.compile(rf"^{key}:.*\n", re.MULTILINE)
    return lambda text: line.sub("" if value is None else f"{key}:  {value}\n", text)


@pytest.mark.parametrize(
    ("ending", "change", "words"),
    [
        (".par", spoil("near_range_slc", "far"), r"\.par: line \d+: near_range_slc holds 'far', expected a number"),
        (".par", spoil("prf", None), ""),
        (".par", spoil("radar_frequency", None), "key radar_frequency is missing"),
        (".par", spoil("azimuth_lines", "17"), "bursts of 1487 lines, but azimuth_lines"),
        (".par", spoil("image_format", "FLOAT"), "image_format is FLOAT"),
        (".par", spoil("date", "2025 02 30"), "which is no day"),
        (".par", spoil("range_looks", "4"), "range_looks is 4"),
        (".par", spoil("range_samples", "339"), "range_samples is 340"),
        (".par", spoil("number_of_state_vectors", "3"), "state vectors do not cover"),
        (".par", spoil("near_range_slc", "800000.0 m\nnear_range_slc:  800001.0"), "near_range_slc stands in lines"),
        (".TOPS_par", spoil("az_fmrate_polynomial_2", None), r"TOPS_par: key az_fmrate_polynomial_2 is missing"),
        (".TOPS_par", spoil("doppler_srdelay_1", "nan s"), "doppler_srdelay_1 holds 'nan s'"),
        (".TOPS_par", spoil("az_steering_rate", "0.0"), "no TOPS image"),
        (".TOPS_par", spoil("burst_start_time_3", "57720.0"), "burst_start_time_3 is not later"),
        (".TOPS_par", spoil("number_of_bursts", "2.5"), "expected a whole number"),
        (".TOPS_par", spoil("data_type", "SCOMPLEX"), "data_type is not the image_format"),
    ],
)
def test_bad_parameters_are_named(
    written: Path, tmp_path: Path, ending: str, change: Callable[[str], str], words: str
) -> None:
    row = read_tab(written)[0]
    copies = [row.slc, *(Path(shutil.copy(path, tmp_path)) for path in row.paths[1:])]
    bad = next(path for path in copies[1:] if path.suffix == ending)
    bad.write_text(change(bad.read_text(encoding="utf-8")), encoding="utf-8")
    given = tmp_path / "tab"
    given.write_text(" ".join(map(str, copies)), encoding="utf-8")
    made = name_outputs(given, tmp_path / "out")
    if not words:
        deramp_tab(given, made)  # a key that nothing here needs
        return
    with pytest.raises(SceneError, match=words):
        deramp_tab(given, made)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tab"], "nothing is written"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{slc} {par}", "line 1: 2 columns, expected 3"),
        ("\n", "lists no swath"),
        ("{slc} {par} {tops}\n{slc} {par} {tops}", "lists 2 swaths, .* lists 1"),
        ("{slc} {par} nowhere", "nowhere: cannot be read"),
        ("{par} {par} {tops}", "its parameters say"),
        ("{slc} {slc} {tops}", "no parameter file"),
    ],
)
def test_bad_tabs_are_named(written: Path, tmp_path: Path, text: str, words: str) -> None:
    slc, par, tops = read_tab(written)[0].paths
    given, made = tmp_path / "tab", tmp_path / "out"
    given.write_text(text.format(slc=slc, par=par, tops=tops), encoding="utf-8")
    made.write_text(" ".join(str(tmp_path / name) for name in "abc"), encoding="utf-8")
    with pytest.raises(SceneError, match=words):
        deramp_tab(given, made)


def test_inputs_are_never_written_over(written: Path, tmp_path: Path) -> None:
    slc, par, tops = read_tab(written)[0].paths
    given, made = tmp_path / "tab", tmp_path / "out"
    given.write_text(f"{slc} {par} {tops}", encoding="utf-8")
    made.write_text(f"{tmp_path / 'a'} {par} {tmp_path / 'c'}", encoding="utf-8")
    with pytest.raises(SceneError, match="is also an input"):
        deramp_tab(given, made)
    made.write_text(f"{tmp_path / 'a'} {tmp_path / 'b'} {tmp_path / 'b'}", encoding="utf-8")
    with pytest.raises(SceneError, match="is named twice"):
        deramp_tab(given, made)


def test_what_is_deramped_already_is_not_deramped_again(written: Path, tmp_path: Path) -> None:
    once, twice = name_outputs(written, tmp_path / "once"), name_outputs(written, tmp_path / "twice")
    deramp_tab(written, once)
    with pytest.raises(SceneError, match="are deramped already"):
        deramp_tab(once, twice)
    with pytest.raises(SceneError, match="have their ramp already"):
        deramp_tab(written, twice, adds_ramp=True)


def test_a_file_that_is_there_is_kept(data: Dataset, written: Path) -> None:
    argv = ["burst", "gamma", data.scenes[0][0].name, "--data", str(data.folder), "--to", str(written.parent)]
    before = written.stat().st_mtime_ns
    assert cli.main(argv) == 1
    assert written.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--bursts", "3-5"], "which has bursts 1 to 3"),
        (["--swaths", "IW3"], "none of IW3 in VV"),
        (["--polarization", "HH"], "no HH, the product holds VV"),
    ],
)
def test_what_the_product_lacks_is_named(
    data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    place = ["--data", str(data.folder), "--to", str(tmp_path)]
    assert cli.main(["burst", "gamma", data.scenes[0][0].name, *place, *flags]) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argv", [["deramp"], ["deramp", "tab"], ["deramp", "a", "b", "--safe", "c"]])
def test_wrong_usage_of_deramp_ends_with_2(argv: list[str]) -> None:
    assert cli.main(argv) == 2


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_real_pixels_end_in_band(shared_data: Path, tmp_path: Path) -> None:
    """A part of a burst of the Azores, its other lines zero, as GAMMA would hand it over."""
    folder = shared_data / "pixels" / "azores_iw3"
    scene = azores_scene(folder, tmp_path)
    burst, times = (read(scene, "IW3", "VV")[AZORES_BURST] for read in (read_bursts, read_burst_times))
    (image,) = folder.glob("*.tiff")
    with rasterio.open(image) as dataset:
        crop = dataset.read(1).astype(np.complex64)
    line = AZORES_LINE - burst.first_line
    near = burst.grid.near_range_m + AZORES_SAMPLE * burst.grid.range_spacing_m
    burst = replace(burst, grid=replace(burst.grid, near_range_m=near, samples=crop.shape[1]), first_line=0)
    slc = np.zeros(burst.grid.shape, ">c8")
    slc[line : line + len(crop)] = crop
    slc.tofile(tmp_path / "a.slc")
    orbit = read_annotation_orbit(scene, "IW3", "VV")
    about = Image(
        title="Azores",
        sensor="S1A IW IW3 VV",
        grid=burst.grid,
        stop=burst.grid.stop_time,
        format=SampleFormat.FCOMPLEX,
        radar_frequency_hz=burst.radar_frequency_hz,
        range_bandwidth_hz=burst.range_bandwidth_hz,
        azimuth_bandwidth_hz=burst.azimuth_bandwidth_hz,
        doppler=burst,
    )
    arc = fit_orbit(orbit, burst.grid.first_line_time, burst.grid.stop_time)
    (tmp_path / "a.slc.par").write_text(format_image(about, orbit), encoding="utf-8")
    (tmp_path / "a.slc.tops_par").write_text(
        format_tops([(burst, times)], arc, SampleFormat.FCOMPLEX), encoding="utf-8"
    )
    given = tmp_path / "tab"
    given.write_text(" ".join(str(tmp_path / f"a.slc{end}") for end in ("", ".par", ".tops_par")), encoding="utf-8")
    made = name_outputs(given, tmp_path / "out")
    deramp_tab(given, made)
    base = np.fromfile(read_tab(made)[0].slc, ">c8").reshape(burst.grid.shape)[line : line + len(crop)]
    assert share_in_band(crop, burst) < 0.8
    assert share_in_band(base.astype(np.complex64), burst) > 0.999


def test_times_of_bursts_are_those_of_the_estimates_in_use(data: Dataset) -> None:
    scene = open_scene(data.scenes[0][0])
    times, bursts = (read(scene, "IW1", "VV") for read in (read_burst_times, read_bursts))
    assert len(times) == len(bursts)
    for one, burst in zip(times, bursts, strict=True):
        assert abs(one.sensing - burst.grid.mid_time) < timedelta(seconds=3)
        assert abs(one.doppler - burst.grid.mid_time) < timedelta(seconds=3)
    assert np.diff([one.since_node_s for one in times]) == pytest.approx(2.7582, abs=0.01)


def test_polynomials_keep_their_coefficients(data: Dataset, written: Path) -> None:
    scene = open_scene(data.scenes[0][0])
    swath = read_swath(read_tab(written)[0])
    for got, burst in zip(swath.bursts, read_bursts(scene, "IW1", "VV"), strict=True):
        for mine, its in ((got.fm_rate, burst.fm_rate), (got.doppler, burst.doppler)):
            assert isinstance(mine, RangePolynomial)
            assert mine.coefficients[: len(its.coefficients)] == pytest.approx(its.coefficients, rel=1e-12)
            assert not any(mine.coefficients[len(its.coefficients) :])
