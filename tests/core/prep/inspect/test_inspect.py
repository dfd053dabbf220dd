"""What is told of a prepared folder in every state that one can be in."""

import fcntl
import json
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import ShardError, UsageError
from tdpn_core.prep.inspect import find_folder, open_folder, summarise, training_sheet
from tdpn_core.prep.inspect.contact_sheet import _trained_row, contact_sheet, spread
from tdpn_core.prep.prepare import prepare
from tdpn_core.sampling.dataset import TrainingClips
from tdpn_core.shards import ClipStore
from tdpn_core.shards.verify import find_faults
from tdpn_core.training.launch import plan
from tdpn_core.video.encode_options import Encoding


@pytest.fixture(scope="session")
def packed(source, small, tmp_path_factory) -> Path:
    """`source`, prepared: 9 clips for training, 2 for validation, 1 left out."""
    folder = tmp_path_factory.mktemp("packed") / "data"
    prepare("folder", source, folder, settings=small)
    return folder


@pytest.fixture
def folder(packed, tmp_path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(packed, tmp_path / "data")


def shard(folder: Path) -> Path:
    return sorted(folder.glob("train-*.h5"))[0]


def test_a_finished_data_set_is_counted(packed):
    prepared = open_folder(packed)
    summary = summarise(prepared)
    assert prepared.finished
    assert (prepared.owner, prepared.damaged, summary.faults) == (None, [], [])
    assert summary.packings == ["jpeg"]
    store = ClipStore(packed, "train")
    train = summary.splits["train"]
    assert (train.clips, train.frames, train.left_out) == (9, store.counts.sum(), 1)
    assert train.hours == pytest.approx(sum(store.counts / store.fps) / 3600)
    assert train.bytes == sum(path.stat().st_size for path in packed.glob("train-*.h5"))
    assert train.shards == len(list(packed.glob("train-*.h5")))
    assert summary.splits["val"].clips == 2
    counts = np.bincount(store.labels["action"]).tolist()
    assert summary.classes == {"action": {"a": {"train": counts[0], "val": 1}, "b": {"train": counts[1], "val": 1}}}
    (reason,) = prepared.recorded.reasons
    assert (reason.status, reason.text, reason.clips) == ("failed", "truncated: N of N frames", 1)
    assert reason.example.startswith("train/a/8.mkv: truncated: ")
    assert find_faults(packed, prepared.manifest.shards, prepared.manifest.classes_digest) == []


def test_an_unfinished_one_is_told_from_its_ledger(folder):
    """As a kill leaves it: some records, no manifest, and a shard that is not recorded yet."""
    (folder / "manifest.json").unlink()
    (folder / "ledger" / "train-00001.json").unlink()
    prepared = open_folder(folder)
    summary = summarise(prepared)
    assert not prepared.finished
    assert (prepared.manifest.dataset, prepared.manifest.settings["short_side"]) == ("folder", 32)
    assert 0 < summary.splits["train"].clips < 9
    assert summary.splits["val"].clips == 2
    assert summary.faults == []
    assert sum(counts["train"] for counts in summary.classes["action"].values()) == summary.splits["train"].clips


def test_a_later_preparation_that_was_killed_makes_it_unfinished_again(folder, source, small, tmp_path):
    root = shutil.copytree(source, tmp_path / "root")
    shutil.copy(root / "train" / "a" / "0.mkv", root / "train" / "b" / "new.mkv")
    manifest = (folder / "manifest.json").read_bytes()
    prepare("folder", root, folder, settings=small)
    assert open_folder(folder).finished
    (folder / "manifest.json").write_bytes(manifest)
    prepared = open_folder(folder)
    assert not prepared.finished
    assert summarise(prepared).splits["train"].clips == 10


def test_before_its_first_record_there_is_nothing_to_count(folder):
    (folder / "manifest.json").unlink()
    for record in (folder / "ledger").glob("[tv]*.json"):
        record.unlink()
    prepared = open_folder(folder)
    assert summarise(prepared).splits == {}
    with pytest.raises(ShardError, match="no clip can be shown"):
        contact_sheet(prepared, summarise(prepared), folder / "x.png")


def test_without_its_ledger_a_copy_is_told_from_its_manifest(folder):
    shutil.rmtree(folder / "ledger")
    prepared = open_folder(folder)
    assert prepared.finished
    assert summarise(prepared).splits["train"].left_out == 1
    assert prepared.recorded.reasons == []


def test_damaged_records_are_named_and_the_others_told(folder):
    for name in ("train-00000.json", "plan.json"):
        (folder / "ledger" / name).write_text("{")
    prepared = open_folder(folder)
    plan, block = prepared.damaged
    assert plan.startswith("ledger/plan.json: damaged record")
    assert block.startswith("ledger/train-00000.json: damaged record")
    assert summarise(prepared).splits["train"].clips == 9, "the manifest still lists them"
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ShardError, match="damaged manifest"):
        open_folder(folder)


