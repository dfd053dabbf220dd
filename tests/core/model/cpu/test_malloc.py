"""Freed memory stays with the process, unless the user has tuned that."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from tdpn_core.model.cpu.malloc import keep_freed_memory
torch.set_num_threads(1)
keep_freed_memory()
for _ in range(12):
    torch.zeros(40 << 20, dtype=torch.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.zeros(40 << 20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(environment: dict[str, str], *, back: bool = False) -> int:
    code = FAULTS.replace("keep_freed_memory", "hand_back_memory") if back else FAULTS
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_block_taken_again_is_not_faulted_in_again() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC", "GLIBC"))}
    assert faults(plain) < 100
    assert faults(plain, back=True) > 100
    # eight times 40 MB are at least 160 faults of 2 MB or 81920 of 4 kB
    assert faults({**plain, "MALLOC_MMAP_THRESHOLD_": "65536"}) > 100
