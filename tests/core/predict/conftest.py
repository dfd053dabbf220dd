"""A network of fresh weights on the rendered motions, saved as a run would."""

from pathlib import Path

import pytest
import torch

from tdpn_core.checkpoint import Checkpoint, TrainingState, save_checkpoint
from tdpn_core.config import RunConfig
from tdpn_core.model.factory import build_model
from tdpn_core.runtime import Runtime
from tdpn_core.train.launch import plan

CPU = Runtime(torch.device("cpu"))


def save_fresh(config: RunConfig, path: Path) -> Path:
    """Fresh weights with random batch statistics, so that classes differ."""
    torch.manual_seed(0)
    model = build_model(config.model)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif name.endswith("linear.action.weight"):
            value.normal_(std=1.0)
    save_checkpoint(path, Checkpoint(config=config, state=TrainingState(), weights=model.state_dict(), optimiser={}))
    return path


@pytest.fixture(scope="session")
def config(prepared: Path, tiny: dict[str, str]) -> RunConfig:
    return plan(prepared, runtime=CPU, recipe="small", settings=tiny)


@pytest.fixture(scope="session")
def checkpoint(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_fresh(config, tmp_path_factory.mktemp("run") / "best.pt")
