"""A network as files of both formats."""

from pathlib import Path

import pytest

from tdpn_core.exporting import ExportOptions
from tdpn_core.exporting.export import export


@pytest.fixture(scope="session")
def exported(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float ONNX file, from the clips of the data that the network names."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    report = export(fresh, path, options=ExportOptions(compared=3))
    assert (report.path, report.bytes, report.check.clips) == (path, path.stat().st_size, 3)
    assert report.check.difference < 1e-5
    assert report.check.agreement == {"action": 1.0}
    own, file = report.check.accuracy["action"]
    assert own == file
    assert sorted(one.name for one in path.parent.iterdir()) == ["model.onnx", "model.onnx.md"]
    return path


@pytest.fixture(scope="session")
def program_file(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The .pt2 file."""
    path = tmp_path_factory.mktemp("export") / "model.pt2"
    export(fresh, path, options=ExportOptions(format="pt2", compared=1))
    return path