def test_a_damaged_manifest_beside_a_ledger_is_told_as_such(folder):
    (folder / "manifest.json").write_text("{")
    prepared = open_folder(folder)
    assert not prepared.finished
    assert "damaged manifest" in prepared.damaged[0]
    assert summarise(prepared).splits["train"].clips == 9


def test_every_bad_shard_is_listed_and_the_rest_counted(folder):
    first, second, *_ = sorted(folder.glob("train-*.h5"))
    lost = ClipStore(folder, "train").manifest.shards
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    (folder / "train-00009-00-00000000.h5").write_bytes(b"x")
    prepared = open_folder(folder)
    summary = summarise(prepared)
    stray, gone, cut = map(str, summary.faults)
    assert stray == "train-00009-00-00000000.h5 is not listed"
    assert gone.startswith(f"{first.name} cannot be read: No such file")
    assert cut.startswith(f"{second.name} damaged: {second.stat().st_size} bytes, not ")
    assert summary.splits["train"].clips == 9
    counted = sum(counts["train"] for counts in summary.classes["action"].values())
    assert counted == 9 - sum(shard.clips for shard in lost if shard.file in (first.name, second.name))
    found = find_faults(folder, prepared.manifest.shards, prepared.manifest.classes_digest)
    assert [(fault.file, fault.what.split()[0]) for fault in found] == [(first.name, "is"), (second.name, "has")]


def test_a_flipped_bit_is_traced_to_the_clip_it_is_in(folder):
    store, path = ClipStore(folder, "train"), shard(folder)
    content = path.read_bytes()
    (item,) = store.read(0, [3])
    table = content.index(b"train/a/0.mkv")
    for position, said in (
        (content.index(item) + 20, f"damaged are {store.ids[0]!r}"),
        (table, "its tables are damaged, so all"),
    ):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        prepared = open_folder(folder)
        (fault,) = find_faults(folder, prepared.manifest.shards, prepared.manifest.classes_digest)
        assert fault.file == path.name
        assert fault.what.startswith(f"does not match its sha256: {said}")


def test_who_prepares_here_is_told_only_while_it_does(folder):
    with (folder / ".lock").open("w") as lock:
        lock.write('{"pid": 7, "host": "here", "since": "2026-01-31 12:30:05", "doing": "preparing clips"}')
        lock.flush()
        assert open_folder(folder).owner is None, "the text alone says nothing: its writer may have been killed"
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert open_folder(folder).owner == (
            "process 7 on here has been preparing clips here since 2026-01-31 12:30:05"
        )


@pytest.mark.parametrize("packing", ["jpeg", "video", "flow"])
def test_a_contact_sheet_shows_clips_of_every_class_and_split(packing, source, small, packed, tmp_path):
    folder = packed
    if packing != "jpeg":
        if packing == "flow":
            pytest.importorskip("cv2", reason="OpenCV is not installed")
        form = {"codec": "video"} if packing == "video" else {"modality": "flow", "flow_method": "dis"}
        folder = tmp_path / "data"
        prepare("folder", source, folder, settings=replace(small, encoding=Encoding(short_side=32, **form)))
    prepared = open_folder(folder)
    summary = summarise(prepared)
    assert summary.packings == [packing]
    shown = contact_sheet(prepared, summary, tmp_path / "sheet.png", clips=6, frames=4)
    assert {name.rpartition("/")[0] for name in shown} == {"train/a", "train/b", "val/a"} | (
        {"val/b"} if len(shown) > 6 else set()
    )
    picture = matplotlib.image.imread(tmp_path / "sheet.png")
    assert picture.shape[1] == 960
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100


def test_a_contact_sheet_passes_over_what_is_bad(folder, tmp_path):
    store, path = ClipStore(folder, "train"), shard(folder)
    for clip in range(len(store)):
        content = bytearray(path.read_bytes())
        (item,) = store.read(clip, [0])
        if item in content:
            content[content.index(item) + 20] ^= 1
            path.write_bytes(content)
    prepared = open_folder(folder)
    shown = contact_sheet(prepared, summarise(prepared), tmp_path / "sheet.png", clips=100)
    assert 0 < len(shown) < 11


