"""Entry points of other packages that are faulty are refused by name, and leave the rest usable."""

from pathlib import Path

import pytest

from tdpn_core import recipes
from tdpn_core.config.schema import DataConfig
from tdpn_core.datasets import DATASETS, find_dataset
from tdpn_core.datasets.registry import detect
from tdpn_core.errors import PluginError, UsageError


def _install(site: Path, group: str, *entries: str, package: str = "other") -> None:
    info = site / f"{package}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *entries]) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of packages, which is imported from."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_package_that_cannot_be_imported_is_named_with_the_reason(site: Path) -> None:
    _install(site, "tdpn.datasets", "mine = no_such_module_of_theirs:SPEC")
    with pytest.raises(PluginError, match=r"data set 'mine' of other: cannot be loaded from no_such_module_of_theirs"):
        find_dataset("mine")
    assert find_dataset("ucf101").name == "ucf101", "ours is not held up by it"


def test_a_package_that_is_installed_after_a_search_is_found(site: Path) -> None:
    with pytest.raises(UsageError, match="no data set 'mine'"):
        find_dataset("mine")
    _install(site, "tdpn.datasets", "mine = pathlib:Path")
    with pytest.raises(PluginError, match="data set 'mine' of other"):
        find_dataset("mine")


def test_an_entry_point_of_another_kind_is_refused(site: Path) -> None:
    _install(site, "tdpn.datasets", "mine = pathlib:Path")
    with pytest.raises(PluginError, match="pathlib:Path is not a data set but type"):
        find_dataset("mine")


def test_an_entry_point_with_another_name_than_its_data_set_is_refused(site: Path) -> None:
    _install(site, "tdpn.datasets", "mine = tdpn_core.datasets.ucf_hmdb:UCF101")
    with pytest.raises(PluginError, match="'mine' provides a data set with the name 'ucf101'"):
        find_dataset("mine")


def test_a_name_that_is_ours_is_refused_where_all_are_asked_and_ours_is_used(site: Path, tmp_path: Path) -> None:
    _install(site, "tdpn.datasets", "ucf101 = tdpn_core.datasets.ucf_hmdb:HMDB51")
    assert find_dataset("ucf101").title == "UCF101"
    with pytest.raises(PluginError, match="tdpn and other both define the data set 'ucf101'; uninstall or rename"):
        detect(tmp_path)


def test_a_name_of_two_packages_is_refused(site: Path) -> None:
    _install(site, "tdpn.recipes", "mine = json:dumps")
    _install(site, "tdpn.recipes", "mine = json:loads", package="another")
    with pytest.raises(PluginError, match="both define the recipe 'mine'"):
        recipes.find("mine")


def test_data_of_a_package_that_is_gone_needs_a_recipe_by_name() -> None:
    data = DataConfig(path="d", dataset="mine", classes={"action": ["a"]}, classes_digest="c", digest="d", short_side=8)
    with pytest.raises(PluginError, match=r"d: no installed package knows the data set 'mine'.*with --recipe"):
        recipes.choose(data)


def test_names_are_found_in_any_spelling_and_unknown_ones_get_the_nearest() -> None:
    assert recipes.find("EPIC-100") is recipes.epic100
    with pytest.raises(UsageError, match=r"--recipe: no recipe 'finetunes'; did you mean finetune\? available: kin"):
        recipes.find("finetunes")
    assert "auto" not in DATASETS
