"""Data of which a split has no labels is trained on as far as it can be, and never judged by what is not there."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import DatasetError
from tdpn_core.progress import Silent
from tdpn_core.shards import ClipStore
from tdpn_core.training.launch import plan
from tdpn_core.training.trainer import train

CPU = Runtime(torch.device("cpu"))


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def config(prepared: Path, tiny: dict[str, str]) -> RunConfig:
    config = plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings=tiny))
    return dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=1, milestones=(), batch_size=24))


def without_labels(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every clip of `split` is unlabelled, as in a list without labels."""
    original = ClipStore.__init__

    def opened(store: ClipStore, folder: Path, name: str, **more: object) -> None:
        original(store, folder, name, **more)
        if name == split:
            store.labels = {head: np.full_like(labels, -1) for head, labels in store.labels.items()}

    monkeypatch.setattr(ClipStore, "__init__", opened)


def test_without_labels_for_validation_a_run_is_judged_by_its_training_clips_and_says_so(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_labels("val", monkeypatch)
    heard = Lines()
    result = train(config, tmp_path / "run", runtime=CPU, workers=0, progress=heard)
    assert "note: no validation clip has a label: the run is evaluated on its training clips" in heard.lines
    (row,) = result.state.history
    assert "val_top1" not in row
    assert result.state.best_score == row["top1"]
    assert result.best.is_file()
    assert "No validation clip has a label" in (tmp_path / "run" / "summary.html").read_text()
    assert json.loads((tmp_path / "run" / "status.json").read_text())


def test_without_labels_to_learn_from_no_run_begins(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_labels("train", monkeypatch)
    with pytest.raises(DatasetError, match="no training clip has a label; prepare it with annotations that have"):
        train(config, tmp_path / "run", runtime=CPU, workers=0)
    assert not (tmp_path / "run").exists()
