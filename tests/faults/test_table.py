"""The table of docs/faults.md names tests that there are, and leaves out no row."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
ROWS = re.findall(r"^\| ([A-Z]\d+) \|(.*)\|$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("letter", "rows"), [("P", 30), ("H", 8), ("T", 19), ("E", 5), ("W", 6)])
def test_rows_of_a_section_are_numbered_without_gaps(letter: str, rows: int) -> None:
    numbers = [int(name[1:]) for name, _ in ROWS if name[0] == letter]
    assert numbers == list(range(1, max(len(numbers), rows) + 1))


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[name for name, _ in ROWS])
def test_a_row_names_tests_that_there_are(name: str, row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
    assert named, "a row without a test is a promise without proof"
    missing = [test for path, test in named if f"\ndef {test}(" not in (TESTS / path).read_text()]
    assert missing == []
