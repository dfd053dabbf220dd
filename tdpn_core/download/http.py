"""One file from the web to the disk: resumed where it broke off, and there only when it is whole and checked.

Bytes land in `<name>.part`; `<name>.part.json` keeps what the server said of the file they belong to. A later call asks
for the rest under the condition that the file is still that one (RFC 9110, If-Range), else it starts anew.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from email.message import Message
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tdpn_core import files
from tdpn_core.errors import TdpnError, UsageError
from tdpn_core.progress import SILENT, Progress

MEGABYTE = 1_000_000  # steps of a progress bar
_CHUNK = 1 << 18
_LONGEST_PAUSE = 60.0
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_WORD = {401: "access is refused", 403: "access is refused", 404: "is not there", 410: "is not there any more"}


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a server is waited for."""

    timeout: float = 60.0
    """Seconds without a byte after which a connection is given up."""

    retries: int = 6
    """Failures in a row, without a byte between them, that are forgiven."""

    pause: float = 1.0
    """Seconds before the first new attempt, doubled with each failure."""


@dataclass(frozen=True)
class Fetched:
    """A file that is whole."""

    path: Path
    size: int
    sha256: str
    reused: int
    """Bytes that were there before and were not asked for again."""


@dataclass(frozen=True)
class _Remote:
    """What the server said of the file that a part belongs to."""

    url: str
    total: int | None = None
    etag: str | None = None
    modified: str | None = None
    md5: str | None = None

    @property
    def condition(self) -> str | None:
        """The value of If-Range: a strong entity tag, else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _TransientError(Exception):
    """Worth another attempt; `pause` in seconds if the server named one."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


