"""What each project says that its checkpoints can be of."""

from pathlib import Path

import pytest
import torch

from tdpn_core.config.families import FAMILIES
from tdpn_core.weights.convert import recognise, unwrapped
from tdpn_core.weights.project import Entries
from tdpn_core.weights.projects import PROJECTS

WHOLE = ("torchvision_", "tpn_r50", "tpn_tsm50", "tpn_official", "mma2_i3d", "mma2_s", "mma2_ts", "mma2_tpn_s", "ptv_")


def entries_of(table: Path) -> Entries:
    """The names and shapes of a table, without values."""
    lines = [line.split("\t") for line in table.read_text().splitlines()[1:] if not line.startswith("#")]
    shapes = {
        name: tuple(int(side) for side in shape.split("x") if side) for name, shape, *_ in lines if name != "name"
    }
    return Entries(unwrapped({name: torch.empty(shape, device="meta") for name, shape in shapes.items()}))


def test_a_fixtures_network_is_of_a_family_that_its_project_names(parity_files):
    folders = [folder for folder in sorted(parity_files.iterdir()) if folder.name.startswith(WHOLE)]
    tables = [folder / "params.tsv" for folder in folders if (folder / "params.tsv").exists()]
    assert len(tables) >= 16
    for table in tables:
        entries = entries_of(table)
        project = recognise(entries, table)
        assert project.examine(entries).settings["name"] in project.families


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_projects_name_families_that_there_are(project):
    assert project.families
    assert set(project.families) <= set(FAMILIES)
