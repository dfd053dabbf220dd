"""Places: a folder and an fsspec address behave alike."""

import uuid

import pytest

from tdpn_core.errors import TdpnError, UsageError
from tdpn_core.prep.prepare import prepare
from tdpn_core.prep.storage import LocalPlace, RemotePlace, open_place


@pytest.fixture(params=["folder", "memory", "file"])
def place(request, tmp_path):
    addresses = {"folder": tmp_path / "x", "memory": f"memory://{uuid.uuid4().hex}/x", "file": f"file://{tmp_path}/x"}
    return open_place(addresses[request.param])


def test_what_is_saved_is_loaded_listed_and_removed(place):
    place.save("a.h5", [b"one", b"two"])
    place.save("ledger/train-00000.json", [b"{}"])
    assert place.load("a.h5") == b"onetwo"
    assert place.sizes("", ".h5") == {"a.h5": 6}
    assert place.sizes("ledger", ".json") == {"train-00000.json": 2}
    place.save("a.h5", [b"3"])
    assert place.load("a.h5") == b"3"
    place.remove("a.h5")
    place.remove("a.h5")
    assert place.load("a.h5") is None
    assert place.sizes("nowhere", ".h5") == {}


def test_a_file_that_is_not_finished_does_not_exist_and_the_old_one_stays(place):
    def pieces():
        yield b"half"
        raise TdpnError("the source is gone")

    place.save("a.h5", [b"old"])
    for name in ("a.h5", "b.h5"):
        with pytest.raises(TdpnError, match="the source is gone"):
            place.save(name, pieces())
    assert place.load("a.h5") == b"old"
    assert place.sizes("", "") == {"a.h5": 3}


def test_an_address_of_no_known_kind_is_refused():
    with pytest.raises(UsageError, match="nosuch://x: cannot be opened"):
        open_place("nosuch://x")


def test_only_folders_are_folders(tmp_path):
    assert isinstance(open_place(tmp_path), LocalPlace)
    assert isinstance(open_place(f"file://{tmp_path}"), RemotePlace)


def test_a_data_set_can_be_prepared_to_an_address_and_gone_on_with(source, small, tmp_path):
    address = f"memory://{uuid.uuid4().hex}/data"
    first = prepare("folder", source, address, settings=small)
    assert first.path == address
    assert first.digest == prepare("folder", source, tmp_path / "out", settings=small).digest
    place = open_place(address)
    assert {name: len(place.load(name)) for name in place.sizes("", ".h5")} == {
        path.name: path.stat().st_size for path in (tmp_path / "out").glob("*.h5")
    }
    lost = next(iter(place.sizes("", ".h5")))
    place.remove(lost)
    again = prepare("folder", source, address, settings=small)
    assert again.digest == first.digest
    assert place.sizes("", ".h5").keys() >= {lost}


def test_a_place_that_fails_half_way_is_an_error_and_nothing_is_lost(source, small, tmp_path, monkeypatch):
    undisturbed = prepare("folder", source, tmp_path / "whole", settings=small).digest
    save, saved = LocalPlace.save, []

    def failing(self, name, pieces):
        if len(saved) == 4:
            raise TdpnError("cannot write: Input/output error", where=name)
        saved.append(name)
        save(self, name, pieces)

    monkeypatch.setattr(LocalPlace, "save", failing)
    with pytest.raises(TdpnError, match="Input/output error"):
        prepare("folder", source, tmp_path / "out", settings=small)
    monkeypatch.undo()
    assert prepare("folder", source, tmp_path / "out", settings=small).digest == undisturbed