def fetch(
    url: str,
    destination: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
    etag_is_md5: bool = False,
    patience: Patience | None = None,
    progress: Progress = SILENT,
) -> Fetched:
    """Download `url` to `destination`, unless it is there. Proxies are taken from the environment, TLS is verified.

    Args:
        url: http or https.
        destination: the file; stopped downloads leave `<destination>.part` beside it, from which the next call goes on.
        size: expected number of bytes; else the server's Content-Length is.
        sha256: expected digest, in hexadecimal.
        md5: likewise.
        etag_is_md5: the server is S3, whose ETag is the MD5 of an object that was not uploaded in parts.
        patience: when to give up.
        progress: told of megabytes.

    Raises:
        UsageError: `url` is neither http nor https.
        TdpnError: the file cannot be had, does not fit the disk, or is not the expected one.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError("is no http or https address", where=url)
    if destination.is_file():
        found = _verify(destination, size, sha256, md5, hint=f"remove it to fetch it anew from {url}")
        return Fetched(destination, found.size, found.sha256, found.size)
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(destination)
    reused = _download(url, part, size, bool(sha256 or md5), etag_is_md5, patience or Patience(), progress)
    try:
        total = size if size is not None else part.remote.total
        found = _verify(part.path, total, sha256, md5 or part.remote.md5, hint=f"run again to fetch it anew from {url}")
    except TdpnError:
        part.discard()
        raise
    part.path.replace(destination)
    part.notes.unlink(missing_ok=True)
    return Fetched(destination, found.size, found.sha256, reused)


class _Part:
    """The unfinished file and the notes beside it."""

    def __init__(self, destination: Path) -> None:
        self.destination = destination
        self.path = destination.with_name(destination.name + ".part")
        self.notes = destination.with_name(destination.name + ".part.json")
        self.remote = _Remote("")
        with suppress(OSError, ValueError, TypeError):  # notes that cannot be read: the part is of no use
            self.remote = _Remote(**json.loads(self.notes.read_text()))

    @property
    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, remote: _Remote) -> None:
        """Forget what is there: `remote` is fetched from its first byte."""
        self.discard()
        self.remote = remote
        files.write_json(self.notes, asdict(remote))

    def discard(self) -> None:
        self.notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.remote = _Remote("")


def _download(
    url: str,
    part: _Part,
    size: int | None,
    has_digest: bool,
    etag_is_md5: bool,
    patience: Patience,
    progress: Progress,
) -> int:
    """Fill the part; return how many of its bytes were there before."""
    opener = _opener()
    meter = Meter(progress, part.destination.name)
    reused = part.length
    failures = 0
    try:
        while True:
            before = part.length
            try:
                answer = _ask(opener, url, part, patience.timeout)
                with answer:
                    began = _accept(answer, url, part, etag_is_md5)
                    reused = 0 if began else reused
                    _check_size(part, url, size, has_digest)
                    _check_space(part)
                    meter.begin(part.remote.total or size or 0, part.length)
                    _receive(answer, part, meter)
                return reused
            except _CompleteError:
                return reused
            except _TransientError as error:
                failures = 1 if part.length > before else failures + 1
                if failures > patience.retries:
                    raise _unreachable(url, str(error), part) from error
                time.sleep(min(_LONGEST_PAUSE, max(patience.pause * 2 ** (failures - 1), error.pause or 0)))
    finally:
        meter.end()


class _CompleteError(Exception):
    """The part has all its bytes already; only the checks were missing."""


def _ask(opener: urllib.request.OpenerDirector, url: str, part: _Part, timeout: float) -> http.client.HTTPResponse:
    """Send the request, for the rest of the file where the part can be trusted to be its beginning."""
    headers = {"User-Agent": "tdpn", "Accept-Encoding": "identity"}
    have = part.length
    if part.remote.url != url or not part.remote.condition:
        part.discard()
    elif have and have == part.remote.total:
        raise _CompleteError
    elif have:
        headers |= {"Range": f"bytes={have}-", "If-Range": part.remote.condition}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme was checked
    answer: http.client.HTTPResponse = _forgiving(partial(opener.open, request, timeout=timeout), url, part)
    return answer


def _forgiving(call: Callable[[], Any], url: str, part: _Part) -> Any:
    """`call()`, its failures sorted into those that pass and those that last."""
    try:
        return call()
    except urllib.error.HTTPError as error:
        with error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.discard()
                raise _TransientError("the file became shorter") from error
            if error.code in _TRANSIENT:
                wait = error.headers.get("Retry-After", "")
                raise _TransientError(f"HTTP {error.code}", float(wait) if wait.isdigit() else None) from error
            word = _WORD.get(error.code, error.reason or "is refused")
            raise TdpnError(f"{word} (HTTP {error.code})", where=url, hint=_by_hand(part)) from error
    except http.client.InvalidURL as error:
        raise TdpnError(f"is no address: {error}", where=url) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            what = f"the server's certificate cannot be verified: {error.reason.verify_message}"
            raise TdpnError(what, where=url, hint=_by_hand(part)) from error
        if not isinstance(error.reason, OSError):
            raise TdpnError(f"cannot be fetched: {error.reason}", where=url, hint=_by_hand(part)) from error
        raise _TransientError(str(error.reason.strerror or error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _TransientError(str(error) or type(error).__name__) from error


def _accept(answer: http.client.HTTPResponse, url: str, part: _Part, etag_is_md5: bool) -> bool:
    """Bring the part in line with the answer; True if it starts from nothing."""
    said = _describe(answer.headers, url, etag_is_md5)
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        place = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", ""))
        # some servers ignore If-Range; and those that heed it need not say again what the file is
        known = part.remote
        same = said.etag in (None, known.etag) and said.modified in (None, known.modified)
        if not (place and same and int(place[1]) == part.length and known.total in (None, int(place[3]))):
            part.discard()
            raise _TransientError("the file changed")
        return False
    part.begin(said)
    return True


def _describe(headers: Message, url: str, etag_is_md5: bool) -> _Remote:
    """Of the whole file; `total` of a partial answer is that of the part."""
    length, etag = headers.get("Content-Length", ""), headers.get("ETag")
    plain = re.fullmatch(r'"([0-9a-f]{32})"', etag or "")
    by_key = headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")  # then it is no MD5
    return _Remote(
        url,
        int(length) if length.isdigit() else None,
        etag,
        headers.get("Last-Modified"),
        plain[1] if etag_is_md5 and plain and not by_key else None,
    )


def _check_size(part: _Part, url: str, size: int | None, has_digest: bool) -> None:
    total = part.remote.total
    if total is not None and size is not None and total != size:
        part.discard()
        raise TdpnError(f"has {total} bytes on the server, expected {size}", where=url)
    if total is None and size is None and not has_digest:
        part.discard()
        what = "the server tells no length, so that a broken download could not be told from a whole one"
        raise TdpnError(what, where=url, hint=_by_hand(part))


def _check_space(part: _Part) -> None:
    if part.remote.total is not None:
        need_space(part.destination.parent, part.remote.total - part.length, part.destination)


def need_space(folder: Path, needed: int, where: Path) -> None:
    """Raise TdpnError if `folder`'s disk has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"needs {in_gigabytes(needed)} more, and the disk has {in_gigabytes(free)} left"
        raise TdpnError(what, where=where, hint="free some space, or choose a root on another disk")


