"""The manifest of a product: what it is, which files it has, how long they are and their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.simulate.markup import timestamp
from topsar.simulate.mode import SATELLITE_ID
from topsar.simulate.orbit import CYCLE_ORBITS

if TYPE_CHECKING:
    from topsar.simulate.geolocation import GridPoint
    from topsar.simulate.plan import ProductPlan

_CHUNK_BYTES = 1 << 22
_MEASUREMENT = "s1Level1MeasurementSchema"
_PRODUCT = "s1Level1ProductSchema"
_SCHEMAS = {
    _PRODUCT: "s1-level-1-product.xsd",
    "s1Level1NoiseSchema": "s1-level-1-noise.xsd",
    "s1Level1CalibrationSchema": "s1-level-1-calibration.xsd",
    _MEASUREMENT: "s1-level-1-measurement.xsd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFile:
    """A file of the product: ``group`` ties a measurement to its annotation, noise and calibration."""

    path: str
    schema: str
    group: str

    @property
    def id(self) -> str:
        """Identifier inside the manifest."""
        prefix = "product" if self.schema == _PRODUCT else ""
        return prefix + Path(self.path).stem.replace("-", "")


def manifest(product: ProductPlan, root: Path, files: Sequence[ProductFile], corners: Sequence[GridPoint]) -> str:
    """The manifest's text.

    Parameters
    ----------
    product : ProductPlan
    root : Path
        Folder that holds the files, complete by now.
    files : sequence of ProductFile
    corners : sequence of GridPoint
        The four corners of the footprint, in order around it.
    """
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xfdu:XFDU xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:gml="http://www.opengis.net/gml" \
xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:safe="http://www.esa.int/safe/sentinel-1.0" \
xmlns:s1="http://www.esa.int/safe/sentinel-1.0/sentinel-1" \
xmlns:s1sar="http://www.esa.int/safe/sentinel-1.0/sentinel-1/sar" \
xmlns:s1sarl1="http://www.esa.int/safe/sentinel-1.0/sentinel-1/sar/level-1" \
version="esa/safe/sentinel-1.0/sentinel-1/sar/level-1/slc/standard/iwsp">
  <informationPackageMap>
    <xfdu:contentUnit unitType="SAFE Archive Information Package" textInfo="Sentinel-1 IW Level-1 SLC Product" \
dmdID="acquisitionPeriod platform generalProductInformation measurementOrbitReference measurementFrameSet" \
pdiID="processing">
{"".join(_content_unit(file, files) for file in files)}    </xfdu:contentUnit>
  </informationPackageMap>
  <metadataSection>
{"".join(_annotation_object(file) for file in files if file.schema != _MEASUREMENT)}\
{_wrapped("processing", "PROVENANCE", "PDI", "Processing", _processing(product))}\
{_wrapped("platform", "DESCRIPTION", "DMD", "Platform Description", _platform(product))}\
{_wrapped("measurementOrbitReference", "DESCRIPTION", "DMD", "Orbit Reference", _orbit_reference(product))}\
{_wrapped("generalProductInformation", "DESCRIPTION", "DMD", "General Product Information", _general(product))}\
{_wrapped("acquisitionPeriod", "DESCRIPTION", "DMD", "Acquisition Period", _period(product))}\
{_wrapped("measurementFrameSet", "DESCRIPTION", "DMD", "Frame Set", _frame_set(corners))}\
{"".join(_schema_object(schema, file) for schema, file in _SCHEMAS.items())}  </metadataSection>
  <dataObjectSection>
{"".join(_data_object(file, root) for file in files)}  </dataObjectSection>
</xfdu:XFDU>
"""


def _content_unit(file: ProductFile, files: Sequence[ProductFile]) -> str:
    if file.schema == _MEASUREMENT:
        described = " ".join(f"{f.id}Annotation" for f in files if f.group == file.group and f.schema != _MEASUREMENT)
        head = f'unitType="Measurement Data Unit" repID="{file.schema}" dmdID="{described}"'
    else:
        head = f'unitType="Metadata Unit" repID="{file.schema}"'
    return f"""      <xfdu:contentUnit {head}>
        <dataObjectPointer dataObjectID="{file.id}"/>
      </xfdu:contentUnit>
"""


def _annotation_object(file: ProductFile) -> str:
    return f"""    <metadataObject ID="{file.id}Annotation" classification="DESCRIPTION" category="DMD">
      <dataObjectPointer dataObjectID="{file.id}"/>
    </metadataObject>
"""


def _schema_object(schema: str, name: str) -> str:
    vocabulary = "SDF" if schema == _MEASUREMENT else "XML Schema"
    return f"""    <metadataObject ID="{schema}" classification="SYNTAX" category="REP">
      <metadataReference mimeType="text/xml" vocabularyName="{vocabulary}" locatorType="URL" href="./support/{name}"/>
    </metadataObject>
"""


def _wrapped(identifier: str, classification: str, category: str, title: str, content: str) -> str:
    return f"""    <metadataObject ID="{identifier}" classification="{classification}" category="{category}">
      <metadataWrap mimeType="text/xml" vocabularyName="SAFE" textInfo="{title}">
        <xmlData>
{content}        </xmlData>
      </metadataWrap>
    </metadataObject>
"""


