import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import warm

from tdpn_core.errors import ConfigError, DatasetError, ShardError, ToolError, UsageError
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.journal import Ledger
from tdpn_core.prep.prepare import prepare
from tdpn_core.prep.storage import LocalPlace
from tdpn_core.progress import Silent
from tdpn_core.shards import ClipStore, load_manifest
from tdpn_core.shards.format import read_index
from tdpn_core.shards.verify import verify
from tdpn_core.video.encode_options import Encoding

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
SMALL = PrepConfig(encoding=Encoding(short_side=32), shard_bytes=60_000, block_clips=4)  # two shards or so a block

RUN = """
import json, signal, sys
from pathlib import Path
from tdpn_core.errors import TdpnError
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.progress import Silent
from tdpn_core.video.encode_options import Encoding

class Marks(Silent):
    def advance(self, steps=1, **fields):
        print("clip", flush=True)

try:
    report = prepare("folder", Path(sys.argv[1]), Path(sys.argv[2]), workers=2, progress=Marks(),
                     settings=PrepConfig(encoding=Encoding(short_side=32), shard_bytes=60_000, block_clips=4),
                     ffmpeg=sys.argv[3] or None)
    print("digest", report.digest)
except TdpnError as error:
    print("error", error)
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    sys.exit(130)
"""


class Recorder(Silent):
    def __init__(self):
        self.total, self.done, self.fields, self.ended = 0, 0, {}, False

    def begin(self, title, total):
        self.total = total

    def advance(self, steps=1, **fields):
        self.done += steps
        self.fields = fields

    def end(self):
        self.ended = True


@pytest.fixture(scope="session")
def undisturbed(source, tmp_path_factory) -> str:
    """The digest of a preparation that nothing interrupts."""
    return prepare("folder", source, tmp_path_factory.mktemp("undisturbed"), settings=SMALL, workers=1).digest


def started(source: Path, out: Path, ffmpeg: str = "") -> warm.Popen:
    command = [sys.executable, "-c", RUN, str(source), str(out), ffmpeg]
    return warm.Popen(command, stdout=warm.PIPE)


def finished(child: warm.Popen) -> str:
    """The rest of what a run prints."""
    output, _ = child.communicate(timeout=60)
    return output


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*.h5")}


def strays(folder: Path) -> list[str]:
    """What a run must not leave behind."""
    return [path.name for path in folder.rglob(".*") if path.name not in (".lock", ".work")]


