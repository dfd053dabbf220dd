"""A data set, from the web to the tree that is prepared."""

import gzip
import hashlib
import io
import json
import random
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from local_web import QUICK, Web
from stored_rar import pretend, rar

from tdpn_core.datasets import read_dataset
from tdpn_core.download import DownloadReport, plan
from tdpn_core.download.download import download
from tdpn_core.errors import Interrupted, TdpnError, ToolError, UsageError

OWNER = "https://s3.amazonaws.com/kinetics/400"
CLIPS = {
    "train": {
        f"-trainclip{number}_00000{number}_00001{number}": random.Random(number).randbytes(3_000) for number in range(6)
    },
    "val": {
        f"_val__clip{number}_00000{number}_00001{number}": random.Random(10 + number).randbytes(3_000)
        for number in range(2)
    },
}
REPLACED = b"intact" * 300


def targz(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(made.getvalue(), mtime=0)


def annotation(split: str) -> bytes:
    lines = ["label,youtube_id,time_start,time_end,split,is_cc"]
    for number, name in enumerate(CLIPS[split]):
        label = '"petting cat"' if number % 2 else "abseiling"
        lines.append(f"{label},{name[:11]},{int(name[12:18])},{int(name[19:25])},{split},0")
    return "\n".join(lines).encode()


@pytest.fixture
def k400(web: Web) -> Web:
    """CVDF's bucket in small: three parts of train, one of val, the replacements."""
    train = list(CLIPS["train"].items())
    parts = {
        "train": [
            targz({f"./{name}.mp4": content for name, content in train[place : place + 2]}) for place in (0, 2, 4)
        ],
        "val": [targz({f"./{name}.mp4": content for name, content in CLIPS["val"].items()})],
    }
    for split, archives in parts.items():
        web.files[f"/k/{split}/k400_{split}_path.txt"] = "".join(
            f"{OWNER}/{split}/part_{number}.tar.gz\n" for number in range(len(archives))
        ).encode()
        for number, archive in enumerate(archives):
            web.files[f"/k/{split}/part_{number}.tar.gz"] = archive
        web.files[f"/k/annotations/{split}.csv"] = annotation(split)
    replaced = {f"replacement_for_corrupted_k400/{train[1][0]}.mp4": REPLACED}
    web.files["/k/replacement_for_corrupted_k400.tgz"] = targz(replaced)
    return web


EXPECTED = {f"{split}/{name}.mp4": content for split, clips in CLIPS.items() for name, content in clips.items()}
EXPECTED |= {f"annotations/{split}.csv": annotation(split) for split in CLIPS}
EXPECTED[f"replacement/replacement_for_corrupted_k400/{list(CLIPS['train'])[1]}.mp4"] = REPLACED


def fetch_all(web: Web, root: Path, **options: object) -> DownloadReport:
    return download("kinetics400", root, mirror=f"{web.url}/k", limits=QUICK, **options)  # type: ignore[arg-type]


def tree(root: Path) -> dict[str, bytes]:
    """All visible files."""
    paths = [path for path in root.rglob("*") if path.is_file() and ".download" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def work(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root / ".download")) for path in root.rglob(".download/**/*") if path.is_file())


def test_download_gives_the_tree_that_is_prepared(k400: Web, tmp_path: Path) -> None:
    report = fetch_all(k400, tmp_path)
    assert tree(tmp_path) == EXPECTED
    assert (report.fetched_files, report.unpacked_files) == (9, 9)
    assert report.fetched_bytes == k400.sent == sum(map(len, k400.files.values()))
    assert work(tmp_path) == ["lists/k400_train_path.txt", "lists/k400_val_path.txt", "record.json"]
    dataset = read_dataset("kinetics400", tmp_path)
    assert len(dataset.clips) == 8
    replaced = dataset.clips.set_index("id").loc[list(CLIPS["train"])[1], "source"]
    assert (tmp_path / replaced).read_bytes() == REPLACED


def test_download_of_what_is_complete_requests_nothing(k400: Web, tmp_path: Path) -> None:
    fetch_all(k400, tmp_path)
    k400.asked.clear()
    report = fetch_all(k400, tmp_path)
    assert (report.fetched_bytes, report.unpacked_files, k400.asked) == (0, 0, [])


def test_download_records_every_file_with_its_digest(k400: Web, tmp_path: Path) -> None:
    fetch_all(k400, tmp_path)
    record = json.loads((tmp_path / ".download/record.json").read_text())
    assert {url.removeprefix(k400.url): entry["sha256"] for url, entry in record["fetched"].items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in k400.files.items()
    }


