"""Fixtures for every test."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of fixtures beside the checkout; a test that needs it is skipped by name where it is not there."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the fixtures of {folder.name}/ beside the checkout")
    return folder
