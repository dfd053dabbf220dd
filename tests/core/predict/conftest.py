"""The network that clips are predicted with."""

from pathlib import Path

import pytest

from tdpn_core.config import RunConfig


@pytest.fixture(scope="session")
def config(fresh_config: RunConfig) -> RunConfig:
    return fresh_config


@pytest.fixture(scope="session")
def checkpoint(fresh: Path) -> Path:
    return fresh
