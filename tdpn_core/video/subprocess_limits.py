"""Run a child process for one clip, limited in time, memory and output, and kill it with all its descendants.

Decoders crash, hang and flood on damaged files, and some ignore SIGTERM; only a separate process contains that.
"""

from __future__ import annotations

import fcntl
import math
import os
import resource
import select
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from tdpn_core.errors import ClipError, Stopped, TdpnError, ToolError
from tdpn_core.video.temp_file import disk_full

SIDE_CHANNEL = "{side}"
"""Placeholder in an argument for the number of a descriptor to write to. `run_child` keeps its output in memory and
reads it at the end, so that a decoder that reports every frame does not wake this process each time."""

_LOG_BYTES = 32 * 1024  # of the log's head, and of its tail
_READ_BYTES = 1 << 20
_POLL_SECONDS = 0.25  # interval of checks for cancellation
_DAYS = 30 * 86400.0  # of processor time, for an endless stream
_CPU_FACTOR = 4  # times `seconds`, if no limit of processor time is given
_BUSY = 0.01  # share of a processor below which a child counts as idle
_ALMOST = 0.75  # share of the limit: the kernel enforces it in ticks but reports exact time


class ChildError(ClipError):
    """The child died or exceeded a limit, because of the clip or of the machine. A retry may succeed."""


class SilentError(ChildError):
    """No output for longer than the limit."""


class OverdueError(ChildError):
    """The child took longer than the total limit."""


class TooSlowError(ChildError):
    """The child used up its processor time; a retry would fail again."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Resource limits of a child, which is killed when it exceeds them."""

    seconds: float = 120.0
    """Seconds of wall-clock time without progress: no output, and hardly any processor time used."""

    cpu_seconds: float | None = None
    """Seconds of processor time, independent of the machine's load. None: four times `seconds`; for a clip, an amount
    that grows with its length and picture size."""

    output_bytes: int = 1 << 30
    """Bytes of standard output kept in memory, including the side channel."""

    file_bytes: int = 8 << 30
    """Bytes of standard output written to a file."""

    memory_bytes: int = 8 << 30
    """Bytes of address space, if the system can limit it."""


LIMITS = Limits()


@dataclass(frozen=True)
class Finished:
    """Result of a child process."""

    status: int
    """Exit status."""

    output: bytes
    """Standard output; empty if written to a file."""

    side: bytes
    """Output of the side channel."""

    log: str
    """Standard error; head and tail if long."""


def run_child(
    command: Sequence[str],
    limits: Limits,
    *,
    where: Path,
    output: IO[bytes] | None = None,
    feed: Iterable[bytes | memoryview] | None = None,
    cancel: threading.Event | None = None,
) -> Finished:
    """Run `command` until it ends.

    command: program and arguments, run without a shell. `SIDE_CHANNEL` in them requests one more descriptor.
    limits: limits; the child's process group is killed when it exceeds one.
        where: the clip, for messages.
        output: open file for the child's standard output; if None, the output is returned.
        feed: data for standard input, read on demand; if None, standard input is empty.
        cancel: if set, the child is killed within a fraction of a second.

    Raises:
        ChildError: a limit was exceeded, or a signal killed the child.
        Stopped: `cancel` was set.
        TdpnError: `output` may not grow further because of this process's own file size limit.
        ToolError: the program cannot be started.
    """
    with ExitStack() as stack:
        side: IO[bytes] = stack.enter_context(os.fdopen(os.memfd_create("side"), "rb", buffering=0))
        # Of two threads that write here, neither may overwrite the other's data.
        fcntl.fcntl(side.fileno(), fcntl.F_SETFL, fcntl.fcntl(side.fileno(), fcntl.F_GETFL) | os.O_APPEND)
        arguments = [part.replace(SIDE_CHANNEL, str(side.fileno())) for part in command]
        process = _start(arguments, side, output, feed is not None)
        stack.callback(_reap, process)
        _restrict(process.pid, limits, limits.file_bytes if output is not None or arguments != command else 0)
        streams = _Streams(process, side, feed, limits, where, output=output)
        stack.callback(streams.close)
        streams.drain(cancel)
        status = _wait(process, limits, where)
        reported = streams.reported()
    if status == -signal.SIGXFSZ and output is not None:
        raise _overgrown(output, limits, where)
    if status < 0:
        raise _died(status, where)
    return Finished(status, bytes(streams.output), reported, streams.log.text())


