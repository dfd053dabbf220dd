"""Every command and option that a message of the package names is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import typer.main

from tdpn_cli.app import app

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"\btdpn ([a-z][a-z-]*(?: [a-z]+(?= --))?)((?:[^`\n;]*?--[a-z][a-z-]*)*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
OTHERS = {"--to-stdout"}
"""Options of other programs that messages name."""


def commands() -> dict[str, set[str]]:
    """The options of each command by its name, of the program itself by the empty one."""
    group = typer.main.get_command(app)
    return {name: options_of(command) for name, command in group.commands.items()} | {"": options_of(group)}


def options_of(command: object) -> set[str]:
    """Those of a command, and of its own commands."""
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union({"--help"}, *(options_of(inner) for inner in getattr(command, "commands", {}).values()))


def messages() -> Iterator[tuple[str, str]]:
    """Each string of the package that is no docstring, with its place."""
    for path in sorted([*(ROOT / "tdpn_core").rglob("*.py"), *(ROOT / "tdpn_cli").rglob("*.py")]):
        tree = ast.parse(path.read_text())
        documentation = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                text = node.value
            else:
                continue
            yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def test_messages_name_commands_that_exist() -> None:
    known = commands()
    named = [(place, match) for place, text in messages() for match in COMMAND.finditer(text)]
    assert len(named) > 40
    wrong = []
    for place, match in named:
        name = match[1].split()[0]
        options = set(OPTION.findall(match[2]))
        if name in known and not options <= known[name]:
            wrong.append(f"{place}: tdpn {name} has no {', '.join(sorted(options - known[name]))}")
        elif name not in known and options:
            wrong.append(f"{place}: no command {name}")
    assert not wrong


def test_messages_name_options_that_some_command_has() -> None:
    known = set().union(*commands().values()) | OTHERS
    unknown = [
        f"{place}: {option}"
        for place, text in messages()
        for option in OPTION.findall(text)
        if option not in known and not option.startswith("--no-")
    ]
    assert not unknown
