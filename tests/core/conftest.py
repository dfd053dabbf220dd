"""Small video files, rendered once a session with the bundled ffmpeg."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tdpn_core.checkpoint import Checkpoint, TrainingState, save_checkpoint
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.model.registry import build_model
from tdpn_core.prep import PrepConfig
from tdpn_core.training.launch import plan
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30:duration=2")
SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:duration=2")

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")

Render = Callable[..., Path]


@pytest.fixture(scope="session")
def program() -> Program:
    return find_ffmpeg()


@pytest.fixture(scope="session")
def render(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Render:
    """`render("a.mp4", options...)`: a file of that name, made of PICTURE unless `inputs` says otherwise."""
    folder = tmp_path_factory.mktemp("rendered")

    def make(name: str, *options: str, inputs: Sequence[str] = PICTURE) -> Path:
        path = folder / name
        if not path.exists():
            command = [program.path, "-y", "-loglevel", "error", *inputs, "-threads", "1", *options, f"file:{path}"]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
        return path

    return make


@pytest.fixture(scope="session")
def small() -> PrepConfig:
    """Two shards or so a block, three blocks."""
    return PrepConfig(encoding=Encoding(short_side=32), shard_bytes=60_000, block_clips=4)


@pytest.fixture(scope="session")
def source(render, tmp_path_factory) -> Path:
    """Twelve clips of two classes, one of them cut off."""
    root = tmp_path_factory.mktemp("source")
    for number in range(12):
        motion = f"testsrc2=size=64x48:rate=30:duration={1 + number % 3 * 0.2}"
        clip = render(f"clip{number}.mkv", *H264, inputs=("-f", "lavfi", "-i", motion))
        split = "val" if number in (4, 5) else "train"
        target = root / split / "ab"[number % 2] / f"{number}.mkv"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, target)
    cut = root / "train" / "a" / "8.mkv"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return root


SaveFresh = Callable[[RunConfig, Path], Path]


@pytest.fixture(scope="session")
def save_fresh() -> SaveFresh:
    """`save_fresh(config, path)`: a checkpoint of fresh weights whose classes differ."""

    def save(config: RunConfig, path: Path) -> Path:
        torch.manual_seed(0)
        model = build_model(config.model)
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif "linear" in name and name.endswith("weight"):
                value.normal_(std=1.0)
        weights = model.state_dict()
        save_checkpoint(path, Checkpoint(config=config, state=TrainingState(), weights=weights, optimiser={}))
        return path

    return save


@pytest.fixture(scope="session")
def fresh_config(prepared: Path, tiny: dict[str, str]) -> RunConfig:
    """The settings of a tiny network on the rendered motions."""
    return plan(prepared, runtime=Runtime(torch.device("cpu")), recipe="small", overrides=TrainOverrides(settings=tiny))


@pytest.fixture(scope="session")
def fresh(fresh_config: RunConfig, save_fresh: SaveFresh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint, untrained."""
    return save_fresh(fresh_config, tmp_path_factory.mktemp("fresh") / "best.pt")


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Any, dict[str, int]]]:
    """A Ray cluster of two nodes on this machine, and the size of a node."""
    pytest.importorskip("ray", reason="ray is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster()
    size = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made.add_node(**{**size, "num_cpus": 0})  # the head, which the driver is bound to, has no work
    for _ in "ab":
        made.add_node(**size)
    made.wait_for_nodes()
    yield made, size
    made.shutdown()
