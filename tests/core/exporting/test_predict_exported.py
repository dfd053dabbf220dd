"""An exported file predicts as the checkpoint that it was made of does; what is none is refused in a line."""

import json
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
import warm

from tdpn_core import load_model
from tdpn_core.checkpoint import Calibration, load_checkpoint
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import CheckpointError, TdpnError, ToolError, UsageError
from tdpn_core.exporting.export import export
from tdpn_core.exporting.metadata import describe
from tdpn_core.prediction import Prediction, PredictOptions, Windowing
from tdpn_core.prediction.models import open_model
from tdpn_core.prediction.predict import predict
from tdpn_core.weights.file_formats import exported_format

CPU = Runtime(torch.device("cpu"))


@pytest.fixture(scope="module")
def clip(videos: Path) -> Path:
    return sorted((videos / "val").rglob("*.mp4"))[0]


def _one(clip: Path, model: Path, **options: object) -> Prediction:
    wanted = PredictOptions(topk=8, trusted=True, **options)  # type: ignore[arg-type]
    (prediction,) = predict([clip], checkpoint=model, runtime=CPU, options=wanted)
    assert prediction.error is None
    return prediction


@pytest.mark.parametrize("views", [None, "3x1"])
def test_exported_files_give_the_checkpoints_probabilities(
    fresh: Path, exported: Path, program_file: Path, clip: Path, views: str | None
) -> None:
    own = _one(clip, fresh, views=views)
    assert len({round(value, 3) for _, value in own.heads["action"]}) > 3
    for path in (exported, program_file):
        found = _one(clip, path, views=views)
        assert dict(found.heads["action"]) == pytest.approx(dict(own.heads["action"]), abs=1e-5)
        assert found.seconds == own.seconds


def test_exported_file_of_a_calibrated_checkpoint_keeps_the_calibration(
    fresh: Path, exported: Path, tmp_path: Path
) -> None:
    calibration = Calibration(
        temperature={"action": 1.5}, threshold={"action": 0.25}, data="0" * 64, split="val", views="1x1"
    )
    model = onnx.load(exported)
    about = describe(load_checkpoint(fresh).config, calibration=calibration)
    (entry,) = (one for one in model.metadata_props if one.key == "tdpn")
    entry.value = json.dumps(about)
    onnx.save(model, tmp_path / "calibrated.onnx")
    assert open_model(tmp_path / "calibrated.onnx", device=CPU.device).calibration == calibration
    assert open_model(exported, device=CPU.device).calibration is None


def test_timeline_and_overlay_come_from_an_exported_file(
    fresh: Path, exported: Path, clip: Path, tmp_path: Path
) -> None:
    windows = Windowing(seconds=0.5, stride=0.25)
    own = _one(clip, fresh, timeline=windows, smooth=0, min_length=0)
    found = _one(clip, exported, timeline=windows, smooth=0, min_length=0, overlay=tmp_path / "o.mp4")
    assert len(own.segments or []) > 1
    assert [(each.start, each.end) for each in found.segments or []] == [
        (each.start, each.end) for each in own.segments or []
    ]
    for mine, theirs in zip(own.segments or [], found.segments or [], strict=True):
        assert dict(theirs.heads["action"]) == pytest.approx(dict(mine.heads["action"]), abs=1e-5)
    assert (tmp_path / "o.mp4").stat().st_size > 1000


def test_what_a_file_is_its_content_tells(fresh: Path, exported: Path, program_file: Path, tmp_path: Path) -> None:
    for path, kind in ((fresh, None), (exported, "onnx"), (program_file, "pt2"), (tmp_path / "none.onnx", None)):
        assert exported_format(path) == kind
        if path.exists():
            renamed = tmp_path / f"{path.stem}.bin"
            renamed.write_bytes(path.read_bytes())
            assert exported_format(renamed) == kind
    torch.save({"state_dict": {}}, tmp_path / "foreign.pth")
    assert exported_format(tmp_path / "foreign.pth") is None
    with pytest.raises(CheckpointError, match=r"none\.onnx: no such checkpoint"):
        open_model(tmp_path / "none.onnx", device=CPU.device)


def test_what_wants_weights_says_what_it_was_given(exported: Path, program_file: Path, tmp_path: Path) -> None:
    for path in (exported, program_file):
        with pytest.raises(
            CheckpointError, match=r"model\.\w+: an exported file, which holds a program, not only weights;"
        ):
            export(path, tmp_path / "again.onnx")
        with pytest.raises(
            CheckpointError, match=r"tdpn predict runs it; other commands need the checkpoint that it was"
        ):
            load_model(path)


