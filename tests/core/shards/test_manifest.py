import json

import pytest

from tdpn_core.errors import ShardError, UsageError
from tdpn_core.shards import find_prepared, load_manifest
from tdpn_core.shards.manifest import LEDGER, MANIFEST, Manifest


def edited(folder, change):
    values = json.loads((folder / MANIFEST).read_text())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(values))


def test_a_manifest_comes_back_as_it_was_written(prepared):
    manifest = load_manifest(prepared)
    assert [(shard.file[:-12], shard.clips, shard.frames) for shard in manifest.shards] == [
        ("train-00000-00", 2, 8),
        ("train-00001-00", 2, 6),
        ("val-00000-00", 1, 2),
    ]
    assert all(shard.file.endswith(f"-{shard.index_digest[:8]}.h5") for shard in manifest.shards)
    assert manifest.clips() == {"train": 4, "val": 1}
    assert manifest.left_out == {"train": 1}
    assert manifest.to_json() == (prepared / MANIFEST).read_bytes()


def test_the_digest_tells_other_clips_and_classes_but_not_other_roots_or_failures(prepared):
    manifest = load_manifest(prepared)
    values = {**manifest.__dict__}
    assert Manifest(**{**values, "root": "/elsewhere", "left_out": {}}).digest == manifest.digest
    assert Manifest(**{**values, "shards": manifest.shards[:1]}).digest != manifest.digest
    assert Manifest(**{**values, "classes": {"action": ["run", "jump"]}}).digest != manifest.digest


def test_an_interrupted_preparation_says_how_to_finish(prepared):
    (prepared / MANIFEST).unlink()
    (prepared / LEDGER).mkdir()
    with pytest.raises(ShardError, match="run the same tdpn prep command again to finish"):
        load_manifest(prepared)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema": 3}', '"x"', "\x00"])
def test_an_unreadable_manifest_is_refused(prepared, content):
    (prepared / MANIFEST).write_text(content)
    with pytest.raises(ShardError, match="damaged manifest"):
        load_manifest(prepared)


@pytest.mark.parametrize(
    "name", ["../x.h5", "/etc/x.h5", "train-00000-00-0123abcd.h5/../x", "TRAIN-00000-00-0123ABCD.H5", ""]
)
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
    with pytest.raises(ShardError, match="is of schema 9, not 3"):
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
