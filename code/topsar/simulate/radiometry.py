"""Calibration and noise documents."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from topsar.simulate.annotation import ads_header
from topsar.simulate.markup import counted, element, numbers
from topsar.simulate.mode import BETA_NOUGHT, LINE_INTERVAL_S

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

    from topsar.simulate.geolocation import GridPoint
    from topsar.simulate.plan import ProductPlan, SwathPlan

_PIXEL_STEP = 40
_LINE_STEP = 10


def noise_power(nesz_db: float, incidence_rad: float) -> float:
    """Thermal noise in squared digital numbers, from its sigma nought and the incidence angle at mid swath."""
    return float(BETA_NOUGHT**2 * 10 ** (nesz_db / 10) / math.sin(incidence_rad))


def calibration(product: ProductPlan, swath: SwathPlan, points: tuple[GridPoint, ...]) -> Element:
    """Calibration vectors every second: constant beta nought, the others by the incidence angle on the ellipsoid."""
    pixels = _pixels(swath)
    width = len({point.ground.pixel for point in points})
    incidence = np.radians(
        np.interp(pixels, [p.ground.pixel for p in points[:width]], [p.incidence_deg for p in points[:width]])
    )
    beta = np.full(len(pixels), BETA_NOUGHT)
    sigma = beta / np.sqrt(np.sin(incidence))
    tables = {"sigmaNought": sigma, "betaNought": beta, "gamma": sigma * np.sqrt(np.cos(incidence)), "dn": beta}
    seconds = math.ceil((swath.stop - swath.start).total_seconds()) + 1
    vectors = (
        element(
            "calibrationVector",
            {
                "azimuthTime": swath.start + timedelta(seconds=second),
                "line": round(second / LINE_INTERVAL_S),
                "pixel": numbers("pixel", pixels.tolist(), "d"),
                **{name: numbers(name, values) for name, values in tables.items()},
            },
        )
        for second in range(seconds)
    )
    return element(
        "calibration",
        [
            ads_header(product, swath),
            element("calibrationInformation", {"absoluteCalibrationConstant": 1.0}),
            counted("calibrationVectorList", vectors),
        ],
    )


def noise(product: ProductPlan, swath: SwathPlan) -> Element:
    """Noise vectors: a constant power over the swath and along the burst."""
    pixels = _pixels(swath)
    lines = len(swath.bursts) * swath.mode.lines
    power = noise_power(product.recipe.nesz_db, swath.incidence_rad)
    vectors = (
        element(
            "noiseRangeVector",
            {
                "azimuthTime": burst.grid.first_line_time,
                "line": burst.first_line,
                "pixel": numbers("pixel", pixels.tolist(), "d"),
                "noiseRangeLut": numbers("noiseRangeLut", [power] * len(pixels)),
            },
        )
        for burst in swath.bursts
    )
    along = list(range(0, lines, _LINE_STEP))
    azimuth = element(
        "noiseAzimuthVector",
        {
            "swath": swath.mode.name,
            "firstAzimuthLine": 0,
            "firstRangeSample": 0,
            "lastAzimuthLine": lines - 1,
            "lastRangeSample": swath.bursts[0].grid.samples - 1,
            "line": numbers("line", along, "d"),
            "noiseAzimuthLut": numbers("noiseAzimuthLut", [1.0] * len(along)),
        },
    )
    return element(
        "noise",
        [
            ads_header(product, swath),
            counted("noiseRangeVectorList", vectors),
            counted("noiseAzimuthVectorList", [azimuth]),
        ],
    )


def _pixels(swath: SwathPlan) -> NDArray[np.int64]:
    samples = swath.bursts[0].grid.samples
    return np.append(np.arange(0, samples - 1, _PIXEL_STEP), samples - 1)
