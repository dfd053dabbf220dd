"""Archives of `predict` and `features`: the clips are divided among processes or a cluster, and the tables reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from tdpn_cli import output, ranks
from tdpn_core.distributed.command import device_of
from tdpn_core.wording import counted


def run_archive(
    work: Callable[..., Any],
    words: Sequence[str],
    archive: Path,
    *,
    checkpoint: Path | None,
    wanted: Any,
    gpus: int | None,
    processes: int | None,
    executor: str,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Run the library's function `work` in one or several processes or on a cluster, and report the tables.

    Raises:
        typer.Exit: a clip failed.
    """
    several = executor == "local" and ranks.run_in_ranks(gpus, processes)
    with output.progress(work) as bar:
        result = work(
            words,
            archive,
            checkpoint=checkpoint,
            options=wanted,
            gpus=device_of(gpus, processes),
            executor=executor,
            ray_address=ray_address,
            join_only=several,
            progress=bar,
        )
    if result is None:
        return
    if as_json:
        values = {name: str(value) if isinstance(value, Path) else value for name, value in vars(result).items()}
        output.print_json(values)
    else:
        done = result.clips - result.failed - result.lacking
        output.stdout.print(f"{result.table}: {done} of {result.clips} clips", soft_wrap=True)
    if result.failed:
        output.say(f"{result.failures}: {counted(result.failed, 'clip')} failed, with the reasons")
        raise typer.Exit(1)
