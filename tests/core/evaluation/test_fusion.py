"""Fused scores by hand; what does not belong together is refused; weights are not searched on what is reported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored import make_scores

from tdpn_core.errors import CheckpointError, ScoresError, UsageError
from tdpn_core.evaluation.evaluate import evaluate_files
from tdpn_core.evaluation.fusion import align, fuse, search_weights, split_in_half
from tdpn_core.evaluation.score_file import Coverage, read_scores, write_scores


def log(rows):
    return np.log(np.asarray(rows))


A = make_scores(log([[0.7, 0.3], [0.4, 0.6]]), [0, 1], ids=["x", "y"], checkpoint="a.pt")
B = make_scores(log([[0.1, 0.9], [0.2, 0.8]]), [1, 0], ids=["y", "x"], checkpoint="b.pt", model="tdpn r50")


def test_a_fusion_by_hand() -> None:
    fused = fuse(align([A, B]), [1, 3])
    assert fused.ids == ["x", "y"]
    expected = [[0.25 * 0.7 + 0.75 * 0.2, 0.25 * 0.3 + 0.75 * 0.8], [0.25 * 0.4 + 0.75 * 0.1, 0.25 * 0.6 + 0.75 * 0.9]]
    assert fused.probabilities()["action"] == pytest.approx(np.array(expected))
    assert fused.origin.checkpoint == "1 x a.pt + 3 x b.pt"
    assert fused.origin.model == "tdpn r18 + tdpn r50"
    assert fused.origin.fused == {"a.pt": 1, "b.pt": 3}


def test_views_are_averaged_before_the_parts_are_fused() -> None:
    many = make_scores(log([[[0.5, 0.5], [0.9, 0.1]]]), [0])
    one = make_scores(log([[0.2, 0.8]]), [0])
    assert fuse(align([many, one]), [1, 1]).probabilities()["action"] == pytest.approx(np.array([[0.45, 0.55]]))


def test_classes_in_another_order_are_matched_by_name() -> None:
    turned = replace(
        B,
        classes={"action": ["action 1", "action 0"]},
        logits={"action": B.logits["action"][:, :, ::-1]},
        labels={"action": 1 - B.labels["action"]},
    )
    assert np.array_equal(
        fuse(align([A, turned]), [1, 1]).probabilities()["action"],
        fuse(align([A, B]), [1, 1]).probabilities()["action"],
    )


def test_an_unlabelled_clip_stays_one_when_classes_are_matched() -> None:
    first = replace(A, labels={"action": np.array([-1, 1])})
    second = replace(B, labels={"action": np.array([0, -1])}, classes={"action": ["action 1", "action 0"]})
    assert align([first, second])[1].labels["action"].tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("second", "error", "message"),
    [
        (
            make_scores(log([[0.5, 0.5]]), [0], ids=["x"]),
            ScoresError,
            "lacks 1 clips of the other scores, for example 'y'",
        ),
        (make_scores(log([[0.5, 0.5]]), [0], ids=["z"]), ScoresError, "no clip has scores in all files"),
        (
            replace(B, labels={"action": np.array([0, 0])}),
            ScoresError,
            "action label of 1 clips differs from",
        ),
        (replace(B, classes={"action": ["p", "q"]}), CheckpointError, "other classes than a.pt has"),
        (
            replace(B, origin=replace(B.origin, split="test")),
            ScoresError,
            "scores of the test split, the others are",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(second, error, message) -> None:
    with pytest.raises(error, match=message):
        align([A, second])


def test_clips_that_one_lacks_are_left_out_everywhere_where_that_is_allowed() -> None:
    one = make_scores(
        log([[0.5, 0.5]]), [0], ids=["x"], coverage=Coverage(on_disk=2, decoded=2, scored=1, missing={"y": "damaged"})
    )
    fused = fuse(align([A, one], allow_missing=True), [1, 1])
    assert fused.ids == ["x"]
    assert fused.origin.coverage == Coverage(on_disk=2, decoded=2, scored=1, missing={"y": "damaged"})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], "1 weights for 2 score files"),
        ([0, 0], "not all zero"),
        ([1, -1], "at least 0"),
        ([1, float("nan")], "at least 0"),
    ],
)
def test_weights_that_are_none_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=f"--fuse: .*{message}"):
        fuse([A, B], weights)


@given(st.floats(0.01, 100))
def test_only_the_ratio_of_weights_matters(factor: float) -> None:
    one, two = (fuse(align([A, B]), weights).probabilities()["action"] for weights in ([1, 2], [factor, 2 * factor]))
    assert np.allclose(one, two)


def pair(seed: int, clips: int = 60, **origin: object):
    """Two networks, of which the second hardly knows anything."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, clips)
    good, bad = (rng.normal(size=(clips, 4)) + strength * np.eye(4)[labels] for strength in (2.0, 0.2))
    ids = [f"{origin.get('split', 'val')}-{clip}" for clip in range(clips)]
    return (
        make_scores(good, labels, ids=ids, checkpoint="good.pt", **origin),
        make_scores(bad, labels, ids=ids, checkpoint="bad.pt", **origin),
    )


