"""Watching a run: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from topsar.schedule.jobs import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topsar.schedule.jobs import Event, Job

_QUIET = (Status.CACHED, Status.UNNEEDED)
_TITLES_SHOWN = 3


class Progress:
    """An observer of events that shows pairs done and steps under way.

    On a terminal it draws a bar; elsewhere it writes one line with the time per start and end of a step. What was done
    before is not mentioned. Use it as a context.

    Parameters
    ----------
    jobs : sequence of Job
        The jobs of the run. Where none of them is a pair, all are counted.
    stream : text stream, optional
        Default: standard error.
    """

    def __init__(self, jobs: Sequence[Job], *, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._jobs = {job.id: job for job in jobs}
        self._counted = {job.id for job in jobs if job.is_pair} or set(self._jobs)
        self._steps_left = {job.id: {step.name for step in job.steps} for job in jobs}
        self._running: dict[tuple[str, str], None] = {}
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            unit = "pair" if any(job.is_pair for job in self._jobs.values()) else "job"
            self._bar = tqdm(total=len(self._counted), unit=unit, file=self._stream, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, event: Event) -> None:
        """Show an event; once nobody can be shown anything any more, do nothing."""
        try:
            self._show(event)
        except OSError:  # a closed pipe, a full disk: no reason to end a run
            self._stream = io.StringIO()
            self._bar = None

    def _show(self, event: Event) -> None:
        step = (event.job, event.step)
        self._running.pop(step, None)
        if event.status is Status.RUNNING:
            self._running[step] = None
        line = _describe_event(event, self._jobs[event.job])
        if line and (self._bar is None or event.note or event.status is Status.FAILED):
            self._write(f"{event.time:%Y-%m-%dT%H:%M:%SZ} {line}")
        self._count(event)
        if self._bar is not None:
            self._bar.set_postfix_str(self._name_running())

    def _count(self, event: Event) -> None:
        left = self._steps_left[event.job]
        if event.status in (Status.WAITING, Status.RUNNING) or event.step not in left:
            return
        left.discard(event.step)
        if not left and event.job in self._counted and self._bar is not None:
            self._bar.update()

    def _name_running(self) -> str:
        steps = Counter(step for _, step in self._running)
        shown = [name if count == 1 else f"{name} x{count}" for name, count in steps.most_common(_TITLES_SHOWN)]
        more = ["..."] if len(steps) > _TITLES_SHOWN else []
        return ", ".join(shown + more)

    def _write(self, text: str) -> None:
        if self._bar is None:
            self._stream.write(text + "\n")
            self._stream.flush()
        else:
            self._bar.write(text, file=self._stream)


def _describe_event(event: Event, job: Job) -> str:
    """What there is to say about an event, or an empty string."""
    name, ended = f"{job.title}: {event.step}", event.ended
    if event.status is Status.RUNNING:
        return f"{name} started" + (f" (attempt {event.attempt})" if event.attempt > 1 else "")
    if event.note:
        return f"{name} {event.note}"
    if event.status in _QUIET:
        return ""
    if event.status is Status.BLOCKED or ended is None:
        return f"{name} {event.status.value}"
    if event.status is Status.DONE:
        return f"{name} done in {ended.seconds:.1f} s, {ended.peak_memory_bytes / 1e9:.2f} GB"
    word = "will be tried again" if event.status is Status.WAITING else event.status.value
    return f"{name} {word}: {ended.message}" if ended.message else f"{name} {word}"