def recorded(folder: Path) -> dict[str, str]:
    """Status of every clip in the ledger, after a look that all of its shards are there."""
    blocks = list(Ledger(LocalPlace(folder)).blocks())
    for shard in (shard for block in blocks for shard in block.shards):
        content = (folder / shard.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == shard.sha256
    return {clip.id: clip.status for block in blocks for clip in block.clips}


def test_a_preparation_packs_reports_and_records_failures(source, tmp_path):
    seen = Recorder()
    report = prepare("folder", source, tmp_path / "out", settings=SMALL, progress=seen)
    assert report.clips == {"train": 9, "val": 2}
    assert report.added == 11
    assert [(failure.id, failure.source) for failure in report.failures] == [("train/a/8.mkv", "train/a/8.mkv")]
    assert report.failures[0].reason.startswith("truncated: ")
    assert Path(report.path) == tmp_path / "out"
    assert report.bytes == sum(len(content) for content in contents(tmp_path / "out").values())
    assert (seen.total, seen.done, seen.ended) == (12, 12, True)
    assert seen.fields["failures"] == "1 failed"
    assert re.fullmatch(r"\d+\.\d clips/s", seen.fields["speed"])
    manifest = verify(tmp_path / "out")
    assert manifest.digest == report.digest
    assert manifest.left_out == {"train": 1, "val": 0}
    assert len(manifest.of_split("train")) > 3
    assert set(recorded(tmp_path / "out").values()) == {"done", "failed"}
    assert strays(tmp_path / "out") == []
    assert not (tmp_path / "out" / ".work").exists()


def test_what_is_packed_is_the_picture_of_the_clip(source, tmp_path):
    prepare("folder", source, tmp_path, settings=SMALL)
    store = ClipStore(tmp_path, "train")
    assert store.ids == sorted(store.ids)
    assert store.classes == {"action": ["a", "b"]}
    assert [store.ids[n].split("/")[1] for n in range(len(store))] == ["ab"[label] for label in store.labels["action"]]
    frames = [simplejpeg.decode_jpeg(data) for data in store.read(0, range(store.counts[0]))]
    assert {frame.shape for frame in frames} == {(32, 43, 3)}
    assert store.fps[0] == 30
    assert np.std([frame.mean() for frame in frames]) > 0


def test_a_second_run_does_nothing(source, tmp_path):
    first = prepare("folder", source, tmp_path, settings=SMALL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")}
    seen = Recorder()
    second = prepare("folder", source, tmp_path, settings=SMALL, progress=seen)
    assert (second.added, second.digest, second.failures) == (0, first.digest, first.failures)
    assert seen.done == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")} == before


@pytest.mark.parametrize("workers", [1, 5])
def test_the_bytes_do_not_depend_on_the_number_of_workers(workers, source, tmp_path, undisturbed):
    assert prepare("folder", source, tmp_path, settings=SMALL, workers=workers).digest == undisturbed


@pytest.mark.parametrize("after", [1, 4, 9])
def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_bytes(after, source, tmp_path, undisturbed, program):
    out = tmp_path / "out"
    child = started(source, out)
    for _ in range(after):
        assert child.stdout.readline() == "clip\n"
    child.kill()
    finished(child)
    kept = contents(out)
    assert not (out / "manifest.json").exists()
    done = recorded(out)
    seen = len(list((out / ".work").glob("*/*.table")))
    assert len(done) + seen >= after - 1, "a clip that was reported is on disk"
    log = tmp_path / "log"
    shim = tmp_path / "ffmpeg"
    shim.write_text(f'#!/bin/sh\ncase "$*" in *image2pipe*) echo >> {log};; esac\nexec {program.path} "$@"\n')
    shim.chmod(0o755)
    assert f"digest {undisturbed}" in finished(started(source, out, str(shim)))
    assert len(log.read_text()) <= 12 - len(done) - seen, "what was done is not done again"
    after_all = contents(out)
    assert {name: after_all[name] for name in kept} == kept
    verify(out)
    assert strays(out) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 3), (signal.SIGINT, 130)])
def test_asked_to_stop_it_ends_its_decoders_and_keeps_what_is_finished(number, status, source, tmp_path, program):
    shim = tmp_path / "ffmpeg"
    shim.write_text(
        f'#!/bin/sh\ncase "$*" in *-version*) exec {program.path} -version;; *9.mkv*) sleep 100.{os.getpid()}7;;\n'
        f'*) exec {program.path} "$@";; esac\n'
    )
    shim.chmod(0o755)
    out = tmp_path / "out"
    child = started(source, out, str(shim))
    for _ in range(4):
        assert child.stdout.readline() == "clip\n"
    time.sleep(0.3)
    child.send_signal(number)
    output = finished(child)
    assert child.returncode == status, output
    sleeping = [p for p in Path("/proc").glob("[0-9]*/cmdline") if f"100.{os.getpid()}7" in _text(p)]
    assert sleeping == []
    with pytest.raises(ShardError, match="interrupted"):
        load_manifest(out)
    assert recorded(out) is not None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_hanging_decoder_costs_one_clip_and_is_tried_again_next_time(source, tmp_path, program):
    shim = tmp_path / "ffmpeg"
    script = "#!/bin/sh\ncase \"$*\" in *train/b/3.mkv*) trap '' TERM; sleep 50 & wait;; esac\n"
    shim.write_text(f'{script}exec {program.path} "$@"\n')
    shim.chmod(0o755)
    out = tmp_path / "out"
    slow = replace(SMALL, clip_seconds=1.5)
    report = prepare("folder", source, out, settings=slow, ffmpeg=shim)
    assert {failure.id: failure.reason for failure in report.failures}[
        "train/b/3.mkv"
    ] == "decoder timed out: no progress for 1.5 s"
    assert report.added == 10
    again = prepare("folder", source, out, settings=SMALL)
    assert again.added == 1
    assert [failure.id for failure in again.failures] == ["train/a/8.mkv"]


