"""topsar: a list of Sentinel-1 pairs becomes trustworthy interferograms, in parallel, on any machine."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topsar.api import find_pairs, plan, run
    from topsar.datasets import open_pair, open_stack
    from topsar.errors import TopsarError
    from topsar.settings import Settings

__all__ = ["Settings", "TopsarError", "find_pairs", "open_pair", "open_stack", "plan", "run"]
__version__ = "0.1.0"

_MODULES = {"Settings": "settings", "TopsarError": "errors", "open_pair": "datasets", "open_stack": "datasets"}


def __getattr__(name: str) -> Any:
    """Import what is used when it is first used: ``import topsar`` itself loads nothing."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"topsar.{_MODULES.get(name, 'api')}"), name)
