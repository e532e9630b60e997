from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import topsar

CODE = Path(__file__).resolve().parent.parent / "code"
PACKAGE = CODE / "topsar"

FLOORS = (
    {"model", "errors"},
    {"environment", "files", "registry", "wording"},
    {"settings"},
    {"schedule"},
    {"kernels"},
    {"sentinel1", "raster"},
    {"interferogram"},
    {"pairs"},
    {"gamma"},
    {"engines", "provision", "simulate"},
    {"corrections", "stamps"},
    {"formats"},
    {"datasets", "report"},
    {"batch"},
    {"doctor"},
    {"workflow", "step"},
    {"api", "compiling", "demo"},
    {"cli"},
    {"__main__"},
)
"""Rooms from the ground up: each may import from the floors below, never from its neighbours."""
SCHEDULE_SEES = {"environment", "errors", "files", "registry", "wording"}
"""The scheduler has nouns of its own: it knows neither radar nor settings."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """``topsar.kernels.geometry`` lies in ``kernels``."""
    return module.split(".")[1] if "." in module else ""


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(CODE).with_suffix("").parts).removesuffix(".__init__")


def package_of(path: Path) -> str:
    """What a relative import in the file starts from."""
    return module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Modules of ours that a source imports, at its top or inside functions; also for type checking alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "topsar")
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            if module == "topsar":
                yield from (f"topsar.{alias.name}" for alias in node.names if alias.name != "__version__")
            elif module.startswith("topsar."):
                yield module


def ids(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_imports_go_down(path: Path) -> None:
    room = room_of(module_name(path))
    allowed = {room}
    if room == "kernels":
        allowed |= {"model"}
    elif room == "schedule":
        allowed |= SCHEDULE_SEES
    else:
        allowed |= {other for rooms in FLOORS[: floor_of(room) if room else None] for other in rooms}
    imported = imported_modules(path.read_text(encoding="utf-8"), package_of(path))
    wrong = {module for module in imported if room_of(module) not in allowed}
    assert not wrong, f"{module_name(path)} must not import {sorted(wrong)}"


def imported_places(path: Path) -> set[str]:
    """Modules that a file imports, a module named behind ``import`` counted instead of its package."""
    names = {module_name(other) for other in MODULES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            places = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {place if place in names else node.module for place in places}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & names) - {module_name(path)}


def test_no_modules_import_each_other() -> None:
    """Neither directly nor through others, in functions or for type checking alone; ``topsar`` itself is a list."""
    left = {module_name(path): imported_places(path) for path in MODULES} | {"topsar": set()}
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert not left


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(module_name(path)) for path in MODULES} - {""}
    assert rooms <= set().union(*FLOORS)


def test_the_walk_sees_every_kind_of_import() -> None:
    source = "import topsar.raster\nfrom topsar import cli\nfrom .. import workflow\nfrom ..schedule import graph\n"
    source += "from .tops import deramp\nimport numpy\ndef f():\n    from topsar.formats.geotiff import write\n"
    rooms = {room_of(module) for module in imported_modules(source, "topsar.kernels")}
    assert rooms == {"raster", "cli", "workflow", "schedule", "kernels", "formats"}


def test_code_is_no_package() -> None:
    """An ``__init__.py`` there would hide the standard library's ``code``."""
    assert not (CODE / "__init__.py").exists()


def test_no_room_for_leftovers() -> None:
    forbidden = {"utils", "util", "helpers", "helper", "common", "core", "base", "misc"}
    assert not [path for path in PACKAGE.rglob("*") if path.stem.lower() in forbidden]


def test_the_environment_is_read_in_settings_and_handed_on_in_one_place() -> None:
    readers = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in {"environ", "getenv", "environb"}:
                readers.add(ids(path))
    assert readers <= {"settings/load.py", "environment.py"}


@pytest.mark.parametrize("name", sorted(m.name for m in pkgutil.iter_modules(topsar.__path__, "topsar.") if m.ispkg))
def test_exported_names_exist_and_are_sorted(name: str) -> None:
    package = importlib.import_module(name)
    exported = list(getattr(package, "__all__", []))
    assert exported == sorted(exported)
    assert not [member for member in exported if not hasattr(package, member)]


_HEAVY = {"numpy", "scipy", "numba", "rasterio", "pyproj", "matplotlib", "pydantic", "psutil"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        *((light, _HEAVY) for light in ("topsar.cli", "topsar.model", "topsar.errors")),
        ("topsar.engines.native.steps.geocode", {"scipy.interpolate", "shapely"}),
        ("topsar.engines.native.steps.coregister", {"scipy.interpolate", "shapely"}),
        ("topsar.engines.isce2.stages", {"scipy.interpolate"}),
    ],
)
def test_light_modules_import_nothing_heavy(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not heavy & set(loaded)
