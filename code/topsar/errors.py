"""The error family.

::

    TopsarError            anything we say to the user; exit code 65, or 75 where trying again may help
    ├── SettingsError      .env, flags or pairs.txt: file, line, key, value, what was expected
    ├── SceneError         a SAFE or its parts: missing, truncated, of the wrong kind
    ├── ProvisionError     an orbit, DEM or geoid that is missing or does not fit
    │   └── NotFetchedError    a run would fetch it
    ├── StepFailed         a step's process ended badly
    └── ProductError       an output could not be written or read back

Foreign exceptions become ours at four borders only (network, XML, subprocess, raster), with ``from exc``.
"""

from __future__ import annotations


class TopsarError(Exception):
    """What is wrong and where, with a hint what to do about it.

    Parameters
    ----------
    message : str
        What is wrong, and where.
    hint : str
        What to do.
    retryable : bool
        Whether the same call may succeed later.
    """

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    @property
    def exit_code(self) -> int:
        """``EX_TEMPFAIL`` (75) where trying again may help, else ``EX_DATAERR`` (65)."""
        return 75 if self.retryable else 65


class SettingsError(TopsarError):
    """A setting or a line of pairs.txt that cannot be used."""


class SceneError(TopsarError):
    """A Sentinel-1 product that cannot be used."""


class ProvisionError(TopsarError):
    """An orbit, DEM or geoid that is missing or does not fit."""


class NotFetchedError(ProvisionError):
    """Something that is missing, and that a run would fetch."""


class StepFailed(TopsarError):
    """A step's process ended badly."""


class ProductError(TopsarError):
    """An output that could not be written or read back."""
