import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from tdpn_core.errors import ClipError
from tdpn_core.video.decode import VideoInfo, probe_video, read_frames

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def raw_frames(path: Path, program, size: tuple[int, int]) -> np.ndarray:
    """(K, H, W, 3) of ffmpeg decoding from the first frame to the last."""
    command = [program.path, "-loglevel", "error", "-i", path, "-fps_mode", "passthrough"]
    scale = ["-vf", f"scale={size[1]}:{size[0]}", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    output = subprocess.run([*command, *scale], capture_output=True, check=True)
    return np.frombuffer(output.stdout, np.uint8).reshape(-1, *size, 3)


@pytest.mark.parametrize(
    ("name", "options", "indexed"),
    [
        ("a.mp4", H264, True),
        ("a.mkv", H264, True),
        ("a.webm", ("-c:v", "libvpx"), True),
        ("a.avi", ("-c:v", "mpeg4", "-bf", "2"), False),
        ("a.mpg", ("-c:v", "mpeg1video"), False),
        ("a.ts", H264, False),
    ],
)
def test_any_frames_come_in_the_order_asked_for(name, options, indexed, render, program):
    path = render(name, *options)
    info = probe_video(path, program=program)
    assert (info.frames, info.width, info.height, info.indexed) == (60, 64, 48, indexed)
    assert info.fps == pytest.approx(30, rel=0.01)
    order = [59, 0, 31, 31, 7, 44]
    found = read_frames(path, order, (48, 64), info=info, program=program)
    expected = raw_frames(path, program, (48, 64))[order]
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_frames_that_an_edit_list_skips_are_not_counted(render, program, tmp_path):
    """decord numbers them too, so an index would lead to other frames than decoding does."""
    source, path = render("a.mp4", *H264, "-g", "60"), tmp_path / "edited.mp4"
    command = [program.path, "-loglevel", "error", "-ss", "0.7", "-i", source, "-c", "copy", path]
    subprocess.run(command, check=True)
    expected = raw_frames(path, program, (48, 64))
    info = probe_video(path, program=program)
    assert info.frames == len(expected) < 60
    found = read_frames(path, range(info.frames), (48, 64), info=info, program=program)
    assert np.abs(found.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("width", [16, 32, 48, 144])
def test_narrow_pictures_keep_three_channels(width, render, program):
    inputs = ("-f", "lavfi", "-i", f"testsrc2=size={width}x96:rate=10:duration=1")
    path = render(f"narrow{width}.mp4", *H264, inputs=inputs)
    info = probe_video(path, program=program)
    assert info.indexed
    found = read_frames(path, [3, 8], (96, width), info=info, program=program)
    assert np.abs(found.astype(int) - raw_frames(path, program, (96, width))[[3, 8]]).max() <= 2


def test_the_rate_of_an_uneven_video_is_its_mean(render, program):
    drop = ("-vf", "select='lt(n,20)+not(mod(n,7))'", "-fps_mode", "vfr", "-c:v", "libvpx")
    info = probe_video(render("uneven.webm", *drop), program=program)
    assert info.frames == sum(n < 20 or n % 7 == 0 for n in range(60))
    assert info.fps == pytest.approx(info.frames / 2, rel=0.06)


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [((320, 240), 128, (128, 171)), ((240, 320), 128, (171, 128)), ((64, 48), 256, (48, 64)), ((51, 49), 25, (25, 26))],
)
def test_the_scaled_size_is_that_of_prepared_clips(size, side, expected):
    assert VideoInfo(1, 30.0, *size, indexed=True).scaled(side) == expected


@pytest.mark.parametrize("indices", [[60], [-1], []])
def test_frames_that_are_not_there_are_refused(indices, render, program):
    with pytest.raises(ClipError, match="has frames 0 to 59"):
        read_frames(render("a.mp4", *H264), indices, (48, 64), program=program)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.avi"])
def test_a_cut_video_is_refused(name, render, program, tmp_path):
    options = {"a.mkv": H264, "a.webm": ("-c:v", "libvpx"), "a.avi": ("-c:v", "mpeg4", "-bf", "2")}[name]
    content = render(name, *options).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ClipError, match=r"truncated: \d+ of 60 frames"):
        probe_video(tmp_path / name, program=program)


def test_what_is_no_video_is_refused(program, tmp_path):
    (tmp_path / "x.mp4").write_text("ffconcat version 1.0\nfile '/etc/passwd'\n")
    with pytest.raises(ClipError, match="not a video container"):
        probe_video(tmp_path / "x.mp4", program=program)
    with pytest.raises(ClipError, match="no such file"):
        probe_video(tmp_path / "y.mp4", program=program)


def test_a_hostile_name_is_read_by_index_too(render, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-a:b %d.mp4", "b'\"$(x)\n.mp4"):
        shutil.copy(render("a.mp4", *H264), name)
        assert read_frames(Path(name), [3], (48, 64), program=program).shape == (1, 48, 64, 3)


def test_real_clips_give_the_frames_that_preparation_gives(shared, program, encode):
    wrong = []
    for row in csv.DictReader((shared / "clips" / "clips.csv").read_text().splitlines()):
        if not row["frames"] or row["file"].startswith(("ucf", "kinetics/s", "kinetics/u")):
            continue
        path = shared / "clips" / row["file"]
        info = probe_video(path, program=program)
        frames = encode(path).items
        assert info.frames == len(frames)
        chosen = sorted({0, info.frames // 3, info.frames - 1})
        found = read_frames(path, chosen, info.scaled(256), info=info, program=program)
        for index, picture in zip(chosen, found, strict=True):
            expected = simplejpeg.decode_jpeg(frames[index])
            if picture.shape != expected.shape or np.abs(picture.astype(int) - expected).mean() > 3.5:
                wrong.append((row["file"], index))
    assert wrong == []
