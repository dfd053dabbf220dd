"""The help of a command with many options groups them in panels."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tdpn_cli.app import app


def _walk(name: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", {})
    for child, found in children.items():
        yield from _walk((*name, child), found)
    if not children:
        yield name, command


COMMANDS = dict(_walk((), typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_command_with_more_than_eight_options_groups_them_in_panels(name: tuple[str, ...]) -> None:
    own = [one for one in COMMANDS[name].params if one.param_type_name == "option" and one.name != "help"]
    if len(own) > 8:
        assert [option.name for option in own if not option.rich_help_panel] == []
        assert len({option.rich_help_panel for option in own}) > 2


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_help_fits_the_terminal(name: tuple[str, ...], width: int) -> None:
    shown = CliRunner().invoke(app, [*name, "--help"], env={"COLUMNS": str(width), "TERM": "dumb"}).stdout
    assert shown
    assert all(len(line) <= width for line in shown.splitlines())
