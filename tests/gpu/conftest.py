"""Tests of what only a CUDA GPU shows: each is marked `cuda`, and skipped by name where there is none."""

from pathlib import Path

import pytest
import torch

from tdpn_core.runtime import Runtime


@pytest.fixture(autouse=True)
def _needs_a_gpu(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")


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
