"""What a stopped ablation states about its cells."""

from pathlib import Path

import pytest

from tdpn_core.ablation.scheduler import left_behind


@pytest.mark.parametrize(
    ("saved", "others", "message"),
    [
        (0, 0, "no cell was running"),
        (1, 0, "1 running cell has saved its state"),
        (2, 0, "2 running cells have saved their state"),
        (0, 1, "1 running cell starts again from the beginning"),
        (0, 2, "2 running cells start again from the beginning"),
        (1, 1, "1 of 2 running cells has saved its state, the other one starts again from the beginning"),
        (2, 3, "2 of 5 running cells have saved their states, the others start again from the beginning"),
    ],
)
def test_left_behind_counts_only_cells_with_a_checkpoint_as_saved(
    saved: int, others: int, message: str, tmp_path: Path
) -> None:
    folders = [tmp_path / f"seed-{number}" for number in range(saved)]
    for folder in folders:
        folder.mkdir()
        (folder / "last.pt").touch()
    folders += [tmp_path / str(number) / "cost" for number in range(others)]
    assert left_behind(folders) == message
