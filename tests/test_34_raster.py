"""GeoTIFFs, atomic files and evidence."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from topsar.errors import ProductError
from topsar.files import atomic_path, write_json
from topsar.model import GeoGrid, Looks, OrbitSource
from topsar.raster import Labels, inspect, read_geotiff, write_geotiff
from topsar.raster.inspection import CHUNK_BYTES

GRID = GeoGrid(crs="EPSG:32629", west=480_000, north=3_500_000, dx=80, dy=80, rows=700, columns=900)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: what a full disk does, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ramp(dtype: str = "float32") -> np.ndarray:
    values = np.add.outer(np.arange(GRID.rows), np.arange(GRID.columns)).astype(dtype)
    if np.issubdtype(values.dtype, np.floating):
        values[:50, :60] = np.nan
    return values


def offsets_of_directories(path: Path) -> list[int]:
    """Where the image file directories of a little-endian classic TIFF lie, in chain order."""
    content = path.read_bytes()
    (offset,) = struct.unpack_from("<I", content, 4)
    offsets = []
    while offset:
        offsets.append(offset)
        (entries,) = struct.unpack_from("<H", content, offset)
        (offset,) = struct.unpack_from("<I", content, offset + 2 + 12 * entries)
    return offsets


def first_tile_offset(path: Path, level: int | None) -> int:
    options = {} if level is None else {"overview_level": level}
    with rasterio.open(path, **options) as dataset:
        return int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))


class TestGeotiff:
    @pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16", "int32"])
    def test_round_trip(self, tmp_path: Path, dtype: str) -> None:
        values = ramp(dtype)
        nodata = float("nan") if dtype == "float32" else 0
        write_geotiff(
            tmp_path / "a.tif",
            values,
            GRID,
            nodata=nodata,
            labels=Labels(unit="rad", description="phase", tags={"PAIR": "x"}),
        )
        back, grid, tags = read_geotiff(tmp_path / "a.tif")
        np.testing.assert_array_equal(back, values)
        assert back.dtype == values.dtype
        assert grid == GRID
        assert tags["PAIR"] == "x"
        with rasterio.open(tmp_path / "a.tif") as dataset:
            assert dataset.units == ("rad",)
            assert dataset.descriptions == ("phase",)
            assert dataset.nodata == 0 or np.isnan(dataset.nodata)
            assert dataset.tags()["AREA_OR_POINT"] == "Area"

    def test_is_cloud_optimised(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        write_geotiff(path, ramp(), GRID, nodata=float("nan"), labels=Labels(unit="rad", description="phase"))
        with rasterio.open(path) as dataset:
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert dataset.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "DEFLATE"
            assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "3"
            assert dataset.block_shapes == [(512, 512)]
            assert dataset.overviews(1) == [2]
        directories = offsets_of_directories(path)
        assert len(directories) == 2
        assert directories == sorted(directories)
        assert directories[-1] < first_tile_offset(path, 0) < first_tile_offset(path, None)

    def test_small_image_is_cloud_optimised_too(self, tmp_path: Path) -> None:
        grid = GeoGrid(crs="EPSG:4326", west=-8.0, north=32.0, dx=0.001, dy=0.001, rows=20, columns=30)
        write_geotiff(tmp_path / "a.tif", np.ones((20, 30), np.float32), grid, nodata=float("nan"))
        with rasterio.open(tmp_path / "a.tif") as dataset:
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert read_geotiff(tmp_path / "a.tif")[1].shape == (20, 30)

    def test_overviews_of_labels_invent_no_label(self, tmp_path: Path) -> None:
        labels = np.where(np.arange(GRID.columns) % 2, 2, 40).astype(np.uint8) * np.ones((GRID.rows, 1), np.uint8)
        write_geotiff(tmp_path / "a.tif", labels, GRID, nodata=0, overviews="mode")
        with rasterio.open(tmp_path / "a.tif", overview_level=0) as dataset:
            assert set(np.unique(dataset.read(1))) <= {2, 40}

    def test_shape_must_be_the_grid(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="grid is"):
            write_geotiff(tmp_path / "a.tif", np.zeros((3, 4), np.float32), GRID, nodata=0)

    def test_a_full_disk_leaves_nothing_and_says_so(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(1).normal(size=GRID.shape).astype(np.float32)
        with largest_file(200_000), pytest.raises(ProductError) as caught:
            write_geotiff(tmp_path / "a.tif", noise, GRID, nodata=float("nan"))
        assert str(tmp_path / "a.tif") in caught.value.message
        assert caught.value.hint
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_write_keeps_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        write_geotiff(path, ramp("uint8"), GRID, nodata=0)
        before = path.read_bytes()
        noise = np.random.default_rng(1).normal(size=GRID.shape).astype(np.float32)
        with largest_file(200_000), pytest.raises(ProductError):
            write_geotiff(path, noise, GRID, nodata=float("nan"))
        assert path.read_bytes() == before

    def test_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "products").write_text("in the way")
        with pytest.raises(ProductError, match=r"cannot write .*products/a\.tif"):
            write_geotiff(tmp_path / "products" / "a.tif", ramp(), GRID, nodata=0)

    def test_reading_what_is_no_raster(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_text("<error>")
        with pytest.raises(ProductError, match=r"cannot read .*a\.tif"):
            read_geotiff(tmp_path / "a.tif")


class TestAtomicFiles:
    def test_appears_only_when_whole(self, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "a.bin"
        with atomic_path(target) as part:
            assert part.parent == target.parent
            assert part.suffix == ".bin"
            part.write_bytes(b"whole")
            assert not target.exists()
        assert target.read_bytes() == b"whole"
        assert list(target.parent.iterdir()) == [target]

    def test_failure_removes_the_temporary_file_and_passes_through(self, tmp_path: Path) -> None:
        reason = "ours"

        def fail() -> None:
            with atomic_path(tmp_path / "a.bin") as part:
                part.write_bytes(b"half")
                part.with_name(part.name + ".aux.xml").write_text("side file")
                raise KeyError(reason)

        with pytest.raises(KeyError, match="ours"):
            fail()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("number", "hint"), [(28, "no space is left"), (30, "writable"), (13, "writable"), (5, "disk is sound")]
    )
    def test_hint_names_the_cause(self, tmp_path: Path, number: int, hint: str) -> None:
        def fail() -> None:
            with atomic_path(tmp_path / "a.bin"):
                raise OSError(number, "refused")

        with pytest.raises(ProductError, match="refused") as caught:
            fail()
        assert hint in caught.value.hint
        assert str(tmp_path) in caught.value.hint

    def test_json_is_strict(self, tmp_path: Path) -> None:
        moment = datetime(2023, 9, 4, 6, 37, 30, tzinfo=timezone.utc)
        write_json(
            tmp_path / "facts.json",
            {
                "nan": float("nan"),
                "array": np.arange(2),
                "scalar": np.float32(np.inf),
                "time": moment,
                "path": Path("a/b"),
                "orbit": OrbitSource.PRECISE,
                "looks": Looks(east=4, north=1),
                "set": ("é", None, True),
            },
        )
        assert json.loads((tmp_path / "facts.json").read_text(encoding="utf-8")) == {
            "nan": None,
            "array": [0, 1],
            "scalar": None,
            "time": "2023-09-04T06:37:30+00:00",
            "path": "a/b",
            "orbit": "POEORB",
            "looks": {"east": 4, "north": 1},
            "set": ["é", None, True],
        }

    def test_json_refuses_what_it_does_not_know(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="object"):
            write_json(tmp_path / "a.json", {"x": object()})
        assert list(tmp_path.iterdir()) == []


class TestInspect:
    def test_geotiff(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        write_geotiff(path, ramp(), GRID, nodata=float("nan"))
        evidence = inspect(path)
        assert evidence["shape"] == [700, 900]
        assert evidence["dtype"] == "float32"
        assert evidence["bytes"] == path.stat().st_size
        assert evidence == inspect(path)
        assert evidence == json.loads(json.dumps(evidence))

    def test_truncated_geotiff(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        noise = np.random.default_rng(1).normal(size=GRID.shape).astype(np.float32)
        write_geotiff(path, noise, GRID, nodata=float("nan"))
        path.write_bytes(path.read_bytes()[:-5000])
        with pytest.raises(ProductError, match=r"a\.tif is not valid"):
            inspect(path)

    def test_what_was_read_is_not_kept(self, tmp_path: Path) -> None:
        """The scheduler inspects large images; GDAL's own cache grows to a twentieth of the memory."""
        profile = {"driver": "GTiff", "width": 2048, "height": 8192, "count": 1, "dtype": "complex64", "tiled": True}
        with (
            rasterio.Env(GDAL_CACHEMAX=16),
            pytest.warns(rasterio.errors.NotGeoreferencedWarning),
            rasterio.open(tmp_path / "a.tif", "w", **profile),
        ):
            pass
        code = """
from pathlib import Path
from topsar.raster import inspect
def peak(): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak(); inspect(Path("a.tif")); print(peak() - before)
"""
        told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
        assert int(told.stdout) < 70_000  # kilobytes: half of the image

    def test_array_in_radar_geometry_needs_no_position(self, tmp_path: Path) -> None:
        profile = {"driver": "GTiff", "width": 5, "height": 4, "count": 2, "dtype": "complex64"}
        with (
            pytest.warns(rasterio.errors.NotGeoreferencedWarning),
            rasterio.open(tmp_path / "a.tiff", "w", **profile) as dataset,
        ):
            dataset.write(np.ones((2, 4, 5), np.complex64))
        assert inspect(tmp_path / "a.tiff")["shape"] == [2, 4, 5]

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64])
    def test_the_share_of_numbers(self, tmp_path: Path, dtype: type) -> None:
        values = np.ones((10, 10), dtype)
        values.flat[:6] = np.nan, np.inf, -np.inf, -0.0, 6e4, 6e-8
        np.save(tmp_path / "a.npy", values)
        assert inspect(tmp_path / "a.npy")["finite"] == 0.97

    def test_an_array_that_is_cut_short_while_it_is_read_is_not_valid(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, real = tmp_path / "a.npy", np.fromfile
        np.save(path, np.zeros(3 * CHUNK_BYTES, np.int8))

        def cut(*args: Any) -> Any:
            os.truncate(path, CHUNK_BYTES + 200)
            return real(*args)

        monkeypatch.setattr(np, "fromfile", cut)
        with pytest.raises(ProductError, match="cut short"):
            inspect(path)

    def test_npy(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npy"
        np.save(path, np.zeros((3, 4), np.complex64))
        assert inspect(path)["shape"] == [3, 4]
        assert inspect(path)["dtype"] == "complex64"
        whole = path.read_bytes()
        for wrong in (whole[:-1], whole + b"x"):
            path.write_bytes(wrong)
            with pytest.raises(ProductError, match="not valid"):
                inspect(path)
        path.write_bytes(b"not an array")
        with pytest.raises(ProductError, match="not valid"):
            inspect(path)

    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("a.json", b'{"a": 1}', b'{"a": 1'),
            ("a.png", b"\x89PNG\r\n\x1a\n....IEND\xaeB`\x82", b"\x89PNG\r\n\x1a\n...."),
            ("a.log", b"anything", b""),
        ],
    )
    def test_by_suffix(self, tmp_path: Path, name: str, good: bytes, bad: bytes) -> None:
        (tmp_path / name).write_bytes(good)
        assert inspect(tmp_path / name)["bytes"] == len(good)
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(ProductError, match="not valid"):
            inspect(tmp_path / name)

    def test_folder_is_the_sum_of_its_files(self, tmp_path: Path) -> None:
        folder = tmp_path / "products"
        (folder / "more").mkdir(parents=True)
        with pytest.raises(ProductError, match="empty"):
            inspect(folder)
        (folder / "a.json").write_text("{}")
        (folder / "more" / "b.txt").write_text("b")
        before = inspect(folder)
        assert before["files"] == 2
        assert before["bytes"] == 3
        (folder / "more" / "b.txt").rename(folder / "more" / "c.txt")
        assert inspect(folder) != before
        (folder / "a.json").write_text("{")
        with pytest.raises(ProductError, match=r"a\.json is not valid"):
            inspect(folder)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ProductError, match="not valid"):
            inspect(tmp_path / "a.tif")


def test_evidence_tells_the_share_of_numbers(tmp_path: Path) -> None:
    values = np.ones((4, 5), np.float32)
    values[0, :2] = np.nan
    np.save(tmp_path / "coherence.npy", values)
    (tmp_path / "facts.json").write_text("{}")
    evidence = inspect(tmp_path)
    assert evidence["files"] == 2
    assert evidence["arrays"] == {"coherence.npy": {"shape": [4, 5], "dtype": "float32", "finite": 0.9}}
