"""Streamed frames are the stored ones, and a stream that breaks off says so at its end."""

import math
import re
import subprocess
import time

import pytest
from local_web import serve

from tdpn_core.errors import ClipError
from tdpn_core.fetch_limits import FetchLimits
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.source import Source
from tdpn_core.video.stream import stream_address, stream_video
from tdpn_core.video.subprocess_limits import Limits, OverdueError, SilentError, stream_child
from tdpn_core.video.url import Address, network_address
from tdpn_core.video.url_kind import inspected

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
        ("x.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "not a video: unsupported container format"),
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
    with pytest.raises(SilentError, match=r"somewhere: no output for 0.2 s"):
        list(stream_child(["sleep", "20"], Limits(seconds=0.2), where="somewhere"))


def test_a_child_that_only_complains_is_given_up():
    command = ["sh", "-c", "while echo again >&2; do sleep 0.02; done"]
    with pytest.raises(SilentError, match=r"no output for 0.2 s"):
        list(stream_child(command, Limits(seconds=0.2), where="somewhere"))


def test_a_child_that_writes_a_little_is_given_up_at_the_total_limit():
    command = ["sh", "-c", "while echo again; do sleep 0.02; done"]
    with pytest.raises(OverdueError, match=r"did not end within 0.3 s"):
        list(stream_child(command, Limits(seconds=5), where="somewhere", total=0.3))


def test_the_total_limit_does_not_count_the_readers_own_time():
    came = 0
    for _, data in stream_child(["head", "-c", "200000", "/dev/zero"], Limits(seconds=5), where="x", total=0.8):
        came += len(data)
        time.sleep(0.3)
    assert came == 200_000


@pytest.fixture(scope="module")
def parts(program, tmp_path_factory) -> dict[str, bytes]:
    """A playlist of two parts, and its parts: 25 frames each."""
    folder = tmp_path_factory.mktemp("parts")
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2", *H264, "-g", "25"]
    target = ["-f", "hls", "-hls_time", "1", "-hls_segment_filename", folder / "%d.ts", folder / "all.m3u8"]
    subprocess.run([program.path, "-loglevel", "error", *source, *target], check=True, stdin=subprocess.DEVNULL)
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


def _played(url: str, program, limits: FetchLimits, stop: float = math.nan) -> tuple[int, str]:
    """Frames that came of what is behind an address, and the error that ended them."""
    count = 0
    try:
        for _ in stream_address(inspected(network_address(url), limits), program, Encoding(), stop, limits):
            count += 1
    except ClipError as error:
        return count, str(error)
    return count, ""


def test_a_playlist_that_never_ends_is_given_up_after_its_last_frame(parts, program):
    with serve() as web:
        web.files = parts
        assert _played(f"{web.url}/all.m3u8", program, FetchLimits(idle=5, total=5)) == (50, "")
        web.files = parts | {"/all.m3u8": parts["/all.m3u8"].replace(b"#EXT-X-ENDLIST", b"")}
        count, error = _played(f"{web.url}/all.m3u8", program, FetchLimits(idle=2, total=3))
    assert count > 40, "all but those that the decoder holds for the next part"
    assert re.search(
        rf"/all.m3u8: no frame for 2 s, after {count} frames, \d\.\d s; wait longer with --idle-timeout$", error
    )


def test_a_playlist_with_an_end_whose_parts_drip_is_given_up_at_the_total_limit(parts, program):
    with serve() as web:
        web.files, web.drip, web.piece, web.dripping = parts, 0.02, 8, ".ts"
        _, error = _played(f"{web.url}/all.m3u8", program, FetchLimits(idle=5, total=1))
    assert re.search(r"did not end within 1 s: \d+ frames.* received; wait longer with --fetch-timeout$", error)


def test_a_live_stream_that_stops_late_is_given_up_where_an_end_is_asked_for(parts, program):
    with serve() as web:
        web.files, web.tells_length, web.drip, web.piece = parts, False, 0.02, 8
        _, error = _played(f"{web.url}/0.ts", program, FetchLimits(idle=5, total=0.5), stop=0.7)
    assert re.search(r"/0.ts: did not end within 1.2 s: .* received; wait longer with --fetch-timeout$", error)


def test_a_server_that_never_ends_is_followed_to_the_second_that_is_asked_for(program):
    draw = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1", "-f", "mpjpeg", "-boundary_tag", "x", "-"]
    command = [program.path, "-loglevel", "error", *draw]
    pictures = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout
    again = pictures.removesuffix(b"--x\r\n")  # each repetition begins with the boundary
    with serve() as web:
        web.files, web.tells_length, web.endless = {"/camera": again}, False, True
        web.ranges = False
        web.drip, web.piece = 0.005, 20_000
        web.headers = {"Content-Type": "multipart/x-mixed-replace;boundary=x"}
        count, error = _played(f"{web.url}/camera", program, FetchLimits(idle=5, total=20), stop=1.6)
    assert (count, error) == (40, "")
