"""The documentation site's generated reference: all that there is in the code, with the values that it has there."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import tdpn_core
from tdpn_core.config.families import FAMILIES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The hook that writes the reference pages."""
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_pages_every_option_is_listed_with_its_default_and_help(reference: ModuleType) -> None:
    pages = {name: reference.command_page(name, command) for name, command in reference.commands()}
    assert {"tdpn prep", "tdpn train", "tdpn eval", "tdpn bench infer"} <= pages.keys()
    assert re.search(r"^\| `--short-side` \| int \| `256` \| \w.+ \|$", pages["tdpn prep"], re.MULTILINE)
    assert re.search(r"^\| `--root` \| path \| required \| \w.+ \|$", pages["tdpn prep"], re.MULTILINE)
    assert "tdpn train --resume\n" in pages["tdpn train"]
    for name, command in reference.commands():
        for parameter in command.params:
            assert parameter.opts[-1] in pages[name] or parameter.name.upper() in pages[name]
    bare = [
        row for page in pages.values() for row in page.splitlines() if row.startswith("| `-") and row.endswith("|  |")
    ]
    assert not bare, "options without help"


def test_command_table_every_command_is_linked(reference: ModuleType) -> None:
    table = reference.command_table()
    assert "| [`tdpn bench infer`](tdpn-bench-infer.md) |" in table
    assert table.count("](tdpn-") == len(reference.commands())


def test_settings_page_every_setting_has_a_meaning(reference: ModuleType) -> None:
    rows = [row for row in reference.settings_tables().splitlines() if row.startswith("| `")]
    assert any(row.startswith("| `train.epochs` | `int` |") for row in rows)
    assert not [row for row in rows if row.endswith("|  |")]


def test_models_page_every_family_has_a_row_of_its_own_settings(reference: ModuleType) -> None:
    rows = reference.family_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(FAMILIES)
    (slowfast,) = (row for row in rows if row.startswith("| `slowfast` |"))
    assert "`alpha`" in slowfast
    assert "`flow`" not in slowfast
    assert slowfast.endswith("| `r18`, `r34`, `r50`, `r101` | 32 |")
    assert "<!-- generated: families -->" in (ROOT / "docs" / "models.md").read_text()


def test_python_page_every_public_name_is_documented(reference: ModuleType) -> None:
    page = reference.python_api()
    assert "::: tdpn_core.create_model\n" in page
    assert all(f"::: tdpn_core.{name}" in page for name in tdpn_core.__all__ if name != "__version__")
