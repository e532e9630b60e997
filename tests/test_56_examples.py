"""The examples in docstrings run as written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import topsar.schedule

MODULES = [f"topsar.schedule.{module.name}" for module in pkgutil.iter_modules(topsar.schedule.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
