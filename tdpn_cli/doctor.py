"""`tdpn doctor`."""

from __future__ import annotations

import typer

import tdpn_core
from tdpn_cli import options, output

EXAMPLES = options.epilog("tdpn doctor", "tdpn doctor --json")


@options.in_one_panel
def doctor(as_json: options.Json = False) -> None:
    """Print a report of this machine to paste into an issue: versions, GPUs, codecs, memory, disk, decoding.

    A red line has a hint under it, and then the exit code is 1.
    """
    findings = []
    for finding in tdpn_core.examine():
        findings.append(finding)
        if not as_json:
            colour, mark = ("red", "x") if finding.red else ("green", "-")
            output.stdout.print(f"[{colour}]{mark}[/] {finding.name:<14} ", end="")
            output.stdout.print(finding.value, markup=False, soft_wrap=True)
            if finding.red:
                output.stdout.print(f"[dim]  hint[/]           {finding.hint}", soft_wrap=True)
    red = any(finding.red for finding in findings)
    if as_json:
        lines = [{"name": found.name, "value": found.value, "red": found.red, "hint": found.hint} for found in findings]
        output.print_json({"well": not red, "findings": lines})
    if red:
        raise typer.Exit(1)
