"""Download one file over HTTP with resume; it appears at its path only when complete and verified.

`requests` and urllib3's `Retry` handle the protocol, redirects, proxies, TLS and retries of a request. This module
adds resuming an interrupted body. Bytes are written to `<name>.part`; `<name>.part.json` records which file they
belong to, and the next request asks for the rest on condition that the server's file is unchanged (RFC 9110,
If-Range).
"""

from __future__ import annotations

import errno
import json
import math
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from tdpn_core import files
from tdpn_core.checksum import Checksum
from tdpn_core.claim import claimed
from tdpn_core.errors import InUseError, TdpnError, UsageError
from tdpn_core.fetch_limits import FetchLimits
from tdpn_core.offline import REASON, is_offline
from tdpn_core.progress import SILENT, ByteProgress, Progress
from tdpn_core.wording import size_text

_CHUNK = 1 << 18
_LONGEST_PAUSE = 60.0
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_REASONS = {401: "access is refused", 403: "access is refused", 404: "does not exist", 410: "no longer exists"}


class FetchLimitError(TdpnError):
    """A server was slower than a limit allows."""

    def __init__(self, limit: Literal["idle", "total"], what: str, *, where: str, hint: str | None = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.limit = limit
        """Field of `FetchLimits` that was exceeded."""


def fetch(
    url: str,
    path: Path,
    *,
    checksum: Checksum | None = None,
    size: int | None = None,
    etag_is_md5: bool = False,
    caller_checks_end: bool = False,
    limits: FetchLimits | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Download `url` to `path`, unless the file exists already; returns `path`.

    Proxies and additional certificates are taken from the environment (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`). If another
    process is downloading the same file, wait for it.

    Args:
        url: an http or https address.
        path: output file; an unfinished download leaves `<path>.part`, from which the next call continues.
        checksum: the published checksum.
        size: expected number of bytes; default: the server's Content-Length.
        etag_is_md5: the server is S3, where the ETag is the MD5 of an object that was not uploaded in parts.
        caller_checks_end: the caller detects a truncated file, so the server need not state the length.
        limits: timeouts and retries.
        progress: receives the megabytes.

    Raises:
        FetchLimitError: the server is slower than `limits` allow.
        UsageError: `url` is neither http nor https, or the folder is not writable.
        TdpnError: the file cannot be downloaded, does not fit on the disk, or is not the expected one; or it does not
            exist and tdpn is offline.
    """
    _check_scheme(url)
    if is_offline() and not path.is_file():
        raise TdpnError(REASON, where=url, hint=_by_hand(path))
    limits = limits or FetchLimits()
    clock = _Clock(url, limits.total)
    with ExitStack() as stack:
        if not path.is_file():
            _wait_for_claim(path, clock, stack, progress)
        if path.is_file():
            _verify(path, size, [checksum], hint=f"remove it to download it again from {url}")
            return path
        part = _Part(path)
        end_is_checked = caller_checks_end or checksum is not None
        _Transfer(url, part, size, end_is_checked, etag_is_md5, limits, clock, progress).run()
        try:
            total = size if size is not None else part.remote.size
            stated = Checksum("md5", part.remote.md5) if part.remote.md5 else None
            _verify(part.path, total, [checksum, stated], hint=f"run again to download it again from {url}")
        except TdpnError:
            part.discard()
            raise
        part.path.replace(path)
        part.notes.unlink(missing_ok=True)
    return path


@dataclass(frozen=True)
class Peeked:
    """The start of a server's answer."""

    url: str
    """Address after redirects."""

    content_type: str
    """Content type in lower case, without parameters; empty if unknown."""

    length: int | None
    """Length of the body in bytes; None if unknown."""

    body: bytes
    """First bytes of the body; empty unless requested."""


def peek(
    url: str,
    *,
    limits: FetchLimits,
    wants_body: Callable[[Peeked], bool],
    most: int = 1 << 20,
    enough: Callable[[bytes], bool] = lambda body: False,
) -> Peeked:
    """Request `url` and close the connection after the headers, or after the first `most` bytes.

    Args:
        url: an http or https address.
        limits: timeouts and retries; the answer may take `idle` seconds for each request that `retries` allows.
        wants_body: decides from the headers whether to read the body.
        most: largest number of bytes to read.
        enough: given the bytes so far, whether to stop; what a live stream sends next may take long.

    Raises:
        FetchLimitError: the server is slower than `limits` allow.
        UsageError: `url` is neither http nor https.
        TdpnError: the server refuses or cannot be reached, or tdpn is offline.
    """
    _check_scheme(url)
    if is_offline():
        raise TdpnError(REASON, where=url)
    patience = limits.idle * (limits.retries + 1) + limits.pause
    total = math.inf if limits.total is None else limits.total
    limit: Literal["idle", "total"] = "idle" if patience <= total else "total"
    clock = _Clock(url, min(patience, total), limit=limit, what="the server did not answer")
    with _Session(limits) as session:
        request = _Request(url, limits, clock, lambda what: TdpnError(what, where=url))
        with request.send(session, {}) as answer:
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            found = Peeked(answer.url, kind, _length(answer), b"")
            if not wants_body(found):
                return found
            body = bytearray()
            try:
                while len(body) < most and (chunk := answer.raw.read1(most - len(body))):
                    body += chunk
                    if enough(bytes(body)):
                        break
                    clock.left  # noqa: B018 - raises at the limit
            except urllib3.exceptions.HTTPError as error:
                raise request.given_up(error) from error
            return replace(found, body=bytes(body))


@dataclass(frozen=True)
class _Remote:
    """Metadata from the server about the file of a partial download."""

    url: str = ""
    validator: str | None = None
    """Strong ETag, else the date: the condition for resuming."""

    size: int | None = None
    md5: str | None = None


class _Part:
    """The unfinished file and its metadata file."""

    def __init__(self, path: Path) -> None:
        self.destination = path
        self.path = path.with_name(path.name + ".part")
        self.notes = path.with_name(path.name + ".part.json")
        self.remote = _Remote()
        with suppress(OSError, ValueError, TypeError):  # unreadable metadata: the part cannot be used
            self.remote = _Remote(**json.loads(self.notes.read_text()))

    @property
    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, remote: _Remote) -> None:
        """Discard existing data to download `remote` from its first byte."""
        self.discard()
        self.remote = remote
        files.write_json(self.notes, asdict(remote))

    def discard(self) -> None:
        self.notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.remote = _Remote()


class _BrokenError(Exception):
    """The body broke off or the part does not match: another request may succeed."""


class _SlowError(_BrokenError):
    """The transfer is too slow."""


class _Clock:
    """Remaining time of a total limit."""

    def __init__(
        self,
        url: str,
        total: float | None,
        *,
        limit: Literal["idle", "total"] = "total",
        what: str = "was not complete",
    ) -> None:
        self._url, self._limit, self._what = url, limit, what
        self._total = math.inf if total is None else total
        self._end = time.monotonic() + self._total

    @property
    def left(self) -> float:
        """Return the remaining seconds, more than 0.

        Raises:
            FetchLimitError: no time is left.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            hint = "run again to continue, with a larger limit"
            raise FetchLimitError(self._limit, f"{self._what} within {self._total:g} s", where=self._url, hint=hint)
        return seconds

    def run(self, call: Callable[[], requests.Response]) -> requests.Response:
        """Return `call()`, abandoning it at the limit: name resolution and slow headers have no socket timeout."""
        if self._total == math.inf:
            return call()
        outcome: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                outcome.put(call())
            except Exception as error:
                outcome.put(error)

        threading.Thread(target=work, daemon=True).start()
        while True:
            with suppress(queue.Empty):
                found = outcome.get(timeout=self.left)
                break
        if isinstance(found, Exception):
            raise found
        return found


class _Session(requests.Session):
    """A session that follows redirects only within http(s), and not from https to http."""

    def __init__(self, limits: FetchLimits) -> None:
        super().__init__()
        self.headers = {"User-Agent": "tdpn", "Accept-Encoding": "identity"}  # type: ignore[assignment]
        retry = urllib3.Retry(
            limits.retries,
            other=0,  # for example, certificate errors
            status_forcelist=_TRANSIENT,
            backoff_factor=limits.pause,
            backoff_max=_LONGEST_PAUSE,
            retry_after_max=int(_LONGEST_PAUSE),
            raise_on_status=False,
        )
        self.mount("http://", HTTPAdapter(max_retries=retry))
        self.mount("https://", HTTPAdapter(max_retries=retry))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            scheme = urlsplit(urljoin(resp.url, target)).scheme
            if scheme not in ("http", "https") or (scheme == "http" and resp.url.startswith("https:")):
                resp.close()
                raise TdpnError(f"redirects to {target[:200]!a}, which is not followed", where=resp.url)
        return target


@dataclass(frozen=True)
class _Request:
    """Requests for one address."""

    url: str
    limits: FetchLimits
    clock: _Clock
    failure: Callable[[str], TdpnError]
    """Returns the error for a fault, with a hint."""

    def send(self, session: _Session, headers: dict[str, str]) -> requests.Response:
        """Send a request and return the answer with headers, without its body."""

        def get() -> requests.Response:
            return session.get(self.url, headers=headers, stream=True, timeout=timeout)

        timeout = min(self.limits.idle, self.clock.left)
        try:
            answer = self.clock.run(get)
        except requests.exceptions.SSLError as error:
            what = f"the server's certificate cannot be verified: {_reason(error)}"
            hint = "give the certificates of your network in REQUESTS_CA_BUNDLE"
            raise TdpnError(what, where=self.url, hint=hint) from error
        except (requests.RequestException, UnicodeError) as error:
            raise self.given_up(error) from error
        status = answer.status_code
        if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            return answer
        answer.close()
        reason = _REASONS.get(status, f"cannot be fetched: {answer.reason or 'it is refused'}")
        raise self.failure(f"{reason} (HTTP {status})")

    def given_up(self, error: Exception) -> TdpnError:
        """Return the error after the last retry.

        Raises:
            FetchLimitError: no time is left.
        """
        self.clock.left  # noqa: B018 - raises at the limit
        if isinstance(error, _SlowError):
            what = str(error)
        elif _is_timeout(error):
            what = f"no data for {self.limits.idle:g} s"
        else:
            return self.failure(f"cannot be fetched: {_reason(error)}")
        failure = self.failure(f"cannot be fetched: {what}")
        return FetchLimitError("idle", failure.what, where=self.url, hint=failure.hint)


@dataclass
class _Transfer:
    """Fills a part, with as many requests as necessary."""

    url: str
    part: _Part
    size: int | None
    end_is_checked: bool
    etag_is_md5: bool
    limits: FetchLimits
    clock: _Clock
    progress: Progress

    def run(self) -> None:
        """Fill the part.

        Raises:
            FetchLimitError: the server is too slow; the message contains the bytes received.
        """
        request = _Request(self.url, self.limits, self.clock, self._failure)
        try:
            with _Session(self.limits) as session, ByteProgress(self.progress) as meter:
                self._run(request, session, meter)
        except FetchLimitError as error:
            what = f"{error.what}: {self._received()}"
            raise FetchLimitError(error.limit, what, where=self.url, hint=error.hint) from error

    def _run(self, request: _Request, session: _Session, meter: ByteProgress) -> None:
        failures = 0
        while True:
            before, began = self.part.length, time.monotonic()
            try:
                return self._request(request, session, meter)
            except (_BrokenError, urllib3.exceptions.HTTPError) as error:
                grown = self.part.length - before
                progress = grown > 0 and grown >= self.limits.slowest * (time.monotonic() - began)
                failures = 1 if progress else failures + 1
                if failures > self.limits.retries:
                    raise request.given_up(error) from error
                pause = min(_LONGEST_PAUSE, self.limits.pause * 2 ** (failures - 1))
                time.sleep(min(pause, self.clock.left))

    def _request(self, request: _Request, session: _Session, meter: ByteProgress) -> None:
        part, have = self.part, self.part.length
        headers = {}
        if part.remote.url != self.url or not part.remote.validator:
            part.discard()
        elif have and have == part.remote.size:  # only verification is missing
            return
        elif have:
            headers = {"Range": f"bytes={have}-", "If-Range": part.remote.validator}
        with request.send(session, headers) as answer:
            self._accept(answer)
            self._check_size()
            if part.remote.size is not None:
                files.need_space(part.path.parent, part.remote.size - part.length, part.destination)
            meter.begin(part.destination.name, part.remote.size or self.size or 0, part.length)
            self._receive(answer, meter)

    def _accept(self, answer: requests.Response) -> None:
        """Update the part for the answer."""
        part, known = self.part, self.part.remote
        if answer.headers.get("Content-Type", "").startswith("text/html") and not self.url.endswith((".html", ".htm")):
            what = "the server sent a web page, not the file"
            raise TdpnError(what, where=self.url, hint=f"open the address in a browser; {self._by_hand()}")
        said = _describe(answer, self.url, self.etag_is_md5)
        if answer.status_code == HTTPStatus.OK:
            return part.begin(said)
        place = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", ""))
        # some servers ignore If-Range; those that support it need not repeat the file's metadata
        same = said.validator in (None, known.validator)
        if not (place and same and int(place[1]) == part.length and known.size in (None, int(place[3]))):
            part.discard()
            raise _BrokenError("the file changed on the server")
        part.remote = replace(known, size=int(place[3]))

    def _check_size(self) -> None:
        total = self.part.remote.size
        if total is not None and self.size is not None and total != self.size:
            self.part.discard()
            raise TdpnError(f"has {total} bytes on the server, expected {self.size}", where=self.url)
        if total is None and self.size is None and not self.end_is_checked:
            self.part.discard()
            raise self._failure("the server does not give the length, so an incomplete download could not be detected")

    def _receive(self, answer: requests.Response, meter: ByteProgress) -> None:
        """Append the answer's body to the part."""
        total = self.part.remote.size if self.part.remote.size is not None else self.size
        have = self.part.length
        pace = _Pace(self.limits)
        with _disk_errors(self.part), self.part.path.open("ab") as sink:
            while total is None or have < total:
                self.clock.left  # noqa: B018 - raises at the limit
                # read1 returns what has arrived, so that nothing is lost if the connection breaks
                chunk = answer.raw.read1(min(_CHUNK, _CHUNK if total is None else total - have))
                if not chunk:
                    break
                sink.write(chunk)
                have += len(chunk)
                meter.add(len(chunk))
                pace.add(len(chunk))
            sink.flush()
            os.fsync(sink.fileno())

    def _failure(self, what: str) -> TdpnError:
        had = self.part.length
        again = f"run again to continue from {size_text(had)}" if had else "check the network and the address"
        return TdpnError(what, where=self.url, hint=f"{again}, or {self._by_hand()}")

    def _received(self) -> str:
        total = self.part.remote.size if self.part.remote.size is not None else self.size
        of = "" if total is None else f" of {size_text(total)}"
        return f"{size_text(self.part.length)}{of} received"

    def _by_hand(self) -> str:
        return _by_hand(self.part.destination)


def _by_hand(path: Path) -> str:
    return f"get the file in another way and put it at {path}"


def _describe(answer: requests.Response, url: str, etag_is_md5: bool) -> _Remote:
    """Return the metadata in the headers; `size` of a partial answer is that of the part."""
    etag = answer.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else None
    plain = re.fullmatch(r'"([0-9a-f]{32})"', etag)
    by_key = answer.headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")  # then it is not an MD5
    return _Remote(
        url,
        strong or answer.headers.get("Last-Modified"),
        _length(answer),
        plain[1] if etag_is_md5 and plain and not by_key else None,
    )


def _length(answer: requests.Response) -> int | None:
    """Return the length of the body according to the headers."""
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError("is not an http or https address", where=url)


class _Pace:
    """Detects a transfer that is too slow."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._since, self._bytes = time.monotonic(), 0

    def add(self, count: int) -> None:
        """Count `count` received bytes.

        Raises:
            _SlowError: too few bytes were received within the last `idle` seconds.
        """
        self._bytes += count
        now, limits = time.monotonic(), self._limits
        if now - self._since < limits.idle:
            return
        if self._bytes < limits.slowest * (now - self._since):
            raise _SlowError(f"less than {size_text(limits.slowest)} a second for {limits.idle:g} s")
        self._since, self._bytes = now, 0


def _wait_for_claim(path: Path, clock: _Clock, stack: ExitStack, progress: Progress) -> None:
    """Hold the claim on the file until `stack` closes; wait for another process that downloads it."""
    reported = False
    while True:
        try:
            hint = "wait for it, or stop it"
            stack.enter_context(claimed(path, "downloading", hint=hint, option="folder", file=True))
            return
        except InUseError as error:
            if not reported:
                progress.say(f"waiting for another download: {error}")
            reported = True
            time.sleep(min(0.5, clock.left))


def _is_timeout(error: BaseException) -> bool:
    """Return whether an error or its cause is a timeout."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (TimeoutError, urllib3.exceptions.ReadTimeoutError)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _reason(error: BaseException) -> str:
    """Return the message of the innermost cause, from the operating system or the TLS library."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error) or repr(error)


@contextmanager
def _disk_errors(part: _Part) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free some space and run again: it continues from here" if error.errno == errno.ENOSPC else None
        raise TdpnError(f"cannot write: {error.strerror or error}", where=part.path, hint=hint) from error


def _verify(path: Path, size: int | None, checksums: Sequence[Checksum | None], *, hint: str) -> None:
    """Compare a file with the expected size and digests.

    Raises:
        TdpnError: it differs; the message has both values.
    """
    found = path.stat().st_size
    if size is not None and found != size:
        raise TdpnError(f"has {found} bytes, expected {size}", where=path, hint=hint)
    for expected in filter(None, checksums):
        digest = expected.of(path)
        if not expected.matches(digest):
            what = f"is damaged or another file: {expected.algorithm} is {digest}, expected {expected.digits}"
            raise TdpnError(what, where=path, hint=hint)
