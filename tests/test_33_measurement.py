"""Pixels: read in place, and never invented where they are missing."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from test_30_safe import BURSTS, LINES, SAMPLES, Tiny, change, listing, write_tiff, zipped, zipped_on_windows
from topsar.errors import SceneError
from topsar.model import Burst, Window
from topsar.sentinel1 import check_content, iter_samples, open_image, open_scene, read_bursts, read_samples

WHOLE = Window(row=0, column=0, rows=LINES, columns=SAMPLES)
PLACES = ["folder", "zip", "zip of Windows"]


def image_of(safe: Path) -> Path:
    return safe / "measurement" / f"{Tiny().stem('IW1', 'VV')}.tiff"


def bursts_in(safe: Path, place: str) -> tuple[Burst, ...]:
    path = safe if place == "folder" else zipped(safe, safe.parent / "a {b} c.zip", parent="safe/")
    if place == "zip of Windows":
        path = zipped_on_windows(safe, safe.parent / "windows.zip")
    return read_bursts(open_scene(path), "IW1", "VV")


@pytest.mark.parametrize("place", PLACES)
def test_samples_come_back_as_stored(tmp_path: Path, place: str) -> None:
    bursts = bursts_in(Tiny().write(tmp_path, measurement=True), place)
    pixels = Tiny().pixels()
    for burst in bursts:
        samples = read_samples(burst, WHOLE)
        assert samples.dtype == np.complex64
        np.testing.assert_array_equal(samples, pixels[burst.first_line : burst.first_line + LINES])
    part = Window(row=1, column=3, rows=4, columns=5)
    np.testing.assert_array_equal(read_samples(bursts[2], part), pixels[2 * LINES :][part.slices])


@pytest.mark.parametrize("place", PLACES)
def test_an_open_image_gives_one_burst_after_the_other(tmp_path: Path, place: str) -> None:
    bursts = bursts_in(Tiny().write(tmp_path, measurement=True), place)
    pixels = Tiny().pixels()
    (tmp_path / "dem.hdr").write_text("nrows 2\nncols 2\nulxmap 0\nulymap 0\nxdim 1\nydim 1\nnbits 16\n")
    (tmp_path / "dem.bil").write_bytes(bytes(8))
    with open_image(bursts[0]) as image:
        with rasterio.open(tmp_path / "dem.bil") as other:
            assert other.driver == "EHdr"  # files beside a raster are seen meanwhile
        for burst in bursts:
            parts = [part.copy() for part in iter_samples(burst, WHOLE, 4, image)]
            assert [len(part) for part in parts] == [4] * (LINES // 4) + [LINES % 4] * (LINES % 4 > 0)
            np.testing.assert_array_equal(np.concatenate(parts), pixels[burst.first_line : burst.first_line + LINES])


@pytest.mark.parametrize(
    "change", [{"row": -1}, {"column": 1}, {"rows": LINES + 1}, {"columns": SAMPLES + 1}, {"rows": 0}]
)
def test_a_window_outside_the_burst_is_a_mistake_of_the_caller(tmp_path: Path, change: dict[str, int]) -> None:
    burst = bursts_in(Tiny().write(tmp_path, measurement=True), "folder")[0]
    with pytest.raises(ValueError, match="leaves the burst"):
        read_samples(burst, replace(WHOLE, **change))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("keep", [0.3, 0.7, 0.98])
def test_a_truncated_image_is_an_error_never_zeros(tmp_path: Path, place: str, keep: float) -> None:
    safe = Tiny().write(tmp_path, measurement=True)
    values = np.random.default_rng(1).integers(-99, 99, (BURSTS * LINES, SAMPLES)) * (1 + 1j)
    write_tiff(image_of(safe), values.astype(np.complex64))
    data = image_of(safe).read_bytes()
    image_of(safe).write_bytes(data[: int(keep * len(data))])
    last = bursts_in(safe, place)[-1]
    with pytest.raises(SceneError, match=r"s1a-iw1.*\.tiff cannot be read, perhaps it is truncated") as caught:
        read_samples(last, WHOLE)
    assert "download the scene again" in caught.value.hint


@pytest.mark.parametrize("place", PLACES)
def test_a_missing_image_is_named_when_read(tmp_path: Path, place: str) -> None:
    burst = bursts_in(Tiny().write(tmp_path), place)[0]
    with pytest.raises(SceneError, match=rf"{Tiny.name}: measurement/s1a-iw1.*\.tiff is missing\n") as caught:
        read_samples(burst, WHOLE)
    assert caught.value.hint


@pytest.mark.parametrize("place", PLACES)
def test_an_empty_image_is_named_when_read(tmp_path: Path, place: str) -> None:
    safe = Tiny().write(tmp_path)
    image_of(safe).touch()
    with pytest.raises(SceneError, match=r"\.tiff is empty"):
        read_samples(bursts_in(safe, place)[0], WHOLE)


@pytest.mark.parametrize("place", PLACES)
def test_a_web_page_in_place_of_an_image(tmp_path: Path, place: str) -> None:
    safe = Tiny().write(tmp_path)
    image_of(safe).write_text("<html>401</html>")
    with pytest.raises(SceneError, match="cannot be read"):
        read_samples(bursts_in(safe, place)[0], WHOLE)


def test_an_image_without_data_is_not_read_as_zeros(tmp_path: Path) -> None:
    safe = Tiny().write(tmp_path)
    zeros = np.zeros((BURSTS * LINES, SAMPLES), np.complex64)
    write_tiff(image_of(safe), zeros, filled=False, sparse_ok=True)
    with pytest.raises(SceneError, match="was never filled: no data is stored for line 6"):
        read_samples(bursts_in(safe, "folder")[1], WHOLE)


@pytest.mark.parametrize(
    "shape", [(BURSTS * LINES, SAMPLES - 1), (BURSTS * LINES - 1, SAMPLES), ((BURSTS - 1) * LINES, SAMPLES)]
)
def test_an_image_smaller_than_the_annotation_says(tmp_path: Path, shape: tuple[int, int]) -> None:
    safe = Tiny().write(tmp_path)
    write_tiff(image_of(safe), np.ones(shape, np.complex64))
    with pytest.raises(SceneError, match=f"has {shape[0]} lines by {shape[1]} samples; the annotation says"):
        read_samples(bursts_in(safe, "folder")[-1], WHOLE)


def test_an_image_of_amplitudes_is_refused(tmp_path: Path) -> None:
    safe = Tiny().write(tmp_path)
    write_tiff(image_of(safe), np.ones((BURSTS * LINES, SAMPLES), np.float32), dtype="float32")
    with pytest.raises(SceneError, match="float32, expected one complex band"):
        read_samples(bursts_in(safe, "folder")[0], WHOLE)


def test_a_zip_lost_since_opening(tmp_path: Path) -> None:
    burst = bursts_in(Tiny().write(tmp_path, measurement=True), "zip")[0]
    path = next(tmp_path.glob("*.zip"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SceneError, match="lies in a damaged zip"):
        read_samples(burst, WHOLE)
    path.unlink()
    with pytest.raises(SceneError, match="is missing"):
        read_samples(burst, WHOLE)


@pytest.mark.real
def test_referee_pixels_are_the_tiffs_own(shared_data: Path) -> None:
    path = min((shared_data / "referee").glob("*.zip"))
    burst = read_bursts(open_scene(path), "IW2", "VV")[1]
    samples = read_samples(burst, Window(row=0, column=0, rows=burst.grid.lines, columns=burst.grid.samples))
    with zipfile.ZipFile(path) as archive:
        data = archive.read(next(name for name in archive.namelist() if name.endswith(".tiff")))
    stored = np.frombuffer(data[-burst.grid.lines * burst.grid.samples * 4 :], "<i2").astype(np.float32)
    np.testing.assert_array_equal(samples.ravel(), stored.view(np.complex64))


@pytest.mark.real
def test_real_products_with_emptied_images_say_so(shared_data: Path) -> None:
    for day, words in {"20200511": "is empty", "20220828": "was never filled", "20221016": "is missing"}.items():
        scene = open_scene(next((shared_data / "safe").glob(f"*{day}*.zip")))
        burst = read_bursts(scene, "IW2", "VV")[0]
        with pytest.raises(SceneError, match=words):
            read_samples(burst, burst.valid)


@pytest.mark.parametrize("as_zip", [False, True])
def test_an_image_of_the_same_size_from_another_product_is_refused(tmp_path: Path, as_zip: bool) -> None:
    safe = Tiny().write(tmp_path, measurement=True)
    images = sorted((safe / "measurement").iterdir())
    change(safe / "manifest.safe", "</xfdu:XFDU>", listing(images, safe))
    images[1].write_bytes(images[1].read_bytes()[:-1] + b"!")
    scene = open_scene(zipped(safe, tmp_path / f"{Tiny.name}.zip") if as_zip else safe)
    assert scene.faults == ()
    check_content(read_bursts(scene, "IW1", "VV")[0])
    with pytest.raises(SceneError, match=rf"measurement/{images[1].name} is not the image whose checksum"):
        check_content(read_bursts(scene, "IW2", "VV")[0])


def test_an_image_without_a_checksum_is_not_read(tmp_path: Path) -> None:
    bursts = read_bursts(open_scene(Tiny().write(tmp_path)), "IW1", "VV")
    check_content(bursts[0])  # there is no such file
