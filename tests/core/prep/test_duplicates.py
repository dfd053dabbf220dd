"""Clips of one recording under several names: on one side of our split, reported across a given one."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import warm

from tdpn_core.demo.render import encode, render_clip
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.prep.visual_digest import find_alike
from tdpn_core.rng import derive
from tdpn_core.shards import ClipStore, load_manifest
from tdpn_core.shards.verify import verify
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import find_ffmpeg

SMALL = PrepConfig(encoding=Encoding(short_side=64), block_clips=4)
CLASSES = {"a": "moving left", "b": "circling fast"}

RUN = """
import sys
from pathlib import Path
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.progress import Silent
from tdpn_core.video.encode_options import Encoding

class Marks(Silent):
    def begin(self, title, total):
        print("begin", total, flush=True)
    def advance(self, steps=1, **fields):
        print("clip", flush=True)

report = prepare("folder", Path(sys.argv[1]), Path(sys.argv[2]), workers=1, progress=Marks(),
                 settings=PrepConfig(encoding=Encoding(short_side=64), block_clips=4))
print("digest", report.digest)
"""


def ffmpeg(source: Path, target: Path, *options: str) -> None:
    command = [find_ffmpeg().path, "-y", "-loglevel", "error", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """Ten clips of each of two classes, all different."""
    root = tmp_path_factory.mktemp("films")
    for place, (folder, name) in enumerate(CLASSES.items()):
        for number in range(10):
            path = root / folder / f"{'qwertyuiop'[number]}.mp4"
            path.parent.mkdir(exist_ok=True)
            encode(render_clip(name, derive(7, place, number)), path, find_ffmpeg().path)
    return root


@pytest.fixture(scope="module")
def mirrored(films, tmp_path_factory) -> Path:
    """The same, each clip of class a again, mirrored, in another size and quality, under an unlike name."""
    root = shutil.copytree(films, tmp_path_factory.mktemp("mirrored") / "root")
    for path in sorted((root / "a").glob("*.mp4")):
        ffmpeg(path, path.with_name(f"other{ord(path.stem)}.mkv"), "-vf", "hflip,scale=96:96", "-crf", "30")
    return root


def sides(folder: Path) -> dict[str, str]:
    manifest = load_manifest(folder)
    return {clip: split for split in manifest.clips() for clip in ClipStore(folder, split).ids}


def test_prepare_distinct_clips_reports_no_twins(films, tmp_path):
    report = prepare("folder", films, tmp_path, settings=SMALL)
    assert report.twins == []
    assert report.clips == {"train": 16, "val": 4}


def test_prepare_copies_by_name_or_bytes_share_a_side_of_the_drawn_split(films, tmp_path):
    root = shutil.copytree(films, tmp_path / "root")
    for number, path in enumerate(sorted((root / "a").glob("*.mp4"))):
        if number % 2:
            ffmpeg(path, path.with_name(f"{path.stem}_flipped.mp4"), "-vf", "hflip")
        else:
            shutil.copy(path, path.with_name(f"z{number}.mp4"))
    report = prepare("folder", root, tmp_path / "out", settings=SMALL)
    side = sides(tmp_path / "out")
    assert all(side[twin.clip] == side[twin.twin] for twin in report.twins)
    assert len(report.twins) == 10
    assert {twin.how for twin in report.twins} == {"bytes", "mirror"}
    assert report.clips["val"] == 6
    assert len(list((tmp_path / "out" / "ledger").glob("train-*.json"))) == 6, "known before packing: nothing is moved"


@pytest.mark.parametrize("codec", ["jpeg", "video"])
def test_prepare_copies_by_look_share_a_side_of_the_drawn_split(codec, mirrored, tmp_path):
    settings = replace(SMALL, encoding=Encoding(short_side=64, codec=codec))
    report = prepare("folder", mirrored, tmp_path, settings=settings)
    side = sides(tmp_path)
    pairs = {frozenset((twin.clip, twin.twin)) for twin in report.twins}
    assert pairs == {frozenset((f"a/{c}.mp4", f"a/other{ord(c)}.mkv")) for c in "qwertyuiop"}
    assert all(twin.how == "mirror" and side[twin.clip] == side[twin.twin] for twin in report.twins)
    assert report.clips == {"train": 24, "val": 6}
    assert {path.split("/")[0] for path, split in side.items() if split == "val"} == {"a", "b"}
    assert report.added == 30
    verify(tmp_path)
    again = prepare("folder", mirrored, tmp_path, settings=settings)
    assert (again.digest, again.added, again.twins) == (report.digest, 0, report.twins)


def test_prepare_killed_while_clips_are_moved_ends_with_the_same_bytes(mirrored, tmp_path):
    whole = prepare("folder", mirrored, tmp_path / "whole", settings=SMALL, workers=3)
    command = [sys.executable, "-c", RUN, str(mirrored), str(tmp_path / "out")]
    child = warm.Popen(command, stdout=warm.PIPE)
    begins = 0
    for line in child.stdout:
        begins += line.startswith("begin")
        if begins == 2 and line == "clip\n":
            break
    child.kill()
    child.communicate(timeout=60)
    assert begins == 2, "some clips are moved"
    assert not (tmp_path / "out" / "manifest.json").exists()
    report = prepare("folder", mirrored, tmp_path / "out", settings=SMALL)
    assert report.digest == whole.digest
    verify(tmp_path / "out")


def test_prepare_given_split_with_copies_across_it_is_kept_and_reported(films, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(films, root / "train")
    for name, source in (("x1", "a/q"), ("x2", "a/w")):
        target = root / "val" / "a" / f"{name}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        ffmpeg(films / f"{source}.mp4", target, "-vf", "hflip")
    shutil.copy(films / "b" / "e.mp4", root / "val" / "a" / "x3.mp4")
    ffmpeg(films / "a" / "r.mp4", root / "val" / "a" / "r_dark.mp4", "-vf", "negate")
    encode(render_clip("moving left", derive(8, 0, 0)), root / "val" / "a" / "new.mp4", find_ffmpeg().path)
    report = prepare("folder", root, tmp_path / "out", settings=SMALL)
    assert report.clips == {"train": 20, "val": 5}
    assert {(twin.clip, twin.twin, twin.how) for twin in report.twins} == {
        ("val/a/x1.mp4", "train/a/q.mp4", "mirror"),
        ("val/a/x2.mp4", "train/a/w.mp4", "mirror"),
        ("val/a/x3.mp4", "train/b/e.mp4", "bytes"),
        ("val/a/r_dark.mp4", "train/a/r.mp4", "name"),
    }
    manifest = load_manifest(tmp_path / "out")
    assert len(manifest.across("val")) == 4
    assert any(note.startswith("4 of 5 val clips show what a train clip shows") for note in report.notes)


def test_prepare_copies_of_one_clip_in_each_class_leave_no_validation_clip_and_say_what_to_do(films, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "root" / folder).mkdir(parents=True)
        for name in ("first", "second", "third"):
            shutil.copy(films / folder / "q.mp4", tmp_path / "root" / folder / f"{name}.mp4")
    report = prepare("folder", tmp_path / "root", tmp_path / "out", settings=SMALL)
    assert report.clips == {"train": 6}
    said = [note for note in report.notes if note.startswith("no validation split:")]
    assert said == [
        "no validation split: with copies on one side of it, 0 of 6 clips are used for validation, "
        "by 2 source groups, seed 0; none of a, b, each of which has a single source group"
    ]
    assert any("there is no validation clip: " in note and "val/CLASS/" in note for note in report.notes)


def test_prepare_empty_files_are_not_copies_of_each_other(films, tmp_path):
    root = shutil.copytree(films, tmp_path / "root")
    for name in ("empty", "also empty"):
        (root / "a" / f"{name}.mp4").touch()
    report = prepare("folder", root, tmp_path / "out", settings=SMALL)
    assert (report.twins, report.failed) == ([], 2)


def test_prepare_content_that_many_clips_share_joins_nothing(films, tmp_path):
    """A placeholder for videos that are missing must not make one source of all that have it."""
    root = shutil.copytree(films, tmp_path / "root")
    for folder in ("a", "b"):
        for number in range(6):
            shutil.copy(films / "a" / "q.mp4", root / folder / f"missing {number}x.mp4")
    report = prepare("folder", root, tmp_path / "out", settings=SMALL)
    assert report.clips["val"] in (6, 7)
    assert {twin.how for twin in report.twins} == {"bytes"}


def test_find_alike_two_takes_before_one_camera_are_not_alike():

    rng = np.random.default_rng(0)
    room = np.broadcast_to(rng.integers(60, 200, (8, 8)), (4, 8, 8)).copy()

    def take(seed: int) -> str:
        picture, person = room.copy(), np.random.default_rng(seed)
        for frame in picture:
            row, column = person.integers(0, 7, 2)
            frame[row : row + 2, column : column + 2] += 25
        return base64.b64encode(picture.astype(np.uint8).tobytes()).decode()

    looks = [take(seed) for seed in range(40)]
    assert find_alike(looks, [3.0] * 40, [90] * 40) == []
    assert [tuple(pair) for pair in find_alike([looks[0], looks[1], looks[0]], [3.0] * 3, [90] * 3)] == [(0, 2, False)]
    assert find_alike(["", ""], [3.0, 3.0], [90, 90]) == [], "plain pictures are like no other"


@pytest.mark.parametrize(
    ("seconds", "frames", "alike"),
    [
        ((3.0, 3.033), (90, 91), True),  # the last frame lost
        ((3.0, 3.04), (90, 76), True),  # at another rate
        ((3.0, 3.067), (90, 92), False),  # another take
        ((3.0, 4.0), (3, 4), False),
    ],
)
def test_find_alike_allows_one_frame_of_difference_in_length(seconds, frames, alike):

    look = base64.b64encode(np.random.default_rng(0).integers(60, 200, 4 * 8 * 8).astype(np.uint8).tobytes()).decode()
    assert bool(find_alike([look, look], seconds, frames)) is alike


def test_prepare_takes_of_one_action_before_one_camera_are_not_alike(shared, tmp_path):
    root = shared / "datasets" / "three_actions"
    if not root.is_dir():
        pytest.skip("shared/datasets is not here")
    for action in ("action1", "action2"):
        (tmp_path / "root" / action).mkdir(parents=True)
        for take in (root / action).glob("*P3T*"):
            shutil.copy(take, tmp_path / "root" / action)
    report = prepare("folder", tmp_path / "root", tmp_path / "out", settings=SMALL)
    assert (sum(report.clips.values()), report.twins) == (6, [])


@pytest.mark.parametrize("change", ["scale=44:80", "hflip,scale=44:80", "eq=brightness=0.03"])
def test_prepare_copies_of_small_pictures_are_alike(change, tmp_path):
    """Cells of 5.5 pixels: of a copy at half the size, they must not take other pixels."""
    for number in range(2):
        original = tmp_path / "root" / "a" / f"{'qw'[number]}.mp4"
        original.parent.mkdir(parents=True, exist_ok=True)
        encode(render_clip("moving left", derive(7, 0, number)), original, find_ffmpeg().path)
        ffmpeg(original, original.with_name(f"other{number}.mkv"), "-vf", f"scale=88:160,{change}", "-crf", "28")
        ffmpeg(original, original.with_name("qw"[number] + "er.mkv"), "-vf", "scale=88:160")
        original.unlink()
    report = prepare("folder", tmp_path / "root", tmp_path / "out", settings=SMALL)
    assert len(report.twins) == 2
    assert {twin.how for twin in report.twins} == {"mirror" if "hflip" in change else "look"}


def test_prepare_interrupted_says_at_once_what_happens(films, tmp_path):
    shim = tmp_path / "ffmpeg"
    program = find_ffmpeg().path
    shim.write_text(f'#!/bin/sh\ncase "$*" in *b/y.mp4*) sleep 100;; *) exec {program} "$@";; esac\n')
    shim.chmod(0o755)
    code = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"
    words = ["prep", "folder", "--root", str(films), "--out", str(tmp_path / "out"), "--ffmpeg", str(shim)]
    environment = {**os.environ, "COLUMNS": "100"}
    child = warm.Popen([sys.executable, "-c", code, *words], stderr=warm.PIPE, env=environment)
    while not list((tmp_path / "out").glob(".work/*/*.table")):
        assert child.poll() is None, child.stderr.read()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert "stopping: the decoders are ended, and what is packed is kept" in said
    assert "run the same tdpn prep command again to continue" in said


def test_prepare_damaged_memory_of_twins_is_made_again(mirrored, tmp_path):
    whole = prepare("folder", mirrored, tmp_path, settings=SMALL)
    memory = tmp_path / "ledger" / "twins.json"
    assert json.loads(memory.read_text())["moved"]
    memory.write_text("{")
    assert prepare("folder", mirrored, tmp_path, settings=SMALL).clips == whole.clips
