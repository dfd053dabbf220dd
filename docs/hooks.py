"""MkDocs hook: writes the reference pages from the code when the site is built, so that they cannot be stale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import tdpn_core
from tdpn_cli.app import app
from tdpn_core.config.families import FAMILIES, find_family
from tdpn_core.config.settings import all_settings
from tdpn_core.weights.zoo import ZOO, Web

COMMANDS = "reference/commands.md"
MARKER = re.compile(r"<!-- generated: (\w+) -->")

Command = Any  # Typer's classes for commands and parameters are not public
Parameter = Any


def on_config(config: MkDocsConfig) -> None:
    """Add a menu entry for each command."""
    _menu_with(config.nav or [], COMMANDS).extend({name: _page_of(name)} for name, _ in commands())


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each command."""
    for name, command in commands():
        files.append(File.generated(config, _page_of(name), content=command_page(name, command)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Replace a page's marker by the generated text."""
    writers = {
        "commands": command_table,
        "families": family_table,
        "settings": settings_tables,
        "python": python_api,
        "walkthrough": walkthrough,
        "zoo": zoo_table,
    }
    return MARKER.sub(lambda match: writers[match[1]](), markdown)


def commands() -> list[tuple[str, Command]]:
    """Every command with its full name, such as `tdpn bench infer`."""
    return list(_walk("tdpn", typer.main.get_command(app)))


def command_table() -> str:
    """A table of the commands: name, linked to its page, and the first line of its help."""
    rows = []
    for name, command in commands():
        first, _, _ = _prose(command.help).partition("\n\n")
        rows.append(f"[`{name}`]({_page_of(name).removeprefix('reference/')}) | {_cell(first)}")
    return _table("command | what it does", rows)


def command_page(name: str, command: Command) -> str:
    """A command's help, arguments, options by panel, and examples."""
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"# {name}", _prose(command.help), f"```text\n{usage}\n```"]
    panels: dict[str, list[str]] = {}
    for parameter in command.params:
        if not parameter.hidden:
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panels.setdefault(parameter.rich_help_panel or usual, []).append(_parameter_row(parameter, context))
    for panel, rows in panels.items():
        parts += [f"## {panel}", _table("name | value | default | meaning", rows)]
    examples = re.findall(r"^\s*\$ (.+)$", command.epilog or "", re.MULTILINE)
    if examples:
        parts += ["## Examples", "\n".join(["```bash", *examples, "```"])]
    return "\n\n".join(parts) + "\n"


def settings_tables() -> str:
    """A table of the settings of each section: name, type, default, meaning."""
    sections: dict[str, list[str]] = {}
    for setting in all_settings():
        row = (
            f"`{setting.name}` | {_code(_plain_type(setting.type))} | {_code(setting.default)} | {_cell(setting.help)}"
        )
        sections.setdefault(setting.name.partition(".")[0], []).append(row)
    head = "setting | type | default | meaning"
    return "\n\n".join(f"## {section}\n\n{_table(head, rows)}" for section, rows in sections.items())


def family_table() -> str:
    """A table of the model families: name, specific settings, depths, sampled frames."""
    own = [setting for setting in all_settings() if setting.models]
    rows = []
    for name in FAMILIES:
        family = find_family(name)
        fields = [_code(setting.name.partition(".")[2]) for setting in own if name in setting.models]
        archs = ", ".join(map(_code, family.archs))
        rows.append(f"{_code(name)} | {family.title} | {', '.join(fields)} | {archs} | {family.default('num_frames')}")
    return _table("model | title | additional settings | depths | frames", rows)


def python_api() -> str:
    """A mkdocstrings block for each public name of the package."""
    return "\n\n".join(f"::: tdpn_core.{name}" for name in tdpn_core.__all__ if not name.startswith("__"))


def walkthrough() -> str:
    """The walkthrough script, which the tests run."""
    return f"```python\n{(Path(__file__).parent / 'walkthrough.py').read_text()}```"


def zoo_table() -> str:
    """A table of the published checkpoints for each training data set."""
    sections: dict[str, list[str]] = {}
    for entry in ZOO.values():
        where = f"[download]({entry.source})" if isinstance(entry.source, Web) else _cell(str(entry.source))
        checksum = f"`{entry.checksum}`" if entry.checksum else ""
        clip = entry.clip + (f"; {entry.note}" if entry.note else "")
        row = (
            f"`{entry.name}` | {entry.family} {entry.arch} | {clip} | {entry.accuracy} | {entry.reported} | "
            f"{entry.licence} | {entry.megabytes:.0f} | {where} | {checksum}"
        )
        sections.setdefault(entry.data, []).append(row)
    head = "name | network | clip | top-1 / top-5 | reported by | licence | MB | file | checksum"
    return "\n\n".join(f"### {data}\n\n{_table(head, rows)}" for data, rows in sections.items())


def _walk(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    children = getattr(command, "commands", {})
    for child, found in children.items():
        yield from _walk(f"{name} {child}", found)
    if not children:
        yield name, command


def _page_of(name: str) -> str:
    return f"reference/{name.replace(' ', '-')}.md"


def _menu_with(menu: list[Any], path: str) -> list[Any]:
    """The section of the menu that contains the page `path`; empty if there is none."""
    if path in menu:
        return menu
    below = [entries for entry in menu if isinstance(entry, dict) for entries in entry.values()]
    return next((found for part in below if isinstance(part, list) if (found := _menu_with(part, path))), [])


def _parameter_row(parameter: Parameter, context: typer.Context) -> str:
    if parameter.param_type_name == "argument":
        shown = [parameter.name.upper()]
    else:
        shown = [*parameter.opts, *parameter.secondary_opts]
    value = "" if getattr(parameter, "is_flag", False) else parameter.display_type(context).strip("<>")
    names = " / ".join(map(_code, shown))
    return f"{names} | {value.replace('|', ', ')} | {_shown_default(parameter)} | {_cell(_prose(parameter.help))}"


def _shown_default(parameter: Parameter) -> str:
    """The default as shown by `--help`; empty if there is none, or if the help text states it."""
    if parameter.required:
        return "required"
    if parameter.default in (None, False, ()) or not parameter.show_default or callable(parameter.default):
        return ""
    return _code(str(parameter.default))


def _plain_type(text: str) -> str:
    """`Literal['a', 'b']` as `a or b`."""
    return re.sub(r"Literal\[(.*?)\]", lambda match: match[1].replace(", ", " or ").replace("'", ""), text)


def _prose(text: str | None) -> str:
    """Rich's markup as Markdown's."""
    return re.sub(r"\[bold\](.*?)\[/(?:bold)?\]", r"**\1**", (text or "").replace("\f", "").strip())


def _table(head: str, rows: list[str]) -> str:
    ruler = " | ".join("---" for _ in head.split(" | "))
    return "\n".join(f"| {row} |" for row in (head, ruler, *rows))


def _code(text: str) -> str:
    return f"`{text}`" if text else ""  # a bar within code does not end a cell


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
