"""From what a user asks for to a run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tdpn_core.checkpoint import Checkpoint, TrainingState, save_checkpoint
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import Runtime, set_up
from tdpn_core.errors import CheckpointError, DeviceError
from tdpn_core.model.registry import build_model, create_model
from tdpn_core.shards import load_manifest
from tdpn_core.training.checkpoints import initialise
from tdpn_core.training.launch import describe, plan

CPU = Runtime(torch.device("cpu"))


@pytest.fixture
def config(prepared: Path, tiny: dict[str, str]) -> RunConfig:
    return plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings=tiny))


def test_a_plan_knows_its_data(prepared: Path, config: RunConfig) -> None:
    manifest = load_manifest(prepared)
    assert config.data.digest == manifest.digest
    assert config.data.classes == manifest.classes
    assert config.model.num_classes == {"action": 8}


def test_what_is_about_to_be_trained_fits_one_line(config: RunConfig) -> None:
    line = describe(config, CPU, Path("runs/x"))
    assert "tdpn r18, 2 segments at 32 pixels, on folder; recipe small: 2 epochs, batch 8" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        (0, 1, "1 GPU asked for, 0 found; use --gpus 0"),
        (2, 6, "6 GPUs asked for, 2 found; use --gpus 2"),
        (6, 6, "--gpus: this runs on one GPU, not on 6; use --gpus 1; tdpn train, eval and ablate support"),
        (1, -1, "must not be negative"),
    ],
)
def test_gpus_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, found: int, wanted: int, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    with pytest.raises(DeviceError, match=message) as caught:
        set_up(wanted)
    assert caught.value.exit_code == 2


def test_no_gpu_or_none_wanted_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert set_up(None) == set_up(0) == CPU


def test_weights_of_a_run_with_other_classes_start_all_but_the_classifier(config: RunConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build_model(config.model)
    path = tmp_path / "best.pt"
    save_checkpoint(path, Checkpoint(config=config, state=TrainingState(), weights=source.state_dict(), optimiser={}))
    target = create_model("tdpn", arch="r18", width=0.125, input_size=32, num_frames=2, num_classes=3)
    account = initialise(target, path)
    other = {name for name, value in target.state_dict().items() if value.shape != source.state_dict()[name].shape}
    assert other == set(account.left_out)
    assert set(account.filled) == set(target.state_dict()) - other
    for name, value in target.state_dict().items():
        assert name in other or torch.equal(value, source.state_dict()[name])


def test_image_weights_are_inflated_into_the_backbone(tmp_path: Path) -> None:
    model = create_model("tdpn", arch="r18", num_classes=3, attention=False)
    rng = np.random.default_rng(0)
    images = {}
    for name, value in model.backbone.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        shape = (*value.shape[:2], *value.shape[3:]) if value.ndim == 5 else value.shape
        images[name] = torch.from_numpy(rng.standard_normal(tuple(shape)).astype(np.float32))
    save_file(images, tmp_path / "resnet18.safetensors")
    account = initialise(model, tmp_path / "resnet18.safetensors")
    total = len(model.state_dict())
    assert f"{len(account.filled)} of {total} tensors filled" in str(account)
    assert torch.equal(model.backbone.conv1.weight[:, :, 0], images["conv1.weight"])
    block = model.backbone.layer4[0].conv1.weight
    assert torch.allclose(block.sum(2), images["layer4.0.conv1.weight"], atol=1e-6)


@pytest.mark.parametrize("content", [b"", b"weights"])
def test_a_file_that_is_neither_is_refused(config: RunConfig, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="neither PyTorch's format nor safetensors"):
        initialise(build_model(config.model), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        initialise(build_model(config.model), tmp_path / "missing.pth")
