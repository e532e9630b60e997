"""Products as folders and zips, found by name and described by their manifest; also writes the tiny products."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from topsar.errors import SceneError
from topsar.model import PRODUCT_NAME, Direction
from topsar.sentinel1 import find_scene, list_products, list_unused_products, open_scene, read_bursts
from topsar.sentinel1.container import strip_endings
from topsar.sentinel1.document import parse_time

START = datetime(2023, 9, 4, 6, 37, 30, 500000, tzinfo=timezone.utc)
LINES, SAMPLES, BURSTS = 6, 10, 3
LINE_INTERVAL_S, CYCLE_S = 0.002, 2.75


def stamp(time: datetime) -> str:
    return time.replace(tzinfo=None).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Tiny:
    """A whole product of a few samples, with knobs for what differs between processor versions."""

    name: str = "S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1"
    unit: str = "A"
    mode: str = "IW"
    kind: str = "SLC"
    ipf: str = "003.61"
    swaths: tuple[str, ...] = ("IW1", "IW2")
    polarisations: tuple[str, ...] = ("VV",)
    burst_ids: bool = True
    old_fm_rate: bool = False
    dc_method: str = "Data Analysis"
    empty_grid: bool = False
    frame: str = "Earth Fixed"
    orbit_step_s: float = 10.0
    replacements: tuple[tuple[str, str], ...] = field(default=())

    def stem(self, swath: str, polarisation: str) -> str:
        return f"s1{self.unit}-{swath}-slc-{polarisation}-20230904t063730-20230904t063757-050174-0609e3-004".lower()

    def manifest(self) -> str:
        return f"""<?xml version="1.0" encoding="UTF-8"?>
<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:safe="http://www.esa.int/safe/sentinel-1.0"
 xmlns:s1="http://www.esa.int/safe/sentinel-1.0/sentinel-1" xmlns:s1sarl1="urn:level-1"><metadataSection>
<safe:processing><safe:facility><safe:software name="Sentinel-1 IPF" version="{self.ipf}"/></safe:facility>
<safe:resource><safe:processing><safe:facility><safe:software name="Sentinel-1 IPF" version="001.00"/></safe:facility>
</safe:processing></safe:resource></safe:processing>
<safe:platform><safe:familyName>SENTINEL-1</safe:familyName><safe:number>{self.unit}</safe:number><safe:instrument>
<s1sarl1:instrumentMode><s1sarl1:mode>{self.mode}</s1sarl1:mode></s1sarl1:instrumentMode></safe:instrument>
</safe:platform>
<safe:orbitReference><safe:orbitNumber type="stop">50175</safe:orbitNumber>
<safe:orbitNumber type="start">50174</safe:orbitNumber>
<safe:relativeOrbitNumber type="stop">53</safe:relativeOrbitNumber>
<safe:relativeOrbitNumber type="start">52</safe:relativeOrbitNumber>
<safe:extension><s1:pass>DESCENDING</s1:pass></safe:extension></safe:orbitReference>
<s1sarl1:productType>{self.kind}</s1sarl1:productType>
<s1sarl1:missionDataTakeID>395747</s1sarl1:missionDataTakeID>
<safe:acquisitionPeriod><safe:startTime>{stamp(START)}</safe:startTime>
<safe:stopTime>{stamp(START + timedelta(seconds=27))}</safe:stopTime></safe:acquisitionPeriod>
</metadataSection></xfdu:XFDU>"""

    def annotation(self, swath: str, polarisation: str) -> str:
        text = f"""<?xml version="1.0" encoding="UTF-8"?>
