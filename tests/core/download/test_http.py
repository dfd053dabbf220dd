"""A file arrives complete and checked, or not at all, whatever the server and the disk do."""

import hashlib
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from local_web import QUICK, Web, serve

from tdpn_core.checksum import Checksum
from tdpn_core.download import FetchLimitError, FetchLimits, fetch, peek
from tdpn_core.errors import TdpnError, UsageError

CONTENT = random.Random(0).randbytes(300_001)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.bin"


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


def test_fetch_of_a_file_leaves_nothing_but_the_file(web: Web, target: Path) -> None:
    web.files["/a%20b"] = CONTENT
    assert (
        fetch(f"{web.url}/a%20b", target, size=len(CONTENT), checksum=Checksum("sha256", SHA256.upper()), limits=QUICK)
        == target
    )
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.bin"]


def test_fetch_of_a_present_file_checks_it_without_a_request(web: Web, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert fetch(f"{web.url}/file", target, checksum=Checksum("sha256", SHA256[:8])) == target
    with pytest.raises(TdpnError, match=f"sha256 is {SHA256}, expected {'0' * 64}; remove it to download it again"):
        fetch(f"{web.url}/file", target, checksum=Checksum("sha256", "0" * 64))
    with pytest.raises(TdpnError, match="has 300001 bytes, expected 5"):
        fetch(f"{web.url}/file", target, size=5)
    assert target.exists()
    assert not web.asked


@pytest.mark.parametrize("seed", range(8))
def test_fetch_over_breaking_connections_receives_no_byte_twice(web: Web, target: Path, seed: int) -> None:
    chance = random.Random(seed)
    web.files["/file"] = CONTENT
    web.cut = [chance.randrange(60_000) for _ in range(5)]
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert target.read_bytes() == CONTENT
    assert web.sent == len(CONTENT)


def test_fetch_after_a_stopped_one_continues_it(web: Web, target: Path) -> None:
    web.files["/file"] = CONTENT
    web.cut = [100_000, 0]
    with pytest.raises(TdpnError, match=r"100000 bytes read, 200001 more expected.; run again to continue from"):
        fetch(f"{web.url}/file", target, limits=FetchLimits(retries=0))
    assert names(target) == ["file.bin.part", "file.bin.part.json"]
    web.cut = []
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert target.read_bytes() == CONTENT
    assert web.sent == len(CONTENT)
    assert web.asked[-1] == ("/file", "bytes=100000-")
    assert web.conditions == [None, f'"{hashlib.md5(CONTENT).hexdigest()}"']


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("etag", [True, False])
def test_fetch_of_a_file_that_changed_meanwhile_starts_over(
    web: Web, target: Path, ranges: bool, heeds: bool, etag: bool
) -> None:
    if not etag:
        web.etag = lambda content: None
    web.files["/file"] = CONTENT
    web.cut = [100_000]
    with pytest.raises(TdpnError):
        fetch(f"{web.url}/file", target, limits=FetchLimits(retries=0))
    changed = CONTENT[::-1]
    web.files["/file"], web.modified = changed, "Tue, 02 Jan 2024 00:00:00 GMT"
    web.ranges, web.heeds_if_range = ranges, heeds
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert target.read_bytes() == changed


@pytest.mark.parametrize("length", [99_999, 100_000, 100_001])
def test_fetch_of_a_file_that_became_shorter_starts_over(web: Web, target: Path, length: int) -> None:
    web.files["/file"] = CONTENT
    web.cut = [100_000]
    with pytest.raises(TdpnError):
        fetch(f"{web.url}/file", target, limits=FetchLimits(retries=0))
    web.files["/file"] = CONTENT[:length]
    web.heeds_if_range = False
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert target.read_bytes() == CONTENT[:length]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_fetch_without_a_validator_does_not_continue_a_part(web: Web, target: Path, etag: str | None) -> None:
    web.files["/file"], web.modified, web.etag = CONTENT, None, lambda content: etag
    web.cut = [100_000]
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted in web.asked] == [None, None]


@pytest.mark.parametrize("notes", [b"", b"[1]", b'{"url": 1, "more": 2}', b"\xff"])
def test_fetch_with_damaged_notes_does_not_continue_a_part(web: Web, target: Path, notes: bytes) -> None:
    web.files["/file"] = CONTENT
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"wrong")
    target.with_name("file.bin.part.json").write_bytes(notes)
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert target.read_bytes() == CONTENT


