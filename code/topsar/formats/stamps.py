"""Format ``stamps``: a stack in radar geometry as StaMPS takes it, all dates against the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from topsar.engines.step import Cost
from topsar.errors import SettingsError
from topsar.formats import Format
from topsar.model import BBox

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from topsar.engines.radar_stack import RadarStack
    from topsar.interferogram import Interferogram


class Stamps(Format):
    """``INSAR_<reference>``, cut to ``ROI``; small baselines are written by ``topsar export stamps``."""

    name, version = "stamps", "1"
    scope: Literal["pair", "stack", "radar"] = "radar"
    options = ("roi",)
    cost = Cost(base_memory=265_000_000, memory=0, disk=18, start_s=2.0, microseconds=0.15)

    def __init__(self, roi: Mapping[str, float] | None = None) -> None:
        self.roi = None if roi is None else BBox(**roi)

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Refuse interferograms on a map grid: StaMPS works out look angles from columns."""
        del ifgs, folder
        msg = "StaMPS takes stacks in radar geometry, not pairs on a map grid"
        raise SettingsError(msg, hint="set GRID=radar, or start `topsar stack`")

    def write_radar(self, stack: RadarStack, folder: Path) -> tuple[Path, ...]:
        """Write the tree.

        Parameters
        ----------
        stack : RadarStack
        folder : Path
        """
        from topsar.stamps import write_stamps

        root = write_stamps(stack, folder, roi=self.roi)
        return tuple(sorted(path for path in root.rglob("*") if path.is_file()))
