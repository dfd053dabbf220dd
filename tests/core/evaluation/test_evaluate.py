"""An evaluation scores every clip once, on the classes that the checkpoint knows, or not at all."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scored import CPU, fresh, make_scores, saved

from tdpn_core.checkpoint import load_checkpoint, save_checkpoint
from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import CheckpointError, ScoresError, ShardError, TdpnError, UsageError
from tdpn_core.evaluation import score_checkpoint as score
from tdpn_core.evaluation.evaluate import evaluate, evaluate_files, measure_scores
from tdpn_core.evaluation.fusion import search_weights
from tdpn_core.evaluation.inference import score_clips, view_probabilities
from tdpn_core.evaluation.options import ScoreOptions, default_folder
from tdpn_core.evaluation.report import summary, write_report
from tdpn_core.evaluation.score_file import read_scores, write_scores
from tdpn_core.model.registry import build_model
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.shards import ClipStore

TOLERANT = ScoreOptions(workers=0, allow_missing=True)


class Listener:
    """A progress listener that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, title: str, total: int) -> None: ...

    def advance(self, steps: int = 1, **fields: str) -> None: ...

    def end(self) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


def damage(prepared: Path, folder: Path) -> Path:
    """A copy of the data whose first validation clip's pictures are not what was written."""
    shutil.copytree(prepared, folder)
    (shard,) = folder.glob("val-*.h5")
    store, content = ClipStore(prepared, "val"), bytearray(shard.read_bytes())
    for item in store.read(0, range(store.counts[0])):
        content[content.index(item) + len(item) // 2] ^= 0xFF
    shard.write_bytes(content)
    return folder


@pytest.mark.parametrize("views", ["1x1", "2x3", "full"])
def test_probabilities_are_the_mean_over_views_of_the_softmax(
    checkpoint: Path, prepared: Path, config: RunConfig, views: str, tmp_path: Path
) -> None:
    result = evaluate(checkpoint, runtime=CPU, views=views, workers=0, out=tmp_path)
    store = ClipStore(prepared, "val")
    model = load_checkpoint(checkpoint).build(CPU.device)
    sampling = replace(config.sampling, views=views)
    for index in range(len(store)):
        clip = ViewClips(store, config.model, sampling)[index].clip
        assert len(clip) == {"1x1": 1, "2x3": 6, "full": 1}[views]
        pixels = (clip / 255 - torch.tensor(sampling.mean).view(3, 1, 1, 1)) / torch.tensor(sampling.std).view(
            3, 1, 1, 1
        )
        with torch.no_grad():
            each = [model(view[None])[0].softmax(0).numpy() for view in pixels]
        assert result.probabilities["action"][index] == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert result.ids == list(store.ids)
    assert result.clips == len(store) == result.heads["action"].clips


class Wide:
    """Clips of frames wider than high, the last higher than wide, with a gradient that tells where a pixel is from."""

    def __init__(self) -> None:
        self.ids = ["a", "b", "c"]
        self.counts = np.array([20, 20, 20])
        self.classes = {"action": [str(label) for label in range(8)]}
        self.labels = {"action": np.array([0, 1, 2])}

    def __len__(self) -> int:
        return 3

    def size(self, clip: int) -> tuple[int, int]:
        return (48, 27) if clip == 2 else (27, 48)

    def decode(self, clip: int, frames: list[int]) -> np.ndarray:
        height, width = self.size(clip)
        row = np.linspace(0, 255, width).astype(np.uint8)
        return np.broadcast_to(row[None, None, :, None], (len(frames), height, width, 3)).copy()


def test_full_views_are_whole_frames_of_the_crops_short_side(checkpoint: Path, config: RunConfig) -> None:
    dataset = ViewClips(Wide(), config.model, replace(config.sampling, views="3xfull"))
    assert [tuple(dataset[clip].clip.shape[:1] + dataset[clip].clip.shape[-2:]) for clip in (0, 2)] == [
        (3, 36, 64),
        (3, 64, 36),
    ]
    row = dataset[0].clip[0, 0, 0, 0]
    assert (row[0], row[-1]) == (0, 255), "edge to edge"
    model = load_checkpoint(checkpoint).build(CPU.device)
    together = next(score_clips(model, dataset, [[0, 1, 2]], workers=0))
    assert together.logits["action"].shape == (3, 3, 8)
    alone = next(score_clips(model, dataset, [[2]], workers=0))
    assert np.allclose(together.logits["action"][2], alone.logits["action"][0], atol=1e-5)


def test_workers_do_not_change_a_single_bit(checkpoint: Path, tmp_path: Path) -> None:
    files = []
    for workers in (0, 2):
        evaluate(checkpoint, runtime=CPU, workers=workers, out=tmp_path / str(workers))
        files.append((tmp_path / str(workers) / "scores.safetensors").read_bytes())
    assert files[0] == files[1]


def test_classes_in_another_order_are_matched_by_name_and_said(
    checkpoint: Path, config: RunConfig, tmp_path: Path
) -> None:
    plain = evaluate(checkpoint, runtime=CPU, workers=0, out=tmp_path / "a")
    names = config.data.classes["action"]
    order = [3, 1, 0, 2, 7, 6, 5, 4]
    data = replace(config.data, classes={"action": [names[label] for label in order]}, classes_digest="0" * 64)
    weights = load_checkpoint(checkpoint)
    moved = {
        name: value[order] if name.startswith(("head.linear", "auxiliary_head.linear")) else value
        for name, value in weights.weights.items()
    }
    assert sum(not torch.equal(moved[name], weights.weights[name]) for name in moved) >= 1
    path = saved(tmp_path / "best.pt", checkpoint, replace(config, data=data))
    save_checkpoint(path, replace(load_checkpoint(path), weights=moved))
    listener = Listener()
    result = evaluate(path, runtime=CPU, workers=0, out=tmp_path / "b", progress=listener)
    assert np.allclose(result.probabilities["action"], plain.probabilities["action"], atol=1e-6)
    assert result.scores.classes == plain.scores.classes
    assert listener.lines == ["action: the data has its classes in another order than the checkpoint; matched by name"]


def test_other_classes_are_refused_with_one_of_each(checkpoint: Path, config: RunConfig, tmp_path: Path) -> None:
    names = config.data.classes["action"]
    data = replace(config.data, classes={"action": ["jumping", *names[1:]]}, classes_digest="0" * 64)
    path = saved(tmp_path / "best.pt", checkpoint, replace(config, data=data))
    message = f"other classes than folder has: 8 and 8 action classes, 'jumping' is only in the checkpoint, '{names[0]}"
    with pytest.raises(CheckpointError, match=message):
        evaluate(path, runtime=CPU, workers=0)


def test_other_heads_are_refused(checkpoint: Path, config: RunConfig, tmp_path: Path) -> None:
    data = replace(config.data, classes={"verb": ["cut"], "noun": ["egg"]})
    path = saved(tmp_path / "best.pt", checkpoint, replace(config, data=data))
    with pytest.raises(CheckpointError, match="trained on verb and noun, but folder has action"):
        evaluate(path, runtime=CPU, workers=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"short_side": 256}, "trained on frames of short_side 256, but folder was prepared with short_side 40"),
        ({"encoding": {"fps": 12.5}}, "trained on frames of fps 12.5, but folder was prepared with fps None"),
        ({"encoding": {"modality": "flow"}}, "trained on frames of modality flow, but folder was prepared with .* rgb"),
    ],
)
def test_frames_prepared_otherwise_are_refused_with_both_values_unless_allowed(
    checkpoint: Path, config: RunConfig, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = saved(tmp_path / "best.pt", checkpoint, replace(config, data=replace(config.data, **change)))
    with pytest.raises(CheckpointError, match=message):
        evaluate(path, runtime=CPU, workers=0)
    allowed = evaluate_files([path], runtime=CPU, options=ScoreOptions(workers=0, allow_mismatch=True))
    assert allowed.clips == 8


def test_a_split_that_is_not_there_names_those_that_are(checkpoint: Path) -> None:
    with pytest.raises(ShardError, match="has no test clips, only train, val"):
        evaluate(checkpoint, runtime=CPU, split="test", workers=0)


def test_data_that_has_moved_is_found_by_option(
    checkpoint: Path, prepared: Path, config: RunConfig, tmp_path: Path
) -> None:
    path = saved(tmp_path / "best.pt", checkpoint, replace(config, data=replace(config.data, path="gone", absolute="")))
    with pytest.raises(ShardError, match=r"best\.pt: its training data is not in gone; .*with --data"):
        evaluate(path, runtime=CPU, workers=0)
    assert evaluate(path, runtime=CPU, data=prepared, workers=0).clips == 8


def test_a_damaged_clip_ends_the_evaluation_with_its_name_or_is_left_out_and_counted(
    checkpoint: Path, prepared: Path, tmp_path: Path
) -> None:
    folder = damage(prepared, tmp_path / "data")
    out = tmp_path / "out"
    with pytest.raises(ShardError, match=r"item \d+ of clip '.*' does not match its checksum; .*--allow-missing"):
        evaluate(checkpoint, runtime=CPU, data=folder, workers=0, out=out)
    assert not (out / "scores.safetensors").exists()
    result = evaluate_files([checkpoint], runtime=CPU, options=replace(TOLERANT, data=folder), out=out)
    (missing,) = result.scores.origin.coverage.missing
    assert missing == ClipStore(prepared, "val").ids[0]
    assert result.ids == ClipStore(prepared, "val").ids[1:]
    assert result.clips == result.heads["action"].clips == 7
    assert summary(result)["coverage"]["scored"] == 7
    report = write_report(result).read_text()
    assert "7 clips scored of 8 on disk; 1 could not be read now." in report
    whole = evaluate(checkpoint, runtime=CPU, workers=0, out=tmp_path / "whole")
    assert np.allclose(result.probabilities["action"], whole.probabilities["action"][1:], atol=1e-6)


def test_data_of_which_no_clip_can_be_read_is_an_error_even_then(
    checkpoint: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ClipStore, clip: int, frames: object) -> None:
        raise ShardError("damaged", where=f"shard of {clip}")

    monkeypatch.setattr(ClipStore, "decode", fail)
    with pytest.raises(TdpnError, match="no clip could be read; the first: shard of 0: damaged"):
        evaluate_files([checkpoint], runtime=CPU, options=TOLERANT, out=tmp_path)


def test_scores_that_are_not_finite_end_the_evaluation_with_the_clips_name(
    checkpoint: Path, config: RunConfig, tmp_path: Path
) -> None:
    weights = load_checkpoint(checkpoint)
    broken = {name: value * float("nan") if "head.linear" in name else value for name, value in weights.weights.items()}
    save_checkpoint(tmp_path / "best.pt", replace(weights, weights=broken))
    with pytest.raises(TdpnError, match=r"^val/.*: the network's action scores are not finite; the weights or the"):
        evaluate(tmp_path / "best.pt", runtime=CPU, workers=0)


def test_the_report_is_written_beside_the_checkpoint_unless_told_otherwise(checkpoint: Path, tmp_path: Path) -> None:
    result = evaluate(checkpoint, runtime=CPU, workers=0, topk=(1, 3, 99))
    assert write_report(result) == checkpoint.parent / "eval-val-1x1" / "report.md"
    report = write_report(result, tmp_path / "elsewhere")
    written = json.loads((report.parent / "results.json").read_text())
    head = written["heads"]["action"]
    assert {"top1", "top3", "top8", "mean_class_accuracy", "calibration_error", "intervals", "classes"} <= set(head)
    assert head["top8"] == 1.0
    assert head["intervals"]["top1"][0] <= head["top1"] <= head["intervals"]["top1"][1]
    assert written["config"]["train"]["seed"] == 0
    names = {name.name for name in report.parent.iterdir()}
    assert {"report.md", "results.json", "predictions-action.csv", "confusion-action.csv"} <= names


def test_a_file_of_scores_gives_the_same_result_without_torch(checkpoint: Path, tmp_path: Path) -> None:
    first = evaluate(checkpoint, runtime=CPU, views="2x3", workers=0, out=tmp_path)
    again = evaluate(tmp_path / "scores.safetensors", runtime=None)
    assert again.folder == tmp_path
    assert summary(again) | {"seconds": 0} == summary(first) | {"seconds": 0}
    assert again.scores.logits["action"].shape == (8, 6, 8)
    code = f"""
import sys
from pathlib import Path
from tdpn_core.evaluation.report import write_report
from tdpn_core.evaluation.evaluate import evaluate
write_report(evaluate(Path({str(tmp_path / "scores.safetensors")!r}), runtime=None))
assert "torch" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_clips_without_labels_are_scored_and_not_measured(tmp_path: Path) -> None:
    result = measure_scores(make_scores([[0.0, 1.0], [2.0, 0.0]], [-1, -1]), folder=tmp_path)
    assert result.heads == {}
    assert "so there are scores but no metrics" in write_report(result).read_text()
    assert (tmp_path / "predictions-action.csv").read_text().splitlines()[1].startswith("clip-0,,action 1,0.73")


def test_some_clips_without_labels_are_counted_apart(tmp_path: Path) -> None:
    result = measure_scores(make_scores([[0.0, 1.0], [2.0, 0.0], [0.0, 9.0]], [1, -1, 0]), folder=tmp_path)
    assert result.heads["action"].clips == 2
    assert result.heads["action"].top[1] == 0.5
    assert "3 clips scored of 3 on disk; 1 of the scored have no label." in write_report(result).read_text()


def test_wrong_clips_that_the_data_no_longer_has_are_named_without_films(prepared: Path, tmp_path: Path) -> None:
    names = ClipStore(prepared, "val").classes
    scores = make_scores(np.eye(8)[:1] * 9, [3], ids=["gone.mp4"], data=str(prepared), classes=names)
    page = write_report(measure_scores(scores, folder=tmp_path)).with_suffix(".html").read_text()
    assert "Not all can be shown: gone.mp4: is not in the prepared data" in page
    assert "<td>gone.mp4" in page
    assert "<video" not in page


def test_one_class_is_always_right(tmp_path: Path) -> None:
    result = measure_scores(make_scores([[0.3], [-2.0]], [0, 0]), folder=tmp_path)
    assert result.heads["action"].top == {1: 1.0}
    assert result.heads["action"].top_intervals == {1: (1.0, 1.0)}
    assert "| top-1 | 100.00% | 100.00% to 100.00% |" in write_report(result).read_text()


def test_several_heads_are_scored_each(config: RunConfig) -> None:
    torch.manual_seed(0)
    model = build_model(replace(config.model, num_classes={"verb": 3, "noun": 4})).eval()
    views = torch.randint(0, 256, (9, 3, 10, 32, 32), dtype=torch.uint8)
    scores = view_probabilities(model, views, config)
    assert {head: tuple(values.shape) for head, values in scores.items()} == {"verb": (9, 3), "noun": (9, 4)}
    assert all(torch.allclose(values.sum(1), torch.ones(9, dtype=torch.float64)) for values in scores.values())


def test_topk_below_one_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--topk"):
        evaluate(tmp_path / "none.pt", runtime=CPU, workers=0, topk=(0,))


def test_two_checkpoints_are_scored_and_fused(checkpoint: Path, config: RunConfig, tmp_path: Path) -> None:
    other = fresh(tmp_path / "other" / "best.pt", config, seed=1)
    options = ScoreOptions(workers=0)
    fused = evaluate_files([checkpoint, other], runtime=CPU, options=options, weights=[1, 3], out=tmp_path / "fused")
    one = evaluate(checkpoint, runtime=CPU, workers=0).probabilities["action"]
    two = evaluate(other, runtime=CPU, workers=0).probabilities["action"]
    assert np.allclose(fused.probabilities["action"], 0.25 * one + 0.75 * two)
    assert read_scores(tmp_path / "fused" / "scores.safetensors").origin.fused == {
        str(checkpoint): 1.0,
        str(other): 3.0,
    }
    assert (tmp_path / "other" / "eval-val-1x1" / "scores.safetensors").exists(), "each one's own scores are kept, too"


def test_weights_searched_for_on_the_training_split_are_those_of_its_scores_and_all_of_validation_is_reported(
    checkpoint: Path, config: RunConfig, tmp_path: Path
) -> None:
    pair = [
        saved(tmp_path / "one" / "best.pt", checkpoint, config),
        fresh(tmp_path / "two" / "best.pt", config, seed=1),
    ]
    options = ScoreOptions(workers=0)
    fused = evaluate_files(pair, runtime=CPU, options=options, search_on="train", out=tmp_path / "fused")
    trained = [read_scores(path.parent / "eval-train-1x1" / "scores.safetensors") for path in pair]
    assert [scores.origin.split for scores in trained] == ["train", "train"]
    weights = search_weights(trained)
    (note,) = fused.scores.origin.notes
    assert note == f"weights found on the train split, 24 clips: {weights[0]:g}, {weights[1]:g}"
    own = [read_scores(path.parent / "eval-val-1x1" / "scores.safetensors").probabilities()["action"] for path in pair]
    assert fused.clips == 8
    assert np.allclose(fused.probabilities["action"], weights[0] * own[0] + weights[1] * own[1])
    assert note in write_report(fused).read_text()


def test_checkpoints_beside_one_another_have_folders_of_their_own(checkpoint: Path) -> None:
    assert default_folder(Path("run/best.pt"), "val", "1x1") == Path("run/eval-val-1x1")
    assert default_folder(Path("weights/tpn_r50.pth"), "val", "10x3") == Path("weights/eval-tpn_r50-val-10x3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"views": "10x3"},
            r"safetensors: its scores have views 1x1, not 10x3; score its checkpoint with these",
        ),
        ({"split": "train"}, r"scores\.safetensors: its scores have split val, not train"),
    ],
)
def test_scores_are_not_taken_for_others_that_were_asked_for(
    options: dict[str, str], message: str, tmp_path: Path
) -> None:
    write_scores(tmp_path / "scores.safetensors", make_scores([[1.0, 2.0]], [0]))
    with pytest.raises(UsageError, match=message):
        evaluate_files([tmp_path / "scores.safetensors"], runtime=None, options=ScoreOptions(**options))
    same = ScoreOptions(split="val", views="1x1")
    assert evaluate_files([tmp_path / "scores.safetensors"], runtime=None, options=same).clips == 1


def test_a_place_that_cannot_be_written_is_told_before_anything_is_scored(
    checkpoint: Path, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("scored")

    monkeypatch.setattr(score, "score_clips", fail)
    (tmp_path / "file").write_text("")
    with pytest.raises(TdpnError, match="file: this folder cannot be created: File exists; choose another --out"):
        evaluate(checkpoint, runtime=CPU, workers=0, out=tmp_path / "file")
    path = saved(tmp_path / "run" / "best.pt", checkpoint, config)
    (tmp_path / "run" / "eval-val-1x1").write_text("")
    with pytest.raises(TdpnError, match=r"eval-val-1x1: cannot be written: .*; choose another --out"):
        evaluate(path, runtime=CPU, workers=0)


def test_evaluate_of_what_is_no_checkpoint_is_refused(checkpoint: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a folder without best.pt; name a checkpoint, or a run's folder"):
        evaluate(tmp_path, runtime=CPU)
    (tmp_path / "metrics.csv").write_text("epoch,loss\n")
    for data in (None, prepared):  # whether the data is found or not
        with pytest.raises(CheckpointError, match=r"metrics\.csv: neither PyTorch's format nor safetensors"):
            evaluate(tmp_path / "metrics.csv", runtime=CPU, data=data)


def test_scores_of_a_damaged_or_hdf5_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ScoresError, match=r"a\.h5: an HDF5 file; .*; score the checkpoint again"):
        evaluate(tmp_path / "a.h5", runtime=None)
    (tmp_path / "scores.safetensors").write_bytes(bytes(100))
    with pytest.raises(ScoresError, match=r"scores\.safetensors: damaged"):
        evaluate(tmp_path / "scores.safetensors", runtime=None)
    write_scores(tmp_path / "b", make_scores([[1.0, 2.0]], [0]))
    assert evaluate(tmp_path / "b", runtime=None).clips == 1