def stream_child(
    command: Sequence[str], limits: Limits, *, where: Path | str, total: float = math.inf
) -> Generator[tuple[str, bytes], None, Finished]:
    """Run `command` and yield its output while it runs; the child waits while the caller requests nothing.

    Args:
        command: as in `run_child`.
        limits: `seconds` is the longest time without output other than the log; output is not limited.
        where: the clip, for messages.
        total: longest wait for the child in seconds, not counting time in which the caller requests nothing.

    Yields:
        ("output" or "side", bytes) as they arrive. The return value has the log and the exit status; closing the
        generator ends the child.

    Raises:
        SilentError: no output for too long.
        OverdueError: `total` was exceeded.
        ChildError: a signal killed the child.
        ToolError: the program cannot be started.
    """
    with ExitStack() as stack:
        reading, writing = os.pipe()
        side_reader: IO[bytes] = stack.enter_context(os.fdopen(reading, "rb"))
        side_writer: IO[bytes] = stack.enter_context(os.fdopen(writing, "wb"))
        arguments = [part.replace(SIDE_CHANNEL, str(side_writer.fileno())) for part in command]
        process = _start(arguments, side_writer, None, False)
        stack.callback(_reap, process)
        side_writer.close()
        _restrict(process.pid, replace(limits, cpu_seconds=limits.cpu_seconds or _DAYS), 0)
        streams = _Streams(process, side_reader, None, limits, where, live=True)
        stack.callback(streams.close)
        yield from streams.pass_on(total)
        status = _wait(process, limits, where)
    if status < 0:
        raise _died(status, where)
    return Finished(status, b"", b"", streams.log.text())


class _Log:
    """Head and tail of a stream of any length."""

    def __init__(self) -> None:
        self.head = bytearray()
        self.tail = bytearray()

    def __iadd__(self, data: bytes) -> _Log:
        room = _LOG_BYTES - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        del self.tail[:-_LOG_BYTES]
        return self

    def text(self) -> str:
        return (self.head + self.tail).decode(errors="replace")


class _Streams:
    """A running child's pipes and side channel, with the data received."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        side: IO[bytes],
        feed: Iterable[bytes | memoryview] | None,
        limits: Limits,
        where: Path | str,
        *,
        output: IO[bytes] | None = None,
        live: bool = False,
    ) -> None:
        self.limits, self.where, self.pid = limits, where, process.pid
        self.output_file = output
        self.output, self.side, self.log = bytearray(), side, _Log()
        self.stdin, self.feed, self.pending = process.stdin, iter(feed or ()), memoryview(b"")
        self.taken = 0  # bytes of the feed written so far
        self.selector = selectors.DefaultSelector()
        pipes = [(process.stdout, "output"), (process.stderr, "log"), (side if live else None, "side")]
        for pipe, name in pipes:
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self.selector.register(pipe, selectors.EVENT_READ, name)
        if self.stdin is not None:
            os.set_blocking(self.stdin.fileno(), False)
            self.selector.register(self.stdin, selectors.EVENT_WRITE)

    def drain(self, cancel: threading.Event | None) -> None:
        """Read until all pipes are closed."""
        watch = _Progress(self.pid, self.limits.seconds, self.where)
        while self.selector.get_map():
            watch.check(self._moved())
            if cancel is not None and cancel.is_set():
                raise Stopped("stopped on request")
            for key, _ in self.selector.select(min(self.limits.seconds, _POLL_SECONDS)):
                if key.fileobj is self.stdin:
                    self._give()
                elif data := os.read(key.fd, _READ_BYTES):
                    self._keep(key.data, data)
                else:
                    self.selector.unregister(key.fileobj)
            self._bound()

    def _moved(self) -> int:
        """A number that grows with everything the child writes or reads."""
        files = [file for file in (self.side, self.output_file) if file is not None]
        return self.taken + len(self.output) + sum(os.fstat(file.fileno()).st_size for file in files)

    def reported(self) -> bytes:
        """Everything received on the side channel."""
        self._bound()
        self.side.seek(0)
        return self.side.read()

    def pass_on(self, total: float) -> Iterator[tuple[str, bytes]]:
        """Yield data from the pipes, except the log, as it arrives."""
        silent = waited = 0.0
        while self.selector.get_map():
            began = time.monotonic()
            ready = self.selector.select(max(0.0, min(self.limits.seconds - silent, total - waited)))
            spent = time.monotonic() - began
            silent, waited = silent + spent, waited + spent
            for key, _ in ready:
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    self.selector.unregister(key.fileobj)
                elif key.data == "log":  # error messages are not progress
                    self.log += data
                else:
                    silent = 0.0
                    yield key.data, data
            if silent >= self.limits.seconds:
                raise SilentError(f"no output for {self.limits.seconds:g} s", where=self.where)
            if waited >= total:
                raise OverdueError(f"did not end within {total:g} s", where=self.where)

    def _give(self) -> None:
        """Write to the child's input; close it at the end of the feed or when the child closes its end."""
        assert self.stdin is not None
        try:
            while not self.pending:
                self.pending = memoryview(next(self.feed)).cast("B")
            written = os.write(self.stdin.fileno(), self.pending)
            self.taken += written
            self.pending = self.pending[written:]
        except BlockingIOError:
            return
        except (StopIteration, BrokenPipeError):
            self.selector.unregister(self.stdin)
            with suppress(BrokenPipeError):
                self.stdin.close()

    def _keep(self, name: str, data: bytes) -> None:
        if name == "log":
            self.log += data
        else:
            self.output += data

    def _bound(self) -> None:
        """End a child that wrote too much into memory."""
        if len(self.output) + os.fstat(self.side.fileno()).st_size > self.limits.output_bytes:
            raise ChildError(f"decoder wrote more than {self.limits.output_bytes / 1e6:.0f} MB", where=self.where)

    def close(self) -> None:
        self.selector.close()


