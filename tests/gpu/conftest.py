"""Tests of what only a CUDA GPU shows: each is marked `cuda`, and skipped by name where there is none."""

from pathlib import Path

import pytest
import torch

from tdpn_core.distributed.runtime import Runtime


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip before any fixture is made."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture
def gpu() -> Runtime:
    """The first GPU."""
    return Runtime(torch.device("cuda", 0))


@pytest.fixture
def cpu() -> Runtime:
    """The processor, to compare with."""
    return Runtime(torch.device("cpu"))


@pytest.fixture
def run_folder(prepared: Path, tmp_path: Path) -> Path:
    """Where a training run on `prepared` goes."""
    return tmp_path / "run"
