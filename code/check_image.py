"""Ends the build of an image unless what was installed works together.

``check_image.py`` asks for what topsar requires, ``check_image.py --isce`` also for ISCE2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FIRST_BAD_NUMPY = 2
"""ISCE2's ionosphere step uses what this version of NumPy removed."""


def package_faults() -> Iterator[str]:
    """What is wrong with the packages that topsar requires."""
    from topsar.doctor.finding import Grade
    from topsar.doctor.packages import kernels, projections, required

    for check in (required, kernels, projections):
        yield from (said.text for said in check(None) if said.grade is not Grade.OK)


def isce_faults(home: str | None) -> Iterator[str]:
    """What is wrong with ISCE2; ``home`` is ISCE_HOME as the image sets it."""
    import numpy as np

    if int(np.__version__.split(".")[0]) >= FIRST_BAD_NUMPY:
        yield f"numpy {np.__version__} is installed, ISCE2 needs one before {FIRST_BAD_NUMPY}"
    try:
        import isce
    except ImportError as exc:
        yield f"isce cannot be imported: {exc}"
        return
    folder = Path(isce.__file__).resolve().parent
    if home is None or Path(home).resolve() != folder:
        yield f"ISCE_HOME is {home}, isce lies in {folder}"
    app = shutil.which("topsApp.py")
    if app is None or Path(app).resolve() != folder / "applications" / "topsApp.py":
        yield f"topsApp.py in PATH is {app}, isce lies in {folder}"
        return
    ended = subprocess.run([app, "--help", "--steps"], capture_output=True, text=True, check=False)
    if ended.returncode or "unwrap" not in ended.stdout:
        yield f"topsApp.py --help --steps ended with {ended.returncode}: {ended.stdout}{ended.stderr}"


if __name__ == "__main__":
    isce_home = os.environ.get("ISCE_HOME")  # importing isce would set it
    with tempfile.TemporaryDirectory() as folder:  # for the log that isce leaves, and what packages keep at home
        os.chdir(folder)
        os.environ["HOME"] = folder
        faults = [*package_faults(), *(isce_faults(isce_home) if "--isce" in sys.argv else ())]
        os.chdir("/")
    sys.exit("\n".join(faults) or None)
