"""From the power of a burst's looks to backscatter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from topsar.engines.viewing import fit_burst_arc, locate
from topsar.sentinel1.calibration import Nought, read_calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.model import Burst, Orbit
    from topsar.sentinel1.calibration import Calibration

Backscatter = Nought | Literal["none"]
_STRIP_ROWS = 64


class Calibrator:
    """Calibrates bursts; the tables of an image are read once.

    Parameters
    ----------
    nought : str
        ``gamma0`` or ``sigma0``.
    """

    def __init__(self, nought: Nought) -> None:
        self._nought: Nought = nought
        self._tables: dict[str, Calibration] = {}

    def find_table(self, burst: Burst) -> Calibration:
        """Find the tables of the image that holds a burst."""
        if burst.measurement not in self._tables:
            self._tables[burst.measurement] = read_calibration(burst, self._nought)
        return self._tables[burst.measurement]

    def calibrate(
        self, power: NDArray[np.floating], points_m: NDArray[np.float64], burst: Burst, orbit: Orbit
    ) -> NDArray[np.float32]:
        """Take thermal noise off power and calibrate it, a few rows at a time.

        Parameters
        ----------
        power : (rows, columns) floating
            Mean of |DN|² in each pixel.
        points_m : (rows, columns, 3) float64
            Their ground, ECEF.
        burst : Burst
            Which shows it.
        orbit : Orbit
        """
        table, arc = self.find_table(burst), fit_burst_arc(burst, orbit)
        found = np.empty(power.shape, np.float32)
        for top in range(0, len(power), _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            line, sample = locate(points_m[rows], burst, arc)
            found[rows] = table.calibrate(power[rows], burst.first_line + line, sample)
        return found