def in_gigabytes(count: int) -> str:
    """A number of bytes for a reader."""
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e3:.1f} kB"


def _receive(answer: http.client.HTTPResponse, part: _Part, meter: Meter) -> None:
    """Append the answer's body to the part."""
    total = part.remote.total
    have = part.length
    with _disk(part), part.path.open("ab") as sink:
        while total is None or have < total:
            wanted = _CHUNK if total is None else min(_CHUNK, total - have)
            # read1 hands over what has come, so that a break loses nothing of it
            chunk: bytes = _forgiving(partial(answer.read1, wanted), part.remote.url, part)
            if not chunk:
                break
            sink.write(chunk)
            have += len(chunk)
            meter.add(len(chunk))
        sink.flush()
        os.fsync(sink.fileno())
    if total is not None and have < total:
        raise _TransientError(f"the connection ended at {have} of {total} bytes")


@contextmanager
def _disk(part: _Part) -> Iterator[None]:
    """Say what a failing disk means."""
    try:
        yield
    except OSError as error:
        hint = "free some space and run again: it goes on from here" if error.errno == errno.ENOSPC else None
        raise TdpnError(f"cannot write: {error.strerror or error}", where=part.path, hint=hint) from error


def _unreachable(url: str, reason: str, part: _Part) -> TdpnError:
    kept = f"run again to go on from {in_gigabytes(part.length)}, or " if part.length else "check the network, or "
    return TdpnError(f"cannot be fetched: {reason}", where=url, hint=kept + _by_hand(part))


def _by_hand(part: _Part) -> str:
    return f"get the file in another way and put it at {part.destination}"


@dataclass(frozen=True)
class _Found:
    size: int
    sha256: str


def _verify(path: Path, size: int | None, sha256: str | None, md5: str | None, *, hint: str) -> _Found:
    """Measure the file and compare.

    Raises:
        TdpnError: with what was expected and what was found.
    """
    found = path.stat().st_size
    if size is not None and found != size:
        raise TdpnError(f"has {found} bytes, expected {size}", where=path, hint=hint)
    digests = {"sha256": files.digest_file(path)}
    if md5:
        with path.open("rb") as source:  # against damage, not against forgers: it is all that the owner gives
            digests["md5"] = hashlib.file_digest(source, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    for name, expected in (("sha256", sha256), ("md5", md5)):
        if expected and digests[name] != expected.lower():
            what = f"is damaged or another file: {name} is {digests[name]}, expected {expected}"
            raise TdpnError(what, where=path, hint=hint)
    return _Found(found, digests["sha256"])


class Meter:
    """Bytes as the steps of a progress bar."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._bytes = 0
        self._running = False

    def begin(self, total: int, have: int = 0) -> None:
        """Start, or start anew, at `have` of `total` bytes."""
        self.end()
        self._progress.begin(f"{self._title}, MB", -(-total // MEGABYTE))
        self._running, self._bytes = True, 0
        self.add(have)

    def add(self, count: int) -> None:
        """`count` more bytes are done."""
        before, self._bytes = self._bytes, self._bytes + count
        if steps := self._bytes // MEGABYTE - before // MEGABYTE:
            self._progress.advance(steps)

    def end(self) -> None:
        """Finished or not."""
        if self._running:
            self._progress.end()
        self._running = False


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but not out of the web and not out of TLS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            raise urllib.error.URLError(f"redirected to {newurl}, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Of http and https only: urllib's own would open files and ftp too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
