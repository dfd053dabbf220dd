"""Which blocks are left to do, and how much room they take."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.errors import ShardError, TdpnError
from tdpn_core.prep import disk_space as estimate
from tdpn_core.prep.disk_space import clip_bytes
from tdpn_core.prep.journal import BlockRecord, ClipRecord, Ledger, Plan
from tdpn_core.prep.pending_work import _blocks
from tdpn_core.prep.prepare import prepare
from tdpn_core.prep.storage import LocalPlace
from tdpn_core.shards import load_manifest
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.source import Source

SPLITS = np.array(["train"] * 7 + ["val"] * 3)


@given(st.integers(1, 8))
def test_a_fresh_table_is_cut_in_its_order(size):
    blocks = list(_blocks(SPLITS, np.ones(10, bool), {}, size))
    assert np.concatenate([rows for *_, rows in blocks]).tolist() == list(range(10))
    assert all(len(rows) <= size and len(set(SPLITS[rows])) == 1 for *_, rows in blocks)
    assert [number for split, number, _ in blocks if split == "train"] == list(range(-(-7 // size)))


@given(st.integers(1, 8), st.data())
def test_what_an_interrupted_run_left_are_the_very_blocks_of_an_undisturbed_one(size, data):
    whole = {(split, number): rows.tolist() for split, number, rows in _blocks(SPLITS, np.ones(10, bool), {}, size)}
    done = data.draw(st.sets(st.sampled_from(sorted(whole))))
    todo = np.ones(10, bool)
    used: dict[str, set[int]] = {}
    for split, number in done:
        todo[whole[split, number]] = False
        used.setdefault(split, set()).add(number)
    left = {(split, number): rows.tolist() for split, number, rows in _blocks(SPLITS, todo, used, size)}
    assert left == {key: rows for key, rows in whole.items() if key not in done}


@given(st.integers(1, 8), st.sets(st.integers(0, 9)), st.data())
def test_new_rows_among_recorded_ones_come_once_each_in_blocks_of_their_own(size, new, data):
    todo = np.isin(np.arange(10), list(new))
    used = {"train": data.draw(st.sets(st.integers(0, 9))), "val": data.draw(st.sets(st.integers(0, 9)))}
    blocks = list(_blocks(SPLITS, todo, used, size))
    assert sorted(row for *_, rows in blocks for row in rows) == sorted(new)
    names = [(split, number) for split, number, _ in blocks]
    assert len(set(names)) == len(names)
    assert all(number not in used[split] for split, number in names)
    assert all(len(rows) <= size for *_, rows in blocks)


def test_a_ledger_gives_back_what_was_entered_in_order(tmp_path):
    ledger = Ledger(LocalPlace(tmp_path))
    assert ledger.plan() is None
    classes = {"action": ["ä", "b\udcff"]}
    plan = Plan(dataset="folder", classes=classes, label_order="sorted", settings={"short_side": 8})
    ledger.begin(plan)
    records = [
        BlockRecord(split, number, [], [ClipRecord(f"{split} {number}\udcff", "x", "failed", "truncated")])
        for split, number in (("val", 0), ("train", 1), ("train", 0))
    ]
    for record in records:
        ledger.record(record)
    assert ledger.plan() == plan
    assert list(ledger.blocks()) == [records[2], records[1], records[0]]


@pytest.mark.parametrize("position", [0, 30, 100, 180])
def test_a_changed_record_is_refused_and_says_which(tmp_path, position):
    ledger = Ledger(LocalPlace(tmp_path))
    ledger.record(BlockRecord("train", 0, [], [ClipRecord("a", "x", "failed", "truncated")]))
    path = tmp_path / "ledger" / "train-00000.json"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"train-00000\.json: damaged record"):
        list(ledger.blocks())


def test_a_preparation_goes_on_after_a_damaged_record_is_removed(source, small, tmp_path):
    first = prepare("folder", source, tmp_path, settings=small)
    path = tmp_path / "ledger" / "train-00001.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ShardError, match="remove it, and run tdpn prep again"):
        prepare("folder", source, tmp_path, settings=small)
    path.unlink()
    assert prepare("folder", source, tmp_path, settings=small).digest == first.digest
    assert load_manifest(tmp_path).digest == first.digest


def test_the_estimate_is_near_what_a_clip_takes(source, program):
    """P4. Test patterns are harder than films, so within a factor of four."""
    expected = clip_bytes(Source(source / "train" / "b" / "1.mkv"), Encoding(short_side=32))
    assert expected == pytest.approx(36 * 32 * 42.7 * 0.16, rel=0.05)
    assert clip_bytes(Source(source / "nowhere.mkv"), Encoding()) is None


@pytest.mark.parametrize(("free", "outcome"), [(1000, "refused"), (70_000, "warned"), (10**9, "silent")])
def test_a_disk_that_is_nearly_full_is_refused_before_any_work(free, outcome, source, small, tmp_path, monkeypatch):
    """P4."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: usage(10**9, 0, free))
    said = []
    listener = type("Listener", (), {name: lambda self, *a, **k: None for name in ("begin", "advance", "end")})()
    listener.say = said.append
    if outcome == "refused":
        with pytest.raises(TdpnError, match=r"12 clips need about 0\.1 MB, but 0\.0 MB are free; free some"):
            prepare("folder", source, tmp_path / "out", settings=small, progress=listener)
        assert not list((tmp_path / "out").rglob("*.items"))
    else:
        prepare("folder", source, tmp_path / "out", settings=small, progress=listener)
        assert bool(said) == (outcome == "warned")


def test_an_output_that_vanishes_is_an_error(source, small, tmp_path, program):
    """P23."""
    out = tmp_path / "out"
    shim = tmp_path / "ffmpeg"
    shim.write_text(f'#!/bin/sh\ncase "$*" in *train/b/3.mkv*) rm -rf "{out}";; esac\nexec {program.path} "$@"\n')
    shim.chmod(0o755)
    with pytest.raises(TdpnError):
        prepare("folder", source, out, settings=small, ffmpeg=shim)
    shutil.rmtree(out, ignore_errors=True)
    assert prepare("folder", source, out, settings=small).failed == 1
