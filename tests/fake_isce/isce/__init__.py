"""A double of the ISCE2 package: what importing the real one shows, and no more."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .release_history import release_date, release_svn_revision, release_version

__version__ = release_version
svn_revision = release_svn_revision
isce_path = str(Path(__file__).resolve().parent)

for _folder in ("", "applications", "components", "library"):
    sys.path.insert(1, str(Path(isce_path, _folder)))

if "ISCE_HOME" not in os.environ:
    sys.stdout.write(f"Using default ISCE Path: {isce_path}\n")
    os.environ["ISCE_HOME"] = isce_path

__all__ = ["__version__", "isce_path", "release_date", "release_svn_revision", "release_version", "svn_revision"]
