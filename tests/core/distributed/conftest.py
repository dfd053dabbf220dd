"""The undisturbed run of two processes, which others are compared with."""

import json
import os
from pathlib import Path

import pytest
from command import train
from filelock import FileLock


@pytest.fixture(scope="session")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two processes on this machine, of two epochs of three steps; one for all xdist workers."""
    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "two-processes"
    root.mkdir(exist_ok=True)
    with FileLock(root / "lock"):
        if not (root / "complete").exists():
            result = train(prepared, root / "run", "--processes", 2, "--json")
            assert result.returncode == 0, result.stderr
            assert "2 x CPU" in result.stderr
            assert json.loads(result.stdout)["epochs"] == 2, "results are printed once"
            (root / "complete").touch()
    return root / "run"
