"""The house has three storeys: nothing imports what stands above it."""

import ast
import tomllib
from pathlib import Path

import pytest

from conftest import ROOT

PACKAGE = ROOT / "mnist_lab"
STOREYS = ("mnist_lab", "mnist_lab.studies", "mnist_lab.course", "mnist_lab.__main__")  # upwards


def storey(module: str) -> int:
    """The highest storey whose name the module's begins with."""
    return max(level for level, name in enumerate(STOREYS) if f"{module}.".startswith(f"{name}."))


def imports(path: Path) -> set[str]:
    """Every module of ours that a file imports, wherever in it; `from a import b` may name a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "mnist_lab"}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_file_imports_nothing_that_stands_above_it(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    above = {name for name in imports(path) if storey(name) > storey(module)}
    assert not above


def test_every_package_is_installed_and_tested_in_a_folder_of_its_name():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.parent for path in PACKAGE.rglob("__init__.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(settings["tool"]["setuptools"]["packages"]) == names
    for folder in folders:
        tests = ROOT / "tests" / folder.relative_to(PACKAGE)
        rooms = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__", "progress"}
        assert {f"test_{room}" for room in rooms} <= {path.stem for path in tests.glob("*.py")}
