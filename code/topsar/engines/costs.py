"""How what a step takes grows with its size: the form of the tables that predictions start from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from topsar.engines.protocol import step_argv
from topsar.schedule.jobs import Artifact, Resources, Step

MOST_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How a step grows with its pixels.

    Attributes
    ----------
    base_memory : int
        Bytes of a step without work: an interpreter with its packages.
    memory : float
        Bytes per pixel, beyond those.
    disk : float
        Bytes per pixel.
    start_s : float
        Seconds of a step without work: start of the interpreter, loading of compiled code.
    microseconds : float
        Of one core, per pixel.
    pixels_per_thread : float
        So many pixels are worth a thread of their own; infinite for a step that has one thread.
    """

    base_memory: int
    memory: float
    disk: float
    start_s: float
    microseconds: float
    pixels_per_thread: float = math.inf

    def needs(self, pixels: float, extra_memory: float = 0.0) -> Resources:
        """What a step of so many pixels needs."""
        return Resources(
            memory_bytes=int(self.base_memory + self.memory * pixels + extra_memory),
            threads=max(1, min(MOST_THREADS, int(pixels / self.pixels_per_thread))),
            disk_bytes=int(self.disk * pixels),
        )

    def seconds(self, pixels: float) -> float:
        """How long a step of so many pixels takes on the threads that it can use."""
        return round(self.start_s + self.microseconds * 1e-6 * pixels / self.needs(pixels).threads, 1)

    def timeout_s(self, pixels: float) -> float:
        """When a step of so many pixels is given up: long after the slowest machine is done."""
        return 3600.0 + 200 * self.seconds(pixels)


def make_step(
    name: str,
    *,
    key: str,
    signature: str,
    cost: Cost,
    size: float,
    writes: tuple[Artifact, ...],
    reads: tuple[str, ...] = (),
    extra_memory: float = 0.0,
    kind: str = "",
) -> Step:
    """A step that takes what the table says.

    Parameters
    ----------
    name : str
    key : str
        Engine and version; with the name, what steps that are alike have in common.
    signature, writes, reads
        As `Step` has them.
    cost : Cost
        The row of the table.
    size : float
        Of the step, in the unit of that row.
    extra_memory : float
        Bytes that do not follow from the size.
    kind : str
        What steps that are alike are called, if it is not their name.
    """
    return Step(
        name=name,
        argv=step_argv(name),
        signature=signature,
        reads=reads,
        writes=writes,
        needs=cost.needs(size, extra_memory),
        seconds=cost.seconds(size),
        kind=f"{key} {kind or name}",
        size=size,
        timeout_s=cost.timeout_s(size),
    )
