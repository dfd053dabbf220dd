"""Resolve the weights that a user names: a file, a run's folder or name, a name of the zoo, or a file on the hub.

A name that cannot be resolved is an error; there is no fallback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tdpn_core.checkpoint import is_checkpoint
from tdpn_core.datasets.scan import PICTURE, VIDEO_SUFFIXES, scan
from tdpn_core.errors import CheckpointError, TdpnError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import BEST, LAST, RUNS, newest_checkpoint
from tdpn_core.weights.hub import PREFIX, obtain_from_hub
from tdpn_core.weights.zoo import DEFAULT, ZOO, ZooEntry, is_here, obtain

_WEIGHTS = re.compile(r".*\.(?:pt|pth|pyth|ckpt|pkl|safetensors|onnx|pt2|(?:pt|pth)\.tar)", re.IGNORECASE | re.DOTALL)
_PATTERN = re.compile(r"[*?\[%]|[A-Za-z][A-Za-z0-9+.-]*://")
_RECORD = ("config.json", "metrics.csv")
_SHOWN = 5  # runs listed in a message
_NEAR = 0.6  # minimum similarity of a suggested name


def find_weights(named: Path, progress: Progress = SILENT) -> Path:
    """Return the file that `named` refers to; download it if it is a name of the zoo or of the hub.

    It is the file of that name, the `best.pt` of a run's folder or of a run under `runs/`, or a checkpoint of the zoo,
    in this order. `progress` gets a line if a name of the zoo is also a file or a run, and the bar of a download.

    Raises:
        CheckpointError: there is none, and the hint suggests similar names; or the download fails.
        ToolError: a name of the hub, and `huggingface_hub` is not installed.
    """
    entry, local = ZOO.get(str(named)), _local(named)
    if local is not None:
        if entry is not None:
            progress.say(f"{named}: {local} is used, not the checkpoint of that name in the zoo")
        return local
    if entry is not None:
        return obtain(entry, progress)
    if str(named).startswith(PREFIX):
        return obtain_from_hub(str(named), progress)
    raise CheckpointError("no such checkpoint or run", where=named, hint=_proposal(named))


def find_default(may_fetch: Callable[[ZooEntry], bool], progress: Progress = SILENT) -> Path:
    """Return the newest `best.pt` under `runs/`; if there is none, the zoo's default network for Kinetics-400.

    Args:
        may_fetch: asked before a download.
        progress: hears that no run is there, and gets the bar of the download.

    Raises:
        CheckpointError: there is no run, and the network may not or cannot be downloaded.
    """
    try:
        return newest_checkpoint()
    except CheckpointError as error:
        entry = ZOO[DEFAULT]
        if not is_here(entry) and not may_fetch(entry):
            what = f"{error.what}, and {describe(entry)}, is not downloaded yet"
            hint = f"`tdpn predict --yes` or `tdpn models fetch {entry.name}` downloads it; --checkpoint names another"
            raise CheckpointError(what, hint=hint) from error
        progress.say(f"{error.what}: {describe(entry)}, answers")
        return obtain(entry, progress)


def describe(entry: ZooEntry) -> str:
    """Return name, data, size and licence of a checkpoint as a phrase."""
    return f"{entry.name} ({entry.data}, {entry.size}, {entry.licence})"


def _local(named: Path) -> Path | None:
    """Return the local file that a name refers to."""
    if named.is_file():
        return named
    if named.is_dir():
        return _best(named)
    if len(named.parts) == 1 and _is_run(RUNS / named):
        return _best(RUNS / named)
    return None


def split_weights(words: Sequence[str | Path], progress: Progress = SILENT) -> tuple[Path | None, list[str | Path]]:
    """Split `words` into the weights before the clips and the clips; no weights if the first word is a clip.

    Raises:
        CheckpointError: the first word is neither a clip nor resolves to weights.
    """
    if not words or _names_clips(str(words[0])):
        return None, list(words)
    return find_weights(Path(words[0]), progress), list(words[1:])


def _names_clips(word: str) -> bool:
    """Return whether a word refers to clips: by what exists there, else by its form."""
    path = Path(word)
    if path.is_file():
        return not (_WEIGHTS.fullmatch(path.name) or is_checkpoint(path))
    if path.is_dir():
        return not _is_run(path) and not _holds_runs(path)
    if path.is_symlink() or path.exists() or _PATTERN.search(word):
        return True
    known = path.suffix.lower() in VIDEO_SUFFIXES or PICTURE.fullmatch(path.name) is not None
    return known and not _is_run(RUNS / path)


def _is_run(folder: Path) -> bool:
    states = any((folder / name).is_file() for name in (BEST, LAST))
    return states or all((folder / name).is_file() for name in _RECORD)


def _holds_runs(folder: Path) -> bool:
    """Return whether a folder directly contains runs, and no videos."""
    if not any(folder.glob(f"*/{BEST}")):
        return False
    try:
        found = scan(folder)
    except TdpnError:
        return True
    return not found.videos and not found.folders


def _best(folder: Path) -> Path:
    best, last = folder / BEST, folder / LAST
    if best.is_file():
        return best
    if last.is_file():
        raise CheckpointError(f"this run has no {BEST} yet", where=folder, hint=f"name {last} to use its last state")
    below = sorted(path.parent for path in folder.glob(f"*/{BEST}"))
    if below:
        raise CheckpointError("a folder of several runs", where=folder, hint=f"name one: {_listed(below)}")
    raise CheckpointError(f"a folder without {BEST}", where=folder, hint="name a checkpoint, or a run's folder")


def _proposal(named: Path) -> str:
    """Return a hint with the names most similar to a missing one."""
    runs = sorted({path.parent for path in RUNS.glob(f"**/{BEST}")})
    beside = [path for path in _entries(named.parent) if not path.name.startswith(".")]
    keys = {str(path): path for path in beside} | {str(path): path for path in runs}
    by_name = {path.name: path for path in [*beside, *(run / BEST for run in runs), *runs]}
    near = [keys[key] for key in difflib.get_close_matches(str(named), keys, 2, _NEAR)]
    near += [by_name[name] for name in difflib.get_close_matches(named.name, by_name, 2, _NEAR)]
    near += map(Path, difflib.get_close_matches(str(named), ZOO, 3, _NEAR))
    if near:
        return f"did you mean {' or '.join(str(path) for path in dict.fromkeys(near))}?"
    if runs:
        return f"runs here: {_listed(runs)}"
    return "`tdpn train` writes runs under runs/; `tdpn models --weights` lists published checkpoints"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _listed(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(str, paths[:_SHOWN])) + more
