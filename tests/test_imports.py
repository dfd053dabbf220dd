"""Which module may import which: layers, no cycles, and no name that hides a module."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for package in ("tdpn_core", "tdpn_cli") for path in (ROOT / package).rglob("*.py"))


def _bound(tree: ast.Module) -> Iterator[str]:
    """The names that a package's `__init__` defines or imports."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_imports_keep_to_the_contracts_of_pyproject(capsys: pytest.CaptureFixture[str]) -> None:
    """`[tool.importlinter]`: the layers of `tdpn_core`, no cycles, no import of the command line by the library."""
    found = lint_imports(str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert found == 0, capsys.readouterr().out


def test_no_package_has_a_name_that_hides_one_of_its_modules() -> None:
    packages = [path.parent for path in MODULES if path.name == "__init__.py"]
    hidden = [
        f"{package.relative_to(ROOT)}: {name}"
        for package in packages
        for name in _bound(ast.parse((package / "__init__.py").read_text()))
        if (package / name).is_dir() or (package / f"{name}.py").is_file()
    ]
    assert len(packages) > 20
    assert not hidden


def test_library_does_not_import_its_own_public_api() -> None:
    """`tdpn_core/__init__.py` is the roof: what is below imports from the module that has the name."""
    names = [
        (path, name.strip("( "))
        for path in MODULES
        if path.is_relative_to(ROOT / "tdpn_core") and path != ROOT / "tdpn_core" / "__init__.py"
        for line in re.findall(r"^ *from tdpn_core import (.+)$", path.read_text(), re.MULTILINE)
        for name in line.partition(" as ")[0].split(",")
    ]
    assert len(names) > 10
    modules = {path.name.removesuffix(".py") for path in (ROOT / "tdpn_core").iterdir()}
    assert not [(str(path.relative_to(ROOT)), name) for path, name in names if name not in modules]
