"""How long a run waits for room that others have before it decides without it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from topsar.schedule.jobs import Resources

_BETTER = 1.05


class Patience:
    """Waits once for ``seconds``, and again only when there is more of something than there was then.

    Attributes
    ----------
    waits_for : str
        What is waited for, in words; empty while nothing is.
    """

    def __init__(self, seconds: float) -> None:
        self.waits_for = ""
        self._seconds = seconds
        self._since: float | None = None
        self._in_vain: Resources | None = None

    def rest(self) -> None:
        """Wait for nothing any more."""
        self._since, self.waits_for = None, ""

    def is_over(self, lack: str, capacity: Resources, tell: Callable[[str], object]) -> bool:
        """Whether waiting has timed out, or did before and no resource has grown since.

        Parameters
        ----------
        lack : str
            What is lacking, in words.
        capacity : Resources
            What there is.
        tell : callable
            Is given ``lack`` when waiting begins.
        """
        now = time.monotonic()
        if self._in_vain is not None and not _is_better(capacity, self._in_vain):
            return True
        if self._since is None:
            self._since, self.waits_for = now, lack
            tell(lack)
        if now - self._since < self._seconds:
            return False
        self._since, self._in_vain = None, capacity
        return True


def _is_better(now: Resources, then: Resources) -> bool:
    return now.memory_bytes > _BETTER * then.memory_bytes or now.disk_bytes > _BETTER * then.disk_bytes
