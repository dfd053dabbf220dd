"""Checkpoints come back as they were, or are refused; never anything between."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tdpn_core.checkpoint import (
    Checkpoint,
    TrainingState,
    find_data,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from tdpn_core.config.families import model_config
from tdpn_core.config.schema import DataConfig, RunConfig, SamplingConfig, TrainConfig
from tdpn_core.errors import CheckpointError, ConfigError
from tdpn_core.model.registry import build_model

CONFIG = RunConfig(
    recipe="small",
    model=model_config(arch="r18", width=0.25, input_size=32, num_classes={"action": 3}),
    sampling=SamplingConfig(),
    train=TrainConfig(),
    data=DataConfig(
        path="d", dataset="folder", classes={"action": ["ä", "b", "c"]}, classes_digest="c", digest="d", short_side=256
    ),
)


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    weights = {"a.weight": torch.randn(3, 4), "a.steps": torch.tensor(7), "b": torch.randn(2).to(torch.float16)}
    state = TrainingState(epoch=2, batch=1, step=9, running={"loss": 0.1}, history=[{"loss": 1 / 3}], best_score=0.5)
    return Checkpoint(config=CONFIG, state=state, weights=weights, optimiser={"a.weight": torch.randn(3, 4)})


def test_everything_comes_back_bit_for_bit(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", checkpoint)
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert loaded.config == checkpoint.config
    assert loaded.state == checkpoint.state
    assert loaded.versions["torch"] == torch.__version__
    for stored, original in ((loaded.weights, checkpoint.weights), (loaded.optimiser, checkpoint.optimiser)):
        assert stored.keys() == original.keys()
        assert all(torch.equal(stored[name], original[name]) for name in original)
        assert all(stored[name].dtype == original[name].dtype for name in original)


def test_equal_checkpoints_are_equal_files(checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name in ("one.pt", "two.pt"):
        save_checkpoint(tmp_path / name, checkpoint)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_no_flipped_bit_goes_unnoticed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint)
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    unnoticed = []
    for bit in rng.choice(len(original) * 8, 400, replace=False).tolist():
        damaged = bytearray(original)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            loaded = load_checkpoint(path)
        except (CheckpointError, ConfigError):
            continue
        same = loaded.config == checkpoint.config and loaded.state == checkpoint.state
        same = same and all(torch.equal(loaded.weights[name], value) for name, value in checkpoint.weights.items())
        if not same:
            unnoticed.append(bit)
    assert not unnoticed


def test_no_truncation_goes_unnoticed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint)
    original = path.read_bytes()
    for length in range(0, len(original), 61):
        path.write_bytes(original[:length])
        with pytest.raises(CheckpointError, match="not a readable checkpoint"):
            load_checkpoint(path)


def test_what_is_no_checkpoint_is_refused_and_nothing_in_it_runs(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such checkpoint.*tdpn train"):
        load_checkpoint(tmp_path / "missing.pt")

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save(Payload(), tmp_path / "pickle.pt")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "pickle.pt")
    assert not (tmp_path / "ran").exists()

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of tdpn"):
        load_checkpoint(tmp_path / "foreign.pt")

    (tmp_path / "header.pt").write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "header.pt")


def test_a_later_schema_names_both_versions(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdpn_core.checkpoint.SCHEMA", 99)
    save_checkpoint(tmp_path / "last.pt", checkpoint)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="checkpoint schema 99, this version reads 2"):
        load_checkpoint(tmp_path / "last.pt")


def test_weights_that_do_not_fit_are_named() -> None:
    model = build_model(CONFIG.model)
    weights = dict(model.state_dict())
    other = build_model(replace(CONFIG.model, num_classes={"action": 5})).state_dict()
    misshapen = next(name for name in weights if weights[name].shape != other[name].shape)
    missing, unexpected = next(iter(weights)), "extra.weight"
    broken = {name: other[name] if name == misshapen else value for name, value in weights.items() if name != missing}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, broken | {unexpected: torch.zeros(1)})
    for kind, name in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)):
        assert f"1 {kind} (first: {name})" in caught.value.what


def test_the_header_is_plain_json(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", checkpoint)
    content = (tmp_path / "last.pt").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    digest, text = json.loads(content[8 : 8 + length])["__metadata__"]["tdpn"].split("\n", 1)
    assert len(digest) == 64
    header = json.loads(text)
    assert header["config"]["data"]["classes"] == {"action": ["ä", "b", "c"]}


def data_of(path: Path, absolute: Path) -> DataConfig:
    return DataConfig(
        path=str(path),
        absolute=str(absolute),
        dataset="folder",
        classes={"action": ["a", "b"]},
        classes_digest="",
        digest="",
        short_side=64,
    )


def test_find_data_from_another_working_directory_takes_the_folder_above_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "moved"
    (project / "data/clips").mkdir(parents=True)
    (project / "data/clips/manifest.json").write_text("{}")
    near, data = project / "runs/a/best.pt", data_of(Path("data/clips"), tmp_path / "gone")
    monkeypatch.chdir(tmp_path)
    assert Path(find_data(data, near).path) == project / "data/clips"
    monkeypatch.chdir(project)
    assert find_data(data, near).path == "data/clips", "the working directory comes first"


def test_find_data_of_a_run_that_was_moved_takes_the_place_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old/data").mkdir(parents=True)
    (tmp_path / "old/data/manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    data = data_of(Path("data"), tmp_path / "old/data")
    assert Path(find_data(data, tmp_path / "elsewhere/best.pt").path) == tmp_path / "old/data"
    lost = data_of(Path("data"), tmp_path / "gone")
    assert find_data(lost, tmp_path / "elsewhere/best.pt") == lost
