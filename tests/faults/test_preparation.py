"""Faults that meet a preparation as a whole; those of its parts are tested beside them. Rows of docs/faults.md."""

import errno
import fcntl
import math
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tdpn_core.errors import ClipError
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.inspect import open_folder
from tdpn_core.prep.prepare import prepare
from tdpn_core.shards import ClipStore
from tdpn_core.shards.verify import verify
from tdpn_core.video.encode import encode_clip
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.source import Source

SMALL = PrepConfig(encoding=Encoding(short_side=32), block_clips=5)


@pytest.fixture(scope="module")
def undisturbed(forty, tmp_path_factory) -> tuple[str, float]:
    """Digest and seconds of a preparation that nothing interrupts."""
    began = time.monotonic()
    digest = prepare("folder", forty, tmp_path_factory.mktemp("out"), settings=SMALL, workers=2).digest
    return digest, time.monotonic() - began


def test_killed_at_random_moments_the_ledger_stays_readable_and_the_end_the_same(
    start, forty, tmp_path, undisturbed, repetitions
):
    """P1. Kill after kill, until a run comes to its end: each loses only the clips it was at."""
    digest, seconds = undisturbed
    draw = random.Random(0)
    for attempt in range(3 * repetitions):
        out = tmp_path / str(attempt)
        for _ in range(3):
            child = start(forty, out)
            child.stdout.readline()
            time.sleep(draw.uniform(0, seconds))
            child.kill()
            child.communicate()
            if (out / "ledger" / "plan.json").exists():
                prepared = open_folder(out)
                assert prepared.damaged == []
                for shard in prepared.manifest.shards:
                    assert (out / shard.file).stat().st_size == shard.bytes
        assert prepare("folder", forty, out, settings=SMALL).digest == digest
        verify(out)
        assert not list(out.rglob(".*")), "no temporary file, no lock"


def test_a_shard_that_a_kill_left_unrecorded_is_gone_after_the_next_run(forty, tmp_path):
    """P1. Its clips have changed meanwhile, so that nothing takes its name."""
    prepare("folder", forty, tmp_path, settings=SMALL)
    shard = next(tmp_path.glob("train-*.h5"))
    shutil.copy(shard, tmp_path / "train-00099-00-0123abcd.h5")
    (tmp_path / "mine.h5").write_bytes(b"not ours")
    prepare("folder", forty, tmp_path, settings=SMALL)
    assert not (tmp_path / "train-00099-00-0123abcd.h5").exists()
    assert (tmp_path / "mine.h5").exists(), "a file of another kind of name is not ours to remove"


def test_two_preparations_where_nothing_can_be_locked_end_with_the_same_bytes(
    forty, tmp_path, undisturbed, monkeypatch
):
    """P22."""

    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(prepare, "folder", forty, tmp_path, settings=SMALL, workers=1) for _ in range(2)]
        assert [run.result().digest for run in runs] == [undisturbed[0]] * 2
    verify(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob(".*")) == [".lock"]


@pytest.mark.parametrize("name", ["SEGV", "ABRT", "KILL"])
def test_a_decoder_that_crashes_each_time_costs_its_clip_only(name, forty, tmp_path, program):
    """P10, P25. Also where the system kills it for want of memory: tried twice, then recorded, and again next time."""
    shim, log = tmp_path / "ffmpeg", tmp_path / "log"
    crash = f"echo >> {log}; kill -{name} $$"
    shim.write_text(f'#!/bin/sh\ncase "$*" in *image2pipe*/a/4.mp4*|*/a/4.mp4*image2pipe*) {crash};; esac\n'
                    f'exec {program.path} "$@"\n')  # fmt: skip
    shim.chmod(0o755)
    report = prepare("folder", forty, tmp_path / "out", settings=SMALL, ffmpeg=shim)
    assert [(failure.id, failure.reason) for failure in report.failures] == [
        ("train/a/4.mp4", f"decoder crashed (SIG{name})")
    ]
    assert report.added == 39
    assert len(log.read_text()) == 2
    assert prepare("folder", forty, tmp_path / "out", settings=SMALL).added == 1


def test_a_huge_picture_is_refused_before_memory_is_spent_on_it(clip, program, tmp_path):
    """P13."""
    path = clip("huge.mkv", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "gray", "-frames:v", "1",
                picture="color=black:size=12000x12000:rate=1")  # fmt: skip
    assert path.stat().st_size < 1_000_000
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom tdpn_core.video.ffmpeg_binary import find_ffmpeg\n"
        "from tdpn_core.video.source import Source\nfrom tdpn_core.video.encode import encode_clip\n"
        "try:\n    encode_clip(Source(Path(sys.argv[1])), Path(sys.argv[2]), find_ffmpeg())\n"
        "except Exception as error:\n    print(type(error).__name__, error.what)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\n"
    )
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "items")]
    said, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == "ClipRefused 12000x12000 exceeds the limit of 35389440 pixels (--max-pixels)"
    assert int(megabytes) < 300


def test_a_clip_of_hours_in_a_few_bytes_is_skipped_in_bounded_time(clip, program, tmp_path):
    """P14. 36,000 frames at one a second are ten hours."""
    path = clip("long.mkv", "-c:v", "libx264", "-preset", "ultrafast", "-g", "9999", "-pix_fmt", "yuv420p",
                picture="color=black:size=16x16:rate=1:duration=40000")  # fmt: skip
    assert path.stat().st_size < 3_000_000
    with pytest.raises(ClipError, match="more than 36000 frames"):
        encode_clip(Source(path), tmp_path / "items", program)


