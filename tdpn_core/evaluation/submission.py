"""Write EPIC-KITCHENS-100 action recognition submissions: validated JSON in a zip."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tdpn_core.errors import ScoresError, UsageError
from tdpn_core.evaluation.score_file import Scores
from tdpn_core.files import write_bytes

VERBS, NOUNS = 97, 300
MEMBER = "test.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date of zip files, so that equal scores give equal files

Level = Annotated[int, Field(ge=0, le=5)]
Score = Annotated[float, Field(allow_inf_nan=False)]


class Segment(BaseModel):
    """Scores of one segment by class number as text; the challenge derives the action scores."""

    model_config = ConfigDict(extra="forbid", strict=True)
    verb: dict[str, Score]
    noun: dict[str, Score]

    @model_validator(mode="after")
    def _every_class_once(self) -> Segment:
        for name, scores, count in (("verb", self.verb, VERBS), ("noun", self.noun, NOUNS)):
            if set(scores) != {str(label) for label in range(count)}:
                raise ValueError(f"{name} must have the {count} classes 0 to {count - 1}, but has {len(scores)} others")
        return self


class Submission(BaseModel):
    """The challenge's schema, version 0.2."""

    model_config = ConfigDict(extra="forbid", strict=True)
    version: Literal["0.2"]
    challenge: Literal["action_recognition"]
    sls_pt: Level
    """Supervision level of the pre-training: 0 none, 1 public images, 2 public images and videos, ..., 5 private."""

    sls_tl: Level
    """Supervision level of the training labels: 0 none, ..., 3 start and stop of each action, ..."""

    sls_td: Level
    """Supervision level of the training data: 0 none, ..., 3 the training split, 4 with validation, 5 with more."""

    results: Annotated[dict[str, Segment], Field(min_length=1)]


def write_submission(path: Path, scores: Scores, levels: tuple[int, ...]) -> None:
    """Write a submission with the logarithms of the mean probabilities.

    Args:
        path: path of the zip.
        scores: scores of EPIC-KITCHENS-100 for all clips of a split.
        levels: supervision levels for pre-training, training labels and training data, each 0 to 5.

    Raises:
        UsageError: the path is not a zip, the heads are not EPIC's, or the levels are invalid.
        ScoresError: clips are missing, or the content violates the challenge's schema.
    """
    check_submission_path(path)
    if set(scores.classes) != {"verb", "noun"}:
        heads = ", ".join(scores.classes)
        raise UsageError(f"a submission needs the heads verb and noun of EPIC-KITCHENS, not {heads}", where=path)
    if len(levels) != 3:
        raise UsageError(f"{len(levels)} supervision levels, not 3", where="--sls", hint="for example --sls 2,3,3")
    coverage = scores.origin.coverage
    lacking = max(coverage.on_disk, coverage.listed or 0) - coverage.scored
    if lacking:
        what = f"{lacking} clips have no scores, but the challenge requires all"
        hint = "prepare and score them all" if len(coverage.missing) < lacking else "score them without --allow-missing"
        raise ScoresError(what, where=path, hint=hint)
    logs = {head: np.log(np.maximum(values, 1e-30)) for head, values in scores.probabilities().items()}
    values = {
        "version": "0.2",
        "challenge": "action_recognition",
        **dict(zip(("sls_pt", "sls_tl", "sls_td"), levels, strict=True)),
        "results": {
            name: {head: _by_class(logs[head][row]) for head in ("verb", "noun")} for row, name in enumerate(scores.ids)
        },
    }
    try:
        checked = Submission.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ScoresError(f"does not fit the challenge: {place}: {first['msg']}", where=path) from error
    write_bytes(path, _zipped(json.dumps(checked.model_dump(), allow_nan=False)))


def check_submission_path(path: Path) -> None:
    """
    Raises:
        UsageError: it is not a .zip file.
    """
    if path.suffix != ".zip":
        raise UsageError("a submission is a .zip file", where=path)


def _by_class(values: np.ndarray) -> dict[str, float]:
    return {str(label): value for label, value in enumerate(values.round(6).tolist())}


def _zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(MEMBER, _EPOCH), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
