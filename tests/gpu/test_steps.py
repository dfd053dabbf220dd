"""Training steps on a GPU: one wait each, the same in parts, resumed and recomputed; and how memory runs out."""

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tdpn_core import recipes
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import DataConfig, RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import TrainingError
from tdpn_core.sampling.loader import Batch
from tdpn_core.training.device import SideStream, ahead, on_device
from tdpn_core.training.train_step import Learner

pytestmark = pytest.mark.cuda

DATA = DataConfig(
    path="data/x",
    dataset="folder",
    classes={"action": ["a", "b", "c"]},
    classes_digest="c",
    digest="d",
    short_side=36,
)


def _config(tiny: dict[str, str], **settings: str) -> RunConfig:
    config = recipes.adjust(recipes.small(DATA), TrainOverrides(settings=tiny))
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return recipes.set_fields(config, {"train.optimiser": "sgd", **named})


def _batch(number: int, count: int = 4) -> Batch:
    """A batch in page-locked memory."""
    generator = torch.Generator().manual_seed(number)
    clips = torch.randint(0, 256, (count, 3, 10, 32, 32), generator=generator, dtype=torch.uint8).pin_memory()
    labels = {"action": (torch.arange(count) % 3).pin_memory()}
    return Batch(clips, labels, torch.arange(count), torch.zeros(count, dtype=torch.long))


def _trained(config: RunConfig, runtime: Runtime, steps: int = 4) -> Learner:
    learner = Learner(config, [f"clip {number}" for number in range(8)], runtime)
    batches = on_device(map(_batch, range(steps)), runtime.device)
    for number, batch in enumerate(batches):
        outcome = learner.step(batch, number=number, lr=0.01)
        assert outcome.loss < float("inf")
    return learner


@pytest.mark.parametrize("precision", ["bf16", "fp16", "float32"])
def test_a_step_waits_for_the_device_once(tiny: dict[str, str], gpu: Runtime, precision: str) -> None:
    """CUDA's own check: the one wait is the copy of loss, hits and norm."""
    mixed = {"sampling__mixup": "0.4", "sampling__randaugment": "2", "sampling__erasing": "1"}
    learner = _trained(_config(tiny, train__precision=precision, **mixed), gpu)
    (batch,) = on_device(iter([_batch(9)]), gpu.device)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchronizing CUDA operation") as waits:
            learner.step(batch, number=9, lr=0.01)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == 1, [str(wait.message) for wait in waits]


def test_the_optimiser_is_fused(tiny: dict[str, str], gpu: Runtime) -> None:
    assert _trained(_config(tiny), gpu, 1).optimiser.defaults["fused"] is True


def test_an_overflow_in_fp16_changes_no_weight_and_halves_the_scale(tiny: dict[str, str], gpu: Runtime) -> None:
    learner = _trained(_config(tiny, train__precision="fp16"), gpu, 1)
    scaler = learner.precision.scaler
    scaler.update(new_scale=float(2**40))
    before = {name: value.detach().clone() for name, value in learner.trainable.items()}
    (batch,) = on_device(iter([_batch(1)]), gpu.device)
    outcome = learner.step(batch, number=1, lr=0.01)
    assert not torch.isfinite(torch.tensor(outcome.norm))
    assert all(torch.equal(value, before[name]) for name, value in learner.trainable.items())
    assert scaler.get_scale() == 2.0**39


def test_a_batch_in_flight_arrives_whole(gpu: Runtime) -> None:
    """Real copies on a stream of their own, while the computing stream is kept busy."""
    busy = torch.randn(4096, 4096, device=gpu.device)
    sums = []
    for batch in ahead(map(_batch, range(20)), SideStream(gpu.device)):
        for _ in range(5):
            busy = (busy @ busy).clamp(-1, 1)
        sums.append(batch.clips.long().sum())
    expected = [int(_batch(number).clips.long().sum()) for number in range(20)]
    assert [int(value) for value in sums] == expected


def test_a_batch_on_the_device_has_its_labels_counted(gpu: Runtime) -> None:
    (batch,) = on_device(iter([_batch(0)]), gpu.device)
    assert (batch.counts, batch.labels["action"].device.type) == ({"action": 4}, "cuda")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_resumed_run_is_bit_for_bit_the_run(
    tiny: dict[str, str], gpu: Runtime, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    config = _config(tiny, train__precision=precision, train__ema="0.9")
    whole = _trained(config, gpu, 4)
    half = _trained(config, gpu, 2)
    resumed = Learner(config, half.ids, gpu)
    resumed.load_state_dict(half.weights(), half.state_dict())
    for number in (2, 3):
        (batch,) = on_device(iter([_batch(number)]), gpu.device)
        resumed.step(batch, number=number, lr=0.01)
    ours, theirs = resumed.weights(), whole.weights()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_recomputed_activations_take_less_memory_and_give_near_weights(tiny: dict[str, str], gpu: Runtime) -> None:
    large = {"model__width": "0.5", "model__num_frames": "2"}
    peaks, weights = [], []
    for flag in ("false", "true"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        learner = _trained(_config(tiny, train__checkpointing=flag, **large), gpu, 2)
        peaks.append(torch.cuda.max_memory_allocated())
        weights.append({name: value.detach().float().cpu() for name, value in learner.trainable.items()})
        del learner
    assert peaks[1] < peaks[0]
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-2)


def test_out_of_memory_is_an_error_that_says_what_fits(
    tiny: dict[str, str], gpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = _trained(_config(tiny, model__width="0.5"), gpu, 1)
    _, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 192e6) / total)
    try:
        (batch,) = on_device(iter([_batch(1, 512)]), gpu.device)
        with pytest.raises(TrainingError, match=r"ran out of memory with 512 clips .* at a time") as raised:
            learner.step(batch, number=1, lr=0.01)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "fit: --accumulate" in str(raised.value)


def test_a_compiled_step_learns(tiny: dict[str, str], gpu: Runtime) -> None:
    learner = _trained(_config(tiny, train__compile="true"), gpu, 3)
    assert all(torch.isfinite(value).all() for value in learner.trainable.values())


def test_ddp_over_nccl_with_one_process_gives_the_step_of_one(
    tiny: dict[str, str], gpu: Runtime, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = _trained(_config(tiny, train__precision="float32"), gpu, 2)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=0,
        world_size=1,
        device_id=gpu.device,
    )
    try:
        learner = Learner(_config(tiny, train__precision="float32"), alone.ids, gpu)
        learner.network = torch.nn.parallel.DistributedDataParallel(learner.model, device_ids=[0])
        for number in range(2):
            (batch,) = on_device(iter([_batch(number)]), gpu.device)
            learner.step(batch, number=number, lr=0.01)
        for name, value in learner.trainable.items():
            assert torch.allclose(value, alone.trainable[name], atol=1e-4)
        del learner.network
    finally:
        dist.destroy_process_group()
