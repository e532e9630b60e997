"""Write a product of some bursts of another."""

from __future__ import annotations

import binascii
import hashlib
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import rasterio
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning

from topsar.errors import SceneError
from topsar.files import replaced_folder, write_failed
from topsar.model import PRODUCT_NAME, Burst
from topsar.sentinel1.annotation import find_files, read_annotation_orbit
from topsar.sentinel1.calibration import name_tables
from topsar.sentinel1.container import MANIFEST, Container, open_container
from topsar.sentinel1.cut.documents import BurstCut, cut_annotation, cut_calibration
from topsar.sentinel1.cut.manifest import Extent, NewFile, cut_manifest, keep_prefixes
from topsar.sentinel1.measurement import check_content, iter_samples, open_image
from topsar.sentinel1.overlay import OVERLAY, write_overlay

if TYPE_CHECKING:
    from topsar.model import Orbit, Scene, SwathFiles

_BLOCK_LINES = 256


def cut_product(
    scene: Scene, bursts: Mapping[str, Sequence[Burst]], folder: Path, *, precise: Orbit | None = None
) -> Path:
    """Write a SAFE folder that holds some bursts of a product; its name tells its period.

    Samples stay as they are. Annotation, calibration and noise are cut to the bursts, the manifest lists what is there.
    The overlay of the map is drawn anew; pictures, RFI annotation and other polarisations are left out.

    Parameters
    ----------
    scene : Scene
        A whole product with its calibration.
    bursts : mapping
        By swath: neighbouring bursts, in order, of one polarisation.
    folder : Path
        Where the SAFE folder is written.
    precise : Orbit, optional
        State vectors that take the place of the annotation's.

    Returns
    -------
    Path
        The SAFE folder.

    Raises
    ------
    SceneError
        Where a file is missing or damaged, or a product of this name is there already.
    """
    container = open_container(scene.path)
    cuts = {swath: _make_cut(scene, swath, tuple(chosen), precise) for swath, chosen in sorted(bursts.items())}
    polarisation = next(iter(cuts.values())).bursts[0].polarisation
    start, stop = min(cut.start for cut in cuts.values()), max(cut.stop for cut in cuts.values())
    name = _name_product(scene, polarisation, start, stop)
    if twins := sorted(folder.glob(f"{name}_*.SAFE")):
        msg = f"{twins[0]}: a product of this name is there already"
        raise SceneError(msg, hint="move it away, or choose another folder: --to DIR")
    keep_prefixes(container.read(MANIFEST))
    with replaced_folder(folder / f"{name}.SAFE") as part:
        files: list[NewFile] = []
        grids = []
        for cut in cuts.values():
            source = find_files(scene, cut.bursts[0].swath, cut.bursts[0].polarisation)
            written, grid = _write_swath(container, source, cut, part, precise)
            files += written
            grids.append(grid)
        near, far = grids[0], grids[-1]
        corners = near[-1][0], far[-1][-1], far[0][-1], near[0][0]
        write_overlay(part, corners)
        files.append(_describe(part, OVERLAY, OVERLAY))
        extent = Extent(
            start=start,
            stop=stop,
            swaths=tuple(cuts),
            polarisations=(polarisation,),
            corners=corners,
        )
        manifest = container.read_xml(MANIFEST).element
        cut_manifest(manifest, files, extent)
        content = _serialise(manifest)
        (part / MANIFEST).write_bytes(content)
    final = folder / f"{name}_{binascii.crc_hqx(content, 0xFFFF):04X}.SAFE"
    try:
        (folder / f"{name}.SAFE").rename(final)
    except OSError as exc:
        raise write_failed(final, exc) from exc
    return final


def _make_cut(scene: Scene, swath: str, bursts: tuple[Burst, ...], precise: Orbit | None) -> BurstCut:
    indices = [burst.index for burst in bursts]
    if not bursts or indices != list(range(indices[0], indices[0] + len(indices))):
        msg = f"{scene.name}: bursts {indices} of {swath} are no neighbours"
        raise SceneError(msg, hint="a product holds bursts that follow each other")
    orbit = precise or read_annotation_orbit(scene, swath, bursts[0].polarisation)
    return BurstCut(bursts=bursts, orbit=orbit)


