"""The environment of processes: what is not handed on, and what would mislead libraries of ours."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

LIBRARY_DATA = ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")
"""Where GDAL and PROJ look for their tables and plug-ins."""
_SECRET_NAME = re.compile(
    r"^EARTHDATA_|KEY$|KEY_ID$|TOKEN|PASSW(OR)?D|PASSPHRASE|SECRET|CREDENTIAL", re.ASCII | re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"\w://[^/\s@]*:[^/\s@]*@")
"""A user's name and password in an address, such as a proxy's."""


def make_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Make the environment of another process: this one's without keys and passwords, which only downloads need.

    Parameters
    ----------
    more : mapping of str to str, optional
        Further variables, handed on as they are.
    """
    harmless = {
        name: value
        for name, value in os.environ.items()
        if not _SECRET_NAME.search(name) and not _SECRET_VALUE.search(value)
    }
    return {**harmless, **(more or {})}


def drop_foreign_data() -> None:
    """Drop variables by which rasterio would read another installation's tables instead of those in its own wheel.

    An activated conda environment sets them. Where rasterio comes without tables, as from conda, they stay.
    """
    spec = find_spec("rasterio")
    if spec and spec.origin and (Path(spec.origin).parent / "proj_data" / "proj.db").is_file():
        for name in LIBRARY_DATA:
            os.environ.pop(name, None)


def replace_environment(env: Mapping[str, str]) -> None:
    """Let this process have another environment altogether.

    Parameters
    ----------
    env : mapping of str to str
    """
    os.environ.clear()
    os.environ.update(env)
