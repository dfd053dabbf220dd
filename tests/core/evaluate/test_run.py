"""An evaluation scores every clip once, on the classes that the checkpoint knows, or not at all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tdpn_core.checkpoint import Checkpoint, TrainingState, load_checkpoint, save_checkpoint
from tdpn_core.config import RunConfig
from tdpn_core.errors import CheckpointError, ShardError, UsageError
from tdpn_core.evaluate.report import write_report
from tdpn_core.evaluate.run import evaluate
from tdpn_core.evaluate.scores import view_probabilities
from tdpn_core.model.factory import build_model
from tdpn_core.runtime import Runtime
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.shards import ClipStore
from tdpn_core.train.launch import plan

CPU = Runtime(torch.device("cpu"))


@pytest.fixture(scope="module")
def config(prepared: Path, tiny: dict[str, str]) -> RunConfig:
    return plan(prepared, runtime=CPU, recipe="small", settings=tiny)


@pytest.fixture(scope="module")
def checkpoint(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fresh weights, with the batch statistics of nothing: enough to compare scores."""
    torch.manual_seed(0)
    model = build_model(config.model)
    path = tmp_path_factory.mktemp("run") / "best.pt"
    save_checkpoint(path, Checkpoint(config=config, state=TrainingState(), weights=model.state_dict(), optimiser={}))
    return path


def _save(path: Path, source: Path, config: RunConfig) -> Path:
    save_checkpoint(path, replace(load_checkpoint(source), config=config))
    return path


@pytest.mark.parametrize("views", ["1x1", "2x3"])
def test_probabilities_are_the_mean_over_views_of_the_softmax(
    checkpoint: Path, prepared: Path, config: RunConfig, views: str
) -> None:
    result = evaluate(checkpoint, runtime=CPU, views=views, workers=0)
    store = ClipStore(prepared, "val")
    model = load_checkpoint(checkpoint).build(CPU.device)
    sampling = replace(config.sampling, views=views)
    for index in range(len(store)):
        clip = ViewClips(store, config.model, sampling)[index].clip
        pixels = (clip / 255 - torch.tensor(sampling.mean).view(3, 1, 1, 1)) / torch.tensor(sampling.std).view(
            3, 1, 1, 1
        )
        with torch.no_grad():
            each = [model(view[None])[0].softmax(0).numpy() for view in pixels]
        assert result.probabilities["action"][index] == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert result.ids == list(store.ids)
    assert result.clips == len(store) == result.heads["action"].clips


def test_workers_do_not_change_a_single_bit(checkpoint: Path) -> None:
    one = evaluate(checkpoint, runtime=CPU, workers=0).probabilities["action"]
    two = evaluate(checkpoint, runtime=CPU, workers=2).probabilities["action"]
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("order", "message"),
    [("reversed", "the same classes in another order"), ("renamed", "other classes")],
)
def test_a_checkpoint_of_other_classes_or_another_order_is_refused(
    checkpoint: Path, config: RunConfig, tmp_path: Path, order: str, message: str
) -> None:
    names = config.data.classes["action"]
    changed = names[::-1] if order == "reversed" else ["jumping", *names[1:]]
    data = replace(config.data, classes={"action": changed}, classes_digest="0" * 64)
    path = _save(tmp_path / "best.pt", checkpoint, replace(config, data=data))
    with pytest.raises(CheckpointError, match=f"trained on {message} than folder has"):
        evaluate(path, runtime=CPU, workers=0)


def test_a_split_that_is_not_there_names_those_that_are(checkpoint: Path) -> None:
    with pytest.raises(ShardError, match="has no test clips, only train, val"):
        evaluate(checkpoint, runtime=CPU, split="test", workers=0)


def test_data_that_has_moved_is_found_by_option(
    checkpoint: Path, prepared: Path, config: RunConfig, tmp_path: Path
) -> None:
    path = _save(tmp_path / "best.pt", checkpoint, replace(config, data=replace(config.data, path="gone")))
    with pytest.raises(ShardError, match="gone"):
        evaluate(path, runtime=CPU, workers=0)
    assert evaluate(path, runtime=CPU, data=prepared, workers=0).clips == 8


def test_a_damaged_clip_ends_the_evaluation_with_its_name(checkpoint: Path, prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(prepared, folder)
    (shard,) = folder.glob("val-*.h5")
    content = bytearray(shard.read_bytes())
    start = content.index(b"\xff\xd8\xff")
    for offset in range(start + 300, len(content) - 8192, 512):
        content[offset] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(ShardError, match=r"item \d+ of clip '.*' does not match its checksum"):
        evaluate(checkpoint, runtime=CPU, data=folder, workers=0)


def test_the_report_is_written_beside_the_checkpoint_unless_told_otherwise(checkpoint: Path, tmp_path: Path) -> None:
    result = evaluate(checkpoint, runtime=CPU, workers=0, topk=(1, 3, 99))
    assert write_report(result) == checkpoint.parent / "eval-val-1x1" / "report.md"
    report = write_report(result, tmp_path / "elsewhere")
    written = json.loads((report.parent / "results.json").read_text())
    assert set(written["heads"]["action"]) == {"top1", "top3", "top8", "mean_class_accuracy", "classes"}
    assert written["heads"]["action"]["top8"] == 1.0
    assert written["config"]["train"]["seed"] == 0
    names = {name.name for name in report.parent.iterdir()}
    assert names == {"report.md", "results.json", "predictions-action.csv", "confusion-action.csv"}


def test_several_heads_are_scored_each(config: RunConfig) -> None:
    torch.manual_seed(0)
    model = build_model(replace(config.model, num_classes={"verb": 3, "noun": 4})).eval()
    views = torch.randint(0, 256, (9, 3, 10, 32, 32), dtype=torch.uint8)
    scores = view_probabilities(model, views, config.sampling)
    assert {head: tuple(values.shape) for head, values in scores.items()} == {"verb": (9, 3), "noun": (9, 4)}
    assert all(torch.allclose(values.sum(1), torch.ones(9, dtype=torch.float64)) for values in scores.values())


def test_topk_below_one_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="--topk"):
        evaluate(checkpoint, runtime=CPU, workers=0, topk=(0,))
