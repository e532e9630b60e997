"""Artifacts on disk: where they are, and what proves that a step is done.

A step is done when everything it writes is there and a validator has read it. The validator is the caller's: it reads
one file or folder and returns facts that JSON can hold (size, checksum, ...) or raises `TopsarError`. The facts are
recorded in the journal; on resume the same reading must give the same facts.

Nothing is read or removed outside the runs folder: an artifact whose folder leads there through a link is refused.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from topsar.errors import TopsarError
from topsar.files import find_parts, follow_links, size_of
from topsar.schedule.graph import is_artifact_path

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.schedule.jobs import Step

Inspect = Callable[["Path"], dict[str, Any]]
"""A validator: facts of a valid file or folder, or `TopsarError`. Called from several threads at once."""


class Store:
    """The runs folder and the validator for what is in it."""

    def __init__(self, runs: Path, inspect: Inspect) -> None:
        self.runs = runs
        self._inspect = inspect

    def resolve(self) -> Store:
        """The same with an absolute path, once the folder exists."""
        return Store(self.runs.resolve(), self._inspect)

    def locate(self, artifact: str) -> Path:
        """Absolute path of an artifact.

        Raises
        ------
        TopsarError
            When it is no plain path, or a link leads its folder out of the runs folder.
        """
        path = self.runs / artifact
        if not is_artifact_path(artifact):
            msg = f"{artifact!r} is not a plain path inside the runs folder {self.runs}"
            raise TopsarError(msg)
        if not (place := follow_links(path.parent)).is_relative_to(follow_links(self.runs)):
            msg = f"{path} lies outside the runs folder: a folder above it is a link to {place}"
            raise TopsarError(msg, hint="make the whole runs folder a link instead")
        return path

    def size(self, step: Step) -> int:
        """Bytes of what a step has written so far, be it under temporary names."""
        total = 0
        for artifact in step.writes:
            with contextlib.suppress(TopsarError):
                path = self.locate(artifact.path)
                total += sum(map(size_of, (path, *find_parts(path))))
        return total

    def gather(self, step: Step) -> dict[str, Any]:
        """Collect the evidence that a step is done: facts by artifact path.

        What the step wrote is fresh, because what was there before was removed before it started.

        Raises
        ------
        TopsarError
            When an output is missing or invalid.
        """
        evidence: dict[str, Any] = {}
        for artifact in step.writes:
            path = self.locate(artifact.path)
            if not path.exists():
                msg = f"ended without error, but did not write {artifact.path}"
                raise TopsarError(msg)
            try:
                evidence[artifact.path] = self._read_facts(path)
            except Exception as exc:
                msg = f"ended without error, but {artifact.path} is not valid: {exc}"
                raise TopsarError(msg) from exc
        return evidence

    def _read_facts(self, path: Path) -> Any:
        """The facts as they will be read back from the journal (tuples become lists)."""
        return json.loads(json.dumps(self._inspect(path)))

    def fault(self, artifact: str, evidence: dict[str, Any]) -> str:
        """Say what is wrong with an artifact for which `gather` once collected evidence, or return an empty string.

        Parameters
        ----------
        artifact : str
        evidence : dict
            What `gather` returned for the step that wrote it.
        """
        if artifact not in evidence:
            return f"{artifact} was not written then"
        try:
            path = self.locate(artifact)
            if not path.exists():
                return f"{artifact} is gone"
            facts = self._read_facts(path)
        except Exception as exc:  # noqa: BLE001 - whatever the validator stumbles over is not what was recorded
            return f"{artifact} is no longer valid: {exc}"
        return "" if facts == evidence[artifact] else f"{artifact} has changed"
