"""How the library is built: its layers, its size, and a test file for each module."""

import ast
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import ROOT

PACKAGE = ROOT / "mnist_lab"
# Bottom to top. A module imports those of its own layer and of the ones below; a name stands for
# what is inside it, too.
LAYERS = (
    ("validation", "files", "progress", "install"),
    ("mnist_files", "data", "augment", "networks"),
    ("recipes", "statistics", "speed", "cuda"),
    ("evaluation",),
    ("training", "layers"),
    ("records", "pretrained", "interpret", "corruptions", "plots", "drawing"),
    ("exercises", "studies"),
    ("course",),
    ("grading",),
    ("__main__",),
)
LINES = 3_750  # of what a notebook imports; the aim is 3,000. Raise it only for what earns it.
NOT_IN_NOTEBOOKS = {"__main__", "course", "exercises", "grading", "install", "studies"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def part(module: str) -> str:
    """The part of the library that a module belongs to: `studies` of mnist_lab.studies.cases."""
    return module.split(".")[1]


def layer(module: str) -> int:
    found = [level for level, parts in enumerate(LAYERS) if part(module) in parts]
    assert found, f"say in LAYERS where {module} stands"
    return found[0]


@cache
def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} - {"mnist_lab"}  # its version, its folder
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:  # `from a import b` may name the module a.b
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
    return {name for name in found if name.split(".")[0] == "mnist_lab"}


def test_a_module_imports_nothing_of_a_higher_layer():
    for module in MODULES.keys() - {"mnist_lab"}:
        imported = imports(MODULES[module])
        assert "mnist_lab" not in imported, f"{module}: import the module that has the name"
        higher = {name for name in imported if layer(name) > layer(module)}
        assert not higher, module


def test_imports_run_in_no_circle():
    graph = {name: imports(path) - {name} for name, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_what_a_notebook_imports_can_be_read_in_an_evening():
    lines = {
        module: len(path.read_text(encoding="utf-8").splitlines())
        for module, path in MODULES.items()
        if module == "mnist_lab" or part(module) not in NOT_IN_NOTEBOOKS
    }
    assert sum(lines.values()) <= LINES, lines


def test_every_package_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(settings["tool"]["setuptools"]["packages"]) == packages


def test_every_module_has_a_test_file_of_its_name():
    without = ("__init__.py", "__main__.py", "progress.py", "preloaded.py")
    for path in [path for path in MODULES.values() if path.name not in without]:
        folder = ROOT / "tests" / path.parent.relative_to(PACKAGE)
        assert (folder / f"test_{path.name}").is_file()
