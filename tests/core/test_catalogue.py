import pytest

from tdpn_core.catalogue import list_models
from tdpn_core.config.families import FAMILIES, find_family
from tdpn_core.errors import UsageError


def test_every_family_has_a_title_and_a_place_for_what_was_reported():
    for name in FAMILIES:
        family = find_family(name)
        assert family.name == name
        assert family.title
        for row in family.published:
            assert row.arch in family.archs
            assert 0 < row.top1 < (row.top5 or 100) <= 100


def test_a_row_reads_as_a_sentence_with_its_source():
    assert str(find_family("tdn").published[0]) == "Kinetics-400 76.6 / 92.8 (r50 8 segments; MCG-NJU/TDN)"
    assert str(find_family("tsm").published[0]) == "Kinetics-400 74.1 (r50 8 frames, dense; mit-han-lab)"


def test_entries_are_counted_at_the_depth_asked_for():
    tsn, i3d = list_models(["i3d", "tsn"])
    assert (tsn.name, tsn.config.arch, tsn.cost.parameters) == ("tsn", "r50", 24_327_632)
    assert (i3d.name, i3d.config.arch, i3d.cost.parameters) == ("i3d", "inception", 12_697_264)
    assert [entry.name for entry in list_models(["i3d", "tsn"], arch="inception")] == ["i3d"]
    (deep,) = list_models(["tsn"], arch="r101")
    assert deep.cost.parameters > tsn.cost.parameters


def test_an_unknown_family_is_named_and_the_known_ones_are_listed():
    with pytest.raises(UsageError, match=r"no model 'tsx'; .*available: tdpn, tsn, "):
        list_models(["tsn", "tsx"])
