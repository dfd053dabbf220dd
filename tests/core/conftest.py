"""Small video files, rendered once a session with the bundled ffmpeg."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tdpn_core.video.program import Program, find_ffmpeg

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30:duration=2")
SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:duration=2")

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
