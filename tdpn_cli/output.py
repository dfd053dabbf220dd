"""What a person sees: data on stdout, everything else on stderr, one progress bar at a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tdpn_core import startup_signals as starting
from tdpn_core.errors import Stopped, TdpnError

stdout = Console(highlight=False, soft_wrap=False)
stderr = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8: escaped, it comes back as it was
        text = json.dumps(value, indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")


def say(line: str) -> None:
    """One line for the person, on stderr: wrapped at words on a terminal, left whole in a log."""
    stderr.print(escape(line), soft_wrap=not stderr.is_terminal)


def state(line: str) -> None:
    """One line of a result, on stdout: wrapped at words on a terminal, left whole elsewhere."""
    stdout.print(escape(line), soft_wrap=not stdout.is_terminal)


def print_error(error: TdpnError) -> None:
    """What is wrong (or was asked to stop) and where, then what to do, on stderr."""
    place = f"{error.where}: " if error.where is not None else ""
    label = "[bold yellow]stopped[/]" if isinstance(error, Stopped) else "[bold red]error[/]"
    stderr.print(f"{label} {escape(place + error.what)}", soft_wrap=not stderr.is_terminal)
    if error.hint:
        stderr.print(f"[dim]hint[/]  {escape(error.hint)}", soft_wrap=not stderr.is_terminal)


def ask(question: str) -> bool:
    """Whether the person at the terminal agrees; False where there is none."""
    if not (sys.stdin.isatty() and stderr.is_terminal):
        return False
    stderr.print(f"{escape(question)} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


_BAR_AND_GAPS = 24
"""Columns of the shortest bar, of the time that is left and between all parts of a line."""


class Bar:
    """A `tdpn_core` progress listener that draws one bar on a terminal and prints plain lines elsewhere."""

    def __init__(self) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(compact=True),
            console=stderr,
            transient=True,
            expand=True,
            disable=not stderr.is_terminal,  # a log gets the lines, not the bar
        )
        self._task: TaskID | None = None
        self._shown: dict[str, str] = {}
        self._room = 0

    def begin(self, title: str, total: int) -> None:
        """Show a new bar."""
        self._shown = {}
        self._room = stderr.width - len(title) - 2 * len(str(total)) - _BAR_AND_GAPS
        self._task = self._bar.add_task(title, total=total, shown="")
        self._bar.start()

    def advance(self, steps: int = 1, **fields: str) -> None:
        """Move the bar and replace the fields behind it."""
        if self._task is not None:
            self._shown |= fields
            self._bar.update(self._task, advance=steps, shown=_fitting(self._shown.values(), self._room))

    def end(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.stop()
            self._bar.remove_task(self._task)
            self._task = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Print on stdout meanwhile: where both are terminals, the bar is off the screen."""
        covered = self._task is not None and stdout.is_terminal and stderr.is_terminal
        if covered:
            self._bar.stop()
        try:
            yield
        finally:
            if covered:
                self._bar.start()

    def say(self, line: str) -> None:
        """A line above the bar."""
        say(line)


def _fitting(fields: Iterable[str], room: int) -> str:
    """As many of `fields`, the first ones, as fit into `room` columns."""
    line = ""
    for field in fields:
        longer = f"{line}  {field}" if line else field
        if len(longer) > room:
            break
        line = longer
    return line


@contextmanager
def progress(work: Callable[..., object]) -> Iterator[Bar]:
    """Yield a bar that is gone from the terminal on every way out. The command's work begins here.

    `work` is the library's function for it. Naming it imports it (seconds, for those that need torch), and it must be
    imported before signals are no longer answered with "nothing was saved".
    """
    starting.end()
    bar = Bar()
    try:
        yield bar
    finally:
        bar.end()