def test_contact_sheet_more_classes_than_rows_shows_every_class(render, small, tmp_path):
    for number in range(30):
        target = tmp_path / "root" / "train" / f"class {number:02}" / "x.mkv"
        target.parent.mkdir(parents=True)
        shutil.copy(render("short.mkv", inputs=("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=1")), target)
    shutil.copytree(tmp_path / "root" / "train" / "class 00", tmp_path / "root" / "val" / "class 30")
    prepare("folder", tmp_path / "root", tmp_path / "out", settings=small)
    prepared = open_folder(tmp_path / "out")
    shown = contact_sheet(prepared, summarise(prepared), tmp_path / "sheet.png", clips=4)
    assert len({name.split("/")[1] for name in shown}) == 31
    height, width, _ = matplotlib.image.imread(tmp_path / "sheet.png").shape
    assert width == 2 * 960, "in two columns"
    assert height < 16 * 200


def test_training_sheet_shows_crops_and_flips_as_training_draws_them(prepared, tiny, tmp_path):
    folder = open_folder(prepared)
    settings = {**tiny, "sampling.flip": "1.0"}
    config = plan(
        prepared, runtime=Runtime(torch.device("cpu")), recipe="small", overrides=TrainOverrides(settings=settings)
    )
    shown = training_sheet(folder, summarise(folder), config, tmp_path / "seen.png")
    assert {name.split("/")[1] for name in shown} == set(folder.manifest.classes["action"])
    assert all(name.startswith("train/") for name in shown)
    clips = TrainingClips(ClipStore(prepared, "train"), config.model, config.sampling, config.train.seed)
    clip = clips.source.ids.index(next(name for name in shown if "moving left" in name))
    row = _trained_row(clips, clip, 2)
    assert row.caption.startswith("moving right  ·  train/moving left/")
    assert "·  flipped, " in row.caption
    assert "of 40x40 at 32x32" in row.caption
    expected = clips[0, clip].clip.permute(1, 2, 3, 0).numpy()
    assert np.array_equal(np.stack(row.pictures), expected[[0, -1]])
    assert matplotlib.image.imread(tmp_path / "seen.png").shape[1] == 960


def test_clips_are_spread_over_classes():
    class Store:
        def __init__(self, labels):
            self.labels = {"action": np.array(labels)}

        def __len__(self):
            return len(self.labels["action"])

    labels = [0, 0, 0, 1, 2, 2, 5, 5, 5, 5]
    assert [labels[clip] for clip in spread(Store(labels), 4)] == [0, 1, 2, 5]
    assert [labels[clip] for clip in spread(Store(labels), 2)] == [0, 5]
    assert [labels[clip] for clip in spread(Store(labels), 7)] == [0, 0, 1, 2, 2, 5, 5]
    assert spread(Store(labels), 99) == list(range(10))


def test_the_one_folder_is_found_finished_or_not(packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no prepared data set under data/; run tdpn prep"):
        find_folder()
    shutil.copytree(packed, tmp_path / "data" / "one")
    (tmp_path / "data" / "one" / "manifest.json").unlink()
    assert find_folder() == Path("data/one")
    (tmp_path / "data" / "two" / "ledger").mkdir(parents=True)
    with pytest.raises(UsageError, match="several prepared data sets: data/one, data/two; name one of them"):
        find_folder()
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        find_folder(Path("nowhere"))
    with pytest.raises(ShardError, match="no prepared data set here"):
        open_folder(tmp_path)


def test_uneven_clips_count_with_their_true_length(render, tmp_path, small):
    drop = ("-vf", "select='lt(n,20)+not(mod(n,7))'", "-fps_mode", "vfr", "-c:v", "libvpx")
    target = tmp_path / "root" / "a" / "x.webm"
    target.parent.mkdir(parents=True)
    shutil.copy(render("uneven.webm", *drop), target)
    (tmp_path / "root" / "b").mkdir()
    shutil.copy(target, tmp_path / "root" / "b" / "y.webm")
    prepare("folder", tmp_path / "root", tmp_path / "out", settings=small)
    hours = sum(split.hours for split in summarise(open_folder(tmp_path / "out")).splits.values())
    block = json.loads((tmp_path / "out" / "ledger" / "train-00000.json").read_text())
    assert hours * 3600 == pytest.approx(sum(clip["seconds"] for clip in block["record"]["clips"]), abs=0.01)