<product><adsHeader><missionId>S1{self.unit}</missionId><polarisation>{polarisation}</polarisation><mode>IW</mode>
<swath>{swath}</swath><startTime>{stamp(START)}</startTime><stopTime>{stamp(START + timedelta(seconds=8.25))}</stopTime>
<absoluteOrbitNumber>50174</absoluteOrbitNumber><missionDataTakeId>395747</missionDataTakeId></adsHeader>
<generalAnnotation><productInformation><rangeSamplingRate>6.434523812571428e+07</rangeSamplingRate>
<radarFrequency>5.405000454334350e+09</radarFrequency><azimuthSteeringRate>1.590368784</azimuthSteeringRate>
</productInformation><orbitList count="4">{"".join(self._orbit(k) for k in range(4))}</orbitList>
<azimuthFmRateList count="3">{"".join(self._fm_rate(k) for k in range(3))}</azimuthFmRateList></generalAnnotation>
<imageAnnotation><imageInformation><slantRangeTime>5.34e-03</slantRangeTime>
<azimuthTimeInterval>{LINE_INTERVAL_S}</azimuthTimeInterval></imageInformation>
<processingInformation><dcMethod>{self.dc_method}</dcMethod><swathProcParamsList><swathProcParams>
<swath>{swath}</swath><rangeProcessing><processingBandwidth>5.65e+07</processingBandwidth></rangeProcessing>
<azimuthProcessing><processingBandwidth>3.27e+02</processingBandwidth></azimuthProcessing>
</swathProcParams></swathProcParamsList></processingInformation></imageAnnotation>
<dopplerCentroid><dcEstimateList count="3">
{"".join(self._doppler(k) for k in range(3))}</dcEstimateList>
</dopplerCentroid>
<swathTiming><linesPerBurst>{LINES}</linesPerBurst><samplesPerBurst>{SAMPLES}</samplesPerBurst>
<burstList count="{BURSTS}">{"".join(self._burst(k) for k in range(BURSTS))}</burstList></swathTiming>
<geolocationGrid><geolocationGridPointList>{self._points()}</geolocationGridPointList></geolocationGrid></product>"""
        for old, new in self.replacements:
            assert old in text, old
            text = text.replace(old, new)
        return text

    def _orbit(self, k: int) -> str:
        time = stamp(START + timedelta(seconds=self.orbit_step_s * (k - 1)))
        position = f"<x>{1000.0 * k}</x><y>{1000.0 * k + 1}</y><z>{-1000.0 * k}</z>"
        vectors = f"<position>{position}</position><velocity><x>100</x><y>100</y><z>-100</z></velocity>"
        return f"<orbit><time>{time}</time><frame>{self.frame}</frame>{vectors}</orbit>"

    def _fm_rate(self, k: int) -> str:
        time = stamp(START + timedelta(seconds=CYCLE_S * k))
        c = (f"{-2300 - k}", "4.5e+05", "-8e+07")
        old = "".join(f"<c{i}>{value}</c{i}>" for i, value in enumerate(c))
        new = f'<azimuthFmRatePolynomial count="3">{" ".join(c)}</azimuthFmRatePolynomial>'
        values = old if self.old_fm_rate else new
        return f"<azimuthFmRate><azimuthTime>{time}</azimuthTime><t0>5.3e-03</t0>{values}</azimuthFmRate>"

    def _doppler(self, k: int) -> str:
        time = stamp(START + timedelta(seconds=CYCLE_S * (k - 0.4)))
        return (
            f"<dcEstimate><azimuthTime>{time}</azimuthTime><t0>5.31e-03</t0>"
            f"<geometryDcPolynomial>{k + 100} 1 2</geometryDcPolynomial>"
            f"<dataDcPolynomial>{k + 200} 1 2</dataDcPolynomial></dcEstimate>"
        )

    def _burst(self, k: int) -> str:
        first, last = "-1 2 2 3 2 -1", "-1 8 8 8 7 -1"
        number = f'<burstId absolute="{9000 + k}">{110431 + k}</burstId>' if self.burst_ids else ""
        return (
            f"<burst><azimuthTime>{stamp(START + timedelta(seconds=CYCLE_S * k))}</azimuthTime>"
            f"<firstValidSample>{first}</firstValidSample><lastValidSample>{last}</lastValidSample>{number}</burst>"
        )

    def _points(self) -> str:
        if self.empty_grid:
            return ""
        point = (
            "<geolocationGridPoint><azimuthTime>{time}</azimuthTime><slantRangeTime>5.34e-03</slantRangeTime>"
            "<line>{k}</line><pixel>3</pixel><latitude>31.5</latitude><longitude>-8.1</longitude>"
            "<height>1200</height><incidenceAngle>30</incidenceAngle></geolocationGridPoint>"
        )
        return "".join(point.format(time=stamp(START + timedelta(seconds=k)), k=k) for k in range(4))

    def pixels(self) -> np.ndarray:
        """Digital numbers (BURSTS * LINES, SAMPLES), each its own."""
        values = np.arange(BURSTS * LINES * SAMPLES).reshape(-1, SAMPLES)
        return (values + 1 - 2j * values).astype(np.complex64)

    def write(self, folder: Path, *, measurement: bool = False) -> Path:
        """Write the SAFE folder."""
        safe = folder / f"{self.name}.SAFE"
        (safe / "annotation" / "calibration").mkdir(parents=True)
        (safe / "measurement").mkdir()
        (safe / "manifest.safe").write_text(self.manifest())
        for swath in self.swaths:
            for polarisation in self.polarisations:
                stem = self.stem(swath, polarisation)
                (safe / "annotation" / f"{stem}.xml").write_text(self.annotation(swath, polarisation))
                if measurement:
                    write_tiff(safe / "measurement" / f"{stem}.tiff", self.pixels())
        return safe


def write_tiff(path: Path, values: np.ndarray, *, filled: bool = True, **options: object) -> None:
    """A CInt16 image with tie points, one strip per line, as ESA writes it."""
    point = rasterio.control.GroundControlPoint(row=0, col=0, x=-8.0, y=31.0, z=0.0)
    height, width = values.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "complex_int16"}
    profile |= {"gcps": [point] * 4, "crs": "EPSG:4326", "blockysize": 1} | options
    with rasterio.open(path, "w", **profile) as image:
        if filled:
            image.write(values, 1)


def zipped(safe: Path, target: Path, *, parent: str = "") -> Path:
    """The SAFE folder as a zip, under a parent folder where given."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(safe.rglob("*")):
            archive.write(file, f"{parent}{safe.name}/{file.relative_to(safe)}")
    return target


