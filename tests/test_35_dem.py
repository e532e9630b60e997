"""DEMs become ellipsoidal heights at the right place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.shutil import copy as copy_raster
from rasterio.transform import Affine
from scipy.ndimage import map_coordinates

from topsar.errors import ProvisionError
from topsar.model import BBox, Dem, VerticalDatum
from topsar.raster import HeightField, open_dem, read_datum, read_geoid
from topsar.raster import dem as dem_module
from topsar.raster.geoid import EGM96

POSTING = 1 / 1200
BOX = BBox(west=-8.05, south=31.40, east=-7.95, north=31.48)
PARIS = (48.85, 2.35, 44.567)
ELLIPSOID = VerticalDatum.ELLIPSOID


def surface(longitude: Any, latitude: Any) -> Any:
    """A plane, so that heights tell where they were taken."""
    return 1000.0 + 1000.0 * (longitude + 8.0) + 2000.0 * (latitude - 31.4)


def write_dem(
    path: Path,
    *,
    west: float = -8.2,
    north: float = 31.6,
    shape: tuple[int, int] = (360, 400),
    dtype: str = "float32",
    crs: str | None = "EPSG:4326",
    point: bool = False,
    **profile: Any,
) -> Path:
    """A DEM of ``surface``; ``west`` and ``north`` are the edges of the first pixel."""
    transform = Affine(POSTING, 0, west, 0, -POSTING, north)
    longitude = west + POSTING * (np.arange(shape[1]) + 0.5)
    latitude = north - POSTING * (np.arange(shape[0]) + 0.5)
    values = surface(longitude[None, :], latitude[:, None])
    settings = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": dtype, "crs": crs}
    with rasterio.open(path, "w", transform=transform, **{**settings, **profile}) as dataset:
        if point:
            dataset.update_tags(AREA_OR_POINT="Point")
        dataset.write(values.astype(dtype), 1)
    return path


def centres(field: HeightField) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = field.transform
    assert b == d == 0
    return c + a * np.arange(field.shape[1])[None, :], f + e * np.arange(field.shape[0])[:, None]


def assert_is_surface(field: HeightField, tolerance_m: float = 2e-3) -> None:
    x, y = centres(field)
    np.testing.assert_allclose(field.heights_m, surface(x, y), atol=tolerance_m)


def assert_covers(field: HeightField, box: BBox, posting: float = POSTING) -> None:
    x, y = centres(field)
    assert x.min() <= box.west
    assert x.max() >= box.east
    assert y.min() <= box.south
    assert y.max() >= box.north
    assert field.shape[0] <= (box.north - box.south) / posting + 6
    assert field.shape[1] <= (box.east - box.west) / posting + 6


class TestPlace:
    @pytest.mark.parametrize("point", [False, True])
    def test_area_and_point_registration_end_with_the_same_centres(self, tmp_path: Path, point: bool) -> None:
        field = open_dem(Dem(path=write_dem(tmp_path / "a.tif", point=point), datum=ELLIPSOID), BOX)
        assert_is_surface(field)
        assert_covers(field, BOX)
        assert field.crs == "EPSG:4326"
        assert field.heights_m.dtype == np.float32

    def test_margin(self, tmp_path: Path) -> None:
        dem = Dem(path=write_dem(tmp_path / "a.tif"), datum=ELLIPSOID)
        assert_covers(open_dem(dem, BOX, 0.02), BOX.grow(0.02))
        whole = open_dem(dem, BOX, 5.0)
        assert whole.shape == (360, 400)
        assert_is_surface(whole)

    def test_hgt_tile(self, tmp_path: Path) -> None:
        latitude, longitude = 32.0 - np.arange(1201) / 1200, -8.0 + np.arange(1201) / 1200
        heights = np.rint(surface(longitude[None, :], latitude[:, None]))
        (tmp_path / "N31W008.hgt").write_bytes(heights.astype(">i2").tobytes())
        box = BBox(west=-7.9, south=31.4, east=-7.8, north=31.5)
        field = open_dem(Dem(path=tmp_path / "N31W008.hgt", datum=ELLIPSOID), box)
        assert_is_surface(field, tolerance_m=0.51)
        x, _ = centres(field)
        np.testing.assert_allclose((x + 8) * 1200, np.rint((x + 8) * 1200), atol=1e-6)

    def test_isce_header_starts_at_the_centre_and_its_vrt_at_the_corner(self, tmp_path: Path) -> None:
        path = write_isce(tmp_path, west=-8.2, north=31.6, reference="EGM96")
        assert read_datum(path) is VerticalDatum.EGM96
        geoid = read_geoid(EGM96, BOX)
        field = open_dem(Dem(path=path, datum=VerticalDatum.EGM96), BOX)
        x, y = centres(field)
        np.testing.assert_allclose(field.heights_m, surface(x, y) + geoid.interpolate(x, y), atol=2e-3)

        virtual = path.with_name(path.name + ".vrt")
        copy_raster(str(path), str(virtual), driver="VRT")
        from_virtual = open_dem(Dem(path=virtual, datum=VerticalDatum.EGM96), BOX)
        assert (from_virtual.transform[2] - field.transform[2]) % POSTING == pytest.approx(POSTING / 2, rel=1e-3)
        assert read_datum(virtual) is VerticalDatum.EGM96

    def test_raw_dem_with_only_a_vrt(self, tmp_path: Path) -> None:
        path = write_isce(tmp_path, west=-8.2, north=31.6, reference="WGS84")
        path.with_name(path.name + ".vrt").write_text(raw_vrt(path))
        path.with_name(path.name + ".xml").unlink()
        field = open_dem(Dem(path=path, datum=ELLIPSOID), BOX)
        assert_is_surface(field)

    @pytest.mark.parametrize(
        "form", ["GTiff.tif", "ENVI.img", "EHdr.bil", "EHdr.flt", "HFA.img", "AAIGrid.asc", "VRT.vrt"]
    )
    def test_forms_that_files_beside_them_describe(self, tmp_path: Path, form: str) -> None:
        """Also while an option of GDAL hides these files, as somebody may have set it for products in the cloud."""
        driver, _, ending = form.partition(".")
        path = tmp_path / f"dem.{ending}"
        copy_raster(write_dem(tmp_path / "source.tif"), path, driver=driver)
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            assert_is_surface(open_dem(Dem(path=path, datum=ELLIPSOID), BOX), tolerance_m=0.01)
            assert read_datum(path) is None

    def test_isce_form_while_files_beside_are_hidden(self, tmp_path: Path) -> None:
        path = write_isce(tmp_path, west=-8.2, north=31.6, reference="WGS84")
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            assert_is_surface(open_dem(Dem(path=path, datum=ELLIPSOID), BOX))

    def test_utm(self, tmp_path: Path) -> None:
        to_degrees = Transformer.from_crs("EPSG:32629", "EPSG:4326", always_xy=True)
        x, y = 580_000 + 100 * np.arange(300), 3_500_000 - 100 * np.arange(320)
        longitude, latitude = to_degrees.transform(*np.meshgrid(x, y))
        transform = Affine(100, 0, 580_000 - 50, 0, -100, 3_500_000 + 50)
        settings = {"driver": "GTiff", "height": 320, "width": 300, "count": 1, "dtype": "float32"}
        with rasterio.open(tmp_path / "a.tif", "w", transform=transform, crs="EPSG:32629", **settings) as dataset:
            dataset.write(surface(longitude, latitude).astype("float32"), 1)
        field = open_dem(Dem(path=tmp_path / "a.tif", datum=VerticalDatum.EGM96), BOX)
        assert field.crs == "EPSG:32629"
        longitude, latitude = to_degrees.transform(*np.broadcast_arrays(*centres(field)))
        expected = surface(longitude, latitude) + read_geoid(EGM96, BOX.grow(0.3)).interpolate(longitude, latitude)
        np.testing.assert_allclose(field.heights_m, expected, atol=2e-3)
        assert longitude.min() < BOX.west
        assert longitude.max() > BOX.east

    def test_south_up(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif")
        with rasterio.open(path) as dataset:
            values, profile = dataset.read(1), dataset.profile
        flipped = Affine(POSTING, 0, -8.2, 0, POSTING, 31.6 - 360 * POSTING)
        with rasterio.open(tmp_path / "b.tif", "w", **{**profile, "transform": flipped}) as dataset:
            dataset.write(values[::-1], 1)
        field = open_dem(Dem(path=tmp_path / "b.tif", datum=ELLIPSOID), BOX)
        assert_is_surface(field)
        assert_covers(field, BOX)

    def test_longitudes_from_0_to_360(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif")
        with rasterio.open(path, "r+") as dataset:
            dataset.transform = Affine(POSTING, 0, 351.8, 0, -POSTING, 31.6)
        field = open_dem(Dem(path=path, datum=ELLIPSOID), BOX)
        assert_is_surface(field, tolerance_m=5e-3)
        assert_covers(field, BOX)

    def test_a_crop_larger_than_memory_allows_is_averaged(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dem_module, "MAX_POSTINGS", 2000)
        field = open_dem(Dem(path=write_dem(tmp_path / "a.tif"), datum=ELLIPSOID), BOX)
        assert field.heights_m.size <= 2000
        assert field.transform[0] > POSTING
        assert_is_surface(field)

    def test_box_on_whole_degrees_of_a_tile_without_its_last_column(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif", west=-8 - POSTING / 2, north=31.5 + POSTING / 2, shape=(120, 120))
        open_dem(Dem(path=path, datum=ELLIPSOID), BBox(west=-8, south=31.4, east=-7.9, north=31.5))


class TestValues:
    def test_int16_with_nodata(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif", dtype="int16", nodata=-32768)
        with rasterio.open(path, "r+") as dataset:
            values = dataset.read(1)
            values[170:180, 200:210] = -32768
            dataset.write(values, 1)
        field = open_dem(Dem(path=path, datum=VerticalDatum.EGM96), BOX)
        assert np.isnan(field.heights_m).sum() == 100
        assert np.nanmin(field.heights_m) > 900

    @pytest.mark.parametrize("void", [-32768.0, -9999.0, 1e20, np.nan])
    def test_undeclared_voids(self, tmp_path: Path, void: float) -> None:
        path = write_dem(tmp_path / "a.tif")
        with rasterio.open(path, "r+") as dataset:
            values = dataset.read(1)
            values[170:180, 200:210] = void
            dataset.write(values, 1)
        assert np.isnan(open_dem(Dem(path=path, datum=ELLIPSOID), BOX).heights_m).sum() == 100

    def test_scaled_integers(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif", dtype="int16")
        with rasterio.open(path, "r+") as dataset:
            dataset.scales = (0.1,)
            dataset.offsets = (5.0,)
        field = open_dem(Dem(path=path, datum=ELLIPSOID), BOX)
        x, y = centres(field)
        np.testing.assert_allclose(field.heights_m, np.floor(surface(x, y)) * 0.1 + 5, atol=0.11)


class TestGeoid:
    def test_paris(self) -> None:
        latitude, longitude, undulation = PARIS
        geoid = read_geoid(EGM96, BBox(west=2, south=48, east=3, north=49))
        assert float(geoid.interpolate(np.array(longitude), np.array(latitude))) == pytest.approx(undulation, abs=1e-3)
        assert float(geoid.interpolate(np.array(longitude + 360), np.array(latitude))) == pytest.approx(
            undulation, abs=1e-3
        )
        assert geoid.undulation_m.size < 200

    def test_is_added_to_egm96_heights(self, tmp_path: Path) -> None:
        latitude, longitude, undulation = PARIS
        path = write_dem(tmp_path / "a.tif", west=2.3, north=48.9, shape=(120, 120), nodata=None)
        with rasterio.open(path, "r+") as dataset:
            dataset.write(np.zeros((120, 120), np.float32), 1)
        around = BBox(west=longitude - 1e-3, south=latitude - 1e-3, east=longitude + 1e-3, north=latitude + 1e-3)
        field = open_dem(Dem(path=path, datum=VerticalDatum.EGM96), around)
        assert np.abs(field.heights_m - undulation).max() < 0.01

    @pytest.mark.parametrize("seam", [180.0, -180.0, 0.0, 360.0])
    def test_wraps_in_longitude(self, seam: float) -> None:
        box = BBox(west=seam - 0.4, south=-17.3, east=seam + 0.4, north=-16.6)
        geoid = read_geoid(EGM96, box)
        longitude = np.linspace(box.west, box.east, 9)
        latitude = np.full(9, -17.05)
        with rasterio.open(EGM96) as dataset:
            whole = dataset.read(1) * dataset.scales[0]
        column = ((longitude + 180) % 360) / 0.25
        expected = map_coordinates(np.hstack([whole, whole[:, :1]]), [(90 - latitude) / 0.25, column], order=1)
        np.testing.assert_allclose(geoid.interpolate(longitude, latitude), expected, atol=1e-3)

    @pytest.mark.parametrize("latitude", [89.99, -89.99])
    def test_poles(self, latitude: float) -> None:
        box = BBox(west=10, south=latitude - 0.005, east=11, north=latitude + 0.005)
        assert np.isfinite(read_geoid(EGM96, box).interpolate(np.array([10.5]), np.array([latitude]))).all()

    def test_outside_is_an_error(self) -> None:
        geoid = read_geoid(EGM96, BBox(west=2, south=48, east=3, north=49))
        with pytest.raises(ProvisionError, match="does not cover"):
            geoid.interpolate(np.array([7.0]), np.array([48.0]))

    @pytest.mark.real
    def test_package_grid_is_the_original(self, shared_data: Path) -> None:
        with rasterio.open(shared_data / "geoid" / "egm96_15.gtx") as original, rasterio.open(EGM96) as packed:
            assert original.transform == packed.transform
            assert np.abs(original.read(1) - packed.read(1) * packed.scales[0]).max() < 1e-3

    @pytest.mark.real
    @pytest.mark.parametrize("place", ["los_angeles", "fairbanks"])
    def test_orthometric_twin_plus_geoid_is_the_ellipsoidal_twin(self, shared_data: Path, place: str) -> None:
        twins = shared_data / "geoid" / "twins"
        with rasterio.open(twins / f"{place}_dem_ellipsoid.tif") as dataset:
            truth, (west, south, east, north) = dataset.read(1), dataset.bounds
        dem = Dem(
            path=twins / f"{place}_dem_geoid.tif",
            datum=VerticalDatum.EGM2008,
            geoid=twins / f"egm_08_{place}.tif",
        )
        field = open_dem(dem, BBox(west=west, south=south, east=east, north=north))
        assert field.shape == truth.shape
        assert np.nanmax(np.abs(field.heights_m - truth)) < 0.05

    @pytest.mark.real
    def test_real_int16_dem(self, shared_data: Path) -> None:
        path = next((shared_data / "morocco" / "dem").glob("*iw1*.tiff"))
        box = BBox(west=-8.85, south=31.6, east=-7.9, north=31.85)
        orthometric = open_dem(Dem(path=path, datum=ELLIPSOID), box).heights_m
        undulation = open_dem(Dem(path=path, datum=VerticalDatum.EGM96), box).heights_m - orthometric
        assert 43 < np.nanmin(undulation) < np.nanmax(undulation) < 52


class TestDatum:
    @pytest.mark.parametrize(
        ("crs", "datum"),
        [
            ("EPSG:4326", None),
            ("EPSG:4326+5773", VerticalDatum.EGM96),
            ("EPSG:4326+3855", VerticalDatum.EGM2008),
            ("EPSG:32629+5773", VerticalDatum.EGM96),
            ("EPSG:4979", ELLIPSOID),
            ("EPSG:4326+5703", None),
            (None, None),
        ],
    )
    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    def test_declared_by_its_crs(
        self, tmp_path: Path, crs: str | None, datum: VerticalDatum | None, version: str
    ) -> None:
        if crs == "EPSG:4979" and version == "1.0":
            pytest.skip("GeoTIFF 1.0 has no three-dimensional coordinate systems")
        path = write_dem(tmp_path / "a.tif", crs=crs, geotiff_version=version)
        assert read_datum(path) is datum

    def test_compound_crs_is_used_by_its_horizontal_part(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif", crs="EPSG:4326+5773", geotiff_version="1.1")
        field = open_dem(Dem(path=path, datum=VerticalDatum.EGM96), BOX)
        assert field.crs == "EPSG:4326"
        x, y = centres(field)
        np.testing.assert_allclose(field.heights_m, surface(x, y) + read_geoid(EGM96, BOX).interpolate(x, y), atol=2e-3)

    def test_contradiction(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif", crs="EPSG:4326+3855", geotiff_version="1.1")
        with pytest.raises(ProvisionError, match="given as egm96, but declares egm2008"):
            open_dem(Dem(path=path, datum=VerticalDatum.EGM96), BOX)

    def test_egm2008_without_a_grid_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ProvisionError, match="no egm2008 geoid grid") as caught:
            open_dem(Dem(path=write_dem(tmp_path / "a.tif"), datum=VerticalDatum.EGM2008), BOX)
        assert "geoid" in caught.value.hint

    def test_broken_isce_header(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif")
        path.with_name("a.tif.xml").write_text("<imageFile>")
        with pytest.raises(ProvisionError, match="does not parse"):
            read_datum(path)


class TestRefusals:
    def test_does_not_cover_names_both_boxes(self, tmp_path: Path) -> None:
        dem = Dem(path=write_dem(tmp_path / "a.tif"), datum=ELLIPSOID)
        with pytest.raises(ProvisionError) as caught:
            open_dem(dem, BBox(west=-8.1, south=31.4, east=-7.5, north=31.5))
        assert "south 31.3000, north 31.6000, west -8.2000, east -7.8667" in caught.value.message
        assert "south 31.4000, north 31.5000, west -8.1000, east -7.5000" in caught.value.message

    def test_nothing_but_voids(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif", nodata=-9999)
        with rasterio.open(path, "r+") as dataset:
            dataset.write(np.full(dataset.shape, -9999, np.float32), 1)
        with pytest.raises(ProvisionError, match="nothing but voids"):
            open_dem(Dem(path=path, datum=ELLIPSOID), BOX)

    def test_missing_or_no_raster(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_text("<error>Error: invalid key</error>")
        for name in ("a.tif", "absent.tif"):
            with pytest.raises(ProvisionError, match=f"cannot read the DEM .*{name}"):
                open_dem(Dem(path=tmp_path / name, datum=ELLIPSOID), BOX)

    def test_truncated(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif")
        path.write_bytes(path.read_bytes()[:100_000])
        with pytest.raises(ProvisionError, match="cannot read the DEM"):
            open_dem(Dem(path=path, datum=ELLIPSOID), BOX)

    def test_without_coordinate_system(self, tmp_path: Path) -> None:
        with pytest.raises(ProvisionError, match="no coordinate system"):
            open_dem(Dem(path=write_dem(tmp_path / "a.tif", crs=None), datum=ELLIPSOID), BOX)

    def test_rotated(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif")
        with rasterio.open(path, "r+") as dataset:
            dataset.transform = Affine(POSTING, 1e-4, -8.2, 1e-4, -POSTING, 31.6)
        with pytest.raises(ProvisionError, match="rotated"):
            open_dem(Dem(path=path, datum=ELLIPSOID), BOX)

    def test_feet(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif")
        with rasterio.open(path, "r+") as dataset:
            dataset.units = ("ft",)
        with pytest.raises(ProvisionError, match="'ft'"):
            open_dem(Dem(path=path, datum=ELLIPSOID), BOX)

    def test_geoid_of_elsewhere_or_projected(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif")
        elsewhere = write_dem(tmp_path / "b.tif", west=20)
        projected = write_dem(tmp_path / "c.tif", crs="EPSG:32629")
        for geoid, message in ((elsewhere, "does not meet"), (projected, "not in longitude and latitude")):
            with pytest.raises(ProvisionError, match=message):
                open_dem(Dem(path=path, datum=VerticalDatum.EGM2008, geoid=geoid), BOX)

    def test_geoid_with_a_hole(self, tmp_path: Path) -> None:
        path = write_dem(tmp_path / "a.tif")
        holed = write_dem(tmp_path / "b.tif", nodata=-9999)
        with rasterio.open(holed, "r+") as dataset:
            values = dataset.read(1)
            values[200, 230] = -9999
            dataset.write(values, 1)
        with pytest.raises(ProvisionError, match="does not cover"):
            open_dem(Dem(path=path, datum=VerticalDatum.EGM2008, geoid=holed), BOX)


def write_isce(folder: Path, *, west: float, north: float, reference: str) -> Path:
    """A raw DEM with ISCE's header: ``west`` and ``north`` are the centre of the first pixel."""
    rows, columns = 360, 400
    longitude = west + POSTING * np.arange(columns)
    latitude = north - POSTING * np.arange(rows)
    path = folder / "demLat_N31_N32_Lon_W009_W008.dem"
    path.write_bytes(surface(longitude[None, :], latitude[:, None]).astype("<f4").tobytes())

    def prop(name: str, value: object) -> str:
        return f'<property name="{name}"><value>{value}</value></property>'

    def coordinate(name: str, start: float, delta: float, size: int) -> str:
        inside = prop("delta", delta) + prop("size", size) + prop("startingvalue", start)
        return f'<component name="{name}">{inside}</component>'

    path.with_name(path.name + ".xml").write_text(
        "<imageFile>"
        + prop("byte_order", "l")
        + coordinate("coordinate1", west, POSTING, columns)
        + coordinate("coordinate2", north, -POSTING, rows)
        + prop("data_type", "FLOAT")
        + prop("number_bands", 1)
        + prop("scheme", "BIP")
        + prop("width", columns)
        + prop("length", rows)
        + prop("reference", reference)
        + "</imageFile>"
    )
    return path


