"""Loader workers where shared memory or descriptors are scarce, as in containers."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

EPOCH = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
import torch
torch.set_num_threads(1)
from conftest import MemoryClips
from tdpn_core.config.families import model_config
from tdpn_core.config.schema import SamplingConfig
from tdpn_core.sampling import dataset, loader

class Large(MemoryClips):
    def decode(self, clip, frames):
        return np.full((len(frames), *self._size, 3), clip, np.uint8)

source = Large([9] * 8, size=(64, 80))
model = model_config(num_frames=8, input_size=224, num_classes={{"action": 3}})
clips = dataset.TrainingClips(source, model, SamplingConfig(), 0)
batches = list(loader.TrainingLoader(clips, batch_size=4, seed=0, workers=2).epoch(0))
assert sum(batch.clips.numel() for batch in batches) > 4 * 2**20, "more than the room there is"
views = dataset.ViewClips(source, clips.model, SamplingConfig(views="1x1"))
tested = list(loader.view_batches(views, workers=1, batch_size=4))
print(sum(len(batch.indices) for batch in batches), sum(len(batch.indices) for batch in tested))
"""

ROOMS = {
    "full": "mount -t tmpfs -o size=4m tmpfs /dev/shm && head -c 4m /dev/zero > /dev/shm/filler",
    "small": "mount -t tmpfs -o size=4m tmpfs /dev/shm",
    "read-only": "mount -t tmpfs -o ro,size=4m tmpfs /dev/shm",
    "absent": "mount --bind /dev /mnt && mount -t tmpfs tmpfs /dev"
    " && for d in null zero random urandom; do touch /dev/$d && mount --bind /mnt/$d /dev/$d || exit 1; done",
}


def epoch(prefix: str, *outer: str) -> subprocess.CompletedProcess[str]:
    """One epoch of training and one of testing in a shell whose first command is `prefix`."""
    program = EPOCH.format(folder=str(Path(__file__).parent))
    command = [*outer, "sh", "-c", f'{prefix} && exec "$@"', "sh", sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("room", ROOMS)
def test_workers_hand_over_batches_whatever_the_room_in_shared_memory(room):
    probe = subprocess.run(["unshare", "-m", "sh", "-c", ROOMS[room]], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"needs to mount a file system: {probe.stderr.strip()}")
    done = epoch(ROOMS[room], "unshare", "-m")
    assert (done.returncode, done.stdout) == (0, "8 8\n"), done.stderr


def test_few_descriptors_are_an_error_with_the_limit_before_any_work():
    done = epoch("ulimit -n 24")
    assert done.returncode == 1
    assert "ulimit -n: this process may open 24 files at a time, but needs" in done.stderr
    assert "raise the limit (`ulimit -n 1024`)" in done.stderr


def test_a_low_soft_limit_of_descriptors_is_raised():
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 64:
        pytest.skip("needs a hard limit of 64 descriptors")
    done = epoch("ulimit -S -n 24")
    assert (done.returncode, done.stdout) == (0, "8 8\n"), done.stderr
