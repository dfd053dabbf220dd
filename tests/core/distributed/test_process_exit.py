"""A command's process ends with its exit code and all its output; one of several has no thread that could abort it."""

import subprocess
import sys
from pathlib import Path

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
from tdpn_core.process_exit import leave
import atexit, sys, threading, time

class TornDown:
    def __del__(self):
        sys.stderr.write("torn down\\n")

kept = TornDown()  # in a cycle: its own method's globals
atexit.register(lambda: print("handler"))
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
sys.stdout.write("output, ")
leave(int(sys.argv[1]))
"""


def test_a_process_has_a_single_thread_once_it_has_left_the_others() -> None:
    for code, out, error in ranks(ALONE_AGAIN):
        assert (code, out) == (0, "True 1\n"), error


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("place", [{}, {"WORLD_SIZE": "2", "RANK": "1"}], ids=["alone", "rank"])
def test_leave_ends_with_all_that_began_and_collects_nothing(code: int, place: dict[str, str]) -> None:
    words = [sys.executable, "-c", LEAVES, str(code)]
    result = subprocess.run(words, env=environment(**place), capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (code, "output, thread\nhandler\n", "")


def test_leave_where_the_output_cannot_be_written_says_so_and_exits_with_one() -> None:
    code = "import sys; from tdpn_core.process_exit import leave; sys.stdout.write('output'); leave(0)"
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(PYTHONUNBUFFERED=""),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "error the output cannot be written: No space left on device\n")
