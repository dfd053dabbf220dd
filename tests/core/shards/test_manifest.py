import json

import pytest

from tdpn_core.errors import ShardError, UsageError
from tdpn_core.shards import find_prepared, load_manifest
from tdpn_core.shards.manifest import MANIFEST, Manifest


def edited(folder, change):
    values = json.loads((folder / MANIFEST).read_text())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(values))


def test_a_manifest_comes_back_as_it_was_written(prepared):
    manifest = load_manifest(prepared)
    assert [(shard.file, shard.clips, shard.frames) for shard in manifest.shards] == [
        ("train-00000.h5", 2, 8),
        ("train-00001.h5", 2, 6),
        ("val-00000.h5", 1, 2),
    ]
    assert manifest.clips() == {"train": 4, "val": 1}
    assert manifest.failures[0].reason == "truncated: 1 of 2 frames"
    assert manifest.complete
    manifest.save(prepared)
    assert load_manifest(prepared) == manifest


def test_the_digest_tells_other_clips_and_classes_but_not_other_roots_or_failures(prepared):
    manifest = load_manifest(prepared)
    values = {**manifest.__dict__}
    assert Manifest(**{**values, "root": "/elsewhere", "failures": []}).digest == manifest.digest
    assert Manifest(**{**values, "shards": manifest.shards[:1]}).digest != manifest.digest
    assert Manifest(**{**values, "classes": {"action": ["run", "jump"]}}).digest != manifest.digest


def test_an_interrupted_preparation_says_how_to_finish(prepared):
    edited(prepared, lambda values: values.update(complete=False))
    with pytest.raises(ShardError, match="run the same tdpn prep command again to finish"):
        load_manifest(prepared)
    assert not load_manifest(prepared, unfinished=True).complete


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema": 1}', '"x"', "\x00"])
def test_an_unreadable_manifest_is_refused(prepared, content):
    (prepared / MANIFEST).write_text(content)
    with pytest.raises(ShardError, match="damaged manifest"):
        load_manifest(prepared)


@pytest.mark.parametrize("name", ["../x.h5", "/etc/x.h5", "train-00000.h5/../x", "TRAIN-00000.H5", ""])
def test_a_shard_outside_the_folder_is_refused(prepared, name):
    edited(prepared, lambda values: values["shards"][0].update(file=name))
    with pytest.raises(ShardError, match="is not a shard of this folder"):
        load_manifest(prepared)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["shards"].pop(),
        lambda values: values["shards"].reverse(),
        lambda values: values["shards"][0].update(sha256="0" * 64),
        lambda values: values["classes"]["action"].reverse(),
        lambda values: values.update(unknown=1),
        lambda values: values["shards"][0].update(clips="many"),
    ],
)
def test_an_edited_manifest_is_refused(prepared, change):
    edited(prepared, change)
    with pytest.raises(ShardError, match="damaged manifest"):
        load_manifest(prepared)


def test_another_version_says_what_to_do(prepared):
    edited(prepared, lambda values: values.update(schema=9))
    with pytest.raises(ShardError, match="is of schema 9, not 1"):
        load_manifest(prepared)


def test_the_one_prepared_data_set_is_found(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no prepared data set under data/; run tdpn prep …"):
        find_prepared()
    home = tmp_path / "data2"
    prepared.rename(home)
    (tmp_path / "data").mkdir()
    home.rename(tmp_path / "data" / "one")
    assert find_prepared().as_posix() == "data/one"
    (tmp_path / "data" / "two").mkdir()
    (tmp_path / "data" / "two" / MANIFEST).write_text("{}")
    with pytest.raises(UsageError, match="several prepared data sets: data/one, data/two; choose one with --data"):
        find_prepared()


def test_a_given_folder_must_hold_one(prepared, tmp_path):
    assert find_prepared(prepared) == prepared
    with pytest.raises(UsageError, match="no prepared data set here"):
        find_prepared(tmp_path / "nowhere")
    with pytest.raises(ShardError, match="no prepared data set here"):
        load_manifest(tmp_path / "nowhere")