@pytest.fixture
def altered(exported: Path, tmp_path: Path) -> Callable[[str | None], Path]:
    """The ONNX file with another description, or none."""

    def alter(description: str | None) -> Path:
        model = onnx.load(str(exported))
        del model.metadata_props[:]
        if description is not None:
            onnx.helper.set_model_props(model, {"tdpn": description})
        onnx.save(model, str(tmp_path / "other.onnx"))
        return tmp_path / "other.onnx"

    return alter


def test_foreign_and_damaged_files_are_refused(
    altered: Callable[[str | None], Path], exported: Path, program_file: Path, tmp_path: Path
) -> None:
    def refused(path: Path, message: str, kind: type[TdpnError] = CheckpointError) -> None:
        with pytest.raises(kind, match=message):
            open_model(path, device=CPU.device, trusted=True)

    refused(
        altered(None),
        r"other\.onnx: lacks metadata with labels and sampling: not written by tdpn export; export a check",
    )
    refused(
        altered("{"), r"other\.onnx: written by another version, or changed \(its metadata is damaged\); export the"
    )
    described = json.loads({entry.key: entry.value for entry in onnx.load(str(exported)).metadata_props}["tdpn"])
    described["config"]["model"]["colour"] = "blue"
    refused(altered(json.dumps(described)), r"changed \(model: tdpn has no setting 'colour'\)")
    del described["config"]["model"]["colour"]
    described["config"]["model"]["num_frames"] = 4
    refused(altered(json.dumps(described)), r"its graph takes frames \[10, 32, 32, 3\], which differs from its meta")
    (tmp_path / "cut.onnx").write_bytes(exported.read_bytes()[:5000])
    refused(tmp_path / "cut.onnx", r"cut\.onnx: not a readable ONNX file \(.+\); the file is damaged or truncated")
    (tmp_path / "text.onnx").write_text("hello")
    refused(tmp_path / "text.onnx", r"text\.onnx: not a readable ONNX file")
    whole = program_file.read_bytes()
    (tmp_path / "bad.pt2").write_bytes(whole.replace(b'"graph_module"', b'"grape_module"'))
    refused(tmp_path / "bad.pt2", r"bad\.pt2: not a readable \.pt2 file \(.+\); the file is damaged or truncated")


def test_views_are_of_the_size_that_a_file_takes(altered: Callable[[str | None], Path], exported: Path) -> None:
    described = json.loads({entry.key: entry.value for entry in onnx.load(str(exported)).metadata_props}["tdpn"])
    described["config"]["sampling"]["views"] = "10x3"
    assert open_model(altered(json.dumps(described)), device=CPU.device).config.sampling.views == "10x1"


def test_an_archive_that_unpacks_to_much_more_takes_no_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/archive_format", b"pt2" + bytes(60_000_000))
    tracemalloc.start()
    assert exported_format(tmp_path / "bomb.pt2") is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


def test_a_pt2_file_of_another_program_is_not_run(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "foreign.pt2")
    with pytest.raises(CheckpointError, match=r"foreign\.pt2: lacks metadata with labels and sampling"):
        open_model(tmp_path / "foreign.pt2", device=CPU.device, trusted=True)


def test_a_pt2_file_is_read_only_where_the_user_vouches_for_it(
    program_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(UsageError, match=r"model\.pt2: reading a .pt2 file can run code .* add --trust"):
        open_model(program_file, device=CPU.device)


def test_without_onnxruntime_it_says_what_to_install(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdpn_core.prediction.exported.find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"need onnxruntime, which is not installed; pip install 'tdpn\[export\]'"):
        open_model(exported, device=CPU.device)


def test_what_an_exported_file_cannot_do_is_refused(exported: Path, clip: Path, tmp_path: Path) -> None:
    def refused(message: str, **options: object) -> None:
        with pytest.raises(UsageError, match=message):
            list(predict([clip], checkpoint=exported, runtime=CPU, options=PredictOptions(**options)))  # type: ignore[arg-type]

    refused(r"onnx: an exported file cannot be explained; give the checkpoint", explain=tmp_path / "e.mp4")
    refused(
        r"model\.onnx: takes only pictures of 32 x 32 pixels, not 36 x 36; use centre crops, such as --views 1x1",
        views="full",
    )
    refused("--classes: an exported file contains its own classes", classes=tmp_path / "names.txt")
    assert not list(tmp_path.iterdir())


def test_the_network_may_stand_before_the_clips(exported: Path, fresh: Path, clip: Path, tmp_path: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "tdpn_cli", "predict", *map(str, words)]
        return warm.run(command, cwd=tmp_path)

    first = run(exported, clip, "--json")
    assert first.returncode == 0, first.stderr
    (found,) = json.loads(first.stdout)
    own = _one(clip, fresh).heads["action"]
    assert found["clip"] == str(clip)
    assert [each["class"] for each in found["heads"]["action"]] == [name for name, _ in own][:5]
    alone = run(exported)
    assert (alone.returncode, "nothing to predict" in alone.stderr) == (2, True)
