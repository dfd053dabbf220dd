"""How long-running library functions tell their caller where they are, without knowing who listens."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

_MEGABYTE = 1_000_000


class Progress(Protocol):
    """A listener. One task at a time: `begin`, any number of `advance`, `end`; `say` at any moment."""

    def begin(self, title: str, total: int) -> None:
        """A task of `total` steps starts."""

    def advance(self, steps: int = 1, **fields: str) -> None:
        """`steps` more are done; `fields` (name and ready-made text) replace those shown beside the bar."""

    def end(self) -> None:
        """The task is over, finished or not."""

    def say(self, line: str) -> None:
        """One line worth keeping, above the bar."""


class Silent:
    """The listener that ignores everything: the default of every library function."""

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
    """Bytes as the megabytes of a progress bar; a context that ends the task."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bytes = 0
        self._running = False

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Start a task, in place of one that runs, at `done` of `total` bytes."""
        self.__exit__(None, None, None)
        self._progress.begin(f"{title}, MB", -(-total // _MEGABYTE))
        self._running, self._bytes = True, 0
        self.add(done)

    def add(self, count: int) -> None:
        """`count` more bytes are done."""
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
