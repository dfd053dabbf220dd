"""Streamed frames are the stored ones, and a stream that breaks off says so at its end."""

import math
import time

import pytest

from tdpn_core.errors import ClipError
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.source import Source
from tdpn_core.video.stream import stream_address, stream_video
from tdpn_core.video.subprocess_limits import ChildError, Limits, stream_child
from tdpn_core.video.url import Address

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def drawn(text: str) -> Address:
    """A live picture that ffmpeg draws."""
    return Address(text, "live", (("f", "lavfi"),))


@pytest.mark.parametrize(("part", "fps"), [((math.nan, math.nan), None), ((0.5, 1.2), None), ((math.nan, 1.0), 12.0)])
def test_every_frame_is_that_of_preparation(part, fps, render, program, encode):
    encoding = Encoding(short_side=40, quality=5, fps=fps)
    path = render("a.mp4", *H264)
    stored = encode(path, encoding, start=part[0], stop=part[1])
    streamed = list(stream_video(Source(path, start=part[0], stop=part[1]), program, encoding))
    assert [frame.items for frame in streamed] == [(item,) for item in stored.items]
    assert len(streamed) > 5
    assert [frame.seconds for frame in streamed] == pytest.approx(
        [i / stored.clip.fps for i in range(len(streamed))], abs=1e-5
    )


@pytest.mark.parametrize("frames", [1, 60])
def test_flow_is_that_of_preparation(frames, render, program, encode):
    encoding = Encoding(short_side=40, modality="flow", flow_method="dis")
    path = render(f"{frames}.mkv", "-frames:v", str(frames), *H264)
    stored = encode(path, encoding)
    streamed = list(stream_video(Source(path), program, encoding))
    assert [item for frame in streamed for item in frame.items] == stored.items
    assert len(streamed) == max(frames - 1, 1)
    assert [frame.seconds for frame in streamed] == pytest.approx([i / 30 for i in range(len(streamed))], abs=1e-3)


def test_a_video_longer_than_preparation_takes_is_streamed(render, program):
    encoding = Encoding(short_side=40, max_frames=10)
    assert sum(1 for _ in stream_video(Source(render("a.mp4", *H264)), program, encoding)) == 60


def test_the_frames_of_a_cut_video_come_before_its_error(render, program, tmp_path):
    content = render("a.mkv", *H264).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    frames = []
    stream = map(frames.append, stream_video(Source(tmp_path / "cut.mkv"), program, Encoding()))
    with pytest.raises(ClipError, match=r"cut.mkv: truncated: \d+ of 60 frames"):
        list(stream)
    assert 5 < len(frames) < 60


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.mp4", b"not a video", "not a video"),
        ("x.avi", b"#EXTM3U\n/etc/passwd\n", "not a video"),
        ("x.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "not a video container that is read here"),
    ],
)
def test_what_is_no_video_is_refused(name, content, message, program, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClipError, match=message):
        list(stream_video(Source(tmp_path / name), program, Encoding()))


def test_a_live_picture_ends_when_it_is_asked_to(program):
    frames = list(stream_address(drawn("testsrc2=size=64x48:rate=25"), program, Encoding(), stop=0.4))
    assert len(frames) == 10
    assert frames[-1].seconds == pytest.approx(0.36)


def test_an_address_that_does_not_answer_says_why(program):
    with pytest.raises(ClipError, match=r"^nonsense: cannot be read"):
        list(stream_address(drawn("nonsense"), program, Encoding()))


def test_a_stream_that_is_left_ends_its_child(program):
    frames = stream_address(drawn("testsrc2=size=64x48:rate=25"), program, Encoding())
    next(frames)
    began = time.monotonic()
    frames.close()
    assert time.monotonic() - began < 5


def test_a_silent_child_is_given_up():
    with pytest.raises(ChildError, match=r"somewhere: nothing came for 0.2 s"):
        list(stream_child(["sleep", "20"], Limits(seconds=0.2), where="somewhere"))
