"""What has been scored so far, on disk: a run that is killed loses half a minute, and several processes share it.

Each process adds files of its own, written whole or not at all. A file counts for a run of the same fingerprint only.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tdpn_core.errors import ScoresError
from tdpn_core.evaluate.arrays import read_arrays, write_arrays
from tdpn_core.evaluate.scores import ScoredClips
from tdpn_core.files import make_folder, sweep

_KIND = "partial scores"
_SAVE_EVERY_SECONDS = 20.0


class PartialScores:
    """The clips that runs of one `fingerprint` have scored, kept in `folder`."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self._fingerprint = fingerprint
        self._waiting: list[ScoredClips] = []
        self._saved_at = time.monotonic()

    def open(self) -> None:
        """Make the folder: that it cannot be made is to be told before anything is scored.

        Raises:
            TdpnError: it cannot be made.
        """
        make_folder(self.folder)

    def load(self) -> ScoredClips:
        """Everything that is there and whole; files of other runs, and damaged ones, are passed over.

        A clip that two runs scored is there once, and one that could be read in the end is not missing.
        """
        clips: dict[int, dict[str, np.ndarray]] = {}
        missing: dict[int, str] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                header, arrays = read_arrays(path, _KIND)
            except ScoresError:
                continue
            if header["fingerprint"] != self._fingerprint:
                continue
            missing |= {int(clip): reason for clip, reason in header["missing"].items()}
            numbers = arrays.pop("clips")
            clips |= {clip: _row(arrays, row) for row, clip in enumerate(numbers.tolist())}
        order = sorted(clips)
        heads = clips[order[0]] if order else {}
        logits = {head: np.stack([clips[clip][head] for clip in order]) for head in heads}
        return ScoredClips(order, logits, {clip: missing[clip] for clip in missing if clip not in clips})

    def add(self, scored: ScoredClips) -> None:
        """Keep `scored`; it is on disk within `_SAVE_EVERY_SECONDS`, or after `save`."""
        self._waiting.append(scored)
        if time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS:
            self.save()

    def save(self) -> None:
        """Write what waits."""
        if self._waiting:
            scored = join(self._waiting)
            header = {"fingerprint": self._fingerprint, "missing": scored.missing}
            arrays = {"clips": np.array(scored.clips, dtype=np.int64), **scored.logits}
            write_arrays(self.folder / f"{uuid.uuid4().hex}.safetensors", _KIND, header, arrays)
        self._waiting = []
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """All of it, also what other runs left: only when no other process works here."""
        for path in self.folder.glob("*.safetensors"):
            path.unlink(missing_ok=True)
        if self.folder.is_dir():
            sweep(self.folder)
            self.folder.rmdir()


def join(parts: list[ScoredClips]) -> ScoredClips:
    """Several as one."""
    heads = next((part.logits for part in parts if part.logits), {})
    missing: dict[int, str] = {}
    for part in parts:
        missing |= part.missing
    return ScoredClips(
        [clip for part in parts for clip in part.clips],
        {head: np.concatenate([part.logits[head] for part in parts if part.logits]) for head in heads},
        missing,
    )


def _row(arrays: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {head: values[row] for head, values in arrays.items()}
