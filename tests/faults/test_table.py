"""The table of docs/faults.md names tests that there are, and leaves out no row."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
ROWS = re.findall(r"^\| ([A-Z]\d+) \|(.*)\|$", PAGE.read_text(), re.MULTILINE)


def test_every_row_of_preparation_and_shards_is_there_once() -> None:
    names = [name for name, _ in ROWS if name[0] in "PH"]
    assert names == [f"P{number}" for number in range(1, 28)] + [f"H{number}" for number in range(1, 8)]


def test_every_row_of_training_is_there_once() -> None:
    assert [name for name, _ in ROWS if name[0] == "T"] == [f"T{number}" for number in range(1, 20)]


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[name for name, _ in ROWS])
def test_a_row_names_tests_that_there_are(name: str, row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
    assert named, "a row without a test is a promise without proof"
    missing = [test for path, test in named if f"\ndef {test}(" not in (TESTS / path).read_text()]
    assert missing == []
