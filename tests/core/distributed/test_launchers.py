"""The same command among others: two machines of own addresses, torchrun, and the environment of Slurm's srun."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from command import environment, same_weights, train, words

from tdpn_core.checkpoint import load_checkpoint


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Two network namespaces on one cable, 10.97.0.1 and 10.97.0.2."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2, for network namespaces")
    mark = uuid.uuid4().hex[:6]
    names = [f"tdpn{mark}a", f"tdpn{mark}b"]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "name", "cable1", "netns", names[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not permitted here ({error.stderr.decode().strip()})")
        for number, name in enumerate(names):
            ip("-n", name, "addr", "add", f"10.97.0.{number + 1}/24", "dev", f"cable{number}")
            for link in ("lo", f"cable{number}"):
                ip("-n", name, "link", "set", link, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_two_machines_train_as_one_and_restart_together(
    prepared: Path, tmp_path: Path, undisturbed: Path, machines: list[str]
) -> None:
    options = ("--processes", 1, "--nodes", 2, "--rdzv", "10.97.0.1:29400")
    children = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, *words(prepared, tmp_path / "run", *options)],
            env=environment(TDPN_FAILPOINT="train.step#5@1:kill"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in machines
    ]
    outputs = [child.communicate(timeout=300) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert all("waiting for 2 machines at 10.97.0.1:29400" in stderr for _, stderr in outputs)
    assert sum("best validation top-1" in stdout for stdout, _ in outputs) == 1
    said = "".join(stderr for _, stderr in outputs)
    assert f"resuming in {tmp_path / 'run'}" in said
    assert same_weights(tmp_path / "run", undisturbed)


def test_torchrun_starts_the_same_command(prepared: Path, tmp_path: Path, undisturbed: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts"]
    tail = ["--no-python", *words(prepared, tmp_path / "run")]
    result = subprocess.run(
        [*command, "0", *tail], env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("best validation top-1") == 1
    assert same_weights(tmp_path / "run", undisturbed)


def test_tasks_of_srun_find_their_places(prepared: Path, tmp_path: Path, undisturbed: Path) -> None:
    slurm = {
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_JOB_ID": str(os.getpid()),
    }
    children = [
        warm.Popen(
            words(prepared, tmp_path / "run"),
            env=environment() | slurm | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=warm.PIPE,
            stderr=warm.PIPE,
        )
        for rank in range(2)
    ]
    outputs = [child.communicate(timeout=300) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert ["best validation top-1" in stdout for stdout, _ in outputs] == [True, False]
    assert same_weights(tmp_path / "run", undisturbed)
    assert load_checkpoint(tmp_path / "run" / "last.pt").world == 2


def test_gpus_or_processes_that_cannot_be_are_refused_at_once(prepared: Path, tmp_path: Path) -> None:
    for options, message in (
        (("--gpus", 6), "--gpus: 6 GPUs asked for, 0 found"),
        (("--gpus", 2, "--processes", 2), "--processes: is for the CPU"),
        (("--nodes", 2), "--nodes: 2 machines need a rendezvous address"),
    ):
        result = train(prepared, tmp_path / "run", *options, CUDA_VISIBLE_DEVICES="")
        assert (result.returncode, message in result.stderr) == (2, True), result.stderr
        assert not (tmp_path / "run").exists()
