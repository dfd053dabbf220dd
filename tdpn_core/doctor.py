"""Report on the machine's hardware, software and speed, with hints on problems. It contains no paths of the user, so
that it can be published."""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from tdpn_core.errors import TdpnError
from tdpn_core.version import __version__
from tdpn_core.video.ffmpeg_binary import VARIABLE, Program, find_ffmpeg
from tdpn_core.video.subprocess_limits import Limits, run_child

PACKAGES = {"torch": "torch", "numpy": "numpy", "h5py": "h5py", "decord": "decord2", "simplejpeg": "simplejpeg"}
"""Packages for reading and training: module, and the distribution that contains it."""

DECODERS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg")
"""Codecs of common videos; decoder names equal or contain them."""

GIB = 2**30
LEAST_DISK = 5.0
"""Free disk space in GiB below which little can be prepared."""

LEAST_WRITE, LEAST_READ, LEAST_DECODE = 20.0, 20.0, 100.0
"""MB/s of the disk, and frames per second and core, below which reading data slows down training."""

_PROBE_BYTES = 64_000_000


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    value: str
    hint: str = ""
    """Advice; a line with a hint is red."""

    @property
    def red(self) -> bool:
        """Whether this is a problem."""
        return bool(self.hint)


def examine() -> Iterator[Finding]:
    """Yield every finding as soon as it is available; some take seconds."""
    yield from versions()
    yield machine()
    yield from gpus()
    yield from ffmpeg()
    yield from disk(Path())
    yield from decoding()


def versions() -> Iterator[Finding]:
    """Report versions of this package, Python and the main dependencies."""
    yield Finding("tdpn", __version__)
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for module, distribution in PACKAGES.items():
        try:
            importlib.import_module(module)
            yield Finding(module, metadata.version(distribution))
        except (ImportError, OSError, metadata.PackageNotFoundError) as error:
            yield Finding(module, f"cannot be loaded: {_first_line(error)}", hint=f"pip install {distribution}")


def machine() -> Finding:
    """Report the cores available to this process, threads, memory."""
    cores, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return Finding("cpu", f"{cores} cores, {torch.get_num_threads()} threads, {memory:.0f} GiB of memory")


def gpus() -> Iterator[Finding]:
    """Report each GPU, or why there is none."""
    if not torch.cuda.is_available():
        hint = "install a build of torch for CUDA that fits the driver" if shutil.which("nvidia-smi") else ""
        yield Finding(
            "gpu", "a driver is installed, but torch finds no GPU" if hint else "none: everything runs on the CPU", hint
        )
        return
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16: fp16 is used"
        yield Finding(f"gpu {number}", f"{about.name}, {about.total_memory / GIB:.0f} GiB, {bf16}")


def ffmpeg() -> Iterator[Finding]:
    """Report the ffmpeg in use, and codecs that it lacks."""
    try:
        program = find_ffmpeg()
    except TdpnError as error:
        yield Finding("ffmpeg", error.what, hint=error.hint or f"set {VARIABLE} to an ffmpeg")
        return
    origin = f"set by {VARIABLE}" if os.environ.get(VARIABLE) else "bundled with imageio-ffmpeg"
    yield Finding("ffmpeg", f"{program.version}, {origin}")
    decoders, encoders = _codecs(program, "-decoders"), _codecs(program, "-encoders")
    missing = [codec for codec in DECODERS if not any(codec in name for name in decoders)]
    missing += [] if "libx264" in encoders else ["libx264 (to write)"]
    use = f"use the ffmpeg bundled with imageio-ffmpeg (unset {VARIABLE})"
    value = f"lacks {', '.join(missing)}" if missing else f"{', '.join(DECODERS)}; writes H.264"
    yield Finding("codecs", value, hint=use if missing else "")


def disk(folder: Path) -> Iterator[Finding]:
    """Report free space and speed of the disk of `folder`."""
    free = shutil.disk_usage(folder).free / GIB
    yield Finding("disk", f"{free:.0f} GiB free here", hint="free some space" if free < LEAST_DISK else "")
    try:
        written, read = _disk_speed(folder)
    except OSError as error:
        hint = "work in a writable folder"
        yield Finding("disk speed", f"cannot write here: {error.strerror}", hint=hint)
        return
    slow = written < LEAST_WRITE or read < LEAST_READ
    hint = "keep shards and runs on a local disk" if slow else ""
    yield Finding("disk speed", f"writes {written:.0f} MB/s, reads {read:.0f} MB/s", hint=hint)


def decoding() -> Iterator[Finding]:
    """Report how fast one core decodes stored frames of 340 x 256 pixels."""
    import simplejpeg

    from tdpn_core.shards.decode import decode_jpegs

    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (16, 22, 3), np.uint8), np.ones((16, 16, 1), np.uint8))[:, :340]
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(smooth), 90, "RGB", "420")
    speed = _rate(lambda: decode_jpegs([jpeg] * 20, range(20), 256, 340, "this machine"), 20)
    hint = "the machine is busy or its cores are slow: use fewer --frames or a smaller --short-side"
    yield Finding("decoding", f"{speed:,.0f} JPEG frames/s on one core", hint=hint if speed < LEAST_DECODE else "")


def _codecs(program: Program, kind: str) -> set[str]:
    answer = run_child([program.path, "-hide_banner", kind], Limits(seconds=30), where=Path("ffmpeg"))
    return set(re.findall(r"^ [A-Z.]{6} (\S+)", answer.output.decode(errors="replace"), re.MULTILINE))


def _disk_speed(folder: Path) -> tuple[float, float]:
    """Return MB/s of writing and reading, flushed to disk; reading may be served from memory by the system."""
    content = os.urandom(_PROBE_BYTES)
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        start = time.perf_counter()
        file.read()
        ended = time.perf_counter()
    return _PROBE_BYTES / 1e6 / (written - began), _PROBE_BYTES / 1e6 / (ended - start)


def _rate(work: Callable[[], object], count: int, seconds: float = 0.3) -> float:
    work()
    began, rounds = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        work()
        rounds += 1
    return rounds * count / (time.perf_counter() - began)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
