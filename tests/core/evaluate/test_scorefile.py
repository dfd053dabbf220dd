"""A file of scores gives back what was put in, to the last bit, or says that it is damaged."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scored import make_scores

from tdpn_core.errors import ScoresError, TdpnError
from tdpn_core.evaluate import arrays as files
from tdpn_core.evaluate.scorefile import Scores, is_scores, read_scores, softmax, write_scores


def example() -> Scores:
    rng = np.random.default_rng(0)
    logits = {"verb": rng.normal(size=(5, 3, 4)).astype(np.float32), "noun": rng.normal(size=(5, 3, 2))}
    names = ["P01_1", "ü/\udcff.mp4", "c", "d", "e"]  # a name of bytes that are no text
    scores = make_scores(logits, {"verb": [0, 1, 2, -1, 3], "noun": [1, 0, 0, 0, -1]}, ids=names)
    return replace(scores, logits=logits)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scores = example()
    write_scores(tmp_path / "scores.h5", scores)
    again = read_scores(tmp_path / "scores.h5")
    assert (again.ids, again.classes, again.origin) == (scores.ids, scores.classes, scores.origin)
    for head in ("verb", "noun"):
        assert np.array_equal(again.labels[head], scores.labels[head])
        assert np.array_equal(again.logits[head], scores.logits[head])
        assert again.logits[head].dtype == scores.logits[head].dtype
    with h5py.File(tmp_path / "scores.h5") as file:
        assert np.array_equal(file["probabilities/verb"], scores.probabilities()["verb"]), "for other programs"
    assert is_scores(tmp_path / "scores.h5")
    assert not is_scores(Path(__file__))
    assert not is_scores(tmp_path)


def test_equal_scores_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_scores(tmp_path / name, example())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_changed_bit_in_any_array_or_word_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "scores.h5"
    write_scores(path, example())
    with h5py.File(path) as file:
        places = [file[name].id.get_offset() for name in ("ids", "labels/verb", "logits/noun", "header")]
    content = path.read_bytes()
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ScoresError, match="damaged: its digest does not match its content; score again"):
            read_scores(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ScoresError, match=r"damaged: .*; score again"):
        read_scores(path)


def test_another_hdf5_file_another_schema_and_no_file_are_told_apart(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ScoresError, match="an HDF5 file, but not scores of tdpn eval"):
        read_scores(tmp_path / "other.h5")
    files.write_arrays(tmp_path / "new.h5", "scores", {"schema": 99}, {})
    with pytest.raises(ScoresError, match="scores of schema 99, this version reads 1; use the tdpn version that wrote"):
        read_scores(tmp_path / "new.h5")
    files.write_arrays(tmp_path / "bare.h5", "scores", {"schema": 1}, {"ids": np.array([b"a"])})
    with pytest.raises(ScoresError, match=r"not a file of scores \('classes'\)"):
        read_scores(tmp_path / "bare.h5")
    with pytest.raises(ScoresError, match="no such file of scores"):
        read_scores(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a", "b", "a", "d", "e"]}, "names a clip twice"),
        ({"ids": ["a"]}, r"labels \(5,\) and scores \(5, 3, \d\) do not fit 1 clips"),
        ({"classes": {"verb": ["x"], "noun": ["y", "z"]}}, "do not fit 5 clips of 1 classes"),
    ],
)
def test_contents_that_do_not_fit_each_other_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    write_scores(tmp_path / "scores.h5", replace(example(), **change))
    with pytest.raises(ScoresError, match=message):
        read_scores(tmp_path / "scores.h5")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.h5"
    write_scores(path, example())
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.np, "ascontiguousarray", full)
    with pytest.raises(TdpnError, match="cannot write: No space left on device; free some space"):
        write_scores(path, replace(example(), ids=list("abcde")))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["scores.h5"]


@given(arrays.arrays(np.float32, (3, 2, 4), elements=st.floats(-(2**90), 2**90, width=32)))
def test_the_softmax_sums_to_one_and_keeps_the_order(logits: np.ndarray) -> None:
    result = softmax(logits)
    assert result.sum(axis=-1) == pytest.approx(1.0)
    assert (result.max(axis=-1) == np.take_along_axis(result, logits.argmax(-1)[..., None], -1)[..., 0]).all()


def test_mean_probabilities_are_those_of_all_clips_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdpn_core.evaluate.scorefile._CLIPS_AT_ONCE", 2)
    scores = example()
    for head, values in scores.probabilities().items():
        assert np.array_equal(values, softmax(scores.logits[head]).mean(axis=1))
