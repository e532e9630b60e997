"""``job.json``: what a job's steps need to know, as an engine's planner wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from topsar.errors import ProvisionError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import TypeAdapter

T = TypeVar("T")


def dump_job(kind: TypeAdapter[T], task: T) -> str:
    """A task as JSON."""
    return kind.dump_json(task, indent=1).decode()


def load_job(kind: TypeAdapter[T], folder: Path) -> T:
    """The task of the job in ``folder``.

    Raises
    ------
    ProvisionError
        If it cannot be read.
    """
    try:
        return kind.validate_json((folder / "job.json").read_bytes())
    except (OSError, ValueError) as exc:
        msg = f"{folder / 'job.json'} cannot be read: {exc}"
        raise ProvisionError(msg, hint="start the run again: it writes the file anew") from exc
