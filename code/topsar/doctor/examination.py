"""All checks, and the one call that makes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from topsar.doctor import inputs, machine
from topsar.doctor.case import Case
from topsar.doctor.finding import Finding, Grade
from topsar.errors import NotFetchedError, SettingsError, TopsarError
from topsar.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Check = Callable[[Case], Iterable[Finding]]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("machine", machine.check_system),
    ("packages", machine.check_packages),
    ("packages", machine.check_kernels),
    ("packages", machine.check_projections),
    ("settings", inputs.check_settings),
    ("credentials", inputs.check_credentials),
    ("inputs", inputs.list_missing),
    ("inputs", inputs.check_strays),
    ("inputs", inputs.check_pairs),
    ("inputs", inputs.check_images),
    ("inputs", inputs.check_orbits),
    ("inputs", inputs.check_dem),
    ("inputs", inputs.check_weather),
    ("engine", inputs.check_engine),
    ("engine", machine.check_series_program),
    ("engine", machine.check_executor),
    ("memory", machine.check_memory),
    ("disk", machine.check_runs_folder),
    ("disk", machine.check_file_system),
    ("disk", machine.check_space),
    ("disk", machine.check_temporary_folder),
    ("disk", machine.check_holder),
)
"""All checks of a data folder, by topic."""
IMAGE_CHECKS = CHECKS[1:4]
"""What an image must pass at the end of its build."""
ISCE_CHECKS: tuple[tuple[str, Check], ...] = (("engine", machine.check_isce_image),)
"""And one with ISCE2."""
SHOWN = 20
"""Problems of one check that are listed one by one."""


def examine(
    *,
    env_file: Path | None,
    data: Path,
    pairs: Path,
    flags: Mapping[str, str],
    checks: Sequence[tuple[str, Check]] = CHECKS,
) -> tuple[Finding, ...]:
    """Run every check, whatever the others find; one that breaks is itself a finding.

    Parameters
    ----------
    env_file, data, pairs, flags
        As `topsar.settings.load_settings` takes them. If the settings cannot be used, the checks take the defaults.
    checks : sequence
        Topics and checks.

    Returns
    -------
    tuple of Finding
        In the order of the checks. Only the first of several checks reports what prevents them all.
    """
    try:
        settings = load_settings(env_file=env_file, data=data, pairs=pairs, flags=flags)
        case = Case(settings=settings, env_file=env_file)
    except SettingsError as exc:
        case = Case(settings=Settings(data=data, pairs=pairs), broken=exc, env_file=env_file)
    provision = logging.getLogger("topsar.provision")
    level = provision.level
    provision.setLevel(logging.ERROR)  # its warnings are findings here
    findings: dict[Finding, Finding] = {}
    try:
        for topic, check in checks:
            for finding in _cap_problems(list(_run(check, case))):
                findings.setdefault(finding, finding._replace(topic=topic))
    finally:
        provision.setLevel(level)
    return tuple(findings.values())


def _run(check: Check, case: Case) -> Iterator[Finding]:
    try:
        yield from check(case)
    except NotFetchedError as exc:
        if case.settings.offline:
            text = f"{exc.message}, and OFFLINE=1 forbids the network"
            yield Finding(Grade.PROBLEM, text, "set OFFLINE=0, or set DEM to a file of yours")
        else:
            yield Finding(Grade.NOTE, f"grid, memory and disk can be checked once the DEM is there: {exc.message}")
    except TopsarError as exc:  # the first line of a list of problems is its heading
        for text in exc.message.split("\n  ")[1:] or [exc.message]:
            yield Finding(Grade.PROBLEM, text, exc.hint)
    except Exception as exc:  # noqa: BLE001 whatever breaks a check would break a run
        yield Finding(Grade.PROBLEM, f"this check failed: {type(exc).__name__}: {exc}")


def _cap_problems(findings: Sequence[Finding]) -> Iterator[Finding]:
    problems = [one for one in findings if one.grade is Grade.PROBLEM]
    yield from (one for one in findings if one not in problems[SHOWN:])
    if len(problems) > SHOWN:
        yield Finding(Grade.PROBLEM, f"and {len(problems) - SHOWN} more like these")