def test_a_failed_clip_is_tried_again_when_its_file_has_changed(source, tmp_path):
    root = shutil.copytree(source, tmp_path / "root")
    out = tmp_path / "out"
    assert len(prepare("folder", root, out, settings=SMALL).failures) == 1
    shutil.copy(root / "train" / "a" / "0.mkv", root / "train" / "a" / "8.mkv")
    report = prepare("folder", root, out, settings=SMALL)
    assert (report.added, report.failures) == (1, [])
    assert "train/a/8.mkv" in ClipStore(out, "train").ids


def test_a_prepared_clip_whose_source_has_changed_is_done_again(source, tmp_path):
    """P26. The clips beside it in its shard are not decoded again, and the old shard is gone."""
    root = shutil.copytree(source, tmp_path / "root")
    out = tmp_path / "out"
    first = prepare("folder", root, out, settings=SMALL)
    before = contents(out)
    shutil.copy(root / "train" / "b" / "1.mkv", root / "train" / "a" / "0.mkv")
    report = prepare("folder", root, out, settings=SMALL)
    assert report.added == 1
    assert "1 prepared clip has changed: prepared again" in report.notes
    assert report.clips == first.clips
    verify(out)
    assert len(contents(out)) == len(before)
    assert prepare("folder", root, tmp_path / "anew", settings=SMALL).digest == report.digest
    store = ClipStore(out, "train")
    same = store.ids.index("train/a/0.mkv"), store.ids.index("train/b/1.mkv")
    assert store.read(same[0], range(10)) == store.read(same[1], range(10))


def test_a_source_that_changes_while_it_is_read_is_tried_again_and_given_up(source, tmp_path, program):
    """P26."""
    root = shutil.copytree(source, tmp_path / "root")
    shim = tmp_path / "ffmpeg"
    touch = f'touch "{root}/train/b/3.mkv"'
    shim.write_text(f'#!/bin/sh\ncase "$*" in *train/b/3.mkv*) {touch};; esac\nexec {program.path} "$@"\n')
    shim.chmod(0o755)
    report = prepare("folder", root, tmp_path / "out", settings=SMALL, ffmpeg=shim)
    reasons = {failure.id: failure.reason for failure in report.failures}
    assert reasons["train/b/3.mkv"] == "changed while it was read"
    again = prepare("folder", root, tmp_path / "out", settings=SMALL)
    assert (again.added, again.failed) == (1, 1)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_shard_that_is_gone_is_made_again(damage, source, tmp_path):
    """H3."""
    first = prepare("folder", source, tmp_path, settings=SMALL)
    before = contents(tmp_path)
    lost = sorted(before)[1]
    if damage == "missing":
        (tmp_path / lost).unlink()
    else:
        (tmp_path / lost).write_bytes(before[lost][:-1])
    again = prepare("folder", source, tmp_path, settings=SMALL)
    assert again.digest == first.digest
    assert f"1 shard was missing or truncated and written again, for example {lost}" in again.notes
    assert contents(tmp_path) == before


def test_a_decoder_that_dies_once_costs_nothing(source, tmp_path, program, undisturbed):
    """P25."""
    shim = tmp_path / "ffmpeg"
    once = f"[ -e {tmp_path}/died ] || {{ touch {tmp_path}/died; kill -9 $$; }}"
    shim.write_text(f'#!/bin/sh\ncase "$*" in *train/b/3.mkv*) {once};; esac\nexec {program.path} "$@"\n')
    shim.chmod(0o755)
    report = prepare("folder", source, tmp_path / "out", settings=SMALL, ffmpeg=shim)
    assert (tmp_path / "died").exists()
    assert report.digest == undisturbed


def test_a_clip_beyond_the_limits_is_skipped_and_said_so(source, tmp_path):
    """P14."""
    short = replace(SMALL, encoding=Encoding(short_side=32, max_frames=40))
    report = prepare("folder", source, tmp_path, settings=short)
    found = recorded(tmp_path)
    assert set(found.values()) == {"done", "failed", "skipped"}
    assert found["train/b/5.mkv" if "train/b/5.mkv" in found else "val/b/5.mkv"] == "skipped"
    assert report.failed == sum(status != "done" for status in found.values())
    assert prepare("folder", source, tmp_path, settings=short).added == 0