def top1(scores) -> float:
    return float((scores.probabilities()["action"].argmax(axis=1) == scores.labels["action"]).mean())


def test_the_search_finds_the_best_of_all_lattice_points() -> None:
    parts = pair(0)
    found = search_weights(parts)
    assert sum(found) == pytest.approx(1)
    best = max(top1(fuse(parts, [step / 20, 1 - step / 20])) for step in range(21))
    assert top1(fuse(parts, found)) == best
    assert found[0] > found[1]
    three = search_weights([*parts, make_scores(np.zeros((60, 4)), parts[0].labels["action"], ids=parts[0].ids)])
    assert len(three) == 3
    assert sum(three) == pytest.approx(1)


def test_weights_of_equal_scores_are_equal() -> None:
    one = pair(3)[0]
    assert search_weights([one, one]) == [0.5, 0.5]


def test_a_search_needs_labels() -> None:
    with pytest.raises(UsageError, match="weights cannot be searched on clips without labels"):
        search_weights([replace(part, labels={"action": np.array([-1, -1])}) for part in align([A, B])])


def test_halves_are_apart_and_the_same_each_time() -> None:
    whole = pair(1)[0]
    first, second = split_in_half(whole)
    assert sorted(first.ids + second.ids) == sorted(whole.ids)
    assert (len(first.ids), len(second.ids)) == (30, 30)
    assert split_in_half(whole)[0].ids == first.ids
    row = whole.ids.index(second.ids[3])
    assert np.array_equal(second.logits["action"][3], whole.logits["action"][row])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[Path]]:
    paths: dict[str, list[Path]] = {}
    for split in ("val", "train"):
        for number, scores in enumerate(pair(len(split), split=split)):
            paths.setdefault(split, []).append(tmp_path / f"{split}-{number}.safetensors")
            write_scores(paths[split][-1], scores)
    return paths


def test_a_search_on_one_half_reports_the_other_and_says_so(files: dict[str, list[Path]], tmp_path: Path) -> None:
    result = evaluate_files(files["val"], runtime=None, search_on="half", out=tmp_path / "out")
    assert result.clips == 30
    (note,) = read_scores(tmp_path / "out" / "scores.safetensors").origin.notes
    assert note.startswith("weights found on the other half of the val split, 30 clips: ")
    halves = [split_in_half(read_scores(path)) for path in files["val"]]
    assert result.ids == halves[0][1].ids
    found = search_weights([first for first, _ in halves])
    assert np.allclose(
        result.probabilities["action"], fuse([second for _, second in halves], found).probabilities()["action"]
    )


def test_a_search_on_files_of_another_split_reports_all(files: dict[str, list[Path]]) -> None:
    result = evaluate_files(files["val"], runtime=None, search_on=files["train"])
    assert result.clips == 60
    assert result.scores.origin.notes[0].startswith("weights found on the train split, 60 clips: ")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda files: {"search_on": files["val"]},
            "searched for on 60 of the reported clips, for example 'val-0'",
        ),
        (lambda files: {"search_on": files["train"][:1]}, "--search-on: 1 files for 2 to fuse"),
        (lambda files: {"search_on": "train"}, "score files cannot be scored on the train split"),
        (lambda files: {"weights": [1, 2, 3]}, "3 weights for 2 score files"),
    ],
)
def test_a_search_where_none_may_be_is_refused(files: dict[str, list[Path]], call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate_files(files["val"], runtime=None, **call(files))


def test_one_file_has_nothing_to_be_fused_with(files: dict[str, list[Path]]) -> None:
    with pytest.raises(UsageError, match="--fuse: fusion needs at least two files"):
        evaluate_files(files["val"][:1], runtime=None, weights=[1])
