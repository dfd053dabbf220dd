"""The help of every command: panels, width, one meaning of an option; and defaults that the library alone has."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner

import tdpn_cli
import tdpn_core
from tdpn_cli import options
from tdpn_cli.app import app

FEW = 8
"""Up to so many options, a command's help has no panels."""

LIBRARY: dict[tuple[str, ...], list[Callable[..., Any]]] = {
    ("demo",): [tdpn_core.run_demo],
    ("prep",): [tdpn_core.prepare, tdpn_core.PrepConfig, tdpn_core.Encoding, tdpn_core.DatasetOptions],
    ("train",): [tdpn_core.train],
    ("eval",): [tdpn_core.evaluate, tdpn_core.ScoreOptions],
    ("predict",): [tdpn_core.predict, tdpn_core.PredictOptions],
    ("export",): [tdpn_core.export, tdpn_core.ExportOptions],
    ("ablate",): [tdpn_core.ablate],
    ("bench", "infer"): [tdpn_core.bench_models],
    ("bench", "train"): [tdpn_core.bench_models],
    ("bench", "data"): [tdpn_core.bench_reading],
}
"""What the options of a command are passed to."""

OTHER_NAMES = {"batch_size": "batch", "kind": "format"}
"""Options whose parameter in the library has another name."""


def _walk(name: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", {})
    for child, found in children.items():
        yield from _walk((*name, child), found)
    if not children:
        yield name, command


COMMANDS = dict(_walk((), typer.main.get_command(app)))


def _options(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "option" and one.name != "help"]


def _defaults(target: Callable[..., Any]) -> dict[str, Any]:
    """The default of each parameter or field that has a plain one."""
    if dataclasses.is_dataclass(target):
        pairs = [(field.name, field.default) for field in dataclasses.fields(target)]
        return {name: value for name, value in pairs if value is not dataclasses.MISSING}
    parameters = inspect.signature(target).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_command_with_many_options_groups_them_in_panels_and_one_with_few_does_not(name: tuple[str, ...]) -> None:
    panels = [option.rich_help_panel for option in _options(COMMANDS[name])]
    if len(panels) > FEW:
        assert None not in panels
        assert len(set(panels)) > 2
    else:
        assert set(panels) <= {None}


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_help_fits_the_terminal_and_names_every_option(name: tuple[str, ...], width: int) -> None:
    shown = CliRunner().invoke(app, [*name, "--help"], env={"COLUMNS": str(width), "TERM": "dumb"}).stdout
    assert shown
    assert all(cell_len(line) <= width for line in shown.splitlines())
    assert "…" not in shown
    assert not [option.opts[0] for option in _options(COMMANDS[name]) if option.opts[0] not in shown]


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_every_option_has_a_help_sentence(name: tuple[str, ...]) -> None:
    texts = [option.help or "" for option in _options(COMMANDS[name])]
    assert not [text for text in texts if not re.fullmatch(r"[A-Za-z].+\.", text)]


def test_one_option_has_one_meaning_on_all_commands() -> None:
    meanings: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for option in _options(command):
            text = re.split(r" \(|;", option.help.rstrip("."))[0]
            meanings.setdefault(option.opts[0], set()).add(text)
    shared = ["--gpus", "--processes", "--json", "--classes", "--ema", "--set", "--arch", "--frames", "--size", "--lr"]
    assert {flag: meanings[flag] for flag in shared if len(meanings[flag]) != 1} == {}


@pytest.mark.parametrize("name", LIBRARY, ids=" ".join)
def test_default_of_an_option_is_that_of_the_library(name: tuple[str, ...]) -> None:
    library: dict[str, Any] = {}
    for target in LIBRARY[name]:
        library |= _defaults(target)
    compared = 0
    for option in _options(COMMANDS[name]):
        own = OTHER_NAMES.get(option.name, option.name)
        if option.default in (None, False) or own not in library:
            continue
        value = library[own]
        assert option.default == (options.shown(value) if isinstance(value, tuple) else value), option.opts
        compared += 1
    assert compared


def test_command_line_writes_no_default_of_its_own() -> None:
    found = []
    for path in sorted(Path(tdpn_cli.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args]
                for argument, value in zip(reversed(arguments), reversed(node.args.defaults), strict=False):
                    option = re.search("Annotated|options[.]", ast.unparse(argument.annotation or value))
                    literal = [one for one in ast.walk(value) if isinstance(one, ast.Constant) and one.value]
                    if option and literal:
                        found.append(f"{path.name}: {argument.arg} = {ast.unparse(value)}")
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [f"{path.name}: {text}" for text in re.findall(r"default: -?\d[^).]*", node.value)]
    assert found == []
