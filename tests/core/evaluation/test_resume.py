"""An evaluation that was interrupted goes on, and several processes share it: the file is the same to the last bit."""

import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import warm
from scored import CPU, fresh

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.claim import claimed
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import InUseError, Stopped
from tdpn_core.evaluation import score_checkpoint as partial
from tdpn_core.evaluation import score_checkpoint as score
from tdpn_core.evaluation.evaluate import evaluate_files
from tdpn_core.evaluation.inference import ScoredClips, batch_clips
from tdpn_core.evaluation.options import ScoreOptions
from tdpn_core.evaluation.score_checkpoint import PartialScores
from tdpn_core.evaluation.score_file import read_scores

OPTIONS = ScoreOptions(workers=0, views="2x1", views_at_once=4)


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of an evaluation that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=folder)
    assert [path.name for path in folder.iterdir()] == ["scores.safetensors"], "the parts are gone"
    return (folder / "scores.safetensors").read_bytes()


def interrupt_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Let an evaluation meet an error when so many batches are scored, as if a disk had gone away."""
    original = score.score_clips

    def some(*args, **kwargs):
        for number, scored in enumerate(original(*args, **kwargs)):
            if number == batches:
                raise OSError("gone")
            yield scored

    monkeypatch.setattr(score, "score_clips", some)


def test_batches_have_so_many_views_or_one_clip() -> None:
    assert batch_clips(5, "1x1", 2) == [[0, 1], [2, 3], [4]]
    assert batch_clips(3, "10x3", 8) == [[0], [1], [2]]
    assert batch_clips(4, "2xfull", 8) == [[0, 1, 2, 3]]


def test_an_interrupted_evaluation_scores_only_what_is_left(
    checkpoint: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(OSError, match="gone"):
            score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
    assert not (tmp_path / "scores.safetensors").exists()
    seen: list[list[int]] = []
    original = score.score_clips
    monkeypatch.setattr(
        score,
        "score_clips",
        lambda model, data, batches, **more: (seen.extend(batches), original(model, data, batches, **more))[1],
    )
    score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
    assert seen == [[6, 7]]
    assert (tmp_path / "scores.safetensors").read_bytes() == whole


def test_parts_of_another_evaluation_are_not_taken_over(
    checkpoint: Path, config, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fresh(tmp_path / "other" / "best.pt", config, seed=5)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(OSError, match="gone"):
            score.score_checkpoint(other, runtime=CPU, options=OPTIONS, folder=tmp_path)
    assert list((tmp_path / "partial").glob("*.safetensors"))
    score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
    assert (tmp_path / "scores.safetensors").read_bytes() == whole
    assert not (tmp_path / "partial").exists()


@pytest.mark.parametrize("world", [2, 3])
def test_processes_that_share_an_evaluation_make_the_file_of_one(
    checkpoint: Path, whole: bytes, tmp_path: Path, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 clips in 4 batches among 3: nothing divides evenly. The last to come to the barrier is rank 0 here."""
    counts = []
    original = PartialScores.add
    monkeypatch.setattr(
        PartialScores, "add", lambda self, scored: (counts.append(len(scored.clips)), original(self, scored))[1]
    )
    for rank in reversed(range(world)):
        runtime = Runtime(torch.device("cpu"), rank, world)
        job = score._Job(checkpoint, load_checkpoint(checkpoint), OPTIONS, runtime, tmp_path)
        job.run(score.SILENT, score.StopRequest())
    job.finish()
    assert sum(counts) == 8, "each clip once"
    assert (tmp_path / "scores.safetensors").read_bytes() == whole


