"""Engines: who does the radar work."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from topsar.engines.protocol import Engine, Inputs, Outlook, Plan, Remark, step_argv
from topsar.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Engine", "Inputs", "Outlook", "Plan", "Remark", "get_engine", "step_argv"]


def get_engine(name: str, which: Callable[[str], str | None] = shutil.which) -> tuple[Engine, str]:
    """The engine to use, and why.

    Parameters
    ----------
    name : {"auto", "native", "isce2"}
        The setting ``ENGINE``.
    which : callable
        Finds programs.

    Returns
    -------
    engine : Engine
    why : str
        For the user.

    Raises
    ------
    SettingsError
        If the engine cannot be had.
    """
    from topsar.engines.native import NativeEngine

    if name == "isce2":
        found = which("topsApp.py")
        msg = "ENGINE=isce2, but this version of topsar cannot drive topsApp yet"
        msg += f" (found at {found})" if found else ", and topsApp.py is not installed either"
        raise SettingsError(msg, hint="set ENGINE=native or ENGINE=auto")
    if name == "native":
        return NativeEngine(), "as set by ENGINE"
    return NativeEngine(), "the engine of this version; topsApp is not driven yet"
