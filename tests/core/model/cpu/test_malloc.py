"""Freed memory stays with the process, unless the user has tuned that."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, statistics, torch
from tdpn_core.model.cpu.malloc import keep_freed_memory
torch.set_num_threads(1)
keep_freed_memory()
for _ in range(12):
    torch.zeros(40 << 20, dtype=torch.uint8)
counts = []
for _ in range(9):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(40 << 20, dtype=torch.uint8)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(statistics.median(counts))  # the kernel may take a block back at any time
"""


def faults(environment: dict[str, str], *, back: bool = False) -> int:
    """The number of page faults of a block of 40 MB, the median of nine."""
    code = FAULTS.replace("keep_freed_memory", "hand_back_memory") if back else FAULTS
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_block_taken_again_is_not_faulted_in_again() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC", "GLIBC"))}
    assert faults(plain) < 10
    # 40 MB are at least 20 faults of 2 MB or 10240 of 4 kB
    assert faults(plain, back=True) > 10
    assert faults({**plain, "MALLOC_MMAP_THRESHOLD_": "65536"}) > 10
