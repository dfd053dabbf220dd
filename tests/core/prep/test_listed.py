"""Clips that a data set's list names and that are not on disk stand in the manifest, and come when they come."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.inspect import open_folder, summarise
from tdpn_core.prep.journal import Ledger
from tdpn_core.prep.prepare import prepare
from tdpn_core.prep.storage import LocalPlace
from tdpn_core.shards import load_manifest
from tdpn_core.video.encode_options import Encoding

SMALL = PrepConfig(encoding=Encoding(short_side=32))
HEADER = "label,youtube_id,time_start,time_end,split\n"
OPTIONS = ("--short-side", "32", "--out", "packed")


def tdpn(*words: object) -> str:
    """stdout and stderr of a command in this process."""
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="session")
def clip(render) -> Path:
    return render("listed.mp4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-t", "0.3")


@pytest.fixture
def kinetics(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which three training, two validation and two test clips are listed, and one, two and none there."""
    monkeypatch.chdir(tmp_path)
    for split, names in {"train": "abc", "val": "de", "test": "fg"}.items():
        rows = "".join(f"abseiling,{name * 11},0,10,{split}\n" for name in names)
        path = Path("k400/annotations", f"{split}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + rows)
    for place in ("train/a", "val/d", "val/e"):
        arrive(clip, place)
    Path("k400/val/" + "e" * 11 + "_000000_000010.mp4").write_bytes(b"no video")
    return tmp_path


def arrive(clip: Path, place: str) -> Path:
    """A clip of Kinetics is on disk now."""
    split, name = place.split("/")
    path = Path("k400", split, f"{name * 11}_000000_000010.mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(clip, path)
    return path


def test_what_a_kinetics_csv_lists_is_told_at_the_end_and_by_data(kinetics: Path) -> None:
    text = tdpn("prep", "kinetics400", "--root", "k400", *OPTIONS)
    assert "packed: 1 train (of 3 listed), 1 val (of 2 listed) clips, " in text
    manifest = load_manifest(Path("packed"))
    assert manifest.listed == {"train": 3, "val": 2, "test": 2}
    assert manifest.left_out == {"train": 0, "val": 1}
    rows = [line.split() for line in tdpn("data", "packed").splitlines()]
    assert ["split", "clips", "hours", "frames", "MB", "shards", "left", "out", "not", "on", "disk", "listed"] in rows
    found = {row[0]: row[-3:] for row in rows if row and row[0] in ("train", "val", "test")}
    assert found == {"train": ["0", "2", "3"], "val": ["1", "0", "2"], "test": ["0", "2", "2"]}
    values = json.loads(tdpn("data", "packed", "--json"))
    assert {split: one["listed"] for split, one in values["splits"].items()} == {"train": 3, "val": 2, "test": 2}


def test_clips_that_come_later_are_packed_and_those_that_go_stay_listed(kinetics: Path, clip: Path) -> None:
    first = prepare("kinetics400", Path("k400"), "packed", settings=SMALL)
    arrive(clip, "train/b")
    second = prepare("kinetics400", Path("k400"), "packed", settings=SMALL)
    assert (second.added, second.clips["train"], second.listed["train"]) == (1, 2, 3)
    assert second.digest != first.digest
    arrive(clip, "train/b").unlink()
    third = prepare("kinetics400", Path("k400"), "packed", settings=SMALL)
    assert (third.added, third.listed, third.digest) == (0, second.listed, second.digest)
    assert "1 prepared clip is no longer under k400 and kept" in third.notes


def test_a_longer_list_is_noted_though_there_is_nothing_to_do(kinetics: Path) -> None:
    first = prepare("kinetics400", Path("k400"), "packed", settings=SMALL)
    with Path("k400/annotations/val.csv").open("a") as file:
        file.write("abseiling,zzzzzzzzzzz,0,10,val\n" * 2)
    second = prepare("kinetics400", Path("k400"), "packed", settings=SMALL)
    assert (second.added, second.digest) == (0, first.digest), "what is listed is not what is packed"
    assert load_manifest(Path("packed")).listed["val"] == second.listed["val"] == 3, "a clip counts once"
    plan = Ledger(LocalPlace(Path("packed"))).plan()
    assert plan is not None
    assert plan.listed["val"] == 3


def test_before_its_end_it_is_told_from_the_plan_without_a_guess_at_what_is_missing(kinetics: Path) -> None:
    prepare("kinetics400", Path("k400"), "packed", settings=SMALL)
    Path("packed/manifest.json").unlink()
    assert summarise(open_folder(Path("packed"))).splits["test"].listed == 2
    rows = [line.split() for line in tdpn("data", "packed").splitlines()]
    assert ["test", "0", "0.00", "0", "0.0", "0", "0", "2"] in rows


def test_records_from_before_there_was_such_a_count_are_taken(kinetics: Path) -> None:
    """A manifest and a plan without it are read, and the next run adds it."""
    prepare("kinetics400", Path("k400"), "packed", settings=SMALL)
    path = Path("packed/manifest.json")
    values = json.loads(path.read_text())
    whole = values.pop("listed")
    path.write_text(json.dumps(values))
    assert load_manifest(Path("packed")).listed == {}
    assert "not on disk" not in tdpn("data", "packed")
    assert prepare("kinetics400", Path("k400"), "packed", settings=SMALL).listed == whole
    assert load_manifest(Path("packed")).listed == whole


def test_something_something_and_lists_count_the_same_and_folders_have_no_list(clip: Path, tmp_path: Path) -> None:
    name = "something-something-v2"
    root = tmp_path / "ssv2"
    (root / name).mkdir(parents=True)
    entries = [{"id": str(number), "template": "Holding [something]"} for number in (1, 2, 3)]
    (root / f"{name}-labels.json").write_text(json.dumps({"Holding something": "0"}))
    (root / f"{name}-train.json").write_text(json.dumps(entries[:2]))
    (root / f"{name}-validation.json").write_text(json.dumps(entries[2:]))
    shutil.copy(clip, root / name / "1.mp4")
    report = prepare("something-v2", root, tmp_path / "a", settings=SMALL)
    assert (report.clips, report.listed) == ({"train": 1}, {"train": 2, "val": 1})

    root = tmp_path / "list"
    (root / "hold").mkdir(parents=True)
    for number in "12":
        shutil.copy(clip, root / "hold" / f"{number}.mp4")
    (root / "train.txt").write_text("hold/1.mp4 0\nhold/gone.mp4 0\n")
    (root / "val.txt").write_text("hold/2.mp4 0\n")
    report = prepare("list", root, tmp_path / "b", settings=SMALL)
    assert (report.clips, report.listed) == ({"train": 1, "val": 1}, {"train": 2, "val": 1})

    report = prepare("folder", root, tmp_path / "c", settings=SMALL)
    assert report.listed == load_manifest(tmp_path / "c").listed == {}
