"""Formats: what is written of a pair, of all pairs of a track, or of a stack in radar geometry.

Each is one file or package, found by its name.
"""

from __future__ import annotations

from abc import abstractmethod
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from topsar.engines.step import Cost
from topsar.errors import SettingsError
from topsar.registry import open_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from topsar.engines.radar_stack import RadarStack
    from topsar.interferogram import Interferogram

__all__ = ["Cost", "Format", "open_format"]


class Format(Protocol):
    """Something that writes interferograms.

    Subclass it and state ``name``, ``version``, ``cost`` and `write`; the rest has defaults. The class is made with the
    settings that ``options`` names as keyword arguments, in the types of JSON. The module must be quick to import:
    planning needs the class, and only `write` needs its libraries.

    Attributes
    ----------
    name : str
        As it is registered; also the name of the folder that it writes.
    version : str
        Raised when the same interferogram would be written otherwise.
    cost : Cost
        Per pixel of a pair; of a stack, time and disk are per pixel of all pairs (in radar geometry: of all dates),
        memory of the largest.
    scope : {"pair", "stack", "radar"}
        Whether it takes pairs one by one, all pairs of a track together, or a stack in radar geometry.
    options : tuple of str
        Names of the fields of `topsar.settings.Options` that it uses.
    beside : tuple of str
        Names of files, or patterns of names, that a stack format reads besides products, where a run makes them of the
        same track.
    before : Format, optional
        One whose step comes before in the same job, and whose pairs, each in a folder, are taken in place of those of
        the track.
    needs_unwrapped : bool
        Whether pairs without unwrapped phase are refused.
    refuses_crossed : bool
        Whether pairs of VH and HV are.
    """

    name: str
    version: str
    cost: Cost
    scope: Literal["pair", "stack", "radar"] = "pair"
    options: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    before: Format | None = None
    needs_unwrapped: bool = False
    refuses_crossed: bool = False

    @abstractmethod
    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write files into an empty folder, which appears under its own name afterwards; return what was written.

        Parameters
        ----------
        ifgs : iterable of Interferogram
            One, or all of a track in the order of their dates, each opened when its turn comes. They may differ in
            grid.
        folder : Path
        """
        ...

    def predict_blocks(self, pairs: int, pixels: float) -> float:  # noqa: ARG002
        """Predict the bytes of memory that grow with the number of pairs; most formats have one pair at a time.

        Parameters
        ----------
        pairs : int
        pixels : float
            Of the largest.
        """
        return 0.0

    def write_radar(self, stack: RadarStack, folder: Path) -> tuple[Path, ...]:
        """Write a stack in radar geometry as `write` writes interferograms; only formats of that scope can.

        Parameters
        ----------
        stack : RadarStack
            With the dates of the run.
        folder : Path
        """
        msg = f"format {self.name!r} is not written of {stack.folder.name}, nor into {folder}"
        raise SettingsError(msg, hint="it takes pairs on a map grid: GRID=map")

    def check(self, path: Path) -> Iterator[str]:
        """Say what in a file of this format does not follow its standard, a line each; most formats cannot.

        Raises
        ------
        SettingsError
            If the format has no checker.
        """
        msg = f"format {self.name!r} has no checker, and {path} stays unchecked"
        raise SettingsError(msg, hint="topsar check gunw FILE checks ARIA-S1-GUNW")


_LATER = ("beside", "before", "needs_unwrapped", "refuses_crossed", "predict_blocks")
"""What a class of another package may lack where it is none of `Format`: they came after the others."""


def open_format(name: str, options: Mapping[str, Any]) -> Format:
    """Make a format ready to write.

    Parameters
    ----------
    name : str
    options : mapping
        Settings by field name, in the types of JSON: at least those that the format uses.

    Raises
    ------
    SettingsError
        If there is no such format, or it is none: it lacks a part, or inherits the empty `write`.
    """
    opened: Format = open_named("formats", name, ("version", "scope", "cost", "options", "write"), options)
    for part in _LATER:
        if not hasattr(opened, part):
            default = getattr(Format, part)
            setattr(opened, part, MethodType(default, opened) if callable(default) else default)
    return opened
