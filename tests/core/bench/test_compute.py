"""The benchmark of networks: what it times, what it compares, and that its figures are what they are called."""

import json

import pytest
import torch
from torch import nn

from tdpn_core.bench import device
from tdpn_core.bench.compute import Stepper, TrainingStepper, bench_inference, bench_training
from tdpn_core.bench.device import Peak, Taken, measure_peak, memory_of, take
from tdpn_core.bench.stages import LEAVES, REST, stage_seconds
from tdpn_core.bench.subject import Subject, choose_subject
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.distributed.runtime import set_up
from tdpn_core.errors import ConfigError
from tdpn_core.model.cpu.memory_layout import FoldingConv

PEAK = Peak(1e12, "made up")


@pytest.fixture(scope="module")
def subject() -> Subject:
    settings = {"model.width": "0.125"}
    return choose_subject(
        batch=2, runtime=set_up(0), overrides=TrainOverrides(arch="r18", frames=2, size=32, settings=settings)
    )


def test_inference_is_the_fused_network_beside_the_plain_one(subject: Subject, tmp_path) -> None:
    trace = tmp_path / "trace.json"
    result = bench_inference(subject, rounds=2, profile=trace, peak=PEAK)
    assert result.name == "tdpn-r18 2x32²"
    assert 0 < result.difference < 1e-4
    assert list(result.chosen.seconds) == ["forward", "step"]
    assert result.operations == pytest.approx(2 * 2e9 * subject.cost.gmac["total"])
    assert result.share_of_peak == pytest.approx(result.operations / result.chosen.step / 1e12)
    assert result.clips_per_second == pytest.approx(2 / result.chosen.step)
    assert list(result.stages)[-4:] == ["temporal difference", "pyramid", "head", REST]
    assert {"stem", "res2", "res3", "res4", "res5"} <= set(result.stages)
    events = json.loads(trace.read_text())["traceEvents"]
    assert any("convolution" in event.get("name", "") for event in events)


def test_training_times_its_three_parts_and_moves_the_weights(subject: Subject) -> None:
    result = bench_training(subject, rounds=2, peak=PEAK)
    assert list(result.chosen.seconds) == ["forward", "backward", "optimiser", "step"]
    assert min(result.plain.seconds.values()) > 0
    assert result.operations == pytest.approx(3 * 2 * 2e9 * subject.cost.gmac["total"])
    assert result.difference < 1e-3
    stepper = TrainingStepper(subject.build(), subject)
    before = [value.detach().clone() for value in stepper.model.parameters()]
    assert list(stepper.step()) == ["forward", "backward", "optimiser"]
    moved = [not torch.equal(one, other) for one, other in zip(before, stepper.model.parameters(), strict=True)]
    assert sum(moved) > 0.9 * len(moved)


def test_both_forms_start_from_the_same_weights_with_nothing_hidden(subject: Subject) -> None:
    one, other = subject.build().state_dict(), subject.build().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    gammas = [part.weight for part in subject.build().modules() if isinstance(part, nn.BatchNorm3d)]
    assert min(gamma.abs().min() for gamma in gammas) >= 0.5
    assert torch.equal(subject.clips(), subject.clips())


def test_a_stage_lasts_as_long_as_its_part(subject: Subject, monkeypatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("tdpn_core.bench.stages.time.perf_counter", lambda: float(next(clock)))
    model = subject.build().eval()
    stepper = Stepper(model, subject)
    seconds = stage_seconds(model, stepper.forward, torch.device("cpu"))
    assert seconds["pyramid"] == seconds["res2"] == 1.0  # a tick between entering and leaving
    assert seconds["stem"] == sum(isinstance(part, LEAVES) for part in model.backbone.children()) >= 4
    assert not any(part._forward_hooks for part in model.modules())


def test_a_ratio_is_the_median_of_the_rounds_own(subject: Subject, monkeypatch) -> None:
    times = {"plain": [2.0, 4.0, 90.0], "chosen": [1.0, 1.0, 10.0]}
    real, calls = Stepper.step, {"plain": 0, "chosen": 0}

    def step(self: Stepper) -> dict[str, Taken]:
        name = "chosen" if any(isinstance(part, FoldingConv) for part in self.model.modules()) else "plain"
        real(self)
        calls[name] += 1
        if calls[name] % 2:  # to settle
            return {"forward": Taken(1000.0, 1000.0)}
        number = min(calls[name] // 2, 3) - 1
        return {"forward": Taken(times[name][number], 2 * times[name][number])}

    monkeypatch.setattr(Stepper, "step", step)
    result = bench_inference(subject, rounds=3, peak=PEAK)
    assert (result.ratio, result.processor_ratio) == (4.0, 4.0)
    assert (result.plain.step, result.chosen.step, result.chosen.processor) == (4.0, 1.0, 2.0)


def test_the_peak_of_a_cpu_is_measured_and_that_of_a_known_gpu_is_its_makers(monkeypatch) -> None:
    peak = measure_peak(set_up(0))
    assert peak.source.startswith("a float32 ")
    assert peak.operations > 1e8
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    from tdpn_core.distributed.runtime import Runtime

    known = measure_peak(Runtime(torch.device("cuda", 0)))
    assert known == Peak(989e12, "NVIDIA H100 80GB HBM3's dense bf16 peak as its maker states it")


def test_memory_is_what_the_work_needs_beyond_what_is_held() -> None:
    needed = memory_of(lambda: torch.zeros(64 * 2**20, dtype=torch.uint8).add_(1), torch.device("cpu"))
    if needed is None:
        pytest.skip("needs a system that tells a process its high-water mark")
    assert 60 * 2**20 < needed < 90 * 2**20


def test_where_the_system_cannot_tell_memory_there_is_no_figure(monkeypatch) -> None:
    monkeypatch.setattr(device, "_kilobytes", lambda *_: (_ for _ in ()).throw(OSError()))
    ran = []
    assert memory_of(lambda: ran.append(1), torch.device("cpu")) is None
    assert ran == [1]


def test_time_and_processor_time_are_taken_apart() -> None:
    import time

    asleep = take(lambda: time.sleep(0.05), torch.device("cpu"))
    assert asleep.seconds >= 0.05 > asleep.processor


def test_settings_that_no_network_has_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tsn has no setting 'model\.flow'"):
        choose_subject(
            batch=1, runtime=set_up(0), overrides=TrainOverrides(model="tsn", settings={"model.flow": "parallel"})
        )
