"""One answer a clip, or segments in time; clips that fail are told, and the others go on."""

import csv
import http.server
import io
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from local_web import serve

import tdpn_core
from tdpn_core.checkpoint import Calibration, store_calibration
from tdpn_core.config.schema import RunConfig
from tdpn_core.datasets.segments import read_segments
from tdpn_core.defaults import BACKGROUND
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import UsageError
from tdpn_core.evaluation.evaluate import evaluate
from tdpn_core.fetch_limits import FetchLimits
from tdpn_core.prediction import Prediction, PredictOptions, Windowing
from tdpn_core.prediction.predict import predict
from tdpn_core.prediction.results import plain, rank, to_csv
from tdpn_core.shards import ClipStore
from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg
from tdpn_core.video.url import Address
from tdpn_core.wording import size_text

CPU = Runtime(torch.device("cpu"))


@pytest.fixture(scope="module")
def long_video(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 seconds of changing pictures with sound."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    inputs = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=20:duration=12", "-f", "lavfi", "-i", "sine=duration=12"]
    command = [program.path, "-y", "-loglevel", "error", *inputs, "-c:v", "libx264", "-preset", "ultrafast", path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return path


@pytest.fixture(scope="module")
def web(long_video: Path, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on this machine, with the long video, the same in parts, and things that are none."""
    folder = tmp_path_factory.mktemp("web")
    parts = ["-c:v", "copy", "-an", "-f", "hls", "-hls_list_size", "0", folder / "long.m3u8"]
    command = [program.path, "-loglevel", "error", "-i", long_video, *parts]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    (folder / "long.mp4").symlink_to(long_video)
    (folder / "page.mp4").write_text("<html></html>")
    (folder / "trap.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    )

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _one(word: str | Path, checkpoint: Path, **options: object) -> Prediction:
    (prediction,) = predict([word], checkpoint=checkpoint, runtime=CPU, options=PredictOptions(**options))  # type: ignore[arg-type]
    return prediction


@pytest.mark.parametrize("views", ["1x1", "2x3"])
def test_source_files_get_the_probabilities_of_their_prepared_clips(
    checkpoint: Path, prepared: Path, videos: Path, views: str
) -> None:
    scored = evaluate(checkpoint, runtime=CPU, views=views, workers=0)
    store = ClipStore(prepared, "val")
    options = PredictOptions(views=views, topk=8)
    names = store.classes["action"]
    files = [videos / store.source(index) for index in range(len(store))]
    for index, prediction in enumerate(predict(files, checkpoint=checkpoint, runtime=CPU, options=options)):
        own = dict(prediction.heads["action"])
        # within float32's rounding, which differs with the number of views that go through the network together
        assert [own[name] for name in names] == pytest.approx(scored.probabilities["action"][index], abs=1e-6)


def test_a_timeline_covers_the_video_without_gaps(checkpoint: Path, long_video: Path) -> None:
    told: list[str] = []
    options = PredictOptions(timeline=Windowing(seconds=2.0, stride=1.0), smooth=0, min_length=0)
    (prediction,) = predict(
        [long_video], checkpoint=checkpoint, runtime=CPU, options=options, tell=lambda name, _: told.append(name)
    )
    segments = prediction.segments
    assert segments
    assert prediction.error is None
    assert (segments[0].start, segments[-1].end) == (0.0, pytest.approx(12.0))
    assert all(before.end == after.start for before, after in pairwise(segments))
    assert all(before.heads["action"][0][0] != after.heads["action"][0][0] for before, after in pairwise(segments))
    assert told == [str(long_video)] * len(segments)
    assert prediction.seconds == pytest.approx(12.0)


def test_a_window_over_all_of_a_clip_is_the_prediction_of_the_clip(checkpoint: Path, long_video: Path) -> None:
    whole = _one(long_video, checkpoint, views="1x1", topk=8)
    (segment,) = _one(long_video, checkpoint, timeline=Windowing(seconds=12.0), topk=8).segments or []
    assert segment.heads == whole.heads


def test_a_flow_network_has_a_timeline(
    flow_checkpoint: Path, long_video: Path, program: Program, tmp_path: Path
) -> None:
    whole = _one(long_video, flow_checkpoint, views="1x1", topk=8)
    (segment,) = _one(long_video, flow_checkpoint, timeline=Windowing(seconds=12.0), topk=8).segments or []
    assert segment.heads == whole.heads
    assert len({round(value, 4) for _, value in segment.heads["action"]}) > 4
    halves = _one(long_video, flow_checkpoint, timeline=Windowing(seconds=2.0), topk=8)
    assert halves.seconds == pytest.approx(239 / 20), "the last frame has no next one"
    command = [program.path, "-loglevel", "error", "-i", long_video, "-t", "2", tmp_path / "%04d.png"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    assert _one(tmp_path, flow_checkpoint, fps=20.0, timeline=Windowing(seconds=1.0)).segments


def test_a_part_of_a_video_is_a_clip_of_its_own(checkpoint: Path, long_video: Path) -> None:
    part = _one(long_video, checkpoint, start=2.0, stop=4.0)
    assert part.seconds == pytest.approx(2.0)
    assert part.heads != _one(long_video, checkpoint).heads


def test_predict_of_a_calibrated_network_says_none_of_these_below_the_threshold(
    checkpoint: Path, long_video: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(checkpoint, tmp_path / "best.pt"))
    plainly = _one(long_video, checkpoint, views="1x1", topk=8).heads["action"]

    def calibrated(temperature: float, threshold: float) -> None:
        store_calibration(
            path,
            Calibration(
                temperature={"action": temperature}, threshold={"action": threshold}, data="", split="val", views="1x1"
            ),
        )

    calibrated(2.0, 0.0)
    cooled = dict(_one(long_video, path, views="1x1", topk=8).heads["action"])
    roots = {name: probability**0.5 for name, probability in plainly}
    assert cooled == pytest.approx({name: root / sum(roots.values()) for name, root in roots.items()})
    calibrated(1.0, 0.999)
    answer = _one(long_video, path, views="1x1", topk=2)
    assert [name for name, _ in answer.heads["action"]] == ["none of these", plainly[0][0], plainly[1][0]]
    assert answer.heads["action"][0][1] == pytest.approx(1 - plainly[0][1])
    assert plain(answer)["heads"]["action"][0]["class"] == "none of these"
    assert str(answer.network).endswith("views 1x1; threshold 99.9%")
    assert plain(answer)["network"]["threshold"] == {"action": 0.999}
    assert next(csv.DictReader(io.StringIO(to_csv([answer]))))["class"] == "none of these"
    assert _one(long_video, path, timeline=Windowing()).segments == []
    assert str(_one(long_video, path, timeline=Windowing()).network).endswith("threshold 99.9%")
    low = _one(long_video, path, timeline=Windowing(), threshold=0.0)
    assert low.segments
    assert str(low.network).endswith("views 1x1")
    assert str(_one(long_video, path, timeline=Windowing(), nms=0.5).network).endswith("views 1x1")
    calibrated(1.0, 0.0)
    assert dict(_one(long_video, path, views="1x1", topk=8).heads["action"]) == pytest.approx(dict(plainly))


def test_no_moment_is_named_below_the_threshold(checkpoint: Path, long_video: Path) -> None:
    assert _one(long_video, checkpoint, timeline=Windowing(), threshold=1.0).segments == []
    with pytest.raises(UsageError, match="--threshold is a probability"):
        PredictOptions(threshold=2.0)


def test_background_class_is_a_gap_in_a_timeline(
    checkpoint: Path, config: RunConfig, save_fresh: Callable[[RunConfig, Path], Path], long_video: Path, tmp_path: Path
) -> None:
    options = {"timeline": Windowing(seconds=2.0, stride=1.0), "smooth": 0, "min_length": 0}
    every = _one(long_video, checkpoint, **options).segments or []
    gone = every[0].heads["action"][0][0]
    names = [BACKGROUND if name == gone else name for name in config.data.classes["action"]]
    renamed = replace(config, data=replace(config.data, classes={"action": names}))
    found = _one(long_video, save_fresh(renamed, tmp_path / "best.pt"), **options).segments or []
    kept = [one for one in every if one.heads["action"][0][0] != gone]
    assert [(one.start, one.end) for one in found] == [(one.start, one.end) for one in kept]
    assert len(found) < len(every)
    overlapping = _one(long_video, tmp_path / "best.pt", timeline=options["timeline"], nms=0.5).segments or []
    assert overlapping
    assert BACKGROUND not in {name for one in overlapping for (name, _) in one.heads["action"]}
    assert [one.start for one in overlapping] == sorted(one.start for one in overlapping)


def test_segments_for_annotation_tools_have_times_of_the_video_and_are_read_back(
    checkpoint: Path, long_video: Path, tmp_path: Path
) -> None:
    asked = {"timeline": Windowing(seconds=2.0), "start": 4.0, "segments": tmp_path / "found.csv"}
    clips = [long_video, tmp_path / "none.mp4"]
    found, failed = tdpn_core.predict(clips, checkpoint=checkpoint, options=PredictOptions(**asked), gpus=0)
    assert failed.error
    read = read_segments(tmp_path / "found.csv")
    assert [(one.start, one.stop, one.label) for one in read.segments] == [
        (pytest.approx(one.start + 4.0, abs=1e-3), pytest.approx(one.end + 4.0, abs=1e-3), one.heads["action"][0][0])
        for one in found.segments or []
    ]
    assert read.videos == (str(long_video),)
    with pytest.raises(UsageError, match="exists already"):
        list(tdpn_core.predict(clips, checkpoint=checkpoint, options=PredictOptions(**asked), gpus=0))
    with pytest.raises(UsageError, match="--segments: has the segments of a timeline"):
        list(tdpn_core.predict(clips, checkpoint=checkpoint, options=PredictOptions(segments=tmp_path), gpus=0))


def test_numbered_pictures_are_predicted_like_the_video_they_come_from(
    checkpoint: Path, long_video: Path, program: Program, tmp_path: Path
) -> None:
    command = [program.path, "-loglevel", "error", "-i", long_video, "-t", "2", tmp_path / "%04d.png"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    pictures = _one(tmp_path, checkpoint, fps=20.0, topk=8)
    video = _one(long_video, checkpoint, stop=2.0, topk=8)
    assert pictures.seconds == pytest.approx(2.0)
    assert dict(pictures.heads["action"]) == pytest.approx(dict(video.heads["action"]), abs=0.02)
    assert _one(tmp_path, checkpoint, fps=20.0, timeline=Windowing(seconds=1.0)).segments
    few = _one(f"{tmp_path}/*0.png", checkpoint, fps=20.0)
    assert few.seconds == pytest.approx(4 / 20), "0010, 0020, 0030 and 0040"
    (tmp_path / "0007.png").unlink()
    assert "frame 7 of 1..40 is missing" in str(_one(tmp_path, checkpoint).error)


def test_an_address_is_predicted_as_the_file_behind_it(checkpoint: Path, long_video: Path, web: str) -> None:
    local, remote = _one(long_video, checkpoint, topk=8), _one(f"{web}/long.mp4", checkpoint, topk=8)
    assert remote.heads == local.heads
    timeline = _one(f"{web}/long.mp4", checkpoint, timeline=Windowing(seconds=3.0))
    own = _one(long_video, checkpoint, timeline=Windowing(seconds=3.0)).segments
    assert timeline.segments == own
    playlist = _one(f"{web}/long.m3u8", checkpoint, timeline=Windowing(seconds=3.0))
    assert playlist.error is None
    assert [segment.heads for segment in playlist.segments or []] == [segment.heads for segment in own or []]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.mp4", "none.mp4: does not exist"),
        ("page.mp4", "page.mp4: not a video"),
        ("trap.m3u8", "trap.m3u8: not a supported video"),
    ],
)
def test_an_address_that_holds_no_video_is_told(checkpoint: Path, web: str, path: str, message: str) -> None:
    for timeline in (None, Windowing()):
        error = _one(f"{web}/{path}", checkpoint, timeline=timeline).error
        assert message in str(error)


def test_a_server_that_is_not_there_or_says_nothing_is_told(checkpoint: Path) -> None:
    refused = "http://127.0.0.1:9/a.mp4"
    assert str(_one(refused, checkpoint).error) == f"{refused}: cannot be fetched: Connection refused"
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        error = _one(silent, checkpoint, fetch_limits=FetchLimits(idle=0.2, retries=0)).error
    assert str(error) == f"{silent}: cannot be fetched: no data for 0.2 s; wait longer with --idle-timeout"


def test_a_server_that_stops_halfway_is_asked_for_the_rest(checkpoint: Path, long_video: Path) -> None:
    content = long_video.read_bytes()
    with serve() as served:
        served.files = {"/a.mp4": content}
        served.cut = [10, len(content) // 2]
        assert _one(f"{served.url}/a.mp4", checkpoint).heads == _one(long_video, checkpoint).heads
        assert served.asked[-1] == ("/a.mp4", f"bytes={len(content) // 2}-")
        served.cut = [10, len(content) // 2, 0, 0]
        error = _one(f"{served.url}/a.mp4", checkpoint, fetch_limits=FetchLimits(retries=1, pause=0.001)).error
    assert "/a.mp4: cannot be fetched:" in str(error)


def test_a_file_that_is_not_complete_in_time_is_given_up_with_what_was_received(
    checkpoint: Path, long_video: Path
) -> None:
    content = long_video.read_bytes()
    with serve() as served:
        served.files, served.drip, served.piece = {"/a.mp4": content}, 0.05, 500
        error = _one(f"{served.url}/a.mp4", checkpoint, fetch_limits=FetchLimits(total=0.6)).error
    received = rf"[\d.]+ (bytes|kB) of {size_text(len(content))} received"
    text = rf"was not complete within 0.6 s: {received}; wait longer with --fetch-timeout"
    assert re.search(text, str(error))


def test_limits_of_a_file_are_those_that_are_asked_for(
    checkpoint: Path, long_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for timeline in (None, Windowing()):
        error = _one(long_video, checkpoint, max_pixels=96 * 64 - 1, timeline=timeline).error
        assert "96x64 exceeds the limit of 6143 pixels (--max-pixels)" in str(error)
    assert _one(long_video, checkpoint, max_pixels=128 * 64, stop=1.0).error is None
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text(f"#!/bin/sh\ncase $* in *-version*) exec {find_ffmpeg().path} -version;; esac\nsleep 60\n")
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("TDPN_FFMPEG", str(ffmpeg))
    assert "no progress for 0.5 s" in str(_one(long_video, checkpoint, clip_timeout=0.5).error)
    timeline = _one(long_video, checkpoint, clip_timeout=0.5, timeline=Windowing())
    assert "no output for 0.5 s" in str(timeline.error)
    with pytest.raises(UsageError, match="--clip-timeout must be a positive number"):
        PredictOptions(clip_timeout=0.0)


def test_a_live_stream_is_answered_window_by_window(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Address("testsrc2=size=64x48:rate=25", "live", (("f", "lavfi"),))
    monkeypatch.setattr("tdpn_core.video.inputs.camera", lambda device: drawn)
    told = []
    options = PredictOptions(webcam=0, stop=20.0, timeline=Windowing(seconds=1.0))
    (prediction,) = predict(
        [], checkpoint=checkpoint, runtime=CPU, options=options, tell=lambda _, segment: told.append(segment)
    )
    assert prediction.name == "webcam 0"
    assert prediction.segments == told
    assert told
    assert all(segment.end - segment.start == pytest.approx(1.0) for segment in told)
    assert all(after.start - before.start >= 0.48 - 1e-9 for before, after in pairwise(told))
    assert all(segment.end <= 20.001 for segment in told)


def test_clips_that_fail_are_told_and_the_rest_goes_on(
    checkpoint: Path, long_video: Path, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile '/etc/passwd'\n")
    (tmp_path / "right.txt").write_bytes(long_video.read_bytes())
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "link.mp4").symlink_to("nowhere.mp4")
    render = [program.path, "-y", "-loglevel", "error", "-f", "lavfi"]
    sound = [*render, "-i", "sine=duration=1", tmp_path / "sound.mp4"]
    one = [*render, "-i", "testsrc2=size=64x48:rate=25", "-frames:v", "1", tmp_path / "one.mp4"]
    huge = [*render, "-i", "color=size=9000x5000:rate=1:duration=1", "-preset", "ultrafast", tmp_path / "huge.mp4"]
    for command in (sound, one, huge):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    words = ["text.mp4", "list.mp4", "sound.mp4", "huge.mp4", "empty.mp4", "link.mp4", "one.mp4", "right.txt"]
    found = predict([tmp_path / word for word in words], checkpoint=checkpoint, runtime=CPU)
    errors = [str(prediction.error) for prediction in found]
    expected = ["not a video", "not a video: unsupported container format", "no video stream",
                "9000x5000 exceeds the limit of 35389440 pixels", "an empty file", "a broken link",
                "None", "None"]  # fmt: skip
    assert all(part in text for part, text in zip(expected, errors, strict=True)), errors
    timeline = PredictOptions(timeline=Windowing())
    again = predict([tmp_path / word for word in words], checkpoint=checkpoint, runtime=CPU, options=timeline)
    assert all(part in str(prediction.error) for part, prediction in zip(expected, again, strict=True))


def test_odd_videos_of_the_world_are_predicted(shared: Path, checkpoint: Path) -> None:
    found = list(predict([shared / "clips" / "odd"], checkpoint=checkpoint, runtime=CPU))
    assert len(found) == 17
    failed = {Path(prediction.name).name: str(prediction.error) for prediction in found if prediction.error}
    assert list(failed) == ["corrupted.mp4"]
    assert "damaged: 49 of 50 frames can be decoded" in failed["corrupted.mp4"]


def test_verbs_and_nouns_make_actions_by_their_product() -> None:
    rng = np.random.default_rng(0)
    verb, noun = rng.dirichlet(np.ones(7)), rng.dirichlet(np.ones(9))
    classes = {"verb": [f"v{i}" for i in range(7)], "noun": [f"n{i}" for i in range(9)]}
    ranked = rank({"verb": verb, "noun": noun}, classes, 5)
    pairs = sorted(((verb[i] * noun[j], f"v{i} n{j}") for i in range(7) for j in range(9)), reverse=True)
    assert [name for name, _ in ranked["action"]] == [name for _, name in pairs[:5]]
    assert [value for _, value in ranked["action"]] == pytest.approx([value for value, _ in pairs[:5]])
    assert list(ranked) == ["verb", "noun", "action"]


def test_equal_probabilities_rank_by_label() -> None:
    assert rank({"action": np.array([0.25] * 4)}, {"action": list("dcba")}, 2)["action"] == [("d", 0.25), ("c", 0.25)]


def test_tables_have_a_row_for_each_class_and_error(checkpoint: Path, long_video: Path, config: RunConfig) -> None:
    whole = _one(long_video, checkpoint, topk=3)
    cut = _one(long_video, checkpoint, topk=2, timeline=Windowing(seconds=4.0))
    missing = _one("none.mp4", checkpoint)
    rows = list(csv.DictReader(io.StringIO(to_csv([whole, cut, missing]))))
    assert {(row["checkpoint"], row["dataset"], row["data"], row["epoch"]) for row in rows[:-1]} == {
        (str(checkpoint), config.data.dataset, config.data.path, "")
    }
    assert (rows[0]["views"], rows[3]["views"], rows[-1]["checkpoint"]) == (config.sampling.views, "1x1", "")
    assert len(rows) == 3 + 2 * len(cut.segments or []) + 1
    assert [(row["rank"], row["class"], float(row["probability"])) for row in rows[:3]] == [
        (str(place), name, pytest.approx(value, abs=1e-6))
        for place, (name, value) in enumerate(whole.heads["action"], start=1)
    ]
    assert (rows[0]["start"], rows[0]["end"]) == ("0.000", "12.000")
    assert (rows[-1]["clip"], rows[-1]["error"]) == ("none.mp4", "none.mp4: no such file")
    assert plain(cut)["segments"][0]["start"] == 0.0
    assert "segments" not in plain(whole)