def test_new_clips_are_added(source, tmp_path):
    root = shutil.copytree(source, tmp_path / "root")
    out = tmp_path / "out"
    first = prepare("folder", root, out, settings=SMALL)
    shutil.copy(root / "train" / "a" / "0.mkv", root / "train" / "b" / "new.mkv")
    (root / "train" / "b" / "1.mkv").unlink()
    report = prepare("folder", root, out, settings=SMALL)
    assert report.added == 1
    assert report.clips["train"] == first.clips["train"] + 1
    assert any("1 prepared clip is no longer under" in note for note in report.notes)


@pytest.mark.parametrize(
    ("change", "said"), [({"short_side": 40}, "short_side 32, not 40"), ({"quality": 5}, "quality 3, not 5")]
)
def test_other_settings_on_the_same_folder_are_refused(change, said, source, tmp_path):
    prepare("folder", source, tmp_path, settings=SMALL)
    other = replace(SMALL, encoding=Encoding(**{"short_side": 32, **change}))
    with pytest.raises(ConfigError, match=f"was prepared with {said}.*give another --out"):
        prepare("folder", source, tmp_path, settings=other)


def test_other_classes_or_splits_on_the_same_folder_are_refused(source, tmp_path):
    root = shutil.copytree(source, tmp_path / "root")
    out = tmp_path / "out"
    prepare("folder", root, out, settings=SMALL)
    (root / "val" / "a" / "4.mkv").rename(root / "train" / "a" / "4.mkv")
    prepare("folder", root, out, settings=SMALL)
    (root / "train" / "c").mkdir()
    shutil.copy(root / "train" / "a" / "0.mkv", root / "train" / "c" / "0.mkv")
    with pytest.raises(ConfigError, match="other classes"):
        prepare("folder", root, out, settings=SMALL)


def test_a_clip_that_would_change_sides_is_refused(source, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(source / "train", root)
    out = tmp_path / "out"
    prepare("folder", root, out, settings=SMALL)
    for number in range(40):
        shutil.copy(root / "a" / "0.mkv", root / "a" / f"more{number}.mkv")
    with pytest.raises(ConfigError, match="now belong to another split"):
        prepare("folder", root, out, settings=SMALL)


def test_a_root_where_nothing_can_be_decoded_is_an_error(tmp_path):
    for name in ("a/x.mp4", "b/y.mp4"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True)
        path.write_text("no video")
    with pytest.raises(DatasetError, match=r"none of 2 clips can be decoded; a/x\.mp4: not a video"):
        prepare("folder", tmp_path / "root", tmp_path / "out")


def test_a_class_of_which_nothing_is_left_is_noted(source, tmp_path):
    root = shutil.copytree(source, tmp_path / "root")
    bad = root / "train" / "z" / "z.mp4"
    bad.parent.mkdir()
    bad.write_bytes(b"")
    report = prepare("folder", root, tmp_path / "out", settings=SMALL)
    assert "no clip of 1 class could be prepared: z" in report.notes


def test_a_second_preparation_of_one_folder_is_refused_with_the_first_ones_name(source, tmp_path, program):
    shim = tmp_path / "ffmpeg"
    shim.write_text(f'#!/bin/sh\ncase "$*" in *-version*) ;; *) sleep 0.3;; esac\nexec {program.path} "$@"\n')
    shim.chmod(0o755)
    out = tmp_path / "out"
    first = threading.Thread(target=prepare, args=("folder", source, out), kwargs={"settings": SMALL, "ffmpeg": shim})
    first.start()
    try:
        while not (out / ".lock").exists() or not (out / ".lock").read_text():
            time.sleep(0.02)
        with pytest.raises(
            UsageError, match=f"process {os.getpid()} on {socket.gethostname()} has been preparing clips here since "
        ):
            prepare("folder", source, out, settings=SMALL)
    finally:
        first.join()
    assert prepare("folder", source, out, settings=SMALL).added == 0


def test_hostile_names_go_through_the_whole_preparation(render, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["-x.mp4", "a:b.mp4", "two words.mp4", 'it\'s "so".mp4', "new\nline.mp4", "$(touch x).mp4", "%d.mp4"]
    names.append(os.fsdecode(b"\xff\xfe.mp4"))
    for name in names:
        target = tmp_path / "root" / "train" / "-c;" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(render("plain.mp4", *H264), target)
    shutil.copytree(tmp_path / "root" / "train", tmp_path / "root" / "val")
    report = prepare("folder", Path("root"), settings=SMALL)
    assert report.path == "data/folder"
    assert report.failures == []
    store = ClipStore(Path(report.path), "train")
    assert sorted(store.ids) == sorted(f"train/-c;/{name}" for name in names)
    assert sorted(Path(store.source(n)).name for n in range(len(store))) == sorted(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "root"]


def test_a_full_disk_is_an_error_and_nothing_is_lost(source, tmp_path, undisturbed):
    """A limit on the size of files stands in for a full disk: the second shard does not fit."""
    out = tmp_path / "out"
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))\n"
    command = [sys.executable, "-c", limit + RUN, str(source), str(out), ""]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert child.returncode == 1, child.stderr
    assert "disk full" in child.stdout or "cannot write" in child.stdout
    assert strays(out) == []
    assert prepare("folder", source, out, settings=SMALL).digest == undisturbed


