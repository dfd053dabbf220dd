"""The inputs of shared/hard through the command line: each row of its README has the right value."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.errors import TdpnError
from tdpn_core.shards import ClipStore

SPORTS = ["Archery", "Bowling", "Diving"]
NUMBERS = [str(number) for number in range(12)]
LISTS = {
    # folder: (command, clips of each class in the order of the classes, clips of each split)
    "num12_name": ("list", {f"c{number}": 2 for number in range(12)}, {"train": 12, "val": 12}),
    "num12_float": ("list", dict.fromkeys(NUMBERS, 2), {"train": 12, "val": 12}),
    "kaggle": ("auto", dict.fromkeys(SPORTS, 8), {"train": 12, "val": 6, "test": 6}),
    "hf": ("auto", dict.fromkeys(SPORTS, 6), {"train": 6, "val": 3, "test": 9}),
    "mma847d": ("list", {"0": 3, "1": 2, "2": 3}, {"train": 5, "val": 3}),
    "missing_label": ("list", {"Archery": 3, "Bowling": 4, "Diving": 4}, {"train": 8, "val": 3}),
    "splitcol": ("list", {"A": 6, "B": 6}, {"train": 6, "val": 4, "test": 2}),
    "wrapped": ("auto", {"A": 6, "B": 6}, {"train": 8, "val": 4}),
    "win": ("list", {"0": 4, "1": 4, "2": 4}, {"train": 6, "val": 6}),
    "latin1": ("list", {f"café{name}": 4 for name in SPORTS}, {"train": 9, "val": 3}),
    "spell": ("folder", {"HandStandPushups": 5, "Jump": 3, "café é": 5}, {"train": 8, "val": 5}),
    "comma2": ("list", {"running, fast": 4, "walking": 4}, {"train": 8}),
    "split_dev": ("folder", {"A": 6, "B": 6}, {"train": 8, "val": 4}),
}
SAID = {
    "mma847d": "line 5",
    "missing_label": "train.csv line 5",
    "wrapped": "videos/",
    "latin1": "cp1252",
    "spell": "spellings of one class",
}
"""What the notes or odd lines must name."""

VIDEOS = {
    # folder: frames of each clip, and frames a second where the row is about them
    "timecode": ({"timecode.mov": 60}, None),
    "dup_stamp": ({"dup_at30.mkv": 60}, None),
    "offset_half_second": ({"off0.5.mkv": 60}, None),
    "subs_longer_no_tags": ({"subs_longer_notags.mkv": 60}, None),
    "mts": ({"00001.MTS": 30}, None),
    "still_first": ({"still_then_video.mkv": 60}, None),
    "fps_drift": ({"sample_sef_super_slow_motion.mp4": None}, 30.0),
}


def prep(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["prep", *map(str, words)])
    error = result.exception
    raised = f"{error.what} {error.hint}" if isinstance(error, TdpnError) else ""  # what `main` would print
    return result.exit_code, result.stdout, result.stderr + raised


@pytest.mark.parametrize("name", LISTS)
def test_prep_dry_run_of_a_hard_list_understands_what_is_meant(name: str, hard: Path, tmp_path: Path) -> None:
    command, classes, splits = LISTS[name]
    root = hard / "lists" / name
    extra = ["--annotations", "metadata.csv"] if name == "splitcol" else []
    code, out, err = prep(command, "--root", root, "--out", tmp_path / "data", "--dry-run", "--json", *extra)
    assert code == 0, err
    understood = json.loads(out)
    assert list(understood["classes"]["action"].items()) == list(classes.items())
    assert understood["found"] == splits
    assert SAID.get(name, "") in " ".join(understood["notes"] + understood["odd_lines"])
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("num12_float", "classes 12: 0, 1, 2, 3, 4, 5, and 6 more; 2 each"),
        ("comma2", "classes 2: 'running, fast', walking; 4 each"),
        ("hf", "files data/train/metadata.csv, data/test/metadata.csv"),
        ("missing_label", "note train.csv: 1 line is left out"),
    ],
)
def test_prep_shows_in_few_words_what_it_understood(name: str, line: str, hard: Path, tmp_path: Path) -> None:
    command = LISTS[name][0]
    code, out, err = prep(command, "--root", hard / "lists" / name, "--out", tmp_path / "data", "--dry-run")
    assert code == 0, err
    assert line in " ".join((out + err).split())


def test_prep_of_split_folders_without_class_folders_is_refused(hard: Path, tmp_path: Path) -> None:
    code, _, err = prep("auto", "--root", hard / "lists/flat_split", "--out", tmp_path / "data", "--dry-run")
    assert code != 0
    assert "a class folder is" in " ".join(err.split())


@pytest.mark.parametrize("name", VIDEOS)
def test_prep_of_a_hard_video_packs_every_frame(name: str, hard: Path, tmp_path: Path) -> None:
    frames, rate = VIDEOS[name]
    words = ("folder", "--root", hard / "video" / name, "--out", tmp_path / "data", "--short-side", 64)
    refused, _, err = prep(*words)
    assert refused != 0, "one class is nothing to tell apart"
    assert "only one class" in " ".join(err.split())
    code, _, err = prep(*words, "--yes")
    assert code == 0, err
    store = ClipStore(tmp_path / "data", "train")
    packed = {Path(clip).name: int(count) for clip, count in zip(store.ids, store.counts, strict=True)}
    assert packed.keys() == frames.keys()
    assert all(count in (None, packed[clip]) for clip, count in frames.items())
    if rate is not None:
        assert store.fps[0] == pytest.approx(rate, rel=1e-3)


def test_prep_with_fps_of_a_clip_shorter_than_a_step_packs_one_frame(hard: Path, tmp_path: Path) -> None:
    root = hard / "video/short_with_fps"
    code, _, err = prep("folder", "--root", root, "--out", tmp_path, "--short-side", 64, "--fps", 2, "--yes")
    assert code == 0, err
    stores = [ClipStore(tmp_path, split) for split in ("train", "val")]
    counts = {
        Path(clip).name: int(count) for store in stores for clip, count in zip(store.ids, store.counts, strict=True)
    }
    assert counts["3.mp4"] == 1