def _processing(product: ProductPlan) -> str:
    start = product.stop + timedelta(hours=3)
    return f"""          <safe:processing name="SLC Processing" start="{timestamp(start)}" \
stop="{timestamp(start + timedelta(minutes=5))}">
            <safe:facility country="Nowhere" name="Simulator" organisation="topsar" site="Simulation">
              <safe:software name="Sentinel-1 IPF" version="{product.recipe.ipf}"/>
            </safe:facility>
          </safe:processing>
"""


def _platform(product: ProductPlan) -> str:
    mission = product.acquisition.mission
    swaths = "".join(
        f"                  <s1sarl1:swath>{swath.mode.name}</s1sarl1:swath>\n" for swath in product.swaths
    )
    return f"""          <safe:platform>
            <safe:nssdcIdentifier>{SATELLITE_ID[mission]}</safe:nssdcIdentifier>
            <safe:familyName>SENTINEL-1</safe:familyName>
            <safe:number>{mission[-1]}</safe:number>
            <safe:instrument>
              <safe:familyName abbreviation="SAR">Synthetic Aperture Radar</safe:familyName>
              <safe:extension>
                <s1sarl1:instrumentMode>
                  <s1sarl1:mode>IW</s1sarl1:mode>
{swaths}                </s1sarl1:instrumentMode>
              </safe:extension>
            </safe:instrument>
          </safe:platform>
"""


def _orbit_reference(product: ProductPlan) -> str:
    orbit, track = product.absolute_orbit, product.recipe.track
    return f"""          <safe:orbitReference>
            <safe:orbitNumber type="start">{orbit}</safe:orbitNumber>
            <safe:orbitNumber type="stop">{orbit}</safe:orbitNumber>
            <safe:relativeOrbitNumber type="start">{track}</safe:relativeOrbitNumber>
            <safe:relativeOrbitNumber type="stop">{track}</safe:relativeOrbitNumber>
            <safe:cycleNumber>{orbit // CYCLE_ORBITS}</safe:cycleNumber>
            <safe:phaseIdentifier>1</safe:phaseIdentifier>
            <safe:extension>
              <s1:orbitProperties>
                <s1:pass>{product.direction.value.upper()}</s1:pass>
                <s1:ascendingNodeTime>{timestamp(product.track.node_time)}</s1:ascendingNodeTime>
              </s1:orbitProperties>
            </safe:extension>
          </safe:orbitReference>
"""


def _general(product: ProductPlan) -> str:
    return f"""          <s1sarl1:standAloneProductInformation>
            <s1sarl1:instrumentConfigurationID>7</s1sarl1:instrumentConfigurationID>
            <s1sarl1:missionDataTakeID>{product.datatake}</s1sarl1:missionDataTakeID>
            <s1sarl1:transmitterReceiverPolarisation>{product.recipe.polarisation}\
</s1sarl1:transmitterReceiverPolarisation>
            <s1sarl1:productClass>S</s1sarl1:productClass>
            <s1sarl1:productClassDescription>SAR Standard L1 Product</s1sarl1:productClassDescription>
            <s1sarl1:productComposition>Slice</s1sarl1:productComposition>
            <s1sarl1:productType>SLC</s1sarl1:productType>
            <s1sarl1:productTimelinessCategory>Fast-24h</s1sarl1:productTimelinessCategory>
            <s1sarl1:sliceProductFlag>true</s1sarl1:sliceProductFlag>
            <s1sarl1:segmentStartTime>{timestamp(product.start)}</s1sarl1:segmentStartTime>
            <s1sarl1:sliceNumber>{product.slice_number}</s1sarl1:sliceNumber>
            <s1sarl1:totalSlices>{product.recipe.slices}</s1sarl1:totalSlices>
          </s1sarl1:standAloneProductInformation>
"""


def _period(product: ProductPlan) -> str:
    node = product.track.node_time
    start, stop = ((time - node).total_seconds() * 1e3 for time in (product.start, product.stop))
    return f"""          <safe:acquisitionPeriod>
            <safe:startTime>{timestamp(product.start)}</safe:startTime>
            <safe:stopTime>{timestamp(product.stop)}</safe:stopTime>
            <safe:extension>
              <s1:timeANX>
                <s1:startTimeANX>{start:.6e}</s1:startTimeANX>
                <s1:stopTimeANX>{stop:.6e}</s1:stopTimeANX>
              </s1:timeANX>
            </safe:extension>
          </safe:acquisitionPeriod>
"""


def _frame_set(corners: Sequence[GridPoint]) -> str:
    places = " ".join(f"{p.ground.latitude_deg:.6f},{p.ground.longitude_deg:.6f}" for p in corners)
    return f"""          <safe:frameSet>
            <safe:frame>
              <safe:footPrint srsName="http://www.opengis.net/gml/srs/epsg.xml#4326">
                <gml:coordinates>{places}</gml:coordinates>
              </safe:footPrint>
            </safe:frame>
          </safe:frameSet>
"""


def _data_object(file: ProductFile, root: Path) -> str:
    path = root / file.path
    kind = "application/octet-stream" if file.schema == _MEASUREMENT else "text/xml"
    return f"""    <dataObject ID="{file.id}" repID="{file.schema}">
      <byteStream mimeType="{kind}" size="{path.stat().st_size}">
        <fileLocation locatorType="URL" href="./{file.path}"/>
        <checksum checksumName="MD5">{_md5(path)}</checksum>
      </byteStream>
    </dataObject>
"""


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
