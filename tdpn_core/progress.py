"""How long-running library functions tell their caller where they are, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


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