def test_a_request_to_stop_saves_and_says_how_to_go_on(
    checkpoint: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = score.score_clips

    def stopping(*args, **kwargs):
        for scored in original(*args, **kwargs):
            yield scored
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(score, "score_clips", lambda *args, **kwargs: stopping(*args, **kwargs))
        with pytest.raises(Stopped, match=r"saved the scores of 4 of 8 clips; run the same command again to continue"):
            score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
    score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
    assert (tmp_path / "scores.safetensors").read_bytes() == whole


def test_an_evaluation_that_is_killed_goes_on(checkpoint: Path, whole: bytes, tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from tdpn_core.evaluation import score_checkpoint as score
from tdpn_core.evaluation.options import ScoreOptions
from tdpn_core.distributed.runtime import set_up
score._SAVE_EVERY_SECONDS = -1
original = score.score_clips
def slow(*args, **kwargs):
    for scored in original(*args, **kwargs):
        yield scored
        print("scored", flush=True)
        time.sleep(0.5)
score.score_clips = slow
options = ScoreOptions(workers=0, views="2x1", views_at_once=4)
score.score_checkpoint(Path({str(checkpoint)!r}), runtime=set_up(0), options=options, folder=Path({str(tmp_path)!r}))
"""
    child = warm.Popen([sys.executable, "-c", code], stdout=warm.PIPE)
    assert child.stdout is not None
    with child.stdout:
        for _ in range(2):
            assert child.stdout.readline() == "scored\n"
        child.kill()
    child.wait(30)
    assert not (tmp_path / "scores.safetensors").exists()
    assert list((tmp_path / "partial").glob("*.safetensors"))
    score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
    assert (tmp_path / "scores.safetensors").read_bytes() == whole


def some_clips(*clips: int, missing: dict[int, str] | None = None) -> ScoredClips:
    return ScoredClips(list(clips), {"action": np.array(clips, dtype=np.float32)[:, None, None]}, missing or {})


def test_parts_join_in_the_order_of_the_clips_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    parts = PartialScores(tmp_path / "partial", "x")
    parts.add(some_clips(4, 1))
    parts.add(some_clips(3))
    parts.save()
    parts.add(some_clips(1, 0, missing={7: "damaged"}))
    parts.save()
    PartialScores(tmp_path / "partial", "y").add(some_clips(9))
    loaded = PartialScores(tmp_path / "partial", "x").load()
    assert loaded.clips == [0, 1, 3, 4]
    assert loaded.logits["action"][:, 0, 0].tolist() == [0, 1, 3, 4]
    assert loaded.missing == {7: "damaged"}
    first = min((tmp_path / "partial").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    first.write_bytes(first.read_bytes()[:-100])
    assert len(parts.load().clips) in (2, 3)


def test_waiting_scores_are_saved_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = PartialScores(tmp_path, "x")
    parts.add(some_clips(1))
    assert not list(tmp_path.iterdir())
    now = time.monotonic()
    monkeypatch.setattr(partial.time, "monotonic", lambda: now + 21)
    parts.add(some_clips(2))
    assert PartialScores(tmp_path, "x").load().clips == [1, 2]


def test_an_interrupted_fusion_scores_no_checkpoint_again(
    checkpoint: Path, config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = [shutil.copy(checkpoint, tmp_path / "best.pt"), fresh(tmp_path / "last.pt", config, seed=1)]
    batches: list[int] = []
    original = score.score_clips

    def some(*args, **kwargs):
        for scored in original(*args, **kwargs):
            if len(batches) == 6:  # all four of the first, two of the second
                batches.append(0)
                raise OSError("gone")
            batches.append(len(scored.clips))
            yield scored

    monkeypatch.setattr(score, "score_clips", some)
    with pytest.raises(OSError, match="gone"):
        evaluate_files(pair, runtime=CPU, options=OPTIONS)
    fused = evaluate_files(pair, runtime=CPU, options=OPTIONS)
    assert sum(batches) == 16, "each clip once by each"
    own = [read_scores(tmp_path / name / "scores.safetensors") for name in ("eval-val-2x1", "eval-last-val-2x1")]
    assert np.allclose(fused.probabilities["action"], sum(one.probabilities()["action"] for one in own) / 2)
    assert not list(tmp_path.rglob("partial"))


def test_a_clip_that_was_missing_is_tried_again(checkpoint: Path, whole: bytes, tmp_path: Path) -> None:
    options = replace(OPTIONS, allow_missing=True)
    job = score._Job(checkpoint, load_checkpoint(checkpoint), options, CPU, tmp_path)
    first = job.partial
    first.add(ScoredClips([], {}, {3: "damaged"}))
    first.save()
    job.run(score.SILENT, score.StopRequest())
    scores = job.finish()
    assert scores.origin.coverage.missing == {}
    assert (tmp_path / "scores.safetensors").read_bytes() == whole


def test_second_evaluation_of_a_checkpoint_is_refused_and_leaves_the_firsts_parts(
    checkpoint: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(OSError, match="gone"):
            score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
    parts = sorted(path.name for path in (tmp_path / "partial").iterdir())
    with claimed(tmp_path, "evaluating", hint="wait"):
        message = rf"process {os.getpid()} on .* has been evaluating here since .*; wait until it has finished"
        with pytest.raises(InUseError, match=message):
            score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
        assert sorted(path.name for path in (tmp_path / "partial").iterdir()) == parts
    score.score_checkpoint(checkpoint, runtime=CPU, options=OPTIONS, folder=tmp_path)
    assert (tmp_path / "scores.safetensors").read_bytes() == whole
