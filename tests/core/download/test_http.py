"""A file arrives whole and checked, or not at all, whatever the server and the disk do."""

import hashlib
import json
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from local_web import QUICK, Web

from tdpn_core.download import Patience, fetch
from tdpn_core.errors import TdpnError, UsageError

CONTENT = random.Random(0).randbytes(300_001)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.bin"


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_is_fetched_and_nothing_is_left_beside_it(web: Web, target: Path) -> None:
    web.files["/a%20b"] = CONTENT
    got = fetch(f"{web.url}/a%20b", target, size=len(CONTENT), sha256=SHA256.upper(), patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.bin"]
    assert (got.size, got.sha256, got.reused) == (len(CONTENT), SHA256, 0)


def test_a_file_that_is_there_is_checked_and_not_asked_for(web: Web, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert fetch(f"{web.url}/file", target, sha256=SHA256).reused == len(CONTENT)
    with pytest.raises(TdpnError, match=f"sha256 is {SHA256}, expected {'0' * 64}; remove it to fetch it anew"):
        fetch(f"{web.url}/file", target, sha256="0" * 64)
    with pytest.raises(TdpnError, match="has 300001 bytes, expected 5"):
        fetch(f"{web.url}/file", target, size=5)
    assert target.exists()
    assert not web.asked


@pytest.mark.parametrize("seed", range(8))
def test_connections_that_break_at_random_points_cost_no_byte_twice(web: Web, target: Path, seed: int) -> None:
    chance = random.Random(seed)
    web.files["/file"] = CONTENT
    web.cut = [chance.randrange(60_000) for _ in range(5)]
    fetch(f"{web.url}/file", target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert web.sent == len(CONTENT)


def test_a_stopped_download_goes_on_in_the_next_call(web: Web, target: Path) -> None:
    web.files["/file"] = CONTENT
    web.cut = [100_000, 0]
    with pytest.raises(TdpnError, match=r"the connection ended at 100000 of 300001 bytes; run again to go on from"):
        fetch(f"{web.url}/file", target, patience=Patience(retries=0))
    assert names(target) == ["file.bin.part", "file.bin.part.json"]
    web.cut = []
    got = fetch(f"{web.url}/file", target, patience=QUICK)
    assert (got.reused, target.read_bytes()) == (100_000, CONTENT)
    assert web.asked[-1] == ("/file", "bytes=100000-")
    assert web.conditions == [None, f'"{hashlib.md5(CONTENT).hexdigest()}"']


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("etag", [True, False])
def test_a_file_that_changed_in_between_is_fetched_anew(
    web: Web, target: Path, ranges: bool, heeds: bool, etag: bool
) -> None:
    if not etag:
        web.etag = lambda content: None
    web.files["/file"] = CONTENT
    web.cut = [100_000]
    with pytest.raises(TdpnError):
        fetch(f"{web.url}/file", target, patience=Patience(retries=0))
    changed = CONTENT[::-1]
    web.files["/file"], web.modified = changed, "Tue, 02 Jan 2024 00:00:00 GMT"
    web.ranges, web.heeds_if_range = ranges, heeds
    got = fetch(f"{web.url}/file", target, patience=QUICK)
    assert (got.reused, target.read_bytes()) == (0, changed)


@pytest.mark.parametrize("length", [99_999, 100_000, 100_001])
def test_a_file_that_became_shorter_is_fetched_anew(web: Web, target: Path, length: int) -> None:
    web.files["/file"] = CONTENT
    web.cut = [100_000]
    with pytest.raises(TdpnError):
        fetch(f"{web.url}/file", target, patience=Patience(retries=0))
    web.files["/file"] = CONTENT[:length]
    web.heeds_if_range = False
    fetch(f"{web.url}/file", target, patience=QUICK)
    assert target.read_bytes() == CONTENT[:length]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_part_whose_file_cannot_be_recognised_is_not_gone_on_with(web: Web, target: Path, etag: str | None) -> None:
    web.files["/file"], web.modified, web.etag = CONTENT, None, lambda content: etag
    web.cut = [100_000]
    fetch(f"{web.url}/file", target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted in web.asked] == [None, None]


@pytest.mark.parametrize("notes", [b"", b"[1]", b'{"url": 1, "more": 2}', b"\xff"])
def test_a_part_with_damaged_notes_is_not_gone_on_with(web: Web, target: Path, notes: bytes) -> None:
    web.files["/file"] = CONTENT
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"wrong")
    target.with_name("file.bin.part.json").write_bytes(notes)
    fetch(f"{web.url}/file", target, patience=QUICK)
    assert target.read_bytes() == CONTENT


def test_a_killed_process_leaves_a_part_from_which_the_next_goes_on(web: Web, target: Path) -> None:
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
    got = fetch(f"{web.url}/file", target, sha256=SHA256, patience=QUICK)
    assert (got.reused, target.read_bytes()) == (kept, CONTENT)


def test_a_part_that_was_complete_is_only_checked(web: Web, target: Path) -> None:
    web.files["/file"] = CONTENT
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT)
    notes = {"url": f"{web.url}/file", "total": len(CONTENT), "etag": '"x"', "modified": None, "md5": None}
    target.with_name("file.bin.part.json").write_text(json.dumps(notes))
    assert fetch(f"{web.url}/file", target, sha256=SHA256).reused == len(CONTENT)
    assert not web.asked
    assert names(target) == ["file.bin"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_busy_server_is_asked_again(web: Web, target: Path, status: int) -> None:
    web.files["/file"], web.statuses = CONTENT, [status] * 3
    fetch(f"{web.url}/file", target, patience=QUICK)
    assert len(web.asked) == 4
    web.statuses = [status] * 4
    with pytest.raises(TdpnError, match=rf"/file: cannot be fetched: HTTP {status}; .*put it at .*other"):
        fetch(f"{web.url}/file", target.with_name("other"), patience=QUICK)


@pytest.mark.parametrize(
    ("status", "text"), [(404, "is not there"), (403, "access is refused"), (410, "is not there any more"), (451, "")]
)
def test_a_refusal_is_not_repeated_and_says_what_to_do(web: Web, target: Path, status: int, text: str) -> None:
    web.statuses = [status]
    with pytest.raises(TdpnError, match=rf"{web.url}/file: {text}.*\(HTTP {status}\); .*put it at {target}"):
        fetch(f"{web.url}/file", target, patience=QUICK)
    assert len(web.asked) == 1


def test_a_hanging_server_is_given_up_and_asked_again(web: Web, target: Path) -> None:
    web.files["/file"], web.hang = CONTENT, [1.0]
    got = fetch(f"{web.url}/file", target, patience=Patience(timeout=0.2, pause=0.001))
    assert target.read_bytes() == CONTENT
    assert len(web.asked) == 2
    assert web.asked[1][1] is not None
    assert got.size == len(CONTENT)


def test_no_network_says_where_to_put_the_file(target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file"
    with pytest.raises(
        TdpnError, match=rf"cannot be fetched: Connection refused; check the network.*put it at {target}"
    ):
        fetch(url, target, patience=Patience(retries=1, pause=0.001))


class Wrong(NamedTuple):
    options: dict[str, str | int]
    text: str


WRONG = {
    "sha256": Wrong({"sha256": "1" * 64}, f"sha256 is {SHA256}, expected {'1' * 64}"),
    "md5": Wrong({"md5": "1" * 32}, f"md5 is {hashlib.md5(CONTENT).hexdigest()}, expected {'1' * 32}"),
    "size": Wrong({"size": 7}, "has 300001 bytes on the server, expected 7"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_file_than_expected_is_refused_with_both_values_and_leaves_nothing(
    web: Web, target: Path, kind: str
) -> None:
    web.files["/file"] = CONTENT
    with pytest.raises(TdpnError, match=WRONG[kind].text):
        fetch(f"{web.url}/file", target, patience=QUICK, **WRONG[kind].options)  # type: ignore[arg-type]
    assert names(target) == []


def test_the_etag_of_s3_is_compared_where_it_is_an_md5(web: Web, target: Path) -> None:
    web.files["/file"] = CONTENT
    fetch(f"{web.url}/file", target, etag_is_md5=True, patience=QUICK)
    target.unlink()
    right, wrong = hashlib.md5(CONTENT).hexdigest(), "0" * 32
    web.etag = lambda content: f'"{wrong}"'
    with pytest.raises(TdpnError, match=f"md5 is {right}, expected {wrong}"):
        fetch(f"{web.url}/file", target, etag_is_md5=True, patience=QUICK)
    fetch(f"{web.url}/file", target, patience=QUICK)  # of another server the tag means nothing
    target.unlink()
    web.headers = {"x-amz-server-side-encryption": "aws:kms"}
    fetch(f"{web.url}/file", target, etag_is_md5=True, patience=QUICK)
    target.unlink()
    web.headers, web.etag = {}, lambda content: f'"{wrong}-3"'  # uploaded in parts
    fetch(f"{web.url}/file", target, etag_is_md5=True, patience=QUICK)


def test_a_file_of_unknown_length_needs_something_to_check_it_by(web: Web, target: Path) -> None:
    web.files["/file"], web.tells_length = CONTENT, False
    with pytest.raises(TdpnError, match="tells no length"):
        fetch(f"{web.url}/file", target, patience=QUICK)
    fetch(f"{web.url}/file", target, sha256=SHA256, patience=QUICK)
    target.unlink()
    web.cut = [1000]
    with pytest.raises(TdpnError, match="has 1000 bytes, expected 300001"):
        fetch(f"{web.url}/file", target, size=len(CONTENT), patience=QUICK)


def test_a_disk_too_small_is_noticed_before(web: Web, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["/file"] = CONTENT
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 200_000}))
    with pytest.raises(TdpnError, match=r"needs 300.0 kB more, and the disk has 200.0 kB left; free some space"):
        fetch(f"{web.url}/file", target, patience=QUICK)
    assert "file.bin.part" not in names(target)


def test_a_disk_that_fills_up_keeps_what_is_there(web: Web, target: Path) -> None:
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
    assert fetch(f"{web.url}/file", target, patience=QUICK).reused == 100_000
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "/etc/passwd"])
def test_only_the_web_is_fetched(web: Web, target: Path, address: str) -> None:
    with pytest.raises(UsageError, match="is no http or https address"):
        fetch(address, target)
    web.redirect = {"/file": address}
    with pytest.raises(TdpnError, match=r"not allowed|not safe|is not there"):
        fetch(f"{web.url}/file", target, patience=QUICK)
    assert not target.exists()


def test_a_redirect_is_followed_and_resumed(web: Web, target: Path) -> None:
    web.files["/real"], web.redirect, web.cut = CONTENT, {"/file": "/real"}, [50_000]
    fetch(f"{web.url}/file", target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert web.asked[-1] == ("/real", "bytes=50000-")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_a_certificate_that_cannot_be_verified_is_an_error(target: Path, tmp_path: Path) -> None:
    pem = tmp_path / "self.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(
        [*words.split(), "-keyout", pem, "-out", tmp_path / "cert.pem"],
        capture_output=True,
        check=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TdpnError, match="certificate cannot be verified: self"):
            fetch(f"https://127.0.0.1:{server.getsockname()[1]}/file", target, patience=QUICK)
        thread.join()


def test_progress_is_told_in_megabytes(web: Web, target: Path) -> None:
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
    fetch(f"{web.url}/file", target, patience=QUICK, progress=listener)
    assert listener.begun == [("file.bin, MB", 4), ("end", 3)]
