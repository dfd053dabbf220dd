"""The report on a machine, and what turns its lines red."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tdpn_core import doctor
from tdpn_core.errors import ToolError
from tdpn_core.video.ffmpeg_binary import Program


def _usage(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    usage = SimpleNamespace(total=64 * doctor.GIB, free=int(free * doctor.GIB))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)


def test_the_command_reports_everything_once_without_a_path_of_ours(tmp_path: Path) -> None:
    home = tmp_path / "somebody"
    home.mkdir()
    code = "import sys; sys.argv = ['tdpn', 'doctor', '--json']; from tdpn_cli.app import main; main()"
    variables = {**os.environ, "HOME": str(home), "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run([sys.executable, "-c", code], cwd=home, env=variables, capture_output=True, text=True)
    report = json.loads(result.stdout)
    names = [line["name"] for line in report["findings"]]
    for name in (
        "tdpn",
        "python",
        "torch",
        "h5py",
        "decord",
        "cpu",
        "gpu",
        "ffmpeg",
        "codecs",
        "disk",
    ):
        assert names.count(name) == 1
    assert (names.count("disk speed"), names.count("decoding")) == (1, 1)
    assert report["well"] is not any(line["red"] for line in report["findings"])
    assert result.returncode == int(not report["well"])
    assert "somebody" not in result.stdout
    assert not list(home.iterdir())  # the probe leaves nothing


def test_the_table_marks_a_red_line_and_gives_its_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    import tdpn_core
    from tdpn_cli.doctor import doctor as command

    findings = [doctor.Finding("gpu", "[none]"), doctor.Finding("disk", "1 GiB free", hint="free some space")]
    monkeypatch.setattr(tdpn_core, "examine", lambda: iter(findings), raising=False)
    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["-", "gpu", "[none]"],
        ["x", "disk", "1", "GiB", "free"],
        ["hint", "free", "some", "space"],
    ]


def test_disk_with_little_room_is_red(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _usage(monkeypatch, 0.06)
    assert next(doctor.disk(tmp_path)).hint == "free some space"
    _usage(monkeypatch, 16)
    assert not next(doctor.disk(tmp_path)).red


@pytest.mark.parametrize(
    ("speeds", "hint"), [((100.0, 200.0), ""), ((5.0, 200.0), "local disk"), ((100.0, 5.0), "local disk")]
)
def test_a_slow_disk_is_red(
    speeds: tuple[float, float], hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_disk_speed", lambda folder: speeds)
    *_, finding = doctor.disk(tmp_path)
    assert finding.value == f"writes {speeds[0]:.0f} MB/s, reads {speeds[1]:.0f} MB/s"
    assert hint in finding.hint
    assert finding.red is bool(hint)


def test_a_folder_that_cannot_be_written_to_is_red(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(folder: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, "_disk_speed", refuse)
    *_, finding = doctor.disk(tmp_path)
    assert (finding.value, finding.hint) == (
        "cannot write here: Permission denied",
        "work in a writable folder",
    )


def test_a_package_that_cannot_be_loaded_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.PACKAGES, "no_such_module", "no-such-distribution")
    *_, finding = doctor.versions()
    assert "cannot be loaded: No module named" in finding.value
    assert finding.hint == "pip install no-such-distribution"


def test_an_ffmpeg_that_is_missing_or_poor_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Program:
        raise ToolError("no ffmpeg program found", hint="pip install imageio-ffmpeg")

    monkeypatch.setattr(doctor, "find_ffmpeg", missing)
    assert [found.hint for found in doctor.ffmpeg()] == ["pip install imageio-ffmpeg"]
    monkeypatch.setattr(doctor, "find_ffmpeg", lambda: Program("/home/somebody/ffmpeg", "7.1"))
    monkeypatch.setattr(
        doctor, "_codecs", lambda program, kind: {"h264", "hevc", "libvpx-vp9", "mpeg4", "mjpeg", "vp8"}
    )
    monkeypatch.setenv("TDPN_FFMPEG", "/home/somebody/ffmpeg")
    version, codecs = doctor.ffmpeg()
    assert version.value == "7.1, set by TDPN_FFMPEG"
    assert codecs.value == "lacks av1, libx264 (to write)"
    assert "unset TDPN_FFMPEG" in codecs.hint


def test_gpus_are_listed_and_a_driver_without_cuda_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert [found.value for found in doctor.gpus()] == ["none: everything runs on the CPU"]
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    (found,) = doctor.gpus()
    assert found.hint == "install a build of torch for CUDA that fits the driver"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    about = SimpleNamespace(name="Some GPU", total_memory=24 * doctor.GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: about)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert [(found.name, found.value) for found in doctor.gpus()] == [
        (f"gpu {number}", "Some GPU, 24 GiB, no bf16: fp16 is used") for number in range(2)
    ]
