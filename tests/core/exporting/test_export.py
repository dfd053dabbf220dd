"""An exported file says what the network says, or there is none."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import warm

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config.families import model_config
from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import TdpnError, ToolError, UsageError
from tdpn_core.evaluation.inference import view_probabilities
from tdpn_core.exporting import ExportOptions
from tdpn_core.exporting.clips import CALIBRATED, real_clips
from tdpn_core.exporting.export import export
from tdpn_core.exporting.module import FramesToProbabilities, trace
from tdpn_core.model.baselines import mvit
from tdpn_core.model.registry import build_model
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.shards import ClipStore


def test_an_onnx_file_gives_the_networks_probabilities_for_any_number_of_clips(
    exported: Path, fresh: Path, prepared: Path
) -> None:
    loaded = load_checkpoint(fresh)
    views = ViewClips(ClipStore(prepared, "val"), loaded.config.model, loaded.config.sampling)
    clips = torch.stack([views[index].clip[0] for index in range(3)])
    expected = view_probabilities(loaded.build(torch.device("cpu")), clips, loaded.config)["action"].numpy()
    assert np.ptp(expected, axis=1).min() > 0.01, "classes differ"
    assert len({tuple(row.round(4)) for row in expected}) == 3, "clips differ"
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    frames = clips.permute(0, 2, 3, 4, 1).contiguous().numpy()
    for count in (1, 2, 3):
        (found,) = session.run(["action"], {"frames": frames[:count]})
        assert found == pytest.approx(expected[:count], abs=1e-5)
        assert found.sum(axis=1) == pytest.approx(1.0)


def test_the_labels_and_the_input_are_described_in_the_file(exported: Path, fresh_config: RunConfig) -> None:
    entries = {entry.key: json.loads(entry.value) for entry in onnx.load(str(exported)).metadata_props if entry.value}
    described = entries["tdpn"]
    assert entries["labels"] == described["labels"] == fresh_config.data.classes
    assert described["input"]["shape"] == ["N", 10, 32, 32, 3]
    assert described["input"]["type"] == "uint8"
    assert described["config"]["model"]["width"] == 0.125
    assert described["weights"] == "float32"


def test_int8_is_smaller_and_near(exported: Path, fresh: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.int8.onnx"
    report = export(fresh, path, options=ExportOptions(int8=True, compared=8, calibrated=8))
    assert path.stat().st_size < 0.5 * exported.stat().st_size
    assert 1e-6 < report.check.difference < 0.2
    assert report.check.agreement["action"] >= 0.5
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.int8.onnx", "model.int8.onnx.md"]
    assert "8-bit ONNX export" in (tmp_path / "model.int8.onnx.md").read_text()
    entries = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert json.loads(entries["tdpn"])["weights"] == "int8"
    graph = onnx.load(str(path)).graph
    kinds = {value.name: value.data_type for value in graph.initializer}
    weights = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    kept = [kinds[name] for name in weights if name in kinds]
    assert set(kept) == {onnx.TensorProto.FLOAT}, "convolutions of few channels are as they were"
    assert 0 < len(kept) < len(weights) / 2
    assert sum(kind == onnx.TensorProto.INT8 for kind in kinds.values()) >= len(weights) - len(kept)


def test_clips_are_spread_and_those_to_calibrate_on_are_others(fresh_config: RunConfig, videos: Path) -> None:
    compared = real_clips(fresh_config, None, 4)
    calibrated = real_clips(fresh_config, None, 8, splits=CALIBRATED)
    assert [name.split("/")[0] for name in compared.names] == ["val"] * 4
    assert len({name.split("/")[1] for name in compared.names}) == 4, "of different classes"
    assert [name.split("/")[0] for name in calibrated.names] == ["train"] * 8
    assert len({name.split("/")[1] for name in calibrated.names}) > 5
    first, *_, last = compared
    assert first.classes != last.classes
    assert not torch.equal(first.frames, last.frames)
    named = real_clips(fresh_config, [videos / "val"], 2)
    assert [Path(name).parent.name for name in named.names] == ["circling fast", "swinging slowly"]
    assert next(iter(named)).frames.shape == (10, 32, 32, 3)


def test_int8_is_compared_on_more_clips_unless_told() -> None:
    assert (ExportOptions().compared_clips, ExportOptions(int8=True).compared_clips) == (8, 64)
    assert ExportOptions(int8=True, compared=3).compared_clips == 3


def test_a_pt2_file_has_verbs_and_nouns_and_its_labels(
    fresh_config: RunConfig, save_fresh, videos: Path, tmp_path: Path
) -> None:
    classes = {"verb": ["take", "put", "cut"], "noun": ["cup", "pan", "knife", "egg"]}
    model = replace(fresh_config.model, num_classes={"verb": 3, "noun": 4})
    config = replace(
        fresh_config, model=model, data=replace(fresh_config.data, classes=classes, path="gone", absolute="")
    )
    checkpoint = save_fresh(config, tmp_path / "best.pt")
    clips = sorted((videos / "val").rglob("*.mp4"))[:3]
    report = export(checkpoint, options=ExportOptions(format="pt2", clips=clips))
    assert report.path == tmp_path / "best.pt2"
    assert report.check.clips == 3
    assert report.check.agreement == {"verb": 1.0, "noun": 1.0}
    assert report.check.accuracy == {}, "files that are named have no labels"
    inside = {"tdpn": ""}
    torch.export.load(report.path, extra_files=inside)
    described = json.loads(inside["tdpn"])
    assert described["labels"] == classes
    assert described["outputs"] == {"verb": ["N", 3], "noun": ["N", 4]}


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("slowfast", "r18"),
        ("tdn", "r18"),
        ("i3d", "inception"),
        ("tsm+tpn", "r18"),
        ("r2plus1d", "r18"),
        ("c3d", "c3d"),
        ("mvit", "small"),
        ("videomae", "small"),
    ],
)
def test_other_families_can_be_traced_for_any_number_of_clips(
    name: str, arch: str, fresh_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mvit.FORMS, "small", (1, 1, 1, 1))  # tracing takes time for each block
    torch.manual_seed(0)
    settings = model_config(name=name, arch=arch, num_classes={"action": 5}, num_frames=8, input_size=64, width=0.125)
    module = FramesToProbabilities(build_model(settings), replace(fresh_config, model=settings))
    shape = (3, settings.num_frames * settings.frames_per_step, 64, 64, settings.channels)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8)
    graph = trace(module, frames[:2]).module()
    with torch.no_grad():
        expected = module(frames)[0]
        assert torch.allclose(graph(frames)[0], expected, atol=1e-5)
        assert torch.allclose(graph(frames[:1])[0], expected[:1], atol=1e-5)


def test_a_file_that_says_something_else_is_not_left_behind(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(FramesToProbabilities):
        def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(values.flip(1) for values in super().forward(frames))

    monkeypatch.setattr("tdpn_core.exporting.export.FramesToProbabilities", Wrong)
    with pytest.raises(TdpnError, match=r"the exported file differs from the network by \d\.\de-\d\d, above 0.0001"):
        export(fresh, tmp_path / "model.pt2", options=ExportOptions(format="pt2", compared=2))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_not_replaced_unasked(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"model.onnx: exists already; add --force to replace it"):
        export(fresh, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"mine"


def test_without_clips_there_is_no_export(fresh_config: RunConfig, save_fresh, tmp_path: Path) -> None:
    checkpoint = save_fresh(
        replace(fresh_config, data=replace(fresh_config.data, path="gone", absolute="")), tmp_path / "best.pt"
    )
    with pytest.raises(UsageError, match=r"gone: no clip to compare with; give videos with --clips"):
        export(checkpoint, options=ExportOptions(format="pt2"))
    with pytest.raises(TdpnError, match=r"none.mp4: no such file"):
        export(checkpoint, options=ExportOptions(format="pt2", clips=["none.mp4"]))


def test_missing_packages_are_named_with_what_to_do(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = __import__("importlib.util").util.find_spec
    missing = {"onnx", "onnxscript"}
    monkeypatch.setattr("tdpn_core.exporting.onnx_file.find_spec", lambda name: None if name in missing else real(name))
    with pytest.raises(ToolError, match=r"^onnx, onnxscript are not installed; pip install 'tdpn\[export\]'"):
        export(fresh)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"int8": True, "format": "pt2"}, "--int8: int8 is for ONNX files"),
        ({"tolerance": 0.0}, "--tolerance must be positive, not 0"),
        ({"compared": 0}, "at least one clip is needed"),
    ],
)
def test_options_that_cannot_be_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportOptions(**values)  # type: ignore[arg-type]


def test_the_command_prints_the_difference(fresh: Path, prepared: Path, tmp_path: Path) -> None:
    words = ["export", fresh, "--out", tmp_path / "m.pt2", "--format", "pt2", "--compare", "2"]
    command = [sys.executable, "-W", "error", "-m", "tdpn_cli", *map(str, words)]
    result = warm.run(command)
    assert result.returncode == 0, result.stderr
    assert "compared    2 clips: largest difference " in result.stdout
    assert "frames uint8 (N, 10, 32, 32, 3)" in result.stdout
    assert "top-1" in result.stdout
    wrong = [word.replace("pt2", "xyz") for word in command]
    refused = warm.run(wrong)
    assert (refused.returncode, "'xyz' is not one of" in refused.stderr) == (2, True), refused.stderr
