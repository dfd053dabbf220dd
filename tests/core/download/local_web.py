"""A small web server on this machine, which misbehaves on request."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tdpn_core.download import FetchLimits

QUICK = FetchLimits(idle=5, retries=3, pause=0.001)


@dataclass
class Web:
    """What the server serves, and what it was asked."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    """By path, with a leading slash."""

    ranges: bool = True
    heeds_if_range: bool = True
    etag: Callable[[bytes], str | None] = lambda content: f'"{hashlib.md5(content).hexdigest()}"'
    modified: str | None = "Mon, 01 Jan 2024 00:00:00 GMT"
    tells_length: bool = True
    cut: list[int] = field(default_factory=list)
    """Bytes of the body after which each of the next answers breaks off."""

    statuses: list[int] = field(default_factory=list)
    """Of the next answers, instead of the file."""

    headers: dict[str, str] = field(default_factory=dict)
    redirect: dict[str, str] = field(default_factory=dict)
    hang: list[float] = field(default_factory=list)
    """Seconds of silence in the middle of each of the next bodies."""

    drip: float = 0.0
    """Seconds of a pause after each piece."""

    piece: int = 1000
    """Bytes that are sent at once where the body drips."""

    dripping: str = ""
    """Suffix of the paths whose body drips."""

    endless: bool = False
    """Bodies are sent again and again."""

    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of each request."""

    conditions: list[str | None] = field(default_factory=list)
    """If-Range of each request."""

    sent: int = 0
    """Bytes of bodies."""

    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        web: Web = self.server.web  # type: ignore[attr-defined]
        wanted = self.headers.get("Range")
        web.asked.append((self.path, wanted))
        web.conditions.append(self.headers.get("If-Range"))
        if self.path in web.redirect:
            return self._head(302, {"Location": web.redirect[self.path], "Content-Length": "0"})
        if web.statuses:
            return self._head(web.statuses.pop(0), {"Content-Length": "0", "Retry-After": "0"})
        content = web.files.get(self.path)
        if content is None:
            return self._head(404, {"Content-Length": "0"})
        etag = web.etag(content)
        said = {name: value for name, value in (("ETag", etag), ("Last-Modified", web.modified)) if value}
        same = not web.heeds_if_range or self.headers.get("If-Range") in (None, *said.values())
        start = 0
        if web.ranges and wanted and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
            if start >= len(content):
                return self._head(416, {"Content-Length": "0"})
            said["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        if web.tells_length:
            said["Content-Length"] = str(len(body))
        self._head(206 if "Content-Range" in said else 200, said | web.headers)
        cut = web.cut.pop(0) if web.cut else len(body)
        hang = web.hang.pop(0) if web.hang else 0
        body = body[:cut]
        if web.drip and self.path.endswith(web.dripping):
            while self._drip(web, body) and web.endless:
                pass
            return None
        self._send(web, body[: len(body) // 2])
        time.sleep(hang)
        self._send(web, body[len(body) // 2 :])
        return None

    def _drip(self, web: Web, body: bytes) -> bool:
        """Whether all of it could be sent."""
        for place in range(0, len(body), web.piece):
            if not self._send(web, body[place : place + web.piece]):
                return False
            time.sleep(web.drip)
        return True

    def _send(self, web: Web, body: bytes) -> bool:
        """Whether the other side has not given up."""
        try:
            self.wfile.write(body)
            web.sent += len(body)
        except OSError:
            self.close_connection = True
            return False
        return True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that gave up


@contextmanager
def serve(certificate: Path | None = None, key: Path | None = None) -> Iterator[Web]:
    """A server for the time of the context, over TLS with a certificate."""
    served = Web(scheme="https" if certificate else "http")
    server = _Server(("127.0.0.1", 0), _Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.web = served  # type: ignore[attr-defined]
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
