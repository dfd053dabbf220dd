"""Freed memory stays with the process, unless the user has tuned that."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from tdpn_core.allocator import keep_freed_memory
torch.set_num_threads(1)
keep_freed_memory()
for _ in range(12):
    torch.zeros(32 << 20, dtype=torch.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.zeros(32 << 20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_block_taken_again_is_not_faulted_in_again() -> None:
    import os

    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC", "GLIBC"))}
    assert faults(**plain) < 100
    # eight times 32 MB are at least 128 faults of 2 MB or 65536 of 4 kB
    assert faults(**plain, MALLOC_MMAP_THRESHOLD_="65536") > 100