def zipped_on_windows(safe: Path, target: Path) -> Path:
    """The SAFE folder as some programs zip it there, with backslashes in names."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in safe.rglob("*") if path.is_file()):
            archive.writestr("\\".join((safe.name, *file.relative_to(safe).parts)), file.read_bytes())
    return target


@pytest.mark.parametrize("place", ["{}/{}.SAFE", "{}.SAFE/{}.SAFE", "2023/09/{}.SAFE", "linked/{}.SAFE"])
def test_a_product_in_a_folder_of_its_own_or_of_a_year(tmp_path: Path, place: str) -> None:
    raw, inside = tmp_path / "raw", tmp_path / "raw" / place.replace("{}", Tiny.name)
    if place.startswith("linked"):
        (tmp_path / "archive").mkdir()
        raw.mkdir()
        (raw / "linked").symlink_to(tmp_path / "archive")
    inside.parent.mkdir(parents=True, exist_ok=True)
    Tiny().write(tmp_path).rename(inside)
    assert find_scene(raw, Tiny.name) == inside
    assert open_scene(inside).name == Tiny.name
    assert (list_products(raw), list_unused_products(raw)) == ((Tiny.name,), ())


@pytest.mark.parametrize("name", ["{} (1).zip", "{}(2).zip", "{}.SAFE (1).zip", "{} - Copy.zip", "{} copy.zip"])
def test_a_copy_is_a_product_if_it_is_alone(tmp_path: Path, name: str) -> None:
    copy = zipped(Tiny().write(tmp_path / "source"), tmp_path / name.replace("{}", Tiny.name))
    (tmp_path / f"._{Tiny.name}.zip").touch()
    shutil.rmtree(tmp_path / "source")
    assert find_scene(tmp_path, Tiny.name) == copy
    assert open_scene(copy).name == Tiny.name
    original = shutil.copy(copy, tmp_path / f"{Tiny.name}.zip")
    assert find_scene(tmp_path, Tiny.name) == original
    (tmp_path / f"{Tiny.name}.tar").touch()
    assert list_products(tmp_path) == (Tiny.name,)
    assert list_unused_products(tmp_path) == (f"{Tiny.name}.tar: neither a .SAFE folder nor a .zip",)


@pytest.mark.parametrize("parent", [None, "", "safe/", "some/where/"])
def test_a_folder_and_a_zip_give_the_same_scene(tmp_path: Path, parent: str | None) -> None:
    path = Tiny(polarisations=("VH", "VV")).write(tmp_path)
    if parent is not None:
        path = zipped(path, tmp_path / "renamed.zip", parent=parent)
    scene = open_scene(path)
    assert scene.name == Tiny.name
    assert scene.path == path
    assert (scene.mission, scene.ipf, scene.direction) == ("S1A", "003.61", Direction.DESCENDING)
    assert (scene.track, scene.absolute_orbit) == (52, 50174)
    assert (scene.start, scene.stop) == (START, START + timedelta(seconds=27))
    assert (scene.swaths, scene.polarisations) == (("IW1", "IW2"), ("VH", "VV"))
    assert scene.files[0].annotation == f"annotation/{Tiny().stem('IW1', 'VH')}.xml"
    assert scene.files[0].measurement == f"measurement/{Tiny().stem('IW1', 'VH')}.tiff"
    assert len(read_bursts(scene, "IW2", "VH")) == BURSTS


@pytest.mark.parametrize("unit", ["A", "B", "C", "D"])
@pytest.mark.parametrize("polarisations", [("HH",), ("HH", "HV"), ("VV",)])
def test_every_satellite_and_polarisation(tmp_path: Path, unit: str, polarisations: tuple[str, ...]) -> None:
    name = Tiny.name.replace("S1A", f"S1{unit}").replace("1SDV", f"1SD{polarisations[0][0]}")
    tiny = Tiny(name=name, unit=unit, polarisations=polarisations, swaths=("IW3",))
    scene = open_scene(tiny.write(tmp_path))
    assert scene.mission == f"S1{unit}"
    assert scene.polarisations == polarisations
    assert scene.swaths == ("IW3",)


def test_a_zip_of_the_bare_contents_is_named_by_the_zip(tmp_path: Path) -> None:
    safe = Tiny().write(tmp_path)
    target = tmp_path / f"{Tiny.name}.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for file in safe.rglob("*.*"):
            archive.write(file, file.relative_to(safe))
    assert open_scene(target).name == Tiny.name
    assert len(read_bursts(open_scene(target), "IW1", "VV")) == BURSTS


def test_zips_whose_folders_have_one_name_are_two_products(tmp_path: Path) -> None:
    for name in (Tiny.name, Tiny.name[:-4] + "DAA2"):
        safe = Tiny(name=name).write(tmp_path)
        with zipfile.ZipFile(tmp_path / f"{safe.stem}.zip", "w") as archive:
            for file in safe.rglob("*.*"):
                archive.write(file, f"product.SAFE/{file.relative_to(safe)}")
        assert open_scene(tmp_path / f"{safe.stem}.zip").name == safe.stem


# --- name, manifest, annotations and images ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("S1A", "S1B", "mission S1B instead of S1A"),
        ("1SDV", "1SDH", "polarisation H instead of V"),
        ("20230904T063730_20230904T063757", "20230916T063730_20230916T063757", "period 2023-09-16T06:37:30 to"),
        ("20230904T063730_20230904T063757", "20230904T063755_20230904T063822", "period 2023-09-04T06:37:55 to"),
        ("050174", "050349", "orbit 50349 instead of 50174"),
        ("0609E3", "060FCD", "data take 397261 instead of 395747"),
    ],
)
@pytest.mark.parametrize("ending", [".SAFE", ".zip"])
def test_a_product_under_the_name_of_another_is_refused(
    tmp_path: Path, old: str, new: str, words: str, ending: str
) -> None:
    safe = Tiny().write(tmp_path)
    target = tmp_path / (safe.stem.replace(old, new) + ending)
    path = safe.rename(target) if ending == ".SAFE" else zipped(safe, target)
    with pytest.raises(SceneError, match=words) as caught:
        open_scene(path)
    assert caught.value.hint


def test_a_product_of_single_bursts_is_named_by_them(tmp_path: Path) -> None:
    name = Tiny.name.replace("T063730_20230904T063757", "T063730_20230904T063736")  # the last one starts then
    scene = open_scene(Tiny(name=name).write(tmp_path))
    assert (scene.start, scene.stop) == (START, START + timedelta(seconds=8.25))
    assert len(read_bursts(scene, "IW1", "VV")) == BURSTS


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<missionId>S1A", "<missionId>S1B", "mission S1B instead of S1A"),
        ("<mode>IW", "<mode>EW", "mode EW instead of IW"),
        ("Number>50174", "Number>50349", "orbit 50349 instead of 50174"),
        ("TakeId>395747", "TakeId>397261", "data take 397261 instead of 395747"),
        (f"<startTime>{stamp(START)}", "<startTime>2023-08-23T06:37:30.5", "period 2023-08-23T06:37:30 to"),
        ("<stopTime>2023-09-04T06:37:38", "<stopTime>2023-09-04T06:38:08", "to 2023-09-04T06:38:08 instead of"),
    ],
)
def test_the_annotation_of_another_product_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(SceneError, match=rf"annotation/s1a-iw1\S+ and manifest are of different products: .*{words}"):
        open_scene(Tiny(replacements=((old, new),)).write(tmp_path))


def test_a_polarisation_that_the_manifest_does_not_know_is_refused(tmp_path: Path) -> None:
    safe = Tiny(polarisations=("VH",)).write(tmp_path)
    sent = "<x:transmitterReceiverPolarisation>VV</x:transmitterReceiverPolarisation>"
    change(safe / "manifest.safe", "<metadataSection>", f'<metadataSection xmlns:x="urn:x">{sent}')
    with pytest.raises(SceneError, match="polarisation VH instead of VV"):
        open_scene(safe)


def test_two_annotations_of_a_swath_are_refused(tmp_path: Path) -> None:
    safe = Tiny().write(tmp_path)
    first = safe / "annotation" / f"{Tiny().stem('IW1', 'VV')}.xml"
    second = first.with_name(first.name.replace("20230904", "20230916"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(SceneError, match=rf"two annotations of IW1 VV: \S+{first.name} and \S+{second.name}"):
        open_scene(safe)


def test_bursts_outside_the_product_are_refused(tmp_path: Path) -> None:
    last = stamp(START + timedelta(seconds=2 * CYCLE_S))
    tiny = Tiny(replacements=((f"<burst><azimuthTime>{last}", "<burst><azimuthTime>2023-09-16T06:37:36.0"),))
    scene = open_scene(tiny.write(tmp_path))
    with pytest.raises(SceneError, match="burst 2 of 2023-09-16T06:37:36 is outside the product"):
        read_bursts(scene, "IW1", "VV")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def listing(files: list[Path], safe: Path) -> str:
    """The files as a manifest lists them."""
    entries = (
        f'<dataObject><byteStream size="{file.stat().st_size}"><fileLocation href="./{file.relative_to(safe)}"/>'
        f'<checksum checksumName="MD5">{hashlib.md5(file.read_bytes()).hexdigest().upper()}</checksum></byteStream>'
        "</dataObject>"
        for file in files
    )
    return f"<dataObjectSection>{''.join(entries)}</dataObjectSection></xfdu:XFDU>"


@pytest.mark.parametrize("as_zip", [False, True])
def test_files_that_are_not_as_the_manifest_says_are_named(tmp_path: Path, as_zip: bool) -> None:
    safe = Tiny(swaths=("IW1", "IW2", "IW3")).write(tmp_path, measurement=True)
    annotations, images = (sorted((safe / folder).glob("*.*")) for folder in ("annotation", "measurement"))
    change(safe / "manifest.safe", "</xfdu:XFDU>", listing(annotations + images, safe))
    assert open_scene(safe).faults == ()
    annotations[0].unlink()
    annotations[1].write_text(annotations[1].read_text().replace("<mode>IW", "<mode>EW"))
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:-1])
    images[2].write_bytes(b"")
    scene = open_scene(zipped(safe, tmp_path / f"{Tiny.name}.zip") if as_zip else safe)
    size = images[1].stat().st_size
    assert scene.faults == (
        f"annotation/{annotations[0].name} is missing",
        f"annotation/{annotations[1].name} is not the file whose checksum is in the manifest",
        f"measurement/{images[0].name} is missing",
        f"measurement/{images[1].name} has {size} bytes, {size + 1} by the manifest",
        f"measurement/{images[2].name} is empty",
    )
    assert scene.swaths == ("IW2", "IW3")
    assert [fault.split()[1:] for fault in scene.find_faults("measurement", "IW3", "VV")] == [["is", "empty"]]


@pytest.mark.parametrize(("axis", "direction"), [("<z>-", Direction.DESCENDING), ("<z>", Direction.ASCENDING)])
def test_the_direction_is_that_of_the_orbit(tmp_path: Path, axis: str, direction: Direction) -> None:
    assert open_scene(Tiny(replacements=(("<z>-", axis),)).write(tmp_path)).direction is direction


def test_without_state_vectors_the_direction_is_the_manifests(tmp_path: Path) -> None:
    assert open_scene(Tiny(replacements=(("orbitList", "other"),)).write(tmp_path)).direction is Direction.DESCENDING


@pytest.mark.parametrize("name", ["manifest.safe", f"annotation/{Tiny().stem('IW1', 'VV')}.xml"])
@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        b"<a>" + b" " * (1 << 25) + b"</a>",
        b"<a>" + b"<b/>" * 1_000_001 + b"</a>",
        b"<a>" * 400_000 + b"</a>" * 400_000,
        b'<!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>',
    ],
    ids=["long", "wide", "deep", "entity"],
)
def test_a_document_without_bounds_is_refused(tmp_path: Path, name: str, as_zip: bool, content: bytes) -> None:
    safe = Tiny().write(tmp_path)
    (safe / name).write_bytes(content)
    try:
        said = " ".join(open_scene(zipped(safe, tmp_path / f"{Tiny.name}.zip") if as_zip else safe).faults)
    except SceneError as exc:
        said = str(exc)
    assert name in said or Tiny.name in said


def test_finder_leftovers_in_a_zip_are_ignored(tmp_path: Path) -> None:
    path = zipped(Tiny().write(tmp_path), tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/x.SAFE/manifest.safe", b"\0")
    assert open_scene(path).swaths == ("IW1", "IW2")


@pytest.mark.parametrize(
    ("tiny", "words"),
    [(Tiny(kind="GRD"), "GRD of mode IW"), (Tiny(mode="EW"), "SLC of mode EW"), (Tiny(swaths=()), "no annotation")],
)
def test_products_of_another_kind_are_refused(tmp_path: Path, tiny: Tiny, words: str) -> None:
    with pytest.raises(SceneError, match=words) as caught:
        open_scene(tiny.write(tmp_path))
    assert caught.value.hint


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"holds no manifest\.safe"):
        open_scene(tmp_path)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no such file"):
        open_scene(tmp_path / "gone.zip")


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        (("<s1:pass>DESCENDING", "<s1:pass>SIDEWAYS"), "SIDEWAYS"),
        (('Number type="start">52<', 'Number type="start">x<'), "relativeOrbitNumber.*'x'"),
        ((stamp(START), "yesterday"), "startTime.*yesterday"),
        (("acquisitionPeriod>", "other>"), "acquisitionPeriod is missing"),
        (("</metadataSection>", ""), r"manifest\.safe: not well-formed XML"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path: Path, replacement: tuple[str, str], words: str) -> None:
    manifest = Tiny().write(tmp_path) / "manifest.safe"
    text = manifest.read_text()
    assert replacement[0] in text
    manifest.write_text(text.replace(*replacement))
    with pytest.raises(SceneError, match=words) as caught:
        open_scene(manifest.parent)
    assert "download the scene again" in caught.value.hint


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_zip_is_one_clear_error(tmp_path: Path, keep: float) -> None:
    path = zipped(Tiny().write(tmp_path), tmp_path / "cut.zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(SceneError, match=r"cut\.zip: not a readable zip"):
        open_scene(path)


def test_a_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    path = zipped(Tiny().write(tmp_path), tmp_path / "bad.zip")
    scene = open_scene(path)
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith(scene.files[0].annotation))
    data = bytearray(path.read_bytes())
    middle = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    data[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(SceneError, match=r"bad\.zip: annotation/s1a-iw1.*cannot be read"):
        read_bursts(scene, "IW1", "VV")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_holds_a_file_twice_is_refused(tmp_path: Path) -> None:
    path = zipped(Tiny().write(tmp_path), tmp_path / "twice.zip")
    with zipfile.ZipFile(path, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".xml"))
        archive.writestr(name, archive.read(name))
    with pytest.raises(SceneError, match=rf"twice\.zip: the zip holds two files of one name: {name}"):
        open_scene(path)


def test_a_zip_without_a_safe_and_one_with_two(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"")
    with pytest.raises(SceneError, match=r"exactly one SAFE.*found none"):
        open_scene(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.SAFE", "b.SAFE"):
            archive.writestr(f"{name}/manifest.safe", b"")
    with pytest.raises(SceneError, match=r"found a\.SAFE/, b\.SAFE/"):
        open_scene(path)


@pytest.mark.parametrize("ending", ["", ".SAFE", ".zip", ".SAFE.zip", ".safe"])
@pytest.mark.parametrize("stored", [".zip", ".SAFE.zip", ".ZIP"])
def test_a_scene_is_found_by_any_form_of_its_name(tmp_path: Path, ending: str, stored: str) -> None:
    path = tmp_path / f"{Tiny.name}{stored}"
    path.touch()
    (tmp_path / f"{Tiny.name}.zip.part").touch()
    assert find_scene(tmp_path, Tiny.name + ending) == path


def test_a_whole_folder_wins_over_a_zip_and_a_zip_over_an_empty_folder(tmp_path: Path) -> None:
    target = tmp_path / f"{Tiny.name}.zip"
    target.touch()
    folder = tmp_path / f"{Tiny.name}.SAFE"
    folder.mkdir()
    assert find_scene(tmp_path, Tiny.name) == target
    (folder / "manifest.safe").touch()
    assert find_scene(tmp_path, Tiny.name) == folder


def test_a_zip_wins_over_a_folder_that_was_half_unpacked(tmp_path: Path) -> None:
    safe = Tiny().write(tmp_path, measurement=True)
    target = zipped(safe, tmp_path / f"{Tiny.name}.zip")
    assert find_scene(tmp_path, Tiny.name) == safe
    next((safe / "measurement").iterdir()).write_bytes(b"")
    assert find_scene(tmp_path, Tiny.name) == target
    next((safe / "annotation").glob("*.xml")).write_text("<half")
    assert find_scene(tmp_path, Tiny.name) == target


def test_a_name_not_found_lists_near_names(tmp_path: Path) -> None:
    (tmp_path / f"{Tiny.name}.zip").touch()
    with pytest.raises(SceneError, match="DAA2: neither") as caught:
        find_scene(tmp_path, Tiny.name[:-1] + "2")
    assert Tiny.name in caught.value.hint
    with pytest.raises(SceneError, match="neither") as caught:
        find_scene(tmp_path / "nowhere", "anything")
    assert "holds 0 products" in caught.value.hint


@given(st.text("S1A_IW0-", min_size=1), st.lists(st.sampled_from([".SAFE", ".zip", ".safe", ".ZIP"]), max_size=3))
def test_bare_name_drops_endings_and_is_idempotent(stem: str, endings: list[str]) -> None:
    assert strip_endings(stem + "".join(endings)) == stem
    assert strip_endings(strip_endings(stem)) == stem


@given(
    st.datetimes(timezones=st.just(timezone.utc), allow_imaginary=False).filter(lambda time: time.year // 100 == 20),
    st.sampled_from(["", "UTC="]),
    st.sampled_from(["", "Z"]),
)
def test_times_read_back(time: datetime, before: str, after: str) -> None:
    assert parse_time(f"{before}{stamp(time)}{after}") == time


@given(st.text())
def test_no_text_breaks_the_time_parser(text: str) -> None:
    with suppress(ValueError):
        assert parse_time(text).tzinfo is timezone.utc


@pytest.mark.parametrize("year", ["0001", "1999", "2100", "9999"])
def test_no_product_is_of_another_century(year: str) -> None:
    with pytest.raises(ValueError, match=year):
        parse_time(f"{year}-12-31T23:59:60.5")
    assert not PRODUCT_NAME.fullmatch(Tiny.name.replace("_2023", f"_{year}"))


def test_times_of_few_and_many_digits() -> None:
    assert parse_time("2020-01-02T03:04:05").microsecond == 0
    assert parse_time("2020-01-02T03:04:05.5").microsecond == 500000
    assert parse_time("2020-01-02T03:04:05.123456789").microsecond == 123456


REAL = {
    "20141004T031312": ("002.36", 154, {"IW1": 9, "IW2": 9, "IW3": 9}, ("VV",)),
    "20141227T062619": ("002.71", 154, {"IW1": 7, "IW2": 8, "IW3": 8}, ("VV",)),
    "20200511T135117": ("003.20", 71, {"IW1": 9, "IW2": 9, "IW3": 9}, ("VH", "VV")),
    "20220828T042306": ("003.52", 51, {"IW1": 10, "IW2": 10, "IW3": 10}, ("VV",)),
    "20220929T201107": ("003.52", 2, {"IW1": 10, "IW2": 10, "IW3": 10}, ("VV",)),
    "20221011T162212": ("003.52", 175, {"IW1": 9, "IW2": 9, "IW3": 10}, ("VV",)),
    "20221016T015043": ("003.52", 64, {"IW2": 9}, ("VV",)),
    "20221024T184148": ("003.52", 15, {"IW1": 10, "IW2": 10, "IW3": 10}, ("VV",)),
    "20230108T135249": ("003.52", 71, {"IW2": 9}, ("VV",)),
    "20230904T063730": ("003.61", 52, {"IW1": 9, "IW2": 9, "IW3": 9}, ("VV",)),
    "20230916T063730": ("003.61", 52, {"IW1": 9, "IW2": 9, "IW3": 9}, ("VV",)),
    "20250406T022018": ("003.91", 108, {"IW2": 2}, ("VV",)),
    "20250418T022018": ("003.91", 108, {"IW2": 2}, ("VV",)),
}


def real_products(shared_data: Path) -> list[Path]:
    folders = [shared_data / name for name in ("safe", "morocco", "referee")]
    return sorted(p for f in folders for p in f.iterdir() if p.suffix in (".zip", ".SAFE"))


@pytest.mark.real
def test_every_real_product_opens(shared_data: Path) -> None:
    paths = real_products(shared_data)
    assert len(paths) == len(REAL)
    for path in paths:
        scene = open_scene(path)
        ipf, track, bursts, polarisations = REAL[f"{scene.start:%Y%m%dT%H%M%S}"]
        assert (scene.ipf, scene.track, scene.polarisations) == (ipf, track, polarisations)
        assert scene.name == strip_endings(path.name)
        assert scene.name.split("_")[-3] == f"{scene.absolute_orbit:06d}"
        assert 0 < (scene.stop - scene.start).total_seconds() < 35
        found = {f.swath: len(read_bursts(scene, f.swath, f.polarisation)) for f in scene.files}
        assert found == bursts
