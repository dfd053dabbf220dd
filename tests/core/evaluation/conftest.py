"""A checkpoint with fresh weights for the rendered motions."""

from pathlib import Path

import pytest
from scored import CPU, fresh

from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import RunConfig
from tdpn_core.training.launch import plan


@pytest.fixture(scope="session")
def config(prepared: Path, tiny: dict[str, str]) -> RunConfig:
    return plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings=tiny))


@pytest.fixture(scope="session")
def checkpoint(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh(tmp_path_factory.mktemp("run") / "best.pt", config)
