"""`tdpn train` on a tiny network in real processes, and what it leaves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
import warm

from tdpn_core.checkpoint import load_checkpoint

CODE = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"
COMMAND = [sys.executable, "-W", "error", "-c", CODE]
TINY = [
    *("--recipe", "small", "--arch", "r18", "--frames", "2", "--size", "32", "--batch-size", "8", "--epochs", "2"),
    *("--set", "model.width=0.125", "--workers", "0"),
]  # fmt: skip


def words(prepared: Path, out: Path, *options: object) -> list[str]:
    return [*COMMAND, "train", "--data", str(prepared), "--out", str(out), *TINY, *map(str, options)]


def environment(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "TDPN_"))}
    return {**inherited, "COLUMNS": "200", "OMP_NUM_THREADS": "1", **variables}


def train(prepared: Path, out: Path, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end, which a hard limit enforces."""
    return warm.run(words(prepared, out, *options), env=environment(**variables), cwd=out.parent)


def launched_by(pid: int) -> list[int]:
    """The living processes that the launcher of that number started, theirs included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TDPN_LAUNCHER={pid}\0".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it has just ended, or is another user's
            continue
    return found


def same_weights(one: Path, other: Path) -> bool:
    """Whether the last states in two runs' folders are the same to the last bit."""
    a, b = load_checkpoint(one / "last.pt"), load_checkpoint(other / "last.pt")
    return a.state.step == b.state.step and all(
        mine.keys() == yours.keys() and all(torch.equal(mine[name], yours[name]) for name in mine)
        for mine, yours in ((a.weights, b.weights), (a.optimiser, b.optimiser))
    )


def ranks(script: str, *arguments: object, world: int = 2, **variables: str) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each of `world` processes that run `script` as torchrun would start it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = [
        warm.Popen(
            [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
            env=environment(**place, RANK=str(rank), LOCAL_RANK=str(rank), **variables),
            stdout=warm.PIPE,
            stderr=warm.PIPE,
        )
        for rank in range(world)
    ]
    outputs = [child.communicate(timeout=300) for child in children]
    return [(child.returncode, *output) for child, output in zip(children, outputs, strict=True)]
