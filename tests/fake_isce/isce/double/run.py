"""What a step has at hand: the settings, the state, the options, and the list of what it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import images
from .frame import Burst, Frame, read_frame
from .images import Axes, Kind, View
from .options import Options
from .state import State


@dataclass
class Run:
    """One process of the double."""

    settings: dict[str, Any]
    state: State
    options: Options
    written: list[Path] = field(default_factory=list)

    @property
    def looks(self) -> tuple[int, int]:
        """Range and azimuth looks."""
        return int(self.settings["rangelooks"]), int(self.settings["azimuthlooks"])

    def wanted_swaths(self) -> list[int]:
        return list(self.settings["swaths"]) or [n + 1 for n in range(int(self.state.values["numberofswaths"]))]

    def swaths(self) -> list[int]:
        """The swaths with common bursts; on an empty state an ``IndexError``, as in the real one."""
        common = self.state.get_list("numberofcommonbursts")
        return [swath for swath in self.wanted_swaths() if common[swath - 1] > 0]

    def limits(self, swath: int) -> tuple[int, int]:
        """First common burst of the reference, and the one after the last."""
        first = self.state.get_list("commonburststartreferenceindex")[swath - 1]
        return first, first + self.state.get_list("numberofcommonbursts")[swath - 1]

    def overlaps(self, swath: int) -> range:
        """The common bursts that another one follows."""
        first, end = self.limits(swath)
        return range(first, end - 1)

    def frame(self, folder: str | Path, swath: int) -> Frame:
        return read_frame(Path(folder, f"IW{swath}.xml"))

    def common(self, swath: int) -> list[tuple[int, Burst]]:
        """Index and burst of the reference's common bursts."""
        first, end = self.limits(swath)
        bursts = self.frame(self.state.values["referenceslcproduct"], swath).bursts
        return [(index, bursts[index]) for index in range(first, end)]

    def folder(self, name: str, *parts: str) -> Path:
        return Path(self.state.values[f"{name}directoryname"], *parts)

    def write_image(self, path: Path, data: Any, kind: Kind, axes: Axes | None = None) -> None:
        self.written += images.write_image(path, data, kind, axes)

    def write_sparse(self, path: Path, shape: tuple[int, int], kind: Kind, lines: Callable[[Any], Any]) -> None:
        self.written += images.write_sparse(path, shape, kind, lines)

    def write_virtual(self, path: Path, shape: tuple[int, int], kind: Kind, views: list[View]) -> None:
        self.written += images.write_virtual(path, shape, kind, views)

    def write_frame(self, frame: Frame, path: Path) -> None:
        frame.write(path)
        self.written.append(path)
