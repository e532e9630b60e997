"""The engine that runs ISCE2's topsApp step by step, and checks each result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.engines.step import Cost

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.engines.isce2.installation import Installation
    from topsar.engines.protocol import Inputs, Plan
    from topsar.interferogram import Interferogram
    from topsar.settings import Options


class Isce2Engine:
    """ISCE2's topsApp.

    Parameters
    ----------
    installation : Installation, optional
        The one to plan for; steps read theirs in ``job.json``.
    """

    name = "isce2"
    wants_aux_cal = True
    whole_bursts = True
    collect_cost = Cost(base_memory=285_000_000, memory=78, disk=0, start_s=0, microseconds=0)

    def __init__(self, installation: Installation | None = None) -> None:
        from topsar.engines.isce2.tasks import VERSION, describe_version

        self.installation = installation
        self.version = describe_version(installation) if installation else VERSION

    def plan(self, inputs: Inputs, options: Options) -> Plan:
        """Turn pairs into jobs.

        Parameters
        ----------
        inputs : Inputs
        options : Options
        """
        from topsar.engines.isce2.installation import find_installation
        from topsar.engines.isce2.plan import plan

        return plan(inputs, options, self.installation or find_installation())

    def execute(self, folder: Path, step: str) -> None:
        """Run one step of a job.

        Parameters
        ----------
        folder : Path
            Where its ``job.json`` lies.
        step : str
        """
        from topsar.engines.isce2.stages import execute

        execute(folder, step)

    def collect(self, folder: Path) -> Interferogram:
        """Gather the results of the pair in ``folder``."""
        from topsar.engines.isce2.collect import collect

        return collect(folder)
