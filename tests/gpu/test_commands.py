"""The commands on a GPU: evaluation and prediction compute in the run's format, export takes a GPU's checkpoint."""

from pathlib import Path

import pytest
import torch

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.evaluation.inference import view_logits
from tdpn_core.prediction import PredictOptions
from tdpn_core.prediction.predict import predict

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize(("asked", "seen"), [("auto", None), ("float32", torch.float32)])
def test_evaluation_computes_in_the_format_of_the_run(
    fresh: Path, fresh_config: RunConfig, gpu: Runtime, asked: str, seen: torch.dtype | None
) -> None:
    loaded = load_checkpoint(fresh)
    network, own = loaded.build(gpu.device), loaded.build(torch.device("cpu"))
    formats: list[torch.dtype] = []
    network.head.register_forward_hook(lambda module, entered, left: formats.extend(v.dtype for v in left.values()))
    frames = fresh_config.model.num_frames * fresh_config.model.frames_per_step
    side = fresh_config.model.input_size
    views = torch.randint(0, 256, (2, 3, frames, side, side), dtype=torch.uint8)
    found = view_logits(network, views, fresh_config.sampling, precision=asked)["action"]
    expected = view_logits(own, views, fresh_config.sampling)["action"]
    half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    assert formats == [seen or half]
    assert (found - expected).abs().max() <= 6e-2 * expected.abs().max()


def test_prediction_names_what_the_cpu_names(fresh: Path, videos: Path, gpu: Runtime, cpu: Runtime) -> None:
    clips = sorted((videos / "val").rglob("*.mp4"))[:3]
    options = PredictOptions(topk=8)
    ours, theirs = (
        [dict(found.heads["action"]) for found in predict(clips, checkpoint=fresh, runtime=runtime, options=options)]
        for runtime in (gpu, cpu)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=0.03)


def test_a_network_on_a_gpu_is_saved_as_one_on_a_cpu(fresh: Path, gpu: Runtime, tmp_path: Path) -> None:
    from dataclasses import replace

    from tdpn_core.checkpoint import save_checkpoint
    from tdpn_core.exporting.export import ExportOptions, export

    loaded = load_checkpoint(fresh)
    moved = {name: value.to(gpu.device) for name, value in loaded.weights.items()}
    save_checkpoint(tmp_path / "gpu.pt", replace(loaded, weights=moved))
    again = load_checkpoint(tmp_path / "gpu.pt")
    assert all(torch.equal(value, loaded.weights[name]) for name, value in again.weights.items())
    pytest.importorskip("onnxscript")
    report = export(tmp_path / "gpu.pt", tmp_path / "gpu.onnx", options=ExportOptions(clips=None))
    assert report.path.is_file()
