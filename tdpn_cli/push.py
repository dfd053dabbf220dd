"""`tdpn push`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_core.wording import size_text

if TYPE_CHECKING:
    from tdpn_core import Upload

EXAMPLES = options.epilog(
    "tdpn push runs/folder-tdpn-r18 me/motions --dry-run",
    "tdpn push runs/folder-tdpn-r18 me/motions",
    "tdpn push best.pt me/motions --include best.onnx --public --yes",
)


@options.in_one_panel
def push(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of tdpn, or a run's folder.")],
    repository: Annotated[str, typer.Argument(help="Repository on the Hugging Face hub, OWNER/NAME.")],
    include: Annotated[
        list[Path] | None,
        typer.Option("--include", help="Another file to upload, such as an exported one; can be repeated."),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="Create the repository as public (default: private); an existing one stays as it is."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files, without network access and upload.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Upload without asking.")] = False,
    as_json: options.Json = False,
) -> None:
    """Upload a checkpoint and its model card to the Hugging Face hub.

    The upload contains no optimiser state and no paths of this machine, and loads as hf:OWNER/NAME/best.pt.
    """
    from rich.markup import escape

    with output.progress(tdpn_core.push) as progress:
        upload = tdpn_core.push(
            checkpoint,
            repository,
            include=include or (),
            private=not public,
            dry_run=dry_run,
            may_send=lambda upload: yes or _asked(upload),
            progress=progress,
        )
    if as_json:
        output.print_json(dataclasses.asdict(upload) | {"files": dict(upload.files), "sent": not dry_run})
        return
    if dry_run:
        for line in _lines(upload):
            output.stdout.print(line, soft_wrap=True, markup=False)
        return
    output.stdout.print(f"uploaded  {upload.repository}", soft_wrap=True)
    output.stdout.print(f"[dim]next[/]  tdpn predict clip.mp4 --checkpoint {escape(upload.name)}", soft_wrap=True)


def _asked(upload: Upload) -> bool:
    for line in _lines(upload):
        output.say(line)
    return output.ask("upload these files?")


def _lines(upload: Upload) -> list[str]:
    """The repository, and each file with its size."""
    kind = "private" if upload.private else "public"
    state = "new" if upload.exists is False else "existing" if upload.exists else "if it is new:"
    sizes = [f"  {name}  {size_text(size)}" for name, size in upload.files.items()]
    return [f"to {upload.repository} ({state} {kind})", *sizes]