def test_fetch_after_a_killed_process_continues_its_part(web: Web, target: Path) -> None:
    web.files["/file"], web.drip = CONTENT, 0.002
    code = """
import sys
from pathlib import Path
from tdpn_core.download import fetch
fetch(sys.argv[1], Path(sys.argv[2]))
"""
    child = subprocess.Popen([sys.executable, "-c", code, f"{web.url}/file", str(target)])
    part = target.with_name("file.bin.part")
    limit = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < limit:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    kept = part.stat().st_size
    assert 0 < kept < len(CONTENT)
    assert not target.exists()
    web.drip = 0
    fetch(f"{web.url}/file", target, checksum=Checksum("sha256", SHA256), limits=QUICK)
    assert target.read_bytes() == CONTENT
    assert web.asked[-1] == ("/file", f"bytes={kept}-")


def test_fetch_of_a_complete_part_only_checks_it(web: Web, target: Path) -> None:
    web.files["/file"] = CONTENT
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT)
    notes = {"url": f"{web.url}/file", "size": len(CONTENT), "validator": '"x"', "md5": None}
    target.with_name("file.bin.part.json").write_text(json.dumps(notes))
    fetch(f"{web.url}/file", target, checksum=Checksum("sha256", SHA256))
    assert not web.asked
    assert names(target) == ["file.bin"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_fetch_from_a_busy_server_retries(web: Web, target: Path, status: int) -> None:
    web.files["/file"], web.statuses = CONTENT, [status] * 3
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert len(web.asked) == 4
    web.statuses = [status] * 4
    with pytest.raises(TdpnError, match=rf"/file: cannot be fetched: .* \(HTTP {status}\); .*put it at .*other"):
        fetch(f"{web.url}/file", target.with_name("other"), limits=QUICK)


@pytest.mark.parametrize(
    ("status", "text"), [(404, "does not exist"), (403, "access is refused"), (410, "no longer exists"), (451, "")]
)
def test_fetch_that_is_refused_says_what_to_do_without_retries(web: Web, target: Path, status: int, text: str) -> None:
    web.statuses = [status]
    with pytest.raises(TdpnError, match=rf"{web.url}/file: {text}.*\(HTTP {status}\); .*put it at {target}"):
        fetch(f"{web.url}/file", target, limits=QUICK)
    assert len(web.asked) == 1


def test_fetch_from_a_hanging_server_reconnects(web: Web, target: Path) -> None:
    web.files["/file"], web.hang = CONTENT, [1.0]
    fetch(f"{web.url}/file", target, limits=FetchLimits(idle=0.2, pause=0.001))
    assert target.read_bytes() == CONTENT
    assert len(web.asked) == 2
    assert web.asked[1][1] is not None


def test_fetch_without_a_network_says_where_to_put_the_file(target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file"
    with pytest.raises(
        TdpnError, match=rf"cannot be fetched: Connection refused; check the network.*put it at {target}"
    ):
        fetch(url, target, limits=FetchLimits(retries=1, pause=0.001))


class Wrong(NamedTuple):
    options: dict[str, str | int]
    text: str


WRONG = {
    "sha256": Wrong({"checksum": Checksum("sha256", "1" * 64)}, f"sha256 is {SHA256}, expected {'1' * 64}"),
    "size": Wrong({"size": 7}, "has 300001 bytes on the server, expected 7"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_fetch_of_another_file_than_expected_is_refused_with_both_values(web: Web, target: Path, kind: str) -> None:
    web.files["/file"] = CONTENT
    with pytest.raises(TdpnError, match=WRONG[kind].text):
        fetch(f"{web.url}/file", target, limits=QUICK, **WRONG[kind].options)  # type: ignore[arg-type]
    assert names(target) == []


def test_fetch_compares_the_etag_of_s3_where_it_is_an_md5(web: Web, target: Path) -> None:
    web.files["/file"] = CONTENT
    fetch(f"{web.url}/file", target, etag_is_md5=True, limits=QUICK)
    target.unlink()
    right, wrong = hashlib.md5(CONTENT).hexdigest(), "0" * 32
    web.etag = lambda content: f'"{wrong}"'
    with pytest.raises(TdpnError, match=f"md5 is {right}, expected {wrong}"):
        fetch(f"{web.url}/file", target, etag_is_md5=True, limits=QUICK)
    fetch(f"{web.url}/file", target, limits=QUICK)  # of another server the tag means nothing
    target.unlink()
    web.headers = {"x-amz-server-side-encryption": "aws:kms"}
    fetch(f"{web.url}/file", target, etag_is_md5=True, limits=QUICK)
    target.unlink()
    web.headers, web.etag = {}, lambda content: f'"{wrong}-3"'  # uploaded in parts
    fetch(f"{web.url}/file", target, etag_is_md5=True, limits=QUICK)


def test_fetch_of_unknown_length_needs_a_size_or_digest(web: Web, target: Path) -> None:
    web.files["/file"], web.tells_length = CONTENT, False
    with pytest.raises(TdpnError, match="does not give the length"):
        fetch(f"{web.url}/file", target, limits=QUICK)
    fetch(f"{web.url}/file", target, checksum=Checksum("sha256", SHA256), limits=QUICK)
    target.unlink()
    web.cut = [1000]
    with pytest.raises(TdpnError, match="has 1000 bytes, expected 300001"):
        fetch(f"{web.url}/file", target, size=len(CONTENT), limits=QUICK)


def test_fetch_onto_too_small_a_disk_is_refused_first(web: Web, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["/file"] = CONTENT
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 200_000}))
    with pytest.raises(TdpnError, match=r"needs 300.0 kB more, but only 200.0 kB are free; free some space"):
        fetch(f"{web.url}/file", target, limits=QUICK)
    assert "file.bin.part" not in names(target)


def test_fetch_onto_a_disk_that_fills_up_keeps_its_part(web: Web, target: Path) -> None:
    web.files["/file"] = CONTENT
    code = """
import resource, signal, sys
from pathlib import Path
from tdpn_core.download import fetch
from tdpn_core.errors import TdpnError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    fetch(sys.argv[1], Path(sys.argv[2]))
except TdpnError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, f"{web.url}/file", str(target)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "file.bin.part: cannot write: File too large" in said
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert web.asked[-1] == ("/file", "bytes=100000-")
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "/etc/passwd"])
def test_fetch_of_another_scheme_is_refused_also_after_a_redirect(web: Web, target: Path, address: str) -> None:
    with pytest.raises(UsageError, match="is not an http or https address"):
        fetch(address, target)
    web.redirect = {"/file": address}
    with pytest.raises(TdpnError, match=r"which is not followed|does not exist"):
        fetch(f"{web.url}/file", target, limits=QUICK)
    assert not target.exists()


def test_fetch_through_a_redirect_continues(web: Web, target: Path) -> None:
    web.files["/real"], web.redirect, web.cut = CONTENT, {"/file": "/real"}, [50_000]
    fetch(f"{web.url}/file", target, limits=QUICK)
    assert target.read_bytes() == CONTENT
    assert web.asked[-1] == ("/real", "bytes=50000-")


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Web, Path]]:
    """A web server over TLS, and its certificate, which no authority has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=local -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], capture_output=True, check=True)
    with serve(certificate, key) as served:
        yield served, certificate


