"""The version this double says it is: ``FAKE_ISCE_VERSION``, else the one its contract was observed on."""

from __future__ import annotations

import os

release_version = os.environ.get("FAKE_ISCE_VERSION", "2.6.5")
release_svn_revision = ""
release_date = "20260630"
