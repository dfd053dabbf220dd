"""A submission is what the challenge's schema says, and nothing else is written."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scored import make_scores

from tdpn_core.errors import ScoresError, UsageError
from tdpn_core.evaluation.score_file import Coverage, Scores, softmax
from tdpn_core.evaluation.submission import Submission, write_submission


def epic(verbs: int = 97, nouns: int = 300, **origin: object) -> Scores:
    rng = np.random.default_rng(0)
    logits = {"verb": rng.normal(size=(2, 3, verbs)), "noun": rng.normal(size=(2, 3, nouns))}
    unlabelled = {"verb": [-1, -1], "noun": [-1, -1]}
    return make_scores(logits, unlabelled, ids=["P01_101_0", "P01_101_1"], split="test", **origin)


def test_a_submission_holds_every_score_of_every_clip(tmp_path: Path) -> None:
    scores = epic()
    write_submission(tmp_path / "out.zip", scores, (1, 3, 4))
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["test.json"]
        content = json.loads(archive.read("test.json"))
    assert list(content) == ["version", "challenge", "sls_pt", "sls_tl", "sls_td", "results"]
    assert [content[name] for name in list(content)[:5]] == ["0.2", "action_recognition", 1, 3, 4]
    assert list(content["results"]) == ["P01_101_0", "P01_101_1"]
    segment = content["results"]["P01_101_1"]
    assert list(segment) == ["verb", "noun"]
    assert list(segment["noun"]) == [str(label) for label in range(300)]
    values = np.array(list(segment["noun"].values()))
    assert softmax(values) == pytest.approx(scores.probabilities()["noun"][1], abs=1e-6), "as the challenge takes them"
    write_submission(tmp_path / "again.zip", scores, (1, 3, 4))
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "out.zip").read_bytes()


@pytest.mark.parametrize(
    ("scores", "levels", "error", "message"),
    [
        (
            epic(verbs=96),
            (2, 3, 3),
            ScoresError,
            "does not fit the challenge: results.P01_101_0: .*verb must have the 9",
        ),
        (epic(nouns=352), (2, 3, 3), ScoresError, "noun must have the 300 classes 0 to 299, but has 352"),
        (epic(), (2, 3, 6), ScoresError, "does not fit the challenge: sls_td: .*less than or equal to 5"),
        (epic(), (2, 3), UsageError, "--sls: 2 supervision levels, not 3"),
        (make_scores([[1.0, 2.0]], [0]), (2, 3, 3), UsageError, "needs the heads verb and noun .*, not action"),
        (
            epic(coverage=Coverage(on_disk=3, decoded=3, scored=2, missing={"P01_101_2": "damaged"})),
            (2, 3, 3),
            ScoresError,
            "1 clips have no scores, but the challenge requires all",
        ),
    ],
)
def test_what_the_challenge_would_not_take_is_not_written(
    tmp_path: Path, scores: Scores, levels: tuple[int, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_submission(tmp_path / "out.zip", scores, levels)
    assert not list(tmp_path.iterdir())


def test_a_submission_is_a_zip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"out\.json: a submission is a \.zip file"):
        write_submission(tmp_path / "out.json", epic(), (2, 3, 3))


def test_the_schema_refuses_what_is_not_in_it() -> None:
    segment = {"verb": {str(label): 0.0 for label in range(97)}, "noun": {str(label): 0.0 for label in range(300)}}
    good = {
        "version": "0.2",
        "challenge": "action_recognition",
        "sls_pt": 0,
        "sls_tl": 0,
        "sls_td": 0,
        "results": {"P01_101_0": segment},
    }
    Submission.model_validate(good)
    bad = [
        good | {"version": "0.1"},
        good | {"challenge": "action_anticipation"},
        good | {"sls_pt": -1},
        good | {"results": {}},
        good | {"extra": 1},
        good | {"results": {"P01_101_0": segment | {"action": {}}}},
        good | {"results": {"P01_101_0": segment | {"verb": segment["verb"] | {"0": float("nan")}}}},
        {name: value for name, value in good.items() if name != "sls_tl"},
    ]
    for values in bad:
        with pytest.raises(ValidationError):
            Submission.model_validate(values)


def test_scores_of_zero_probability_stay_finite(tmp_path: Path) -> None:
    scores = epic()
    logits = {head: values.copy() for head, values in scores.logits.items()}
    logits["verb"][:, :, 0] = 5000
    write_submission(tmp_path / "out.zip", replace(scores, logits=logits), (2, 3, 3))
