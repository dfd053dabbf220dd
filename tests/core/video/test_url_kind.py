"""What is behind an address is decided by the server's answer, within the limits."""

import re
import subprocess
from pathlib import Path

import pytest
from local_web import serve

from tdpn_core.errors import ClipError
from tdpn_core.fetch_limits import FetchLimits
from tdpn_core.video.ffmpeg_binary import find_ffmpeg
from tdpn_core.video.finite_file import is_finite
from tdpn_core.video.url import network_address
from tdpn_core.video.url_download import fetched
from tdpn_core.video.url_kind import inspected

QUICK = FetchLimits(idle=5, retries=0, pause=0.001)
COMPLETE = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n"
OPEN = COMPLETE.replace(b"#EXT-X-ENDLIST\n", b"")


def _choice(name: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{name}\n#EXT-X-STREAM-INF:BANDWIDTH=2\nother.m3u8\n".encode()


FILES = {
    "/a.mp4": b"x" * 9,
    "/complete.m3u8": COMPLETE,
    "/open.m3u8": OPEN,
    "/of_complete.m3u8": _choice("complete.m3u8"),
    "/of_open.m3u8": _choice("/open.m3u8"),
    "/of_nothing.m3u8": _choice("none.m3u8"),
    "/of_a_file.m3u8": _choice("file:///etc/hostname"),
    "/page.m3u8": b"<html></html>",
}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.mp4", "file"),
        ("complete.m3u8", "playlist"),
        ("open.m3u8", "live"),
        ("of_complete.m3u8", "playlist"),
        ("of_open.m3u8", "live"),
        ("of_nothing.m3u8", "playlist"),
        ("of_a_file.m3u8", "playlist"),
        ("page.m3u8", "playlist"),
        ("watch", "live"),
    ],
)
def test_inspected_address_has_the_kind_of_the_answer(path: str, kind: str) -> None:
    with serve() as web:
        web.files, web.redirect = FILES, {"/watch": "/open.m3u8"}
        assert inspected(network_address(f"{web.url}/{path}"), QUICK).kind == kind


@pytest.mark.parametrize(
    ("content_type", "content", "kind"),
    [
        ("video/mp4", b"x", "live"),
        ("multipart/x-mixed-replace; boundary=x", b"x", "live"),
        ("text/html; charset=utf-8", b"x", "file"),
        ("application/vnd.apple.mpegurl", COMPLETE, "playlist"),
        ("audio/x-mpegURL", OPEN, "live"),
    ],
)
def test_inspected_answer_of_unknown_length_is_live_unless_it_is_a_page(
    content_type: str, content: bytes, kind: str
) -> None:
    with serve() as web:
        web.files, web.tells_length, web.headers = {"/a": content}, False, {"Content-Type": content_type}
        assert inspected(network_address(f"{web.url}/a"), QUICK).kind == kind


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("a.mp4", [], "file"),
        ("a.mp4", ["-movflags", "+faststart"], "file"),
        ("a.mov", [], "file"),
        ("a.avi", [], "file"),
        ("a.mkv", [], "file"),
        ("a.mp4", ["-movflags", "+frag_keyframe+empty_moov"], "live"),
        ("a.mkv", ["-live", "1"], "live"),
        ("a.ts", [], "live"),
    ],
)
def test_inspected_answer_of_unknown_length_is_a_file_if_its_header_was_written_last(
    name: str, options: list[str], kind: str, tmp_path: Path
) -> None:
    made = tmp_path / name
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1"]
    command = [find_ffmpeg().path, "-nostdin", "-loglevel", "error", *source, "-c:v", "mpeg4", *options, str(made)]
    subprocess.run(command, check=True, timeout=60)
    with serve() as web:
        web.files, web.tells_length = {f"/{name}": made.read_bytes()}, False
        address = inspected(network_address(f"{web.url}/{name}"), QUICK)
        assert address.kind == kind
        if kind == "file":
            with fetched(address, QUICK) as path:
                assert path.read_bytes() == made.read_bytes()


@pytest.mark.parametrize("head", [b"\x00\x00\x01\xba" + bytes(20), b"FLV\x01" + bytes(20), b"--boundary\r\nContent"])
def test_is_finite_of_a_format_that_can_be_live_is_false(head: bytes) -> None:
    assert is_finite(head) is False


def test_inspected_address_of_another_scheme_is_live_without_a_request() -> None:
    address = network_address("rtsp://127.0.0.1:9/a.m3u8")
    assert inspected(address, QUICK) is address
    assert address.kind == "live"


def test_inspected_address_that_is_refused_or_silent_is_an_error() -> None:
    with serve() as web:
        with pytest.raises(ClipError, match=rf"{re.escape(web.url)}/none.mp4: does not exist \(HTTP 404\)$"):
            inspected(network_address(f"{web.url}/none.mp4"), QUICK)
        web.files, web.drip, web.piece = {"/a.m3u8": OPEN}, 0.1, 1
        with pytest.raises(ClipError, match=r"did not answer within 0.5 s; wait longer with --idle-timeout"):
            inspected(network_address(f"{web.url}/a.m3u8"), FetchLimits(idle=0.4, retries=0, pause=0.1))
        with pytest.raises(ClipError, match=r"did not answer within 0.3 s; wait longer with --fetch-timeout"):
            inspected(network_address(f"{web.url}/a.m3u8"), FetchLimits(idle=1, total=0.3, retries=0))
