"""The line of a running command fits into the terminal, with what matters most."""

import re

import pytest
from rich.console import Console

from tdpn_cli import output

FIELDS = {"loss": "loss 1.234", "left": "3 h 05 min left", "speed": "17.0 clips/s", "waiting": "waiting for data 27%"}


@pytest.mark.parametrize(("width", "shown"), [(120, 4), (100, 3), (72, 2), (40, 0)])
def test_a_narrow_terminal_shows_the_first_fields_whole(
    width: int, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(output, "stderr", console)
    with console.capture() as capture, output.progress(str) as bar:
        bar.begin("epoch 12/30", 1500)
        bar.advance(300, **FIELDS)
    line = re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", capture.get().replace("\x1b[2K", "\n"))
    (drawn,) = {text for text in line if "300/1500" in text}
    assert [field for field in FIELDS.values() if field in drawn] == list(FIELDS.values())[:shown]
    assert "…" not in drawn
    assert len(drawn) <= width
    assert "━━" in drawn


@pytest.mark.parametrize("terminal", [True, False])
def test_state_wraps_at_words_on_a_terminal_and_is_one_line_elsewhere(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "stdout", Console(width=40, force_terminal=terminal, color_system=None))
    text = "calibrated, action: temperature 1.234, calibration error 5.0% before and 3.1% after, on 57 clips [a]"
    with output.stdout.capture() as capture:
        output.state(text)
    lines = capture.get().splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert (max(map(len, lines)) <= 40, len(lines) == 1) == (terminal, not terminal)