def test_an_output_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        prepare("folder", source, tmp_path / "file" / "out")


def test_without_ffmpeg_no_work_begins(source, tmp_path):
    with pytest.raises(ToolError, match="cannot be started"):
        prepare("folder", source, tmp_path / "out", ffmpeg="/no/ffmpeg")
    assert not (tmp_path / "out").exists()


def test_the_manifest_is_readable_json_with_the_settings(source, tmp_path):
    prepare("folder", source, tmp_path, settings=SMALL)
    values = json.loads((tmp_path / "manifest.json").read_text())
    assert values["settings"]["short_side"] == 32
    assert values["settings"]["dataset"]["seed"] == 0
    assert values["label_order"]
    assert values["left_out"] == {"train": 1, "val": 0}


def test_packed_as_video_it_takes_less_room_and_shows_the_same_frames(source, tmp_path):
    pictures = replace(SMALL, encoding=Encoding(short_side=48))
    video = replace(SMALL, encoding=Encoding(short_side=48, codec="video"))
    first = prepare("folder", source, tmp_path / "jpeg", settings=pictures)
    second = prepare("folder", source, tmp_path / "video", settings=video)
    assert second.clips == first.clips
    assert second.bytes < first.bytes / 2
    verify(tmp_path / "video")
    jpeg, h264 = (ClipStore(tmp_path / name, "train") for name in ("jpeg", "video"))
    assert (jpeg.packing, h264.packing) == ("jpeg", "video")
    assert h264.ids == jpeg.ids
    assert h264.counts.tolist() == jpeg.counts.tolist()
    frames = [20, 0, 7, 7]
    one, other = (store.decode(2, frames).astype(int) for store in (jpeg, h264))
    assert one.shape == other.shape == (4, 48, 64, 3)
    assert np.abs(one - other).mean() < 12  # of a test pattern, all of it sharp and gaudy edges
    assert np.array_equal(other[2], other[3])
    with pytest.raises(IndexError, match="has frames 0 to"):
        h264.decode(2, [10_000])


@pytest.mark.parametrize(("asked", "recorded"), [("auto", "tvl1"), ("dis", "dis")])
def test_packed_as_flow_it_says_how_it_was_computed(asked, recorded, source, tmp_path):
    flow = replace(SMALL, encoding=Encoding(short_side=32, modality="flow", flow_method=asked))
    report = prepare("folder", source, tmp_path, settings=flow)
    assert report.clips == {"train": 9, "val": 2}
    store = ClipStore(tmp_path, "train")
    assert store.packing == "flow"
    assert store.manifest.settings["flow_method"] == recorded
    for shard in tmp_path.glob("*.h5"):
        assert json.loads(read_index(shard).attributes["settings"])["flow_method"] == recorded
    assert store.decode(0, [0, 5]).shape == (2, 32, 43, 2)
    assert store.counts[0] == 29


def test_without_opencv_no_flow_is_begun(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    flow = replace(SMALL, encoding=Encoding(modality="flow"))
    with pytest.raises(ToolError, match=r"needs OpenCV.*pip install 'tdpn\[flow\]'"):
        prepare("folder", source, tmp_path / "out", settings=flow)
    assert not (tmp_path / "out").exists()
