"""The annotation of a swath: everything a processor reads about it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from topsar.model import SPEED_OF_LIGHT
from topsar.simulate.general import general_annotation
from topsar.simulate.geolocation import GRID_COLUMNS, GridPoint, grid_list
from topsar.simulate.markup import Value, counted, element, numbers
from topsar.simulate.mode import (
    AZIMUTH_SPACING_M,
    BURST_INTERVAL_S,
    LINE_INTERVAL_S,
    RANGE_SPACING_M,
    REFERENCE_RANGE_M,
    ROLL_DEG,
    WINDOW,
)
from topsar.simulate.orbit import CYCLE_DAYS, CYCLE_ORBITS

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from topsar.model import Burst
    from topsar.simulate.plan import ProductPlan, SwathPlan

_PATTERN_POINTS = 60
_DOPPLER_SPAN_S = 1.35
_FINE_ESTIMATES = 20
_CYCLE_BURSTS = round(CYCLE_DAYS * 86400 / BURST_INTERVAL_S)


def ads_header(product: ProductPlan, swath: SwathPlan) -> Element:
    """The head that annotation, calibration and noise share."""
    return element(
        "adsHeader",
        {
            "missionId": product.acquisition.mission,
            "productType": "SLC",
            "polarisation": swath.bursts[0].polarisation,
            "mode": "IW",
            "swath": swath.mode.name,
            "startTime": swath.start,
            "stopTime": swath.stop,
            "absoluteOrbitNumber": product.absolute_orbit,
            "missionDataTakeId": product.datatake,
            "imageNumber": f"00{swath.mode.name[-1]}",
        },
    )


def annotation(
    product: ProductPlan, swath: SwathPlan, *, points: tuple[GridPoint, ...], data_offset: int, spread: float
) -> Element:
    """The annotation document of one swath.

    Parameters
    ----------
    product, swath
    points : tuple of GridPoint
        See `geolocation.geolocation_points`.
    data_offset : int
        Byte of the measurement at which line 0 begins.
    spread : float
        Standard deviation of the real and imaginary parts.
    """
    return element(
        "product",
        [
            ads_header(product, swath),
            _quality(swath, spread),
            general_annotation(product, swath, points[0].ground.height_m),
            _image(product, swath, spread),
            _doppler(swath),
            _antenna(product, swath, points),
            _timing(product, swath, data_offset),
            element("geolocationGrid", grid_list(points)),
            element("coordinateConversion", counted("coordinateConversionList", [])),
            element("swathMerging", counted("swathMergeList", [])),
        ],
    )


# --- quality ----------------------------------------------------------------------------------------------------


def _statistics(spread: float) -> Element:
    return element(
        "imageStatistics",
        {
            "outputDataMean": {"re": 0.0, "im": 0.0},
            "outputDataStdDev": {"re": f"{spread:.6e}", "im": f"{spread:.6e}"},
        },
    )


def _quality(swath: SwathPlan, spread: float) -> Element:
    downlink: dict[str, Value] = {
        "iInputDataMean": 0.0,
        "qInputDataMean": 0.0,
        "inputDataMeanOutsideNominalRangeFlag": False,
        "iInputDataStdDev": 6.0,
        "qInputDataStdDev": 6.0,
        "inputDataStDevOutsideNominalRangeFlag": False,
    }
    for what, flag in (
        ("DownlinkInputDataGaps", "downlinkGapsInInputData"),
        ("DownlinkInputMissingLines", "downlinkMissingLines"),
        ("InstrumentInputDataGaps", "instrumentGapsInInputData"),
        ("InstrumentInputMissingLines", "instrumentMissingLines"),
        ("SsbErrorInputDataGaps", "ssbErrorGapsInInputData"),
        ("SsbErrorInputMissingLines", "ssbErrorMissingLines"),
    ):
        downlink |= {f"num{what}": 0, f"{flag}SignificantFlag": False}
    downlink |= {
        "chirpSourceUsed": "Nominal",
        "pgSourceUsed": "Extracted",
        "rrfSpectrumUsed": "Extended Tapered",
        "replicaReconstructionFailedFlag": False,
        "meanPgProductAmplitude": 1.0,
        "stdDevPgProductAmplitude": 0.0,
        "meanPgProductPhase": 0.0,
        "stdDevPgProductPhase": 0.0,
        "pgProductDerivationFailedFlag": False,
        "invalidDownlinkParamsFlag": False,
    }
    raw: dict[str, Value] = {
        "iBias": 0.0,
        "iBiasSignificanceFlag": False,
        "qBias": 0.0,
        "qBiasSignificanceFlag": False,
        "iqGainImbalance": 1.0,
        "iqGainSignificanceFlag": False,
        "iqQuadratureDeparture": 0.0,
        "iqQuadratureDepartureSignificanceFlag": False,
    }
    data = element(
        "qualityData",
        {
            "azimuthTime": swath.start,
            "downlinkQuality": downlink,
            "rawDataAnalysisQuality": raw,
            "dopplerCentroidQuality": {"dcMethod": "Data Analysis", "dopplerCentroidUncertainFlag": False},
            "imageQuality": {
                "imageStatistics": _statistics(spread),
                "outputDataMeanOutsideNominalRangeFlag": False,
                "outputDataStDevOutsideNominalRangeFlag": False,
            },
        },
    )
    return element(
        "qualityInformation", {"productQualityIndex": 0.0, "qualityDataList": counted("qualityDataList", [data])}
    )


# --- image ------------------------------------------------------------------------------------------------------


def _image(product: ProductPlan, swath: SwathPlan, spread: float) -> Element:
    grid = swath.bursts[0].grid
    piece = element(
        "slice",
        {"sliceNumber": product.slice_number, "sensingStartTime": product.start, "sensingStopTime": product.stop},
    )
    information: dict[str, Value] = {
        "productFirstLineUtcTime": swath.start,
        "productLastLineUtcTime": swath.stop,
        "ascendingNodeTime": product.track.node_time,
        "anchorTime": product.start,
        "productComposition": "Slice",
        "sliceNumber": product.slice_number,
        "sliceList": counted("sliceList", [piece]),
        "slantRangeTime": 2 * grid.near_range_m / SPEED_OF_LIGHT,
        "pixelValue": "Complex",
        "outputPixels": "16 bit Signed Integer",
        "rangePixelSpacing": f"{RANGE_SPACING_M:.6e}",
        "azimuthPixelSpacing": f"{AZIMUTH_SPACING_M:.6e}",
        "azimuthTimeInterval": LINE_INTERVAL_S,
        "azimuthFrequency": 1 / LINE_INTERVAL_S,
        "numberOfSamples": grid.samples,
        "numberOfLines": grid.lines * len(swath.bursts),
        "zeroDopMinusAcqTime": 0.0,
        "incidenceAngleMidSwath": math.degrees(swath.incidence_rad),
        "imageStatistics": _statistics(spread),
    }
    return element("imageAnnotation", {"imageInformation": information, "processingInformation": _processing(swath)})


def _processing(swath: SwathPlan) -> Element:
    mode = swath.mode
    yes = ("rawDataAnalysisUsed", "orbitDataFileUsed")
    compensated = (
        "rxVariationCorrectionApplied",
        "antennaElevationPatternApplied",
        "antennaAzimuthPatternApplied",
        "antennaAzimuthElementPatternApplied",
    )
    dimensions = element(
        "inputDimensions",
        {
            "azimuthTime": swath.start,
            "swath": mode.name,
            "numberOfInputSamples": swath.bursts[0].grid.samples,
            "numberOfInputLines": swath.mode.lines * len(swath.bursts),
        },
    )
    params = element(
        "swathProcParams",
        {
            "swath": mode.name,
            "rangeProcessing": _band(mode.range_bandwidth_hz),
            "azimuthProcessing": _band(mode.azimuth_bandwidth_hz),
            "processorScalingFactor": 1.0,
        },
    )
    return element(
        "processingInformation",
        {
            **dict.fromkeys(yes, True),
            "attitudeDataFileUsed": False,
            **dict.fromkeys(compensated, True),
            "dcMethod": "Data Analysis",
            "dcInputData": "Range Compressed",
            "rangeSpreadingLossCompensationApplied": True,
            "srgrConversionApplied": False,
            "detectionPerformed": False,
            "thermalNoiseCorrectionPerformed": False,
            "rfiMitigationPerformed": "Never",
            "rfiMitigationDomain": "TimeAndFrequency",
            "chirpSource": "Nominal",
            "pgSource": "Extracted",
            "rrfSpectrum": "Extended Tapered",
            "applicationLutId": "IW_Default",
            "swathProcParamsList": counted("swathProcParamsList", [params]),
            "inputDimensionsList": counted("inputDimensionsList", [dimensions]),
            "referenceRange": REFERENCE_RANGE_M,
            "ellipsoidName": "WGS84",
            "ellipsoidSemiMajorAxis": 6378137.0,
            "ellipsoidSemiMinorAxis": 6356752.314245,
            "bistaticDelayCorrectionApplied": True,
            "topsFilterConvention": "Only Echo Lines",
            "orbitSource": "Auxiliary",
            "attitudeSource": "Downlink",
        },
    )


def _band(bandwidth_hz: float) -> dict[str, Value]:
    return {
        "windowType": "Hamming",
        "windowCoefficient": WINDOW,
        "totalBandwidth": bandwidth_hz,
        "processingBandwidth": bandwidth_hz,
        "lookBandwidth": bandwidth_hz,
        "numberOfLooks": 1,
        "lookOverlap": 0.0,
    }


def _doppler(swath: SwathPlan) -> Element:
    return element("dopplerCentroid", counted("dcEstimateList", (_doppler_estimate(burst) for burst in swath.bursts)))


def _doppler_estimate(burst: Burst) -> Element:
    coefficients = burst.doppler.coefficients
    middle, span = burst.grid.mid_time, timedelta(seconds=_DOPPLER_SPAN_S)
    tau = 2 / SPEED_OF_LIGHT * np.linspace(burst.grid.near_range_m, burst.grid.far_range_m, _FINE_ESTIMATES)
    fine = (
        element("fineDce", {"slantRangeTime": float(t), "frequency": float(f)})
        for t, f in zip(tau, burst.doppler(tau), strict=True)
    )
    return element(
        "dcEstimate",
        {
            "azimuthTime": middle,
            "t0": burst.doppler.t0_s,
            "geometryDcPolynomial": numbers("geometryDcPolynomial", coefficients, ".16e"),
            "dataDcPolynomial": numbers("dataDcPolynomial", coefficients, ".16e"),
            "dataDcRmsError": 0.0,
            "dataDcRmsErrorAboveThreshold": False,
            "fineDceAzimuthStartTime": middle - span,
            "fineDceAzimuthStopTime": middle + span,
            "fineDceList": counted("fineDceList", fine),
        },
    )


def _antenna(product: ProductPlan, swath: SwathPlan, points: tuple[GridPoint, ...]) -> Element:
    """A flat pattern: the simulated brightness needs no correction."""
    row = points[:GRID_COLUMNS]
    known = [point.slant_range_time_s for point in row]
    tau = np.linspace(known[0], known[-1], _PATTERN_POINTS)
    elevation = np.interp(tau, known, [point.elevation_deg for point in row])
    incidence = np.interp(tau, known, [point.incidence_deg for point in row])
    patterns = (
        element(
            "antennaPattern",
            {
                "swath": swath.mode.name,
                "azimuthTime": time,
                "slantRangeTime": numbers("slantRangeTime", tau, ".15e"),
                "elevationAngle": numbers("elevationAngle", elevation),
                "elevationPattern": element(
                    "elevationPattern", " ".join(["1.000000e+00 0.000000e+00"] * len(tau)), count=str(len(tau))
                ),
                "incidenceAngle": numbers("incidenceAngle", incidence),
                "terrainHeight": row[0].ground.height_m,
                "roll": ROLL_DEG,
            },
        )
        for time in [product.start] + [burst.grid.mid_time for burst in swath.bursts]
    )
    return element("antennaPattern", counted("antennaPatternList", patterns))


# --- bursts -----------------------------------------------------------------------------------------------------


def _timing(product: ProductPlan, swath: SwathPlan, data_offset: int) -> Element:
    grid = swath.bursts[0].grid
    bursts = (
        _burst(product, burst, sensing, data_offset) for burst, sensing in zip(swath.bursts, swath.sensing, strict=True)
    )
    return element(
        "swathTiming",
        {
            "linesPerBurst": grid.lines,
            "samplesPerBurst": grid.samples,
            "burstList": counted("burstList", bursts),
        },
    )


def _burst(product: ProductPlan, burst: Burst, sensing: datetime, data_offset: int) -> Element:
    grid, valid = burst.grid, burst.valid
    first, last = np.full(grid.lines, -1), np.full(grid.lines, -1)
    first[valid.row : valid.row_stop] = valid.column
    last[valid.row : valid.row_stop] = valid.column_stop - 1
    start = grid.first_line_time
    content: dict[str, Value] = {
        "azimuthTime": start,
        "azimuthAnxTime": (start - product.track.node_time).total_seconds(),
        "sensingTime": sensing,
        "byteOffset": data_offset + burst.first_line * grid.samples * 4,
        "firstValidSample": numbers("firstValidSample", first.tolist(), "d"),
        "lastValidSample": numbers("lastValidSample", last.tolist(), "d"),
    }
    if burst.burst_id is not None:
        absolute = product.absolute_orbit // CYCLE_ORBITS * _CYCLE_BURSTS + burst.burst_id.number
        content["burstId"] = element("burstId", burst.burst_id.number, absolute=str(absolute))
    return element("burst", content)