def raw_vrt(path: Path) -> str:
    """A VRT over the raw DEM whose origin is the corner of the first pixel, as GDAL means it."""
    return f"""<VRTDataset rasterXSize="400" rasterYSize="360"><SRS>EPSG:4326</SRS>
<GeoTransform>{-8.2 - POSTING / 2}, {POSTING}, 0, {31.6 + POSTING / 2}, 0, {-POSTING}</GeoTransform>
<VRTRasterBand dataType="Float32" band="1" subClass="VRTRawRasterBand">
<SourceFilename relativeToVRT="1">{path.name}</SourceFilename><ByteOrder>LSB</ByteOrder>
<ImageOffset>0</ImageOffset><PixelOffset>4</PixelOffset><LineOffset>1600</LineOffset>
</VRTRasterBand></VRTDataset>"""


@pytest.mark.parametrize(
    ("crs", "step", "metres"), [("EPSG:4326", 1 / 3600, 30.89), ("EPSG:32629", 12.5, 12.5), ("EPSG:2264", 100.0, 30.48)]
)
def test_the_spacing_of_heights_is_told_in_metres(crs: str, step: float, metres: float, tmp_path: Path) -> None:
    path, transform = tmp_path / "dem.tif", Affine(step, 0, 1000, 0, -step, 80)
    layout = {"driver": "GTiff", "width": 3, "height": 3, "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", crs=crs, transform=transform, **layout) as dataset:
        dataset.write(np.zeros((1, 3, 3), np.float32))
    assert dem_module.measure_spacing(Dem(path=path, datum=ELLIPSOID)) == pytest.approx(metres, abs=0.05)