def test_download_of_chosen_splits_fetches_only_these(k400: Web, tmp_path: Path) -> None:
    fetch_all(k400, tmp_path, splits=["val"])
    assert sorted(path.partition("/")[0] for path in tree(tmp_path)) == ["annotations", "val", "val"]
    fetch_all(k400, tmp_path)
    assert tree(tmp_path) == EXPECTED


@pytest.mark.parametrize("requests", range(1, 9))
def test_download_killed_at_any_moment_is_continued_by_the_next(k400: Web, tmp_path: Path, requests: int) -> None:
    """The child is killed soon after it has asked for so many of the nine files."""
    code = """
import sys
from pathlib import Path
from tdpn_core.download.download import download
download("kinetics400", Path(sys.argv[1]), mirror=sys.argv[2])
"""
    k400.drip = 0.005
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"{k400.url}/k"])
    limit = time.monotonic() + 30
    while len(k400.asked) < requests and time.monotonic() < limit:
        time.sleep(0.001)
    time.sleep(random.Random(requests).uniform(0, 0.02))
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert set(tree(tmp_path).items()) <= set(EXPECTED.items())
    assert len(k400.asked) < 9
    k400.drip = 0
    fetch_all(k400, tmp_path)
    assert tree(tmp_path) == EXPECTED


class Stop:
    """A listener that interrupts at an event."""

    def __init__(self, event: int) -> None:
        self.left = event

    def begin(self, title: str, total: int) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def advance(self, steps: int = 1, **fields: str) -> None:
        pass

    def end(self) -> None:
        self.begin("", 0)

    def say(self, line: str) -> None:
        self.begin("", 0)


@pytest.mark.parametrize("event", range(7, 34, 4))
def test_download_stopped_between_two_steps_is_continued_by_the_next(k400: Web, tmp_path: Path, event: int) -> None:
    with pytest.raises(Interrupted, match="the download was stopped; run the same command again to continue"):
        fetch_all(k400, tmp_path, progress=Stop(event))
    fetch_all(k400, tmp_path)
    assert tree(tmp_path) == EXPECTED
    assert work(tmp_path) == ["lists/k400_train_path.txt", "lists/k400_val_path.txt", "record.json"]


def test_download_that_cannot_write_the_tree_is_an_error(k400: Web, tmp_path: Path) -> None:
    fetch_all(k400, tmp_path, splits=["val"])
    (tmp_path / "annotations/train.csv/own").mkdir(parents=True)
    (tmp_path / ".download/record.json").write_text('{"fetched": {}, "claimed": ["annotations/train.csv"]}')
    with pytest.raises(TdpnError, match=r"cannot be written: Is a directory"):
        fetch_all(k400, tmp_path, splits=["train"])


def test_a_missing_part_is_named_and_the_others_are_kept(k400: Web, tmp_path: Path) -> None:
    part = k400.files.pop("/k/train/part_1.tar.gz")
    with pytest.raises(
        TdpnError, match=r"/k/train/part_1.tar.gz: does not exist \(HTTP 404\); .*put it at (.*)"
    ) as caught:
        fetch_all(k400, tmp_path)
    assert set(tree(tmp_path)) >= {f"train/{name}.mp4" for name in list(CLIPS["train"])[:2]}
    by_hand = Path(str(caught.value.hint).rpartition("put it at ")[2])
    by_hand.write_bytes(part)
    fetch_all(k400, tmp_path)
    assert tree(tmp_path) == EXPECTED


def test_a_damaged_part_is_named_with_both_digests(k400: Web, tmp_path: Path) -> None:
    part = k400.files["/k/train/part_1.tar.gz"]
    right = hashlib.md5(part).hexdigest()
    flipped = part[:1000] + bytes([part[1000] ^ 4]) + part[1001:]
    k400.files["/k/train/part_1.tar.gz"] = flipped
    k400.etag = lambda content: f'"{right if content == flipped else hashlib.md5(content).hexdigest()}"'
    text = (
        rf"part_1.tar.gz.part: is damaged or another file: md5 is {hashlib.md5(flipped).hexdigest()}, expected {right}"
    )
    with pytest.raises(TdpnError, match=text):
        fetch_all(k400, tmp_path)
    k400.etag = lambda content: '"uploaded-in-parts-2"'  # then only the archive's own checksum tells
    with pytest.raises(TdpnError, match=r"train/part_1.tar.gz: is damaged, or not a tar"):
        fetch_all(k400, tmp_path)
    (tmp_path / ".download/archives/train/part_1.tar.gz").write_bytes(part)  # got in another way
    fetch_all(k400, tmp_path)
    assert tree(tmp_path) == EXPECTED


