"""Progress reporting of long-running library functions to their caller."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

_MEGABYTE = 1_000_000


class Progress(Protocol):
    """A progress listener. One task at a time: `begin`, any number of `advance`, `end`; `say` at any time."""

    def begin(self, title: str, total: int) -> None:
        """Start a task of `total` steps."""

    def advance(self, steps: int = 1, **fields: str) -> None:
        """Count `steps`; `fields` (name and formatted text) replace those shown next to the bar."""

    def end(self) -> None:
        """End the task, finished or not."""

    def say(self, line: str) -> None:
        """Show one line permanently, above the bar."""


class Silent:
    """Ignores everything; the default of every library function."""

    def begin(self, title: str, total: int) -> None:
        """Ignore."""

    def advance(self, steps: int = 1, **fields: str) -> None:
        """Ignore."""

    def end(self) -> None:
        """Ignore."""

    def say(self, line: str) -> None:
        """Ignore."""


SILENT: Progress = Silent()


class ByteProgress:
    """Reports bytes as megabytes of a progress bar; a context manager that ends the task."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bytes = 0
        self._running = False

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Start a task at `done` of `total` bytes, replacing a running one."""
        self.__exit__(None, None, None)
        self._progress.begin(f"{title}, MB", -(-total // _MEGABYTE))
        self._running, self._bytes = True, 0
        self.add(done)

    def add(self, count: int) -> None:
        """Count `count` more bytes."""
        before, self._bytes = self._bytes, self._bytes + count
        if steps := self._bytes // _MEGABYTE - before // _MEGABYTE:
            self._progress.advance(steps)

    def __enter__(self) -> ByteProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running:
            self._progress.end()
        self._running = False


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
