"""The native engine: geocode first, then multiply.

Every pixel of a fixed map grid gets its height, its place in each date's radar image, and the signal there, with flat
earth and topography removed. Pairs are then products of arrays on one grid: N dates cost N geocodings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.engines.native.steps import VERSION
from topsar.engines.step import Cost

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.engines.protocol import Inputs, Plan
    from topsar.interferogram import Interferogram
    from topsar.settings import Options


class NativeEngine:
    """TOPS interferometry in NumPy and Numba."""

    name = "native"
    version = VERSION
    wants_aux_cal = False
    whole_bursts = False
    collect_cost = Cost(base_memory=142_000_000, memory=76, disk=0, start_s=0, microseconds=0)

    def plan(self, inputs: Inputs, options: Options) -> Plan:
        """Turn pairs into jobs; see `Engine`.

        Parameters
        ----------
        inputs : Inputs
        options : Options
        """
        from topsar.engines.native.plan import plan

        return plan(inputs, options)

    def execute(self, folder: Path, step: str) -> None:
        """Run one step of the job in ``folder``; see `Engine`.

        Parameters
        ----------
        folder : Path
        step : str
        """
        from topsar.engines.native.steps import execute

        execute(folder, step)

    def collect(self, folder: Path) -> Interferogram:
        """Gather the results of the pair in ``folder``."""
        from topsar.engines.native.collect import collect

        return collect(folder)
