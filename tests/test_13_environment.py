"""What processes are handed of the environment."""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
from pathlib import Path

import pytest

from topsar import environment
from topsar.engines.isce2.installation import find_installation
from topsar.errors import SettingsError
from topsar.schedule.command import run_command
from topsar.schedule.guard import Guard
from topsar.schedule.jobs import Command

SECRET = "mellon-7251"
SECRETS = {
    "EARTHDATA_PASSWORD": SECRET,
    "EARTHDATA_TOKEN": SECRET,
    "EARTHDATA_USERNAME": SECRET,
    "OPENTOPO_API_KEY": SECRET,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "aws_session_token": SECRET,
    "HTTPS_PROXY": f"http://user:{SECRET}@proxy:3128",
}
SEARCH = f"grep -l -s {SECRET} /proc/[0-9]*/environ; env; echo over"


@pytest.fixture
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_secrets")
def test_no_process_of_a_run_has_keys_and_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a step nor the guard: all processes of this machine are searched from within a step."""
    monkeypatch.setenv("KEYBOARD", "harmless")
    with Guard("topsar-test-environment"):
        run_command(Command(argv=("sh", "-c", SEARCH), cwd=tmp_path, log=tmp_path / "log"))
    said = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("# ")]
    assert said[-1] == "over"
    assert "KEYBOARD=harmless" in said
    assert [line for line in said if SECRET in line or line.startswith("/proc")] == []


@pytest.mark.usefixtures("_secrets")
def test_isce_is_asked_without_keys_and_passwords(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nenv >{tmp_path / 'seen'}\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(SettingsError):
        find_installation(python=str(python))
    assert "PATH=" in (tmp_path / "seen").read_text()
    assert SECRET not in (tmp_path / "seen").read_text()


@pytest.mark.parametrize("name", ["PROJ_DATA", "PROJ_LIB"])
def test_tables_of_another_installation_are_not_read(tmp_path: Path, name: str) -> None:
    """As an activated conda environment names them; of another version, rasterio could look nothing up."""
    (tmp_path / "proj.db").touch()
    code = "from topsar.cli import main; main(['settings']); import rasterio; print(rasterio.crs.CRS.from_epsg(32629))"
    variables = {**os.environ, name: str(tmp_path), "GDAL_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "EPSG:32629", done.stderr


def test_tables_stay_where_rasterio_has_none_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJ_DATA", "conda")
    conda = importlib.machinery.ModuleSpec("rasterio", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(environment, "find_spec", lambda _: conda)
    environment.drop_foreign_data()
    assert os.environ["PROJ_DATA"] == "conda"
