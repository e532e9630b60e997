"""Baselines as StaMPS reads them: a vector and its rate, from which it works out each pixel's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.gamma.parameters import Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Cross-track and normal part (m) at the middle line of an image, and their rates (m/s)."""

    cross_m: float
    normal_m: float
    cross_m_s: float
    normal_m_s: float

    def __sub__(self, other: Baseline) -> Baseline:
        return Baseline(
            cross_m=self.cross_m - other.cross_m,
            normal_m=self.normal_m - other.normal_m,
            cross_m_s=self.cross_m_s - other.cross_m_s,
            normal_m_s=self.normal_m_s - other.normal_m_s,
        )

    def __str__(self) -> str:
        """The text of a ``.base``."""
        return (
            f"initial_baseline(TCN):   0.0000000 {self.cross_m:.7f} {self.normal_m:.7f}   m   m   m\n"
            f"initial_baseline_rate:   0.0000000 {self.cross_m_s:.9f} {self.normal_m_s:.9f}   m/s m/s m/s\n"
            "precision_baseline(TCN):   0.0000000 0.0000000 0.0000000   m   m   m\n"
            "precision_baseline_rate:   0.0000000 0.0000000 0.0000000   m/s m/s m/s\n"
        )


NONE = Baseline(cross_m=0.0, normal_m=0.0, cross_m_s=0.0, normal_m_s=0.0)


def find_look_angle(range_m: NDArray[np.float64], image: Parameters) -> NDArray[np.float64]:
    """Angle at the satellite between nadir and line of sight over a sphere, rad: as StaMPS has it.

    Parameters
    ----------
    range_m : (...) float64
        Slant range.
    image : Parameters
        The SLC_par that StaMPS reads.
    """
    satellite, ground = (image.read_positive(key) for key in ("sar_to_earth_center", "earth_radius_below_sensor"))
    return np.asarray(np.arccos((satellite**2 + range_m**2 - ground**2) / (2 * satellite * range_m)))


def fit_baseline(
    perpendicular_m: NDArray[np.float64], lines: NDArray[np.int64], samples: NDArray[np.int64], image: Parameters
) -> Baseline:
    """Fit the vector whose perpendicular part is what pixels of an image have.

    StaMPS takes (c + ċ t) cos θ - (n + ṅ t) sin θ for the perpendicular baseline, with the look angle θ and the time t
    from the middle line. The sign is kept.

    Parameters
    ----------
    perpendicular_m : (n,) float64
    lines, samples : (n,) int64
        Of the pixels, from the image's first.
    image : Parameters
        The SLC_par that StaMPS reads.
    """
    range_m = image.read_positive("near_range_slc") + samples * image.read_positive("range_pixel_spacing")
    theta = find_look_angle(np.asarray(range_m, dtype=np.float64), image)
    t = (lines - (image.read_count("azimuth_lines") / 2 - 0.5)) / image.read_positive("prf")
    design = np.stack([np.cos(theta), -np.sin(theta), t * np.cos(theta), -t * np.sin(theta)], axis=-1)
    cross, normal, cross_rate, normal_rate = np.linalg.lstsq(design, perpendicular_m, rcond=1e-10)[0].tolist()
    return Baseline(cross_m=cross, normal_m=normal, cross_m_s=cross_rate, normal_m_s=normal_rate)
