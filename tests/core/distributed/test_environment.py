"""A process finds its rank by what torch's launcher or Slurm left in the environment."""

import pytest

from tdpn_core.distributed.environment import LaunchEnvironment, first_host, launch_environment, restarts
from tdpn_core.errors import UsageError

TORCH = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "12",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_PROCID": "7",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "1234567",
}


def test_a_process_without_launcher_is_alone() -> None:
    assert launch_environment({}) is None
    assert launch_environment({**TORCH, "WORLD_SIZE": "1", "RANK": "0"}) is None


def test_torchruns_environment_is_a_place() -> None:
    expected = LaunchEnvironment(rank=5, world=8, local_rank=1, local_world=4, host="10.0.0.1", port=29500)
    assert launch_environment(TORCH) == expected
    again = launch_environment({**TORCH, "TORCHELASTIC_USE_AGENT_STORE": "True"})
    assert again is not None
    assert again.agent_store


def test_a_task_of_srun_is_a_place_and_a_batch_script_is_not() -> None:
    place = launch_environment(SLURM)
    assert place == LaunchEnvironment(rank=7, world=12, local_rank=1, local_world=6, host="gpu07", port=24567)
    chosen = launch_environment({**SLURM, "MASTER_ADDR": "head", "MASTER_PORT": "4000"})
    assert chosen is not None
    assert (chosen.host, chosen.port) == ("head", 4000)
    script = {name: value for name, value in SLURM.items() if "STEP" not in name} | {"SLURM_NTASKS": "12"}
    assert launch_environment(script) is None


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu[07-09,12],cpu1", "gpu07"), ("gpu7,gpu8", "gpu7"), ("a-b-c", "a-b-c"), ("r1n[3,5]", "r1n3"), ("x", "x")],
)
def test_the_first_host_of_a_short_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_half_an_environment_is_an_error_that_names_what_is_missing() -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        with pytest.raises(UsageError, match=f"{name}: this process was started as one of several"):
            launch_environment({key: value for key, value in TORCH.items() if key != name})
    with pytest.raises(UsageError, match="RANK: 'x' is not a number"):
        launch_environment({**TORCH, "RANK": "x"})


def test_restarts_are_counted_whoever_made_them() -> None:
    assert restarts({}) == 0
    assert restarts({"TORCHELASTIC_RESTART_COUNT": "2"}) == 2
    assert restarts({"SLURM_RESTART_COUNT": "1", "TORCHELASTIC_RESTART_COUNT": "0"}) == 1