def test_fetch_with_an_unverified_certificate_is_an_error(secure: tuple[Web, Path], target: Path) -> None:
    with pytest.raises(TdpnError, match=r"certificate cannot be verified: self.*REQUESTS_CA_BUNDLE"):
        fetch(f"{secure[0].url}/file", target, limits=QUICK)


def test_fetch_through_a_redirect_out_of_tls_is_refused(
    secure: tuple[Web, Path], web: Web, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, certificate = secure
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    web.files["/file"] = served.files["/file"] = CONTENT
    served.redirect = {"/plain": f"{web.url}/file", "/same": "/file"}
    fetch(f"{served.url}/same", target, checksum=Checksum("sha256", SHA256), limits=QUICK)
    target.unlink()
    with pytest.raises(TdpnError, match=r"redirects to 'http://127.*', which is not followed"):
        fetch(f"{served.url}/plain", target, limits=QUICK)
    assert names(target) == []
    assert not web.asked


def test_fetch_that_receives_a_web_page_is_refused(web: Web, target: Path) -> None:
    web.files["/file.zip"] = web.files["/page.html"] = b"<html>Please log in</html>"
    web.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(TdpnError, match=r"file.zip: the server sent a web page, not the file; open the address"):
        fetch(f"{web.url}/file.zip", target, limits=QUICK)
    assert names(target) == []
    fetch(f"{web.url}/page.html", target, limits=QUICK)


def test_fetch_beyond_the_total_limit_is_given_up_and_can_be_continued(web: Web, target: Path) -> None:
    web.files["/file"], web.drip = CONTENT, 0.05
    with pytest.raises(
        TdpnError, match=r"/file: was not complete within 0.5 s: [\d.]+ kB of 300.0 kB received; run again"
    ):
        fetch(f"{web.url}/file", target, limits=FetchLimits(total=0.5))
    kept = target.with_name("file.bin.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    web.drip = 0
    fetch(f"{web.url}/file", target, limits=FetchLimits(total=30))
    assert target.read_bytes() == CONTENT
    assert web.asked[-1] == ("/file", f"bytes={kept}-")


def _fetch_with_total(url: str, target: Path) -> None:
    fetch(url, target, limits=FetchLimits(total=0.3))


def _peek_with_idle(url: str, target: Path) -> None:
    peek(url, limits=FetchLimits(idle=0.2, retries=0, pause=0.1), wants_body=lambda _: False)


@pytest.mark.parametrize(
    ("give_up", "text"),
    [
        (_fetch_with_total, r"was not complete within 0.3 s: 0 bytes received"),
        (_peek_with_idle, r"the server did not answer within 0.3 s"),
    ],
)
def test_fetch_of_an_endless_header_is_given_up_at_the_total_limit(
    target: Path, give_up: Callable[[str, Path], None], text: str
) -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def dribble() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not ended.wait(0.02):
                    connection.sendall(b"x")
                connection.sendall(b"\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=dribble)
        thread.start()
        with pytest.raises(FetchLimitError, match=text):
            give_up(f"http://127.0.0.1:{server.getsockname()[1]}/file", target)
        ended.set()
        thread.join()


def test_fetch_from_a_dripping_server_is_given_up_at_the_idle_limit(web: Web, target: Path) -> None:
    web.files["/file"], web.drip, web.piece = CONTENT, 0.02, 1
    limits = FetchLimits(idle=0.2, retries=1, pause=0.001)
    with pytest.raises(FetchLimitError, match=r"less than 1.0 kB a second for 0.2 s: \d+ bytes of 300.0 kB") as caught:
        fetch(f"{web.url}/file", target, limits=limits)
    assert caught.value.limit == "idle"
    assert len(web.asked) == 2


def test_fetch_from_a_server_that_hangs_after_few_bytes_each_time_is_given_up(web: Web, target: Path) -> None:
    web.files["/file"], web.hang = CONTENT[:100], [1.0] * 9
    limits = FetchLimits(idle=0.2, retries=1, pause=0.001)
    with pytest.raises(FetchLimitError, match=r"no data for 0.2 s: 75 bytes of 100 bytes received") as caught:
        fetch(f"{web.url}/file", target, limits=limits)
    assert caught.value.limit == "idle"


def test_peek_reads_the_header_and_the_body_only_where_it_is_wanted(web: Web) -> None:
    web.files["/file"], web.redirect = CONTENT, {"/other": "/file"}
    web.headers = {"Content-Type": "Video/MP4; codecs=x"}
    found = peek(f"{web.url}/other", limits=QUICK, wants_body=lambda found: found.content_type != "video/mp4")
    assert (found.url, found.content_type, found.length) == (f"{web.url}/file", "video/mp4", len(CONTENT))
    assert found.body == b""
    assert peek(f"{web.url}/file", limits=QUICK, wants_body=lambda _: True, most=1000).body == CONTENT[:1000]
    web.tells_length = False
    assert peek(f"{web.url}/file", limits=QUICK, wants_body=lambda _: False).length is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_fetch_limits_of_no_length_are_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="the idle limit of a server must be a positive number of seconds"):
        FetchLimits(idle=seconds)
    with pytest.raises(UsageError, match="the total limit"):
        FetchLimits(total=seconds)


def test_fetch_by_two_processes_of_one_file_downloads_it_once(web: Web, target: Path) -> None:
    web.files["/file"], web.drip = CONTENT, 0.001
    code = """
import sys
from pathlib import Path
from tdpn_core.download import fetch
fetch(sys.argv[1], Path(sys.argv[2]))
"""
    command = [sys.executable, "-c", code, f"{web.url}/file", str(target)]
    children = [subprocess.Popen(command) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert target.read_bytes() == CONTENT
    assert web.sent == len(CONTENT)
    assert names(target) == ["file.bin"]


def test_fetch_reports_megabytes(web: Web, target: Path) -> None:
    class Listener:
        def __init__(self) -> None:
            self.begun: list[tuple[str, int]] = []
            self.steps = 0

        def begin(self, title: str, total: int) -> None:
            self.begun.append((title, total))
            self.steps = 0

        def advance(self, steps: int = 1, **fields: str) -> None:
            self.steps += steps

        def end(self) -> None:
            self.begun.append(("end", self.steps))

        def say(self, line: str) -> None:
            pass

    listener = Listener()
    web.files["/file"] = bytes(3_500_000)
    fetch(f"{web.url}/file", target, limits=QUICK, progress=listener)
    assert listener.begun == [("file.bin, MB", 4), ("end", 3)]
