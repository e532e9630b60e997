"""Precise orbit files in ESA's Earth Explorer format."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.files import write_text
from topsar.simulate.plan import ProductPlan

if TYPE_CHECKING:
    from topsar.model import Orbit

_TAI_MINUS_UTC_S = 37
_DELAY = timedelta(days=20, hours=8, minutes=7, seconds=12)


def write_orbit_file(folder: Path, product: ProductPlan) -> Path:
    """Write the POEORB of a pass: the day and a little more, a vector every ten seconds.

    Parameters
    ----------
    folder : Path
        Where the file goes.
    product : ProductPlan
        A product of the pass.

    Returns
    -------
    Path
        The file, named as ESA names it.

    Raises
    ------
    ProductError
        If it cannot be written.
    """
    day = datetime.combine(product.start.date(), datetime.min.time(), tzinfo=timezone.utc)
    start, stop = day - timedelta(seconds=3618), day + timedelta(days=1, seconds=3582)
    created = day + _DELAY
    mission = product.acquisition.mission
    name = f"{mission}_OPER_AUX_POEORB_OPOD_{created:%Y%m%dT%H%M%S}_V{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}"
    orbit = product.track.vectors(start, stop)
    path = folder / f"{name}.EOF"
    write_text(path, _format_document(name, product, (start, stop, created), orbit))
    return path


def _format_document(name: str, product: ProductPlan, times: tuple[datetime, datetime, datetime], orbit: Orbit) -> str:
    start, stop, created = times
    vectors = "".join(
        _format_vector(start + timedelta(seconds=float(t)), product.absolute_orbit, position, velocity)
        for t, position, velocity in zip(
            orbit.times_s, orbit.positions_m.tolist(), orbit.velocities_m_s.tolist(), strict=True
        )
    )
    return f"""<?xml version="1.0" ?>
<Earth_Explorer_File>
  <Earth_Explorer_Header>
    <Fixed_Header>
      <File_Name>{name}</File_Name>
      <File_Description>Precise Orbit Ephemerides (POE) Orbit File</File_Description>
      <Notes>Simulated</Notes>
      <Mission>Sentinel-1{product.acquisition.mission[-1]}</Mission>
      <File_Class>OPER</File_Class>
      <File_Type>AUX_POEORB</File_Type>
      <Validity_Period>
        <Validity_Start>UTC={start:%Y-%m-%dT%H:%M:%S}</Validity_Start>
        <Validity_Stop>UTC={stop:%Y-%m-%dT%H:%M:%S}</Validity_Stop>
      </Validity_Period>
      <File_Version>0001</File_Version>
      <Source>
        <System>SIMULATOR</System>
        <Creator>topsar</Creator>
        <Creator_Version>1</Creator_Version>
        <Creation_Date>UTC={created:%Y-%m-%dT%H:%M:%S}</Creation_Date>
      </Source>
    </Fixed_Header>
    <Variable_Header>
      <Ref_Frame>EARTH_FIXED</Ref_Frame>
      <Time_Reference>UTC</Time_Reference>
    </Variable_Header>
  </Earth_Explorer_Header>
<Data_Block type="xml">
  <List_of_OSVs count="{len(orbit.times_s)}">
{vectors}  </List_of_OSVs>
</Data_Block>
</Earth_Explorer_File>
"""


def _format_vector(time: datetime, absolute_orbit: int, position: list[float], velocity: list[float]) -> str:
    atomic = time + timedelta(seconds=_TAI_MINUS_UTC_S)
    lines = [
        f"<TAI>TAI={atomic:%Y-%m-%dT%H:%M:%S.%f}</TAI>",
        f"<UTC>UTC={time:%Y-%m-%dT%H:%M:%S.%f}</UTC>",
        f"<UT1>UT1={time:%Y-%m-%dT%H:%M:%S.%f}</UT1>",
        f"<Absolute_Orbit>{absolute_orbit:+06d}</Absolute_Orbit>",
        *(f'<{axis} unit="m">{value:+.6f}</{axis}>' for axis, value in zip("XYZ", position, strict=True)),
        *(f'<V{axis} unit="m/s">{value:+.6f}</V{axis}>' for axis, value in zip("XYZ", velocity, strict=True)),
        "<Quality>NOMINAL</Quality>",
    ]
    return "    <OSV>\n" + "".join(f"      {line}\n" for line in lines) + "    </OSV>\n"
