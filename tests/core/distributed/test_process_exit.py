"""A process of several ends with its exit code and all its output, and with no thread that could abort it."""

import subprocess
import sys

import pytest
from command import environment, ranks

ALONE_AGAIN = """
import os, sys
import torch
from pathlib import Path
from tdpn_core.distributed.runtime import join_ranks

def threads():
    return [(path / "comm").read_text().strip() for path in Path("/proc/self/task").iterdir()]

with join_ranks(0) as runtime:
    network = runtime.parallel(torch.nn.Linear(2, 2))
    network(torch.ones(3, 2)).sum().backward()
    runtime.sums([1.0])
    inside = threads()
    network.itself = network  # only collecting ends it
    del network
print(len(inside) > 3, len(threads()))
"""

LEAVES = """
from tdpn_cli.process_exit import leave
import atexit, sys, threading, time

class TornDown:
    def __del__(self):
        sys.stderr.write("torn down\\n")

kept = TornDown()
atexit.register(lambda: print("handler"))
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
sys.stdout.write("output, ")
leave(int(sys.argv[1]))
"""


def test_a_process_has_a_single_thread_once_it_has_left_the_others() -> None:
    for code, out, error in ranks(ALONE_AGAIN):
        assert (code, out) == (0, "True 1\n"), error


@pytest.mark.parametrize("code", [0, 3])
def test_a_rank_ends_with_all_it_began_but_is_not_torn_down(code: int) -> None:
    def leave(**variables: str) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-c", LEAVES, str(code)]
        return subprocess.run(words, env=environment(**variables), capture_output=True, text=True, check=False)

    rank, alone = leave(WORLD_SIZE="2", RANK="1"), leave()
    assert (rank.returncode, rank.stdout, rank.stderr) == (code, "output, thread\nhandler\n", "")
    assert (alone.returncode, alone.stdout, alone.stderr) == (code, "output, thread\nhandler\n", "torn down\n")