def test_a_thousand_frames_a_second_keep_their_rate(clip, program, tmp_path):
    """P14."""
    fast = clip("fast.mkv", "-vf", "setpts=PTS*30/1000", "-r", "1000", *("-c:v", "libx264", "-pix_fmt", "yuv420p"))
    assert encode_clip(Source(fast), tmp_path / "items", program).fps == pytest.approx(1000)


def _number(value: int) -> bytes:
    return struct.pack(">I", value)


def _little(value: int) -> bytes:
    return struct.pack("<I", value)


def _put(content: bytes, name: bytes, offset: int, value: bytes) -> bytes:
    """`value` at `offset` behind the name of a box or chunk."""
    at = content.index(name) + len(name) + offset
    return content[:at] + value + content[at + len(value) :]


def _durations(content: bytes, value: int) -> bytes:
    for name, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        content = _put(content, name, offset, _number(value))
    return content


LIES = {  # what is patched: (file, patch, frames or the reason of refusal)
    "mp4 without length": ("plain.mp4", lambda c: _durations(c, 0), 60),
    "mp4 of a tick": ("plain.mp4", lambda c: _durations(c, 1), 60),
    "mp4 of centuries": ("plain.mp4", lambda c: _durations(c, 0xFFFFFFFF), 60),
    "mp4 without a clock": ("plain.mp4", lambda c: _put(c, b"mdhd", 12, _number(0)), "does not contain the time base"),
    "mp4 without a movie clock": ("plain.mp4", lambda c: _put(c, b"mvhd", 12, _number(0)), 60),
    "mp4 whose frames take no time": ("plain.mp4", lambda c: _put(c, b"stts", 12, _number(0)), "have the same time"),
    "mp4 of fewer frames": ("plain.mp4", lambda c: _put(c, b"stsz", 8, _number(20)), "truncated: 20 of 60 frames"),
    "mp4 of more frames": ("plain.mp4", lambda c: _put(c, b"stsz", 8, _number(600)), "index is missing or cut"),
    "mp4 of no size": ("plain.mp4", lambda c: _put(c, b"tkhd", 76, bytes(8)), 60),
    "avi of rate 0": ("plain.avi", lambda c: _put(c, b"avih", 4, _little(0)), 60),
    "avi of no frames": ("plain.avi", lambda c: _put(c, b"avih", 20, _little(0)), 60),
    "avi of many frames": ("plain.avi", lambda c: _put(c, b"avih", 20, _little(6000)), 60),
    "avi of rate 0/0": ("plain.avi", lambda c: _put(c, b"strh", 24, bytes(8)), 60),
    "avi of no length": ("plain.avi", lambda c: _put(c, b"strh", 36, _little(0)), 60),
    **{
        f"mkv of {seconds} seconds": (
            "plain.mkv", lambda c, seconds=seconds: _put(c, b"\x44\x89\x88", 0, struct.pack(">d", seconds * 1e3)), 60,
        )
        for seconds in (math.nan, -1.0, 0.0, 1e12, math.inf, 4.0)
    },
    "one frame": ("one.mp4", lambda c: c, 1),
    "odd size": ("odd.mkv", lambda c: c, 60),
}  # fmt: skip
RENDERED = {
    "plain.mp4": (),
    "plain.mkv": (),
    "plain.avi": ("-c:v", "mpeg4"),
    "one.mp4": ("-frames:v", "1"),
    "odd.mkv": ("-vf", "scale=63:47", "-c:v", "ffv1"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_has_a_defined_outcome(lie, clip, program, tmp_path):
    """P15. All frames that there are, with a rate to divide by; or a reason."""
    name, patch, expected = LIES[lie]
    path = tmp_path / name
    path.write_bytes(patch(clip(name, *RENDERED[name]).read_bytes()))
    if isinstance(expected, str):
        with pytest.raises(ClipError, match=expected):
            encode_clip(Source(path), tmp_path / "items", program)
        return
    encoded = encode_clip(Source(path), tmp_path / "items", program)
    assert encoded.frames == expected
    assert 24 <= encoded.fps <= 31
    assert (encoded.width, encoded.height) == ((63, 47) if name == "odd.mkv" else (64, 48))


def test_a_playlist_in_disguise_opens_no_connection_and_no_other_file(clip, program, tmp_path):
    """P17."""
    secret = tmp_path / "secret.mp4"
    shutil.copy(clip("plain.mp4"), secret)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.ts"
        for content in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n",
            f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{secret}\n",
            f"ffconcat version 1.0\nfile '{address}'\n",
            f"ffconcat version 1.0\nfile '{secret}'\n",
            f"<?xml version='1.0'?><MPD><Period><BaseURL>{address}</BaseURL></Period></MPD>",
            f"[playlist]\nFile1={address}\n",
        ):
            for ending in ("mp4", "m3u8", "avi", "mkv"):
                path = tmp_path / f"clip.{ending}"
                path.write_text(content)
                with pytest.raises(ClipError, match=r"not a video|cannot be decoded"):
                    encode_clip(Source(path), tmp_path / "items", program)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_no_descriptor_or_child_is_left_by_a_preparation_with_failures(forty, tmp_path):
    """H6."""
    root = shutil.copytree(forty, tmp_path / "root")
    (root / "train" / "a" / "0.mp4").write_bytes(b"x")
    prepare("folder", root, tmp_path / "first", settings=SMALL)
    before = len(list(Path("/dev/fd").iterdir())), threading.active_count()
    prepare("folder", root, tmp_path / "second", settings=SMALL)
    store = ClipStore(tmp_path / "second", "train")
    for number in range(len(store)):
        store.decode(number, [0])
    assert (len(list(Path("/dev/fd").iterdir())), threading.active_count()) == before
