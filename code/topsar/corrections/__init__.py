"""Corrections: phase that is not ground motion, estimated from what any engine made. Each is found by its name."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from topsar.engines.step import Cost
from topsar.registry import open_named
from topsar.settings import Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from topsar.interferogram import Interferogram, LayerKind

__all__ = ["Correction", "Cost", "Estimate", "open_correction", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """What a correction found.

    Attributes
    ----------
    phase_rad : (rows, columns) float32, optional
        What is to be taken off the unwrapped phase, in its sign (positive: longer range on the secondary date); NaN
        where it is not known. None where the data do not determine it: ``facts["refused"]`` then says why.
    facts : mapping
        What JSON can hold; it goes into the pair's facts.
    std_rad : (rows, columns) float32, optional
        Standard deviation of the phase, NaN where that is not known; None where the source tells nothing of it.
    """

    phase_rad: NDArray[np.float32] | None
    std_rad: NDArray[np.float32] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def refuse(why: str, facts: Mapping[str, Any] | None = None) -> Estimate:
    """Say why there is no estimate.

    Parameters
    ----------
    why : str
        Words that go on after "because".
    facts : mapping, optional
        What was found all the same.
    """
    return Estimate(phase_rad=None, facts={**(facts or {}), "refused": why})


class Correction(Protocol):
    """A phase that is estimated for every pair and can be taken off its displacement.

    Subclass it and state everything; what `options` and `find_files` say has defaults. The class is made with the
    settings that ``options`` names as keyword arguments, in the types of JSON, and must be quick to import: planning
    needs it.

    Attributes
    ----------
    name : str
        As it is registered; also the name of the folder of its results.
    version : str
        Raised when the same interferogram would give another estimate.
    layer : LayerKind
        The layer that it adds to the products: float32, in radians.
    cost : Cost
        Per pixel, beside what opening the interferogram takes.
    options : tuple of str
        Names of the fields of `topsar.settings.Options` that it uses; folders in them are absolute.
    """

    name: str
    version: str
    layer: LayerKind
    cost: Cost
    options: tuple[str, ...] = ()

    def find_files(self, times: Sequence[datetime]) -> tuple[Path, ...]:  # noqa: ARG002
        """List files of the user's that it reads for a pair: when they change, it is computed again.

        Parameters
        ----------
        times : sequence of datetime
            About those of the two passes, UTC.
        """
        return ()

    @abstractmethod
    def compute(self, ifg: Interferogram) -> Estimate:
        """Estimate the phase of one pair, as its engine left it: no other correction is taken off."""
        ...


def open_correction(name: str, options: Mapping[str, Any] | None = None) -> Correction:
    """Make a correction ready to compute.

    Parameters
    ----------
    name : str
    options : mapping, optional
        Settings by field name, in the types of JSON, at least those that it uses; the defaults without it.

    Raises
    ------
    SettingsError
        If there is no such correction, or it is none.
    """
    known = Options().model_dump(mode="json") if options is None else options
    opened: Correction = open_named("corrections", name, ("version", "layer", "cost", "compute"), known)
    return opened