def _start(
    command: list[str],
    side: IO[bytes],
    output: IO[bytes] | None,
    fed: bool,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=(side.fileno(),),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ToolError(f"cannot be started: {error}", where=command[0]) from error


def _restrict(pid: int, limits: Limits, file_bytes: int) -> None:
    """Limit a running child: no code may run between fork and exec in a threaded process."""
    if not hasattr(resource, "prlimit"):
        return
    seconds = math.ceil(limits.cpu_seconds or limits.seconds * _CPU_FACTOR)
    file_bytes = min(file_bytes, _own_file_limit())
    with suppress(OSError):  # it has already ended, or a lower hard limit applies
        resource.prlimit(pid, resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
        # ffmpeg catches the soft limit's signal and ends early with partial output; the hard limit kills it first.
        resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _own_file_limit() -> int:
    """Return the largest file size, in bytes, that this process may write."""
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return soft if soft != resource.RLIM_INFINITY else 1 << 62


def _overgrown(output: IO[bytes], limits: Limits, where: Path) -> TdpnError:
    """Return the error for a child that hit a file size limit: that of `limits`, or that of this process."""
    if os.fstat(output.fileno()).st_size < limits.file_bytes:
        return disk_full(Path(output.name))
    return ChildError(f"decoder wrote more than {limits.file_bytes / 1e6:.0f} MB", where=where)


def _died(status: int, where: Path | str) -> ChildError:
    """Return the error for a child killed by a signal."""
    return ChildError(f"decoder crashed ({signal.Signals(-status).name})", where=where)


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time used by a process, also by a zombie; None if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Progress:
    """Detects a child that neither writes nor computes."""

    def __init__(self, pid: int, seconds: float, where: Path | str) -> None:
        self._pid, self._seconds, self._where = pid, seconds, where
        self._since, self._moved, self._used = time.monotonic(), -1, 0.0

    def check(self, moved: int) -> None:
        """Check progress; `moved` is a number that grows with the child's output.

        Raises:
            ChildError: there was no progress for too long.
        """
        now = time.monotonic()
        if moved != self._moved:
            self._since, self._moved, self._used = now, moved, cpu_seconds(self._pid) or 0.0
        elif now - self._since >= self._seconds:
            used = cpu_seconds(self._pid) or 0.0
            if used - self._used < _BUSY * (now - self._since):
                raise _idle(self._seconds, self._where)
            self._since, self._used = now, used


def _idle(seconds: float, where: Path | str) -> ChildError:
    return ChildError(f"decoder timed out: no progress for {seconds:g} s", where=where)


def _wait(process: subprocess.Popen[bytes], limits: Limits, where: Path | str) -> int:
    """Return the exit status of a child that has closed its pipes and should end within moments.

    Raises:
        ChildError: it does not end.
        TooSlowError: it was killed for the processor time that it used.
    """
    seconds = limits.seconds
    if hasattr(os, "pidfd_open"):  # wakes at the exit; Popen.wait polls at growing intervals
        watch = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(watch, select.POLLIN)
            poll.poll(seconds * 1000)
        finally:
            os.close(watch)
        seconds = 0.1
    used = cpu_seconds(process.pid)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise _idle(limits.seconds, where) from None
    allowed = limits.cpu_seconds or limits.seconds * _CPU_FACTOR
    if status == -signal.SIGKILL and used is not None and used > _ALMOST * math.ceil(allowed):
        raise TooSlowError(f"decoder used more than {allowed:.0f} s of processor time (--clip-timeout)", where=where)
    return status


def _reap(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # descendants of the child may outlive it
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
