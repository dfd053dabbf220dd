"""Runs of `prepare` in a process of their own, to be killed, and clips for them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import warm

from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")

RUN = """
import sys
from pathlib import Path
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.progress import Silent
from tdpn_core.video.encode_options import Encoding

class Marks(Silent):
    def begin(self, title, total):
        print("begun", flush=True)

settings = PrepConfig(encoding=Encoding(short_side=32), block_clips=5)
prepare("folder", Path(sys.argv[1]), Path(sys.argv[2]), workers=2, progress=Marks(), settings=settings)
"""


@pytest.fixture(scope="session")
def program() -> Program:
    return find_ffmpeg()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Callable[..., Path]:
    """`clip("a.mp4", options...)`: a rendered file of that name; two seconds of 64x48 at 30 a second by default."""
    folder = tmp_path_factory.mktemp("clips")

    def render(name: str, *options: str, picture: str = "testsrc2=size=64x48:rate=30:duration=2") -> Path:
        path = folder / name
        if not path.exists():
            source = ["-f", "lavfi", "-i", picture]
            subprocess.run([program.path, "-loglevel", "error", *source, *(options or H264), str(path)], check=True)
        return path

    return render


@pytest.fixture(scope="session")
def forty(clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of forty tiny clips of two classes."""
    root = tmp_path_factory.mktemp("forty")
    for number in range(40):
        target = root / ("train" if number < 32 else "val") / "ab"[number % 2] / f"{number}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip("plain.mp4"), target)
    return root


@pytest.fixture(scope="session")
def start() -> Callable[[Path, Path], warm.Popen]:
    """`start(root, out)`: `prepare` in a process of its own; it prints a line before the first clip."""

    def started(root: Path, out: Path) -> warm.Popen:
        return warm.Popen([sys.executable, "-c", RUN, str(root), str(out)], stdout=warm.PIPE)

    return started
