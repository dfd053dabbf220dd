"""`tdpn settings`."""

from __future__ import annotations

from typing import Annotated

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_core.errors import UsageError

EXAMPLES = options.epilog("tdpn settings", "tdpn settings crop", "tdpn settings --json")


@options.in_one_panel
def settings(
    word: Annotated[str, typer.Argument(help="Only settings with this word in their name or description.")] = "",
    as_json: options.Json = False,
) -> None:
    """List every setting that --set takes, with its type, default and description."""
    import dataclasses

    from rich.markup import escape

    found = tdpn_core.all_settings(word)
    if not found:
        raise UsageError(f"no setting has {word!r} in its name or description", hint="tdpn settings lists all")
    if as_json:
        output.print_json([dataclasses.asdict(setting) for setting in found])
        return
    for setting in found:
        heading = f"[bold]{setting.name}[/]  {escape(setting.type)}  [dim](default: {escape(setting.default)})[/]"
        output.stdout.print(heading, soft_wrap=True)
        of = f" Of {', '.join(setting.models)}." if setting.models else ""
        output.stdout.print(f"    {escape(setting.help)}[dim]{of}[/]")
