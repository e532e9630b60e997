"""What every fault campaign is given, and what it counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

Fault = TypeVar("Fault")


@dataclass
class Count:
    """What a campaign did, and what was wrong."""

    campaign: str
    faults: int = 0
    refused: int = 0
    resumes: int = 0
    executed: int = 0
    repeated: int = 0
    differing: int = 0
    orphans: int = 0
    failures: int = 0
    notes: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def is_clean(self) -> bool:
        return not (self.repeated or self.differing or self.orphans or self.failures)

    def demand(self, is_so: bool, otherwise: str) -> None:  # noqa: FBT001 - as assert
        """Count a failure unless it is so."""
        if not is_so:
            self.failures += 1
            self.notes.append(otherwise)


class Place:
    """Where a campaign takes place: a folder, chance, and which part of the whole campaign it plays.

    ``part`` (1, 3) is the first of three parts of what is played of a list of faults: the three add up.
    """

    def __init__(
        self, folder: Path, *, seed: int = 0, pace: float = 1.0, share: float = 1.0, part: tuple[int, int] = (1, 1)
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.seed, self.pace, self.share, self.part = folder, seed, pace, share, part
        self.chance = random.Random(seed)

    def rounds(self, full: int) -> int:
        """How many of a full campaign's rounds are played."""
        return max(1, round(full * self.share))

    def choose(self, faults: Sequence[Fault], full: int | None = None) -> list[Fault]:
        """The faults that are played, in an order of chance; a full campaign has so many of them, or all."""
        rounds = min(self.rounds(full or len(faults)), len(faults))
        number, parts = self.part
        return self.chance.sample(faults, rounds)[number - 1 :: parts]
