"""Settings, and who can read what is secret in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from topsar.doctor.finding import Grade, Said, counted
from topsar.settings import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topsar.doctor.case import Case


def settings(case: Case) -> Iterator[Said]:
    """Whether the settings can be used."""
    if case.broken is None:
        own = [key for key, origin in case.settings.origins.items() if origin != "default"]
        yield Said(Grade.OK, f"{counted(len(own), 'setting')} of your own" + (f": {', '.join(own)}" if own else ""))
        return
    yield Said(Grade.NOTE, "the settings cannot be used; everything else was looked at with the default ones")
    raise case.broken


def credentials(case: Case) -> Iterator[Said]:
    """Whether there is an account for what has to be fetched, and whether others can read files that hold secrets."""
    from topsar.provision import earthdata_account
    from topsar.provision.earthdata import HOW_TO_LOG_IN

    if any(text.startswith("scene ") for text in case.missing):
        account = earthdata_account(case.settings)
        if account is None:
            yield Said(Grade.PROBLEM, "scenes have to be fetched, and there is no Earthdata account", HOW_TO_LOG_IN)
        else:
            yield Said(Grade.OK, f"Earthdata account from {account.origin}")
    elif not case.missing:
        yield Said(Grade.OK, "none are needed: nothing is to be fetched")
    paths = [Path.home() / ".netrc"]
    if case.env_file and any(key.secret and case.settings.origins[key.name] == ".env" for key in KEYS):
        paths.append(case.env_file)
    for path in paths:
        if path.is_file() and path.stat().st_mode & 0o077:
            yield Said(Grade.WARNING, f"{path} holds a secret, and others can read it", f"chmod 600 {path}")