def _name_product(scene: Scene, polarisation: str, start: datetime, stop: datetime) -> str:
    """Name without the four digits at its end."""
    match = PRODUCT_NAME.match(scene.name)
    if match is None:
        msg = f"{scene.name}: no name of an IW SLC product"
        raise SceneError(msg, hint="give the product its own name back")
    return (
        f"{scene.mission}_IW_SLC__1SS{polarisation[0]}_{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}"
        f"_{match['orbit']}_{match['datatake']}"
    )


def _write_swath(
    container: Container, source: SwathFiles, cut: BurstCut, root: Path, precise: Orbit | None
) -> tuple[list[NewFile], list[list[tuple[float, float]]]]:
    """Write the files of a swath; what they are, and latitudes and longitudes of its grid, row by row."""
    parts = PurePosixPath(source.annotation).stem.split("-")
    parts[4:6] = [f"{time:%Y%m%dt%H%M%S}" for time in (cut.start, cut.stop)]
    stem = "-".join(parts)
    for sub in ("measurement", "annotation/calibration"):
        (root / sub).mkdir(parents=True, exist_ok=True)
    annotation = container.read_xml(source.annotation).element
    cut_annotation(annotation, cut, [0] * len(cut.bursts), precise)  # its points go into the image
    image = f"measurement/{stem}.tiff"
    offsets = _write_image(root / image, cut, annotation)
    for node, offset in zip(annotation.findall("swathTiming/burstList/burst/byteOffset"), offsets, strict=True):
        node.text = str(offset)
    documents = {source.annotation: (f"annotation/{stem}.xml", annotation)}
    for old, new in zip(name_tables(source.annotation), name_tables(documents[source.annotation][0]), strict=True):
        document = container.read_xml(old).element
        cut_calibration(document, cut)
        documents[old] = new, document
    for path, document in documents.values():
        (root / path).write_bytes(_serialise(document))
    named = {name: path for name, (path, _) in documents.items()} | {source.measurement: image}
    files = [_describe(root, name, path) for name, path in named.items()]
    return files, _list_grid(annotation)


def _write_image(path: Path, cut: BurstCut, annotation: ET.Element) -> list[int]:
    """Write the bursts one behind the other, a line a strip; the byte at which each begins."""
    check_content(cut.bursts[0])
    samples = cut.bursts[0].grid.samples
    options = {"driver": "GTiff", "dtype": "complex_int16", "count": 1, "blockysize": 1, "bigtiff": "IF_NEEDED"}
    with warnings.catch_warnings(), open_image(cut.bursts[0]) as source:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        if source.dtypes[0] != "complex_int16":
            msg = f"{cut.bursts[0].measurement}: samples of {source.dtypes[0]}, expected complex_int16"
            raise SceneError(msg, hint="only ESA's own products can be cut")
        with rasterio.open(path, "w", width=samples, height=cut.lines, **options) as target:
            target.gcps = _list_points(annotation), "EPSG:4326"
            row = 0
            for burst in cut.bursts:
                for block in iter_samples(burst, burst.grid.whole, _BLOCK_LINES, source):
                    target.write(block, 1, window=rasterio.windows.Window(0, row, samples, len(block)))
                    row += len(block)
        with rasterio.open(path) as target:
            lines = [burst.first_line - cut.first_line for burst in cut.bursts]
            return [int(target.get_tag_item(f"BLOCK_OFFSET_0_{line}", "TIFF", bidx=1)) for line in lines]


def _read_points(annotation: ET.Element) -> list[dict[str, float]]:
    tags = ("line", "pixel", "latitude", "longitude", "height")
    points = annotation.iterfind("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
    return [{tag: float(point.findtext(tag) or "nan") for tag in tags} for point in points]


def _list_points(annotation: ET.Element) -> list[GroundControlPoint]:
    return [
        GroundControlPoint(row=p["line"], col=p["pixel"], x=p["longitude"], y=p["latitude"], z=p["height"])
        for p in _read_points(annotation)
    ]


def _list_grid(annotation: ET.Element) -> list[list[tuple[float, float]]]:
    rows: dict[float, list[tuple[float, float]]] = {}
    for point in _read_points(annotation):
        rows.setdefault(point["line"], []).append((point["latitude"], point["longitude"]))
    return [rows[line] for line in sorted(rows)]


def _serialise(root: ET.Element) -> bytes:
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _describe(root: Path, old: str, path: str) -> NewFile:
    digest = hashlib.md5(usedforsecurity=False)
    with (root / path).open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return NewFile(old=old, path=path, size=(root / path).stat().st_size, md5=digest.hexdigest())
