"""A score file gives back what was put in, to the last bit, or says that it is damaged."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scored import make_scores

from tdpn_core.errors import ScoresError, TdpnError
from tdpn_core.evaluation import array_file as files
from tdpn_core.evaluation.score_file import Scores, is_scores, read_scores, softmax, write_scores


def example() -> Scores:
    rng = np.random.default_rng(0)
    logits = {"verb": rng.normal(size=(5, 3, 4)).astype(np.float32), "noun": rng.normal(size=(5, 3, 2))}
    names = ["P01_1", "ü/\udcff.mp4", "c", "d", "e"]  # a name of bytes that are no text
    scores = make_scores(logits, {"verb": [0, 1, 2, -1, 3], "noun": [1, 0, 0, 0, -1]}, ids=names)
    return replace(scores, logits=logits)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scores = example()
    write_scores(tmp_path / "scores.safetensors", scores)
    again = read_scores(tmp_path / "scores.safetensors")
    assert (again.ids, again.classes, again.origin) == (scores.ids, scores.classes, scores.origin)
    for head in ("verb", "noun"):
        assert np.array_equal(again.labels[head], scores.labels[head])
        assert np.array_equal(again.logits[head], scores.logits[head])
        assert again.logits[head].dtype == scores.logits[head].dtype
    plain = load_file(tmp_path / "scores.safetensors")
    assert np.array_equal(plain["probabilities/verb"], scores.probabilities()["verb"]), "for other programs"
    assert is_scores(tmp_path / "scores.safetensors")
    assert not is_scores(Path(__file__))
    assert not is_scores(tmp_path)


def test_equal_scores_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        write_scores(tmp_path / name, example())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_scores_with_a_changed_bit_in_any_array_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.safetensors"
    write_scores(path, example())
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:start])
    for name in ("labels/verb", "logits/noun", "header"):
        changed = bytearray(content)
        changed[start + table[name]["data_offsets"][0]] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ScoresError, match="damaged: its digest does not match its content; score the checkpoint"):
            read_scores(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ScoresError, match=r"damaged: .*; score the checkpoint again"):
        read_scores(path)


def test_scores_with_random_bytes_changed_are_refused_or_equal(tmp_path: Path) -> None:
    path = tmp_path / "scores.safetensors"
    write_scores(path, example())
    content, rng = path.read_bytes(), np.random.default_rng(0)
    expected, table = read_scores(path), 8 + int.from_bytes(content[:8], "little")
    refused = 0
    for trial in range(300):
        changed = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):  # every other one in the table of arrays, where a reader can be misled
            changed[int(rng.integers(0, table if trial % 2 else len(content)))] = int(rng.integers(0, 256))
        path.write_bytes(changed)
        try:
            found = read_scores(path)
        except ScoresError:
            refused += 1
            continue
        assert (found.ids, found.origin) == (expected.ids, expected.origin)
        assert all(np.array_equal(found.logits[head], expected.logits[head]) for head in expected.classes)
    assert refused > 250


@pytest.mark.parametrize("name", ["scores_hang.h5", "scores_HANG_406.h5", "scores_bomb8G.h5"])
def test_scores_of_the_hdf5_format_are_refused_without_being_opened(name: str, hard: Path) -> None:
    path = hard / "files" / name
    assert is_scores(path)
    with pytest.raises(ScoresError, match="an HDF5 file; scores are safetensors files now"):
        read_scores(path)


def test_scores_of_a_pipe_are_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scores.safetensors")
    assert not is_scores(tmp_path / "scores.safetensors")
    with pytest.raises(ScoresError, match="no such score file"):
        read_scores(tmp_path / "scores.safetensors")


def test_another_file_another_schema_and_no_file_are_distinguished(tmp_path: Path) -> None:
    save_file({"x": np.zeros(2)}, tmp_path / "other.safetensors")
    assert not is_scores(tmp_path / "other.safetensors")
    with pytest.raises(ScoresError, match="a safetensors file, but not scores of tdpn eval"):
        read_scores(tmp_path / "other.safetensors")
    files.write_arrays(tmp_path / "new.safetensors", "scores", {"schema": 99}, {})
    with pytest.raises(ScoresError, match="scores of schema 99, this version reads 2; use the tdpn version that wrote"):
        read_scores(tmp_path / "new.safetensors")
    files.write_arrays(tmp_path / "bare.safetensors", "scores", {"schema": 2}, {"labels/a": np.array([1])})
    with pytest.raises(ScoresError, match=r"not a score file \('classes'\)"):
        read_scores(tmp_path / "bare.safetensors")
    with pytest.raises(ScoresError, match="no such score file"):
        read_scores(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a", "b", "a", "d", "e"]}, "contains a clip twice"),
        ({"ids": ["a"]}, r"labels \(5,\) and scores \(5, 3, \d\) do not fit 1 clips"),
        ({"classes": {"verb": ["x"], "noun": ["y", "z"]}}, "do not fit 5 clips of 1 classes"),
    ],
)
def test_contents_that_do_not_fit_each_other_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    write_scores(tmp_path / "scores.safetensors", replace(example(), **change))
    with pytest.raises(ScoresError, match=message):
        read_scores(tmp_path / "scores.safetensors")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.safetensors"
    write_scores(path, example())
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(TdpnError, match="cannot write: No space left on device; free some space"):
        write_scores(path, replace(example(), ids=list("abcde")))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["scores.safetensors"]


@given(arrays.arrays(np.float32, (3, 2, 4), elements=st.floats(-(2**90), 2**90, width=32)))
def test_the_softmax_sums_to_one_and_keeps_the_order(logits: np.ndarray) -> None:
    result = softmax(logits)
    assert result.sum(axis=-1) == pytest.approx(1.0)
    assert (result.max(axis=-1) == np.take_along_axis(result, logits.argmax(-1)[..., None], -1)[..., 0]).all()


def test_mean_probabilities_are_those_of_all_clips_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdpn_core.evaluation.score_file._CLIPS_AT_ONCE", 2)
    scores = example()
    for head, values in scores.probabilities().items():
        assert np.array_equal(values, softmax(scores.logits[head]).mean(axis=1))
