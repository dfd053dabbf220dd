"""Processes meet within seconds, and who is missing or differs is named. Here they are threads of one process."""

import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from torch.distributed import TCPStore

from tdpn_core.distributed.environment import LaunchEnvironment
from tdpn_core.distributed.launcher import launch_ranks
from tdpn_core.distributed.rendezvous import Peers, lost_peer, rendezvous
from tdpn_core.distributed.runtime import must_agree
from tdpn_core.errors import DistributedError, TdpnError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def place(rank: int, world: int, port: int, *, agent_store: bool) -> LaunchEnvironment:
    return LaunchEnvironment(
        rank=rank, world=world, local_rank=rank, local_world=world, host="127.0.0.1", port=port, agent_store=agent_store
    )


def in_ranks(
    world: int,
    job: Callable[[Peers], Any],
    *,
    absent: tuple[int, ...] = (),
    port: int | None = None,
    agent_store: bool = False,
    **options: Any,
) -> list[Any]:
    """What `job` gives or raises in each of `world` ranks but the absent ones."""
    port = port or free_port()

    def one(rank: int) -> Any:
        try:
            peers = rendezvous(
                place(rank, world, port, agent_store=agent_store),
                {"rank": rank},
                **{"timeout": 10, "say": None, **options},
            )
            result = job(peers)
            peers.leave()
        except DistributedError as error:
            return error
        return result

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(one, [rank for rank in range(world) if rank not in absent]))


def test_every_rank_learns_the_values_of_all_in_order() -> None:
    def job(peers: Peers) -> list[Any]:
        time.sleep(0.1 * (peers.place.rank == 1))
        return [peers.gather({"rank": peers.place.rank}), peers.gather(peers.place.rank * 2)]

    expected = [[{"rank": 0}, {"rank": 1}, {"rank": 2}], [0, 2, 4]]
    assert in_ranks(3, job) == [expected] * 3


def test_ranks_learn_what_each_said_of_itself() -> None:
    facts = in_ranks(3, lambda peers: [fact["rank"] for fact in peers.facts])
    assert facts == [[0, 1, 2]] * 3


def test_missing_ranks_are_named_within_the_time_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdpn_core.distributed.rendezvous._SAY_SECONDS", 0.1)
    heard: list[str] = []
    results = in_ranks(4, lambda peers: None, absent=(1, 3), seconds=0.5, say=heard.append)
    assert all("ranks 1, 3 of 4 did not connect within 0.5 s" in str(result) for result in results), results
    assert heard[0] == "waiting for ranks 1, 3 of 4"
    (alone,) = in_ranks(2, lambda peers: None, absent=(0,), seconds=0.5)
    assert "rank 0 cannot be reached" in str(alone)


def test_a_rank_that_does_not_come_later_is_named() -> None:
    def job(peers: Peers) -> Any:
        return "left early" if peers.place.rank == 1 else peers.gather(None)

    results = in_ranks(3, job, timeout=0.5)
    assert results[1] == "left early"
    assert all("rank 1 of 3 did not connect within 0.5 s" in str(result) for result in (results[0], results[2]))


def test_what_dead_processes_left_in_a_store_is_not_taken_for_the_living() -> None:
    port = free_port()
    keeper = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    first = in_ranks(2, lambda peers: peers.gather(f"first {peers.place.rank}"), port=port, agent_store=True)
    again = in_ranks(2, lambda peers: peers.gather(f"again {peers.place.rank}"), port=port, agent_store=True)
    assert first == [["first 0", "first 1"]] * 2
    assert again == [["again 0", "again 1"]] * 2
    alone = in_ranks(2, lambda peers: None, port=port, agent_store=True, absent=(0,), seconds=0.5)
    assert "did not connect" in str(alone[0]), "the meeting of the dead is none"
    del keeper


def test_a_lost_process_that_left_its_reason_is_quoted() -> None:
    def job(peers: Peers) -> Any:
        if peers.place.rank == 1:
            peers.post_failure("shard 3 is damaged")
        peers.gather(None)
        raw = RuntimeError("[/a/gloo/pair.cc:553] Connection closed by peer [127.0.0.1]:2. This is typical. GLHF!")
        return lost_peer(peers, raw)

    for error in in_ranks(2, job):
        assert (error.what, error.already_reported) == ("another process ended: rank 1: shard 3 is damaged", True)
    (silent,) = in_ranks(1, lambda peers: lost_peer(peers, RuntimeError("[x] Connection closed by peer. Bad.")))
    assert (silent.what, silent.already_reported) == ("lost another process (Connection closed by peer)", False)


def test_a_rank_that_differs_is_named_with_both_values() -> None:
    facts = [{"host": "a", "torch": "2.13"}, {"host": "a", "torch": "2.13"}, {"host": "b", "torch": "2.12"}]
    must_agree(facts[:2], "torch")
    with pytest.raises(DistributedError, match=r"rank 2 on b has torch 2.12, but rank 0 on a has 2.13; all processes"):
        must_agree(facts, "torch")


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (error,) = in_ranks(1, lambda peers: None, port=port)
    assert re.search(rf"127.0.0.1:{port}: rank 0 cannot listen here .*choose another", str(error))


def test_a_meeting_place_where_another_program_listens_is_refused_within_seconds() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(DistributedError, match=rf"{endpoint}: another program uses this port; choose another"):
            launch_ranks(["true"], processes=1, nodes=2, rendezvous=endpoint, say=lambda line: None)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("rendezvous", "message"),
    [
        (None, "--nodes: 2 machines need a rendezvous address; --rdzv HOST:PORT"),
        ("node1", "--rdzv: 'node1' is not HOST:PORT; for example node1:29400"),
        ("node1:99999", "is not HOST:PORT"),
        ("no.such.host.invalid:29400", "no.such.host.invalid:29400: no "),
    ],
)
def test_a_meeting_place_that_is_none_is_refused(rendezvous: str | None, message: str) -> None:
    with pytest.raises(TdpnError) as caught:
        launch_ranks(["true"], processes=1, nodes=2, rendezvous=rendezvous, say=lambda line: None)
    assert message in str(caught.value)


def test_machines_that_do_not_come_are_missed_in_time() -> None:
    heard: list[str] = []
    endpoint = f"127.0.0.1:{free_port()}"
    with pytest.raises(DistributedError, match=rf"{endpoint}: 2 machines did not meet within 2 s"):
        launch_ranks(["true"], processes=1, nodes=2, rendezvous=endpoint, join_seconds=2, say=heard.append)
    assert heard == [f"waiting for 2 machines at {endpoint}"]
