"""Engines: who does the radar work."""

from __future__ import annotations

from topsar.engines.protocol import Engine, Inputs, Outlook, Plan, Remark
from topsar.engines.step import step_argv
from topsar.errors import SettingsError
from topsar.registry import load_named

__all__ = ["Engine", "Inputs", "Outlook", "Plan", "Remark", "choose_engine", "load_engine", "step_argv"]


def choose_engine(name: str, isce_home: str = "", isce_python: str = "") -> tuple[Engine, str]:
    """Choose the engine to use, and say why.

    Parameters
    ----------
    name : str
        The setting ``ENGINE``: ``auto``, or a name of the registry.
    isce_home, isce_python : str
        Where ISCE2 is; empty where it is to be looked for.

    Raises
    ------
    SettingsError
        If the engine cannot be had, or ISCE2 is not where it is said to be.
    """
    if name not in ("auto", "isce2"):
        return load_engine(name), "as set by ENGINE"
    from topsar.engines.isce2 import Isce2Engine
    from topsar.engines.isce2.installation import find_installation

    try:
        found = find_installation(isce_home, isce_python)
    except SettingsError as exc:
        if name == "isce2" or isce_home or isce_python:
            raise
        return load_engine("native"), " ".join(part.strip() for part in exc.message.splitlines())
    why = f"ISCE2 {found.version} in {found.home}, by {found.python}"
    return Isce2Engine(found), why


def load_engine(name: str) -> Engine:
    """Load the engine of a name of the registry, for what was planned with it."""
    engine: Engine = load_named("engines", name)()
    return engine
