"""Corrections: phase that is not ground motion, estimated from what any engine made. Each is found by its name."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from topsar.engines.step import Cost
from topsar.registry import open_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from topsar.interferogram import Interferogram, LayerKind

__all__ = ["Correction", "Cost", "Estimate", "open_correction"]


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
    """

    phase_rad: NDArray[np.float32] | None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Correction(Protocol):
    """A phase that is estimated for every pair and can be taken off its displacement.

    Subclass it and state everything. The class takes no arguments, and must be quick to import: planning needs it.

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
    """

    name: str
    version: str
    layer: LayerKind
    cost: Cost

    @abstractmethod
    def compute(self, ifg: Interferogram) -> Estimate:
        """Estimate the phase of one pair, as its engine left it: no other correction is taken off."""
        ...


def open_correction(name: str) -> Correction:
    """Make a correction ready to compute; a `SettingsError` if there is no such correction, or it is none."""
    opened: Correction = open_named("corrections", name, ("version", "layer", "cost", "compute"), {})
    return opened
