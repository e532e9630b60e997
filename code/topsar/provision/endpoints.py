"""Where each service is; a mirror or a server on this machine can stand in for any of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Base URLs, without a slash at the end.

    Attributes
    ----------
    opentopography : str
        Global height models by box; needs a key.
    copernicus_dem : str
        Public bucket of the Copernicus model at 30 m.
    egm2008 : str
        Folder that holds ``us_nga_egm08_25.tif``, the EGM2008 geoid of PROJ's data.
    s3_orbits : str
        Public bucket of orbit files, with listing.
    asf_search : str
        Catalogue that `asf_search` asks (NASA's CMR).
    earthdata : str
        Earthdata Login.
    geos_fp : str
        Folder of GEOS-FP's analyses on the GrADS Data Server of NASA's NCCS.
    hrrr : str
        Public bucket of HRRR.
    aux_cal : tuple of str
        Folders with ``S1A_AUX_CAL.zip`` archives, in the order in which they are tried.
    """

    opentopography: str = "https://portal.opentopography.org/API"
    copernicus_dem: str = "https://copernicus-dem-30m.s3.amazonaws.com"
    egm2008: str = "https://cdn.proj.org"
    s3_orbits: str = "https://s1-orbits.s3.amazonaws.com"
    asf_search: str = "https://cmr.earthdata.nasa.gov"
    earthdata: str = "https://urs.earthdata.nasa.gov"
    geos_fp: str = "https://opendap.nccs.nasa.gov/dods/GEOS-5/fp/0.25_deg/assim"
    hrrr: str = "https://noaa-hrrr-bdp-pds.s3.amazonaws.com"
    aux_cal: tuple[str, ...] = ("https://d3g9emy65n853h.cloudfront.net/AUX_CAL", "https://sar-mpc.eu/files")
