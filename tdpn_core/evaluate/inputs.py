"""The checkpoints and files of scores that an evaluation is of: read, or scored, as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tdpn_core.errors import UsageError
from tdpn_core.evaluate.options import SCORES, ScoreOptions, default_folder
from tdpn_core.evaluate.scorefile import Scores, is_scores, read_scores
from tdpn_core.progress import Progress
from tdpn_core.runs import BEST, newest_checkpoint

if TYPE_CHECKING:
    from tdpn_core.runtime import Runtime


def find_inputs(paths: Sequence[Path]) -> list[Path]:
    """`paths`, where a run's folder stands for its `best.pt` and an evaluation's for its scores.

    No path stands for the newest `best.pt` under `runs/`.

    Raises:
        CheckpointError: there is none.
    """
    if not paths:
        return [newest_checkpoint()]
    return [next((path / name for name in (BEST, SCORES) if (path / name).is_file()), path) for path in paths]


class Inputs:
    """The files that were named."""

    def __init__(
        self,
        paths: Sequence[Path],
        runtime: Runtime | None,
        options: ScoreOptions,
        out: Path | None,
        progress: Progress,
    ) -> None:
        self.paths = paths
        self._runtime = runtime
        self._options = options
        self._out = out
        self._progress = progress
        self._kept: list[tuple[Path, Scores]] = []

    def scores(self, split: str | None) -> list[Scores]:
        """Of each: read, or scored on `split`."""
        return [self._read(path) if is_scores(path) else self._score(path, split) for path in self.paths]

    def forget(self) -> None:
        """Remove what was kept of single checkpoints, so that an interrupted fusion would not score them again."""
        from tdpn_core.evaluate.score import forget

        for path, scores in self._kept:
            assert self._runtime is not None
            forget(path, scores, self._runtime)

    def folders_of(self, scores: Sequence[Scores]) -> list[Path]:
        """Where the report of each file goes, given the scores of each: beside it, or below `out`."""
        pairs = list(zip(self.paths, scores, strict=True))
        if self._out is None:
            return [
                path.parent if is_scores(path) else default_folder(path, part.origin.split, part.origin.views)
                for path, part in pairs
            ]
        if len(pairs) == 1:
            return [self._out]
        return [self._out / f"{number}-{path.parent.name}-{path.stem}" for number, (path, _) in enumerate(pairs, 1)]

    def _read(self, path: Path) -> Scores:
        scores = read_scores(path)
        for what, has, asked in (
            ("split", scores.origin.split, self._options.split),
            ("views", scores.origin.views, self._options.views),
        ):
            if asked is not None and asked != has:
                hint = "score its checkpoint with these options"
                raise UsageError(f"its scores are of {what} {has}, not {asked}", where=path, hint=hint)
        return scores

    def _score(self, path: Path, split: str | None) -> Scores:
        from tdpn_core.evaluate.score import score_checkpoint  # torch, which files of scores do not need

        assert self._runtime is not None
        options = dataclasses.replace(self._options, split=split)
        alone = len(self.paths) == 1
        scores = score_checkpoint(
            path,
            runtime=self._runtime,
            options=options,
            folder=self._out if alone else None,
            keep=not alone,
            progress=self._progress,
        )
        self._kept += [] if alone else [(path, scores)]
        return scores
