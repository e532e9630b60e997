"""What may go from a runs folder in which nobody works."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topsar.errors import TopsarError
from topsar.schedule.removal import GOING, TRASH, delete, size_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from pathlib import Path

    from topsar.schedule.evidence import Store
    from topsar.schedule.jobs import Lifetime
    from topsar.schedule.removal import Cleanup


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """A file or folder that may go, and why."""

    path: Path
    size: int
    why: str


def find_removable(
    store: Store, artifacts: Mapping[str, Lifetime], *, cleanup: Cleanup, needed: Container[str]
) -> tuple[Removable, ...]:
    """Find what may go: spent artifacts, and what killed steps and killed removals left half-done.

    Parameters
    ----------
    store : Store
        The runs folder.
    artifacts : mapping
        Lifetime of every artifact that is known, of these jobs and of earlier ones.
    cleanup : {"scratch", "nuclear", "none"}
        Which lifetimes may go.
    needed : container of str
        Artifacts that stay, whatever their lifetime.
    """
    found = [*_spent(store, artifacts, GOING[cleanup], needed), *_leftovers(store, artifacts)]
    trash = store.runs / TRASH
    if trash.is_dir() and not trash.is_symlink():
        found += [_removable(path, "was being removed") for path in sorted(trash.iterdir())]
    return tuple(found)


def remove_all(found: Iterable[Removable]) -> int:
    """Remove what was found; return the bytes freed.

    Raises
    ------
    TopsarError
        When something cannot be removed.
    """
    freed = 0
    for removable in found:
        try:
            delete(removable.path)
        except OSError as exc:
            msg = f"{removable.path} cannot be removed: {exc.strerror}"
            raise TopsarError(msg, hint="whose is it?") from exc
        freed += removable.size
    return freed


def _spent(
    store: Store, artifacts: Mapping[str, Lifetime], going: Container[Lifetime], needed: Container[str]
) -> Iterable[Removable]:
    for artifact, lifetime in artifacts.items():
        if lifetime in going and artifact not in needed:
            with contextlib.suppress(TopsarError):  # a folder that leads out of the runs folder is left alone
                path = store.locate(artifact)
                if os.path.lexists(path):
                    yield _removable(path, f"{lifetime.value}, and no step needs it")


def _leftovers(store: Store, artifacts: Mapping[str, Lifetime]) -> Iterable[Removable]:
    """What is being written in place of an artifact, or was there before it."""
    for artifact in artifacts:
        for name in (f"{artifact}.part", f"{artifact}.old"):
            with contextlib.suppress(TopsarError):
                path = store.locate(name)
                if name not in artifacts and os.path.lexists(path):
                    yield _removable(path, "left half-done")


def _removable(path: Path, why: str) -> Removable:
    return Removable(path=path, size=size_of(path), why=why)
