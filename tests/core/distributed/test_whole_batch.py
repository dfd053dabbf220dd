"""The step of several processes on the parts of a batch is the step of one on the whole of it."""

import json
from pathlib import Path

import pytest
import torch
from command import ranks
from one_step import step
from safetensors.torch import load_file

from tdpn_core.distributed.runtime import Runtime

VARIANTS = {
    "synchronised": {},
    "fixed": {"fixed_norm": True, "sync_bn": False},
    "accumulated": {"fixed_norm": True, "sync_bn": False, "accumulate": 2},
    "own": {"sync_bn": False},
}
TOGETHER = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch
from safetensors.torch import save_file
from one_step import step
from tdpn_core.distributed.runtime import join_ranks
with join_ranks(0) as runtime:
    told = {{}}
    for name, options in json.loads(sys.argv[2]).items():
        learner, outcome = step(runtime, **options)
        if runtime.is_main:
            save_file(learner.weights(), f"{{sys.argv[1]}}/{{name}}.safetensors")
        told[name] = list(outcome)
    seeds = runtime.gather(torch.initial_seed())
    rows = torch.full((5, 2), 0.1 + runtime.rank, dtype=torch.float64).numpy()
    merged = runtime.merge(rows, torch.arange(5).numpy() % 3 == runtime.rank)
    print(json.dumps([told, seeds, str(merged.tolist())]))
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[object]]]:
    """Where two processes left their weights after each variant, and what each of them said."""
    folder = tmp_path_factory.mktemp("steps")
    results = ranks(TOGETHER, folder, json.dumps(VARIANTS))
    assert [code for code, _, _ in results] == [0, 0], results
    return folder, [json.loads(out) for _, out, _ in results]


@pytest.mark.parametrize("variant", ["synchronised", "fixed", "accumulated"])
def test_gradients_losses_and_statistics_of_two_processes_are_those_of_one_on_the_whole_batch(
    together: tuple[Path, list[list[object]]], variant: str
) -> None:
    folder, told = together
    options = {name: value for name, value in VARIANTS[variant].items() if name != "accumulate"}
    learner, outcome = step(Runtime(torch.device("cpu")), **options)
    both = load_file(folder / f"{variant}.safetensors")
    assert both.keys() == learner.weights().keys()
    for name, value in learner.weights().items():
        assert torch.allclose(both[name], value, rtol=1e-9, atol=1e-11), name
    for results in told:
        assert results[0][variant] == pytest.approx(list(outcome), rel=1e-9)


def test_each_process_has_its_own_batch_statistics_unless_they_are_synchronised(
    together: tuple[Path, list[list[object]]],
) -> None:
    folder, _ = together
    own, shared = (load_file(folder / f"{name}.safetensors") for name in ("own", "synchronised"))
    assert any(not torch.allclose(own[name], shared[name], atol=1e-3) for name in own)


def test_random_draws_differ_between_processes_and_merged_rows_are_exact(
    together: tuple[Path, list[list[object]]],
) -> None:
    _, told = together
    assert told[0][1] == told[1][1]
    assert len(set(told[0][1])) == 2  # type: ignore[arg-type]
    assert told[0][2] == told[1][2] == "[[0.1, 0.1], [1.1, 1.1], [nan, nan], [0.1, 0.1], [1.1, 1.1]]"


FAULTY = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch
import one_step
from tdpn_core.distributed.runtime import join_ranks
from tdpn_core.training import train_step
kind = sys.argv[1]
original = train_step.normalise
with join_ranks(0) as runtime:
    def faulty(clips, sampling):
        if runtime.rank == 1 and kind == "memory" and len(clips) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(clips, sampling) * (float("nan") if runtime.rank == 1 and kind == "nan" else 1)
    train_step.normalise = faulty
    one_step.step(runtime, sync_bn=False, fixed_norm=True)
"""


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "TrainingError: clips clip1, clip3, clip5: loss nan and gradient norm nan are not finite at step 0"),
        ("memory", "ran out of memory with 3 clips of"),
    ],
)
def test_a_fault_of_one_process_ends_all_and_is_told_by_the_one_that_met_it(kind: str, message: str) -> None:
    (code, _, first), (other, _, second) = ranks(FAULTY, kind)
    assert code != 0 != other
    assert message in second
    assert "DistributedError: another process ended: rank 1: " in first, first
    if kind == "memory":
        assert "1 fit: --accumulate" in second


DIFFERENT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from dataclasses import replace
from one_step import CONFIG
from tdpn_core.checkpoint import TrainingState
from tdpn_core.distributed.runtime import join_ranks
from tdpn_core.training.trainer import _preflight
with join_ranks(0) as runtime:
    config = CONFIG
    if runtime.rank == 1:
        where = replace(CONFIG.data, digest="e" * 64) if sys.argv[1] == "shards" else CONFIG.data
        config = replace(CONFIG, data=where, train=replace(CONFIG.train, lr=0.2 if sys.argv[1] == "lr" else 0.1))
    _preflight(runtime, config, TrainingState(step=runtime.rank if sys.argv[1] == "step" else 0))
"""


@pytest.mark.parametrize(
    ("what", "message"),
    [("shards", "has shards eeeeeeeeeeee, but rank 0"), ("lr", "has train.lr 0.2, but rank 0")],
)
def test_a_process_with_other_data_or_settings_is_named_before_anything_hangs(what: str, message: str) -> None:
    for code, _, stderr in ranks(DIFFERENT, what):
        assert code == 1
        assert "DistributedError: rank 1 on" in stderr
        assert message in stderr