def test_download_of_a_removed_folder_repeats_it_and_notes_a_change(k400: Web, tmp_path: Path) -> None:
    fetch_all(k400, tmp_path)
    clip = tmp_path / "val" / f"{next(iter(CLIPS['val']))}.mp4"
    for path in clip.parent.iterdir():
        path.unlink()
    clip.parent.rmdir()
    k400.files["/k/val/part_0.tar.gz"] = targz({clip.name: b"corrected by the owner"})
    report = fetch_all(k400, tmp_path)
    assert clip.read_bytes() == b"corrected by the owner"
    assert [note.partition(":")[0] for note in report.notes] == [
        "part_0.tar.gz has changed since it was first downloaded"
    ]


def test_download_leaves_what_is_there_already(k400: Web, tmp_path: Path) -> None:
    own = {"train/abseiling/own.mp4": b"own", "annotations/val.csv": b"mine"}
    for name, content in own.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    report = fetch_all(k400, tmp_path)
    found = tree(tmp_path)
    assert {name: found[name] for name in own} == own
    assert not any("train/part" in path for path, _ in k400.asked)
    assert {f"val/{name}.mp4" for name in CLIPS["val"]} <= set(found)
    assert report.notes == [f"{name} exists already and is unchanged" for name in ("annotations/val.csv", "train")]


@pytest.mark.parametrize(
    "line",
    [
        "https://elsewhere.org/kinetics/400/train/part_0.tar.gz",
        f"{OWNER}0/train/part_0.tar.gz",
        f"{OWNER}/train/../../../evil/part_0.tar.gz",
        f"{OWNER}/train/%2e%2e/part_0.tar.gz",
        f"{OWNER}/train/index.html",
        "file:///etc/passwd.tar",
        "<html>",
    ],
)
def test_download_of_a_list_that_leads_elsewhere_is_refused(k400: Web, tmp_path: Path, line: str) -> None:
    k400.files["/k/train/k400_train_path.txt"] = f"\n{line}\n".encode()
    with pytest.raises(TdpnError, match=r"k400_train_path.txt: line 2 is not an archive of .*remove the list"):
        fetch_all(k400, tmp_path)
    assert not any("part" in path and path.endswith("gz") for path, _ in k400.asked)


def test_download_of_an_empty_list_is_an_error(k400: Web, tmp_path: Path) -> None:
    k400.files["/k/val/k400_val_path.txt"] = b"\n"
    with pytest.raises(TdpnError, match="lists no archives"):
        fetch_all(k400, tmp_path, splits=["val"])


