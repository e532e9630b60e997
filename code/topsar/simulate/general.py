"""What the annotation says of platform and instrument."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from topsar.kernels.geometry import ecef_to_geodetic
from topsar.simulate.markup import Value, counted, element, numbers
from topsar.simulate.mode import RADAR_FREQUENCY_HZ, RANGE_SAMPLING_HZ, ROLL_DEG

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

    from topsar.model import Burst
    from topsar.simulate.plan import ProductPlan, SwathPlan

_VECTORS = 17
_VECTOR_STEP_S = 10.0
_ATTITUDES = 25
_SIDEREAL_RATE_RAD_S = 7.2921159e-5

_ERROR_COUNTS = (
    "numErrSyncMarker",
    "numErrDataTakeId",
    "numErrEccNumber",
    "numErrTestMode",
    "numErrRxChannelId",
    "numErrInstrumentConfigId",
    "numErrPacketCount",
    "numErrPriCount",
    "numErrSsbErrorFlag",
    "numErrBaqMode",
    "numErrBaqBlockLength",
    "numErrRangeDecimation",
    "numErrRxGain",
    "numErrTxRampRate",
    "numErrTxPulseStartFrequency",
    "numErrRank",
    "numErrPri",
    "numErrSwst",
    "numErrSwl",
    "numErrPolarisation",
    "numErrTempComp",
    "numErrElevationBeamAddress",
    "numErrAzimuthBeamAddress",
    "numErrSasTestMode",
    "numErrCalType",
    "numErrCalibrationBeamAddress",
    "numErrCalMode",
    "numErrTxPulseNumber",
    "numErrSignalType",
    "numErrSwapFlag",
    "numErrSwathNumber",
    "numErrNumberOfQuads",
    "numIspHeaderErrors",
)


def general_annotation(product: ProductPlan, swath: SwathPlan, height_m: float) -> Element:
    """Orbit, attitude, instrument settings and azimuth FM rates, with the terrain height that was assumed."""
    mode = swath.mode
    return element(
        "generalAnnotation",
        {
            "productInformation": {
                "pass": product.direction.value.capitalize(),
                "timelinessCategory": "Fast-24h",
                "platformHeading": _heading_deg(product),
                "projection": "Slant Range",
                "rangeSamplingRate": RANGE_SAMPLING_HZ,
                "radarFrequency": RADAR_FREQUENCY_HZ,
                "azimuthSteeringRate": mode.steering_deg_s,
            },
            "downlinkInformationList": counted("downlinkInformationList", [_downlink(product, swath)]),
            "orbitList": _orbit_list(product),
            "attitudeList": _attitude_list(product),
            "rawDataAnalysisList": counted("rawDataAnalysisList", [_raw_analysis(swath)]),
            "replicaInformationList": counted("replicaInformationList", [_replica(swath)]),
            "noiseList": counted("noiseList", [_noise_record(swath)]),
            "terrainHeightList": counted(
                "terrainHeightList",
                (
                    element("terrainHeight", {"azimuthTime": burst.grid.mid_time, "value": height_m})
                    for burst in swath.bursts
                ),
            ),
            "azimuthFmRateList": counted("azimuthFmRateList", (_fm_rate(burst) for burst in swath.bursts)),
        },
    )


def _heading_deg(product: ProductPlan) -> float:
    arc = product.arc
    middle = arc.seconds(product.start + (product.stop - product.start) / 2)
    lat, lon, _ = ecef_to_geodetic(arc.position(np.array([middle, middle + 0.1])))
    return math.degrees(math.atan2((lon[1] - lon[0]) * math.cos(lat[0]), lat[1] - lat[0]))


def _downlink(product: ProductPlan, swath: SwathPlan) -> Element:
    mode = swath.mode
    values: dict[str, Value] = {
        "pri": 1 / mode.prf_hz,
        "rank": mode.rank,
        "dataTakeId": product.datatake % 65536,
        "eccNumber": 8,
        "rxChannelId": 0,
        "instrumentConfigId": 7,
        "dataFormat": {
            "baqBlockLength": 256,
            "echoFormat": "FDBAQ",
            "noiseFormat": "BAQ 5 Bit",
            "calibrationFormat": "Decimation",
            "meanBitRate": 0.5,
        },
        "rangeDecimation": {
            "decimationFilterBandwidth": mode.range_bandwidth_hz,
            "samplingFrequencyAfterDecimation": RANGE_SAMPLING_HZ,
            "filterLength": 44,
        },
        "rxGain": -4.0,
        "txPulseLength": mode.pulse_length_s,
        "txPulseStartFrequency": -mode.pulse_length_s * mode.pulse_rate_hz_s / 2,
        "txPulseRampRate": mode.pulse_rate_hz_s,
        "swathNumber": mode.beam,
        "swlList": counted("swlList", [element("swl", {"azimuthTime": swath.start, "value": 4.4e-4})]),
        "swstList": counted("swstList", [element("swst", {"azimuthTime": swath.start, "value": 1.5e-4})]),
        "pointingStatusList": counted(
            "pointingStatusList",
            [
                element(
                    "pointingStatus",
                    {
                        "azimuthTime": swath.start,
                        "aocsOpMode": "Normal Pointing Mode",
                        "rollErrorFlag": False,
                        "pitchErrorFlag": False,
                        "yawErrorFlag": False,
                    },
                )
            ],
        ),
    }
    return element(
        "downlinkInformation",
        {
            "swath": mode.name,
            "azimuthTime": swath.start,
            "firstLineSensingTime": swath.sensing[0],
            "lastLineSensingTime": swath.sensing[-1] + timedelta(seconds=2 * mode.sensing_lead_s),
            "prf": mode.prf_hz,
            "bitErrorCount": dict.fromkeys(_ERROR_COUNTS, 0),
            "downlinkValues": values,
        },
    )


def _orbit_list(product: ProductPlan) -> Element:
    middle = product.start + (product.stop - product.start) / 2
    first = (middle - timedelta(seconds=_VECTOR_STEP_S * (_VECTORS // 2))).replace(microsecond=0)
    orbit = product.track.vectors(first, first + timedelta(seconds=_VECTOR_STEP_S * (_VECTORS - 1)))
    return counted(
        "orbitList",
        (
            element(
                "orbit",
                {
                    "time": first + timedelta(seconds=float(t)),
                    "frame": "Earth Fixed",
                    "position": dict(zip("xyz", position, strict=True)),
                    "velocity": dict(zip("xyz", velocity, strict=True)),
                },
            )
            for t, position, velocity in zip(
                orbit.times_s, orbit.positions_m.tolist(), orbit.velocities_m_s.tolist(), strict=True
            )
        ),
    )


def _attitude_list(product: ProductPlan) -> Element:
    """Quaternions of the orbital frame (along, across, down), turned from Earth-fixed by the sidereal angle alone."""
    middle = product.start + (product.stop - product.start) / 2
    seconds = np.arange(_ATTITUDES, dtype=np.float64) - _ATTITUDES // 2
    position, velocity = product.track.state(seconds + (middle - product.track.epoch).total_seconds())
    sidereal = _SIDEREAL_RATE_RAD_S * (middle.timestamp() + seconds)
    frames = Rotation.from_euler("z", sidereal[:, None]) * Rotation.from_matrix(_orbital_frame(position, velocity))
    return counted(
        "attitudeList",
        (
            element(
                "attitude",
                {
                    "time": middle + timedelta(seconds=float(second)),
                    "frame": "GM2000",
                    **{f"q{k}": f"{value:.6e}" for k, value in enumerate((q[3], q[0], q[1], q[2]))},
                    "wx": 0.0,
                    "wy": 0.0,
                    "wz": 0.0,
                    "roll": ROLL_DEG,
                    "pitch": 0.0,
                    "yaw": 0.0,
                },
            )
            for second, q in zip(seconds, frames.as_quat().tolist(), strict=True)
        ),
    )


def _orbital_frame(position: NDArray[np.float64], velocity: NDArray[np.float64]) -> NDArray[np.float64]:
    down = -position / np.linalg.norm(position, axis=-1, keepdims=True)
    across = np.cross(down, velocity)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    return np.stack([np.cross(across, down), across, down], axis=-1)


def _raw_analysis(swath: SwathPlan) -> Element:
    bounds = ("iBias", "qBias", "iqGain", "iqQuadratureDeparture")
    support: dict[str, Value] = {f"{name}{side}Bound": 0.0 for name in bounds for side in ("Upper", "Lower")}
    used: dict[str, Value] = {"iBias": 0.0, "qBias": 0.0, "iqGainImbalance": 1.0, "iqQuadratureDeparture": 0.0}
    support |= {f"{name}UsedForCorrection": value for name, value in used.items()}
    return element(
        "rawDataAnalysis",
        {
            "azimuthTime": swath.start,
            "iBias": 0.0,
            "qBias": 0.0,
            "iqQuadratureDeparture": 0.0,
            "iqGainImbalance": 1.0,
            "support": support,
        },
    )


def _replica(swath: SwathPlan) -> Element:
    half = swath.mode.pulse_rate_hz_s / 2
    replica = element(
        "replica",
        {
            "azimuthTime": swath.start,
            "crossCorrelationBandwidth": 1.0,
            "crossCorrelationPslr": -13.26,
            "crossCorrelationIslr": -9.6,
            "crossCorrelationPeakLocation": 0.0,
            "reconstructedReplicaValidFlag": True,
            "pgProductAmplitude": 1.0,
            "pgProductPhase": 0.0,
            "modelPgProductAmplitude": 1.0,
            "modelPgProductPhase": 0.0,
            "relativePgProductValidFlag": True,
            "absolutePgProductValidFlag": True,
            "internalTimeDelay": 0.0,
        },
    )
    return element(
        "replicaInformation",
        {
            "swath": swath.mode.name,
            "referenceReplica": {
                "azimuthTime": swath.start,
                "chirpSource": "Nominal",
                "pgSource": "Extracted",
                "amplitudeCoefficients": numbers("amplitudeCoefficients", (1.0, 0.0, 0.0, 0.0)),
                "phaseCoefficients": numbers("phaseCoefficients", (0.0, 0.0, half, 0.0)),
                "timeDelay": 0.0,
                "gain": {"re": 1.0, "im": 0.0},
            },
            "replicaList": counted("replicaList", [replica]),
        },
    )


def _noise_record(swath: SwathPlan) -> Element:
    return element(
        "noise",
        {
            "swath": swath.mode.name,
            "azimuthTime": swath.start,
            "noisePowerCorrectionFactor": 1.0,
            "numberOfNoiseLines": 8,
        },
    )


def _fm_rate(burst: Burst) -> Element:
    return element(
        "azimuthFmRate",
        {
            "azimuthTime": burst.grid.mid_time,
            "t0": burst.fm_rate.t0_s,
            "azimuthFmRatePolynomial": numbers("azimuthFmRatePolynomial", burst.fm_rate.coefficients, ".16e"),
        },
    )
