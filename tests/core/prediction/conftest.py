"""The network that clips are predicted with."""

from dataclasses import replace
from pathlib import Path

import pytest

from tdpn_core.config.families import model_config
from tdpn_core.config.schema import RunConfig


@pytest.fixture(scope="session")
def config(fresh_config: RunConfig) -> RunConfig:
    return fresh_config


@pytest.fixture(scope="session")
def checkpoint(fresh: Path) -> Path:
    return fresh


@pytest.fixture(scope="session")
def flow_checkpoint(config: RunConfig, save_fresh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-stream network's stream of optical flow."""
    classes = config.model.num_classes
    model = model_config(
        name="tsn", arch="r18", num_classes=classes, num_frames=2, input_size=32, width=0.125, modality="flow"
    )
    data = replace(config.data, encoding={**config.data.encoding, "modality": "flow", "flow_method": "dis"})
    own = replace(config, model=model, data=data)
    return save_fresh(own, tmp_path_factory.mktemp("flow") / "best.pt")
