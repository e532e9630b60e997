"""All checks, and the one call that makes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from topsar.doctor import configuration, disk, inputs, machine, packages
from topsar.doctor.case import Case
from topsar.doctor.finding import Finding, Grade, Said
from topsar.errors import NotFetchedError, TopsarError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Check = Callable[[Case], Iterable[Said]]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("machine", machine.system),
    ("packages", packages.required),
    ("packages", packages.kernels),
    ("packages", packages.projections),
    ("settings", configuration.settings),
    ("credentials", configuration.credentials),
    ("inputs", inputs.folders),
    ("inputs", inputs.fetched),
    ("inputs", inputs.pairs),
    ("inputs", inputs.orbits),
    ("inputs", inputs.dem),
    ("engine", inputs.engine),
    ("engine", machine.executor),
    ("memory", machine.memory),
    ("disk", disk.runs_folder),
    ("disk", disk.file_system),
    ("disk", disk.space),
    ("disk", disk.temporary),
    ("disk", disk.holder),
)
"""What is looked at, by topic."""
SHOWN = 20
"""Problems of one check that are told one by one."""


def examine(
    *,
    env_file: Path | None,
    data: Path,
    pairs: Path,
    flags: Mapping[str, str],
    checks: Sequence[tuple[str, Check]] = CHECKS,
) -> tuple[Finding, ...]:
    """Run every check, whatever the others found; one that breaks is itself a finding.

    Parameters
    ----------
    env_file, data, pairs, flags
        As `topsar.settings.load_settings` takes them. If the settings cannot be used, the defaults are looked at.
    checks : sequence
        Topics and checks.

    Returns
    -------
    tuple of Finding
        In the order of the checks. What prevents several checks is told by the first of them.
    """
    case = Case.of(env_file, data, pairs, flags)
    provision = logging.getLogger("topsar.provision")
    level = provision.level
    provision.setLevel(logging.ERROR)  # its warnings are findings here
    findings: dict[Said, Finding] = {}
    try:
        for topic, check in checks:
            for said in _capped(list(_run(check, case))):
                findings.setdefault(said, Finding(topic, *said))
    finally:
        provision.setLevel(level)
    return tuple(findings.values())


def _run(check: Check, case: Case) -> Iterator[Said]:
    try:
        yield from check(case)
    except NotFetchedError as exc:
        if case.settings.offline:
            remedy = "set OFFLINE=0, or set DEM to a file of yours"
            yield Said(Grade.PROBLEM, f"{exc.message}, and OFFLINE=1 forbids the network", remedy)
        else:
            yield Said(Grade.NOTE, f"what follows from heights is not known before they are there: {exc.message}")
    except TopsarError as exc:  # an error that lists problems says in its first line what they have in common
        for text in exc.message.split("\n  ")[1:] or [exc.message]:
            yield Said(Grade.PROBLEM, text, exc.hint)
    except Exception as exc:  # noqa: BLE001 whatever breaks a check would break a run
        yield Said(Grade.PROBLEM, f"looking at this failed: {type(exc).__name__}: {exc}")


def _capped(said: Sequence[Said]) -> Iterator[Said]:
    problems = [one for one in said if one.grade is Grade.PROBLEM]
    yield from (one for one in said if one not in problems[SHOWN:])
    if len(problems) > SHOWN:
        yield Said(Grade.PROBLEM, f"and {len(problems) - SHOWN} more like these")