def test_download_does_not_follow_a_link_in_the_tree(k400: Web, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/val").symlink_to(tmp_path / "outside")
    with pytest.raises(TdpnError, match="root/val: is a link or a file where a folder is needed"):
        fetch_all(k400, tmp_path / "root")
    assert not list((tmp_path / "outside").iterdir())


def test_download_into_a_root_in_use_is_refused(k400: Web, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / ".download").mkdir()
    with (tmp_path / ".download/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is working here; wait for it"):
            fetch_all(k400, tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"fetched": {"a": {"b": 1}}, "claimed": []}'])
def test_download_with_a_damaged_record_is_an_error(k400: Web, tmp_path: Path, content: str) -> None:
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download/record.json").write_text(content)
    with pytest.raises(TdpnError, match=r"record.json: cannot be read: .*; remove it"):
        fetch_all(k400, tmp_path)


def test_download_of_kinetics600_gives_class_folders(web: Web, tmp_path: Path) -> None:
    clip = next(iter(CLIPS["train"]))
    web.files["/k/annotations/train.txt"] = b"whatever"
    web.files["/k/train/k600_train_path.txt"] = (
        b"https://s3.amazonaws.com/kinetics/600/train/mountain climber (exercise).tar.gz\r\n"
        b"http://s3.amazonaws.com/kinetics/600/train/person%27s%20head.tar.gz\r\n"
    )
    web.files["/k/train/mountain%20climber%20%28exercise%29.tar.gz"] = targz(
        {f"mountain climber (exercise)/{clip}.mp4": b"1"}
    )
    web.files["/k/train/person%27s%20head.tar.gz"] = targz({f"./{clip[:-1]}9.mp4": b"2"})
    download("kinetics600", tmp_path, splits=["train"], mirror=f"{web.url}/k/", limits=QUICK)
    assert set(tree(tmp_path)) == {
        "annotations/train.txt",
        f"train/mountain climber (exercise)/mountain climber (exercise)/{clip}.mp4",
        f"train/person's head/{clip[:-1]}9.mp4",
    }


def test_download_of_ucf101_and_hmdb51_unpacks_rar(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rarfile", reason="needs the package rarfile")
    monkeypatch.setenv("PATH", str(pretend(tmp_path / "bin", "unrar").parent))
    splits = io.BytesIO()
    with zipfile.ZipFile(splits, "w") as archive:
        archive.writestr("ucfTrainTestlist/classInd.txt", "1 Archery\n")
    clip = "UCF-101/Archery/v_Archery_g01_c01.avi"
    web.files["/u/UCF101TrainTestSplits-RecognitionTask.zip"] = splits.getvalue()
    web.files["/u/UCF101.rar"] = rar((clip, b"avi"))
    download("ucf101", tmp_path / "ucf", mirror=f"{web.url}/u", limits=QUICK)
    assert set(tree(tmp_path / "ucf")) == {clip, "ucfTrainTestlist/classInd.txt"}

    wave, walk = "wave/April_09_(1)_&!_wave_u_nm.avi", "walk/x.avi"
    web.files["/h/test_train_splits.rar"] = rar(("testTrainMulti_7030_splits/wave_test_split1.txt", b"a.avi 1 \n"))
    web.files["/h/hmdb51_org.rar"] = rar(("wave.rar", rar((wave, b"1"))), ("walk.rar", rar((walk, b"2"))))
    report = download("hmdb51", tmp_path / "hmdb", mirror=f"{web.url}/h", limits=QUICK)
    assert set(tree(tmp_path / "hmdb")) == {
        "testTrainMulti_7030_splits/wave_test_split1.txt",
        f"hmdb51_org/{wave}",
        f"hmdb51_org/{walk}",
    }
    assert report.unpacked_files == 3


@pytest.mark.parametrize("missing", ["package", "program"])
def test_download_that_cannot_unpack_rar_fails_before_a_request(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "package":
        monkeypatch.setitem(sys.modules, "rarfile", None)
    else:
        pytest.importorskip("rarfile", reason="needs the package rarfile")
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"rar archives need .*pip install 'tdpn\[download\]'"):
        download("hmdb51", tmp_path / "root", mirror=web.url)
    assert not web.asked


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        ("sthv2", "the owner, Qualcomm, requires an account.*arrange it as 20bn-something-something-v2"),
        ("Something-Something-V1", "Something-Something v1"),
        ("epic100", "epic-kitchens-download-scripts"),
        ("jester", "Jester"),
        ("diving48", "svcl.ucsd.edu"),
        (
            "folder",
            "there is no download for 'folder'; available: kinetics400, kinetics600, kinetics700, ucf101, hmdb51",
        ),
        ("auto", "there is no download for 'auto'; available: kinetics400"),
        ("ucf11", "no data set 'ucf11'; did you mean ucf101"),
    ],
)
def test_download_that_an_owner_refuses_says_where_and_how_to_lay_it_out(
    tmp_path: Path, dataset: str, text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        download(dataset, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_plan_of_unknown_splits_is_refused() -> None:
    for splits in (["validation"], []):
        with pytest.raises(UsageError, match="kinetics400 has the splits train, val, test, not"):
            plan("kinetics400", splits=splits)
    with pytest.raises(UsageError, match="ucf101 is downloaded as a whole"):
        plan("ucf101", splits=["train"])


def test_plan_names_the_owners_addresses() -> None:
    assert [remote.url.removeprefix(OWNER) for remote in plan("kinetics400", splits=["test", "train"])] == [
        "/annotations/train.csv",
        "/annotations/test.csv",
        "/train/k400_train_path.txt",
        "/test/k400_test_path.txt",
        "/replacement_for_corrupted_k400.tgz",
    ]
    assert [remote.url for remote in plan("kinetics700", splits=["val"])] == [
        "https://s3.amazonaws.com/kinetics/700_2020/annotations/val.csv",
        "https://s3.amazonaws.com/kinetics/700_2020/val/k700_2020_val_path.txt",
    ]
    for dataset in ("ucf101", "hmdb51"):
        assert all(remote.url.startswith("https://") and remote.kind == "archive" for remote in plan(dataset))


def test_plan_another_spelling_of_a_data_set_gives_the_same_files() -> None:
    assert plan("Kinetics-600") == plan("k600") == plan("kinetics600")
    assert plan("UCF-101") == plan("ucf101")
