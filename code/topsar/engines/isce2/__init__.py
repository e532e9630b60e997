"""The engine that drives ISCE2's topsApp, step by step, and checks what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        Which one; only planning needs to know, the steps read it in their ``job.json``.
    """

    name = "isce2"
    wants_aux_cal = True
    whole_bursts = True

    def __init__(self, installation: Installation | None = None) -> None:
        from topsar.engines.isce2.plan import VERSION, version_with

        self.installation = installation
        self.version = version_with(installation) if installation else VERSION

    def plan(self, inputs: Inputs, options: Options) -> Plan:
        """Turn pairs into jobs."""
        from topsar.engines.isce2.installation import find_installation
        from topsar.engines.isce2.plan import plan

        return plan(inputs, options, self.installation or find_installation())

    def execute(self, folder: Path, step: str) -> None:
        """Run one step of the job in ``folder``."""
        from topsar.engines.isce2.steps import execute

        execute(folder, step)

    def collect(self, folder: Path) -> Interferogram:
        """Gather the results of the pair in ``folder``."""
        from topsar.engines.isce2.collect import collect

        return collect(folder)
