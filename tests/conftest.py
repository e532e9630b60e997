"""Fixtures shared by all floors."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("topsar", deadline=None)  # a busy machine is no fault of the code
hypothesis.settings.load_profile("topsar")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run in parallel, begin with the upper floors: their files take longest, and the last one runs alone."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.path.name, reverse=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: ``TOPSAR_TEST_DATA``, or the one beside the project."""
    folder = Path(os.environ.get("TOPSAR_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder")
    return folder
