import csv
import math
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from tdpn_core.errors import ClipError, Stopped
from tdpn_core.video.encode import Encoding
from tdpn_core.video.subprocess_limits import Limits

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30:duration=2")
SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:duration=2")
LONG_SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:duration=4")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")

WHOLE = {  # name: (options, inputs); each has 60 frames
    "plain.mp4": (H264, PICTURE),
    "fast.mp4": ((*H264, "-movflags", "+faststart"), PICTURE),
    "sound.mp4": ((*H264, "-c:a", "aac", "-movflags", "+faststart"), PICTURE + SOUND),
    "pieces.mp4": ((*H264, "-g", "15", "-movflags", "+frag_keyframe+empty_moov"), PICTURE),
    "plain.webm": (("-c:v", "libvpx", "-b:v", "300k"), PICTURE),
    "sound.webm": (("-c:v", "libvpx", "-b:v", "300k", "-c:a", "libopus"), PICTURE + SOUND),
    "plain.mkv": (H264, PICTURE),
    "sound.mkv": ((*H264, "-c:a", "aac"), PICTURE + SOUND),
    "plain.avi": (("-c:v", "mpeg4"), PICTURE),
    "sound.avi": (("-c:v", "mpeg4", "-c:a", "mp3"), PICTURE + SOUND),
    "plain.flv": (H264, PICTURE),
}
LAWFUL = {  # unusual, but nothing is missing
    "long_sound.mp4": ((*H264, "-c:a", "aac"), PICTURE + LONG_SOUND),
    "long_sound.mkv": ((*H264, "-c:a", "aac"), PICTURE + LONG_SOUND),
    "long_sound.avi": (("-c:v", "mpeg4", "-c:a", "mp3"), PICTURE + LONG_SOUND),
    "late_picture.mp4": ((*H264, "-c:a", "aac"), ("-itsoffset", "1", *PICTURE, *SOUND)),
    "late_sound.mp4": ((*H264, "-c:a", "aac"), (*PICTURE, "-itsoffset", "1", *SOUND)),
    "ten_bit.mkv": (("-c:v", "libx264", "-pix_fmt", "yuv444p10"), PICTURE),
    "plain.mpg": (("-c:v", "mpeg1video"), PICTURE),
    "plain.ts": (H264, PICTURE),
    "plain.wmv": (("-c:v", "wmv2"), PICTURE),
}


def raw_frames(path: Path, program, *options: str, size: tuple[int, int]) -> np.ndarray:
    """(K, H, W, 3) of ffmpeg's own decoding."""
    command = [program.path, "-loglevel", "error", "-i", f"file:{path}", *options, "-fps_mode", "passthrough"]
    output = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    return np.frombuffer(output.stdout, np.uint8).reshape(-1, *size, 3)


@pytest.mark.parametrize("name", [*WHOLE, *LAWFUL])
def test_a_whole_file_gives_all_its_frames(name, render, encode):
    options, inputs = {**WHOLE, **LAWFUL}[name]
    encoded = encode(render(name, *options, inputs=inputs))
    clip = encoded.clip
    assert len(encoded.items) == clip.frames == 60
    assert clip.fps == pytest.approx(30, rel=0.02)
    assert (clip.width, clip.height) == (64, 48)
    assert (clip.note, clip.flow_method) == (None, None)


def fragment_ends(content: bytes) -> set[int]:
    """Where the boxes of an MP4 file end."""
    ends, at = set(), 0
    while at < len(content):
        at += int.from_bytes(content[at : at + 4], "big")
        ends.add(at)
    return ends


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_is_refused_wherever_it_is_cut(name, render, encode, tmp_path, repetitions):
    options, inputs = WHOLE[name]
    content = render(name, *options, inputs=inputs).read_bytes()
    path = tmp_path / name
    between = fragment_ends(content) if name == "pieces.mp4" else set()  # there, the rest is a whole file
    for share in np.linspace(0.15, 0.9, 6 * repetitions):
        end = int(len(content) * share)
        path.write_bytes(content[: end + 8 * (end in between)])
        with pytest.raises(ClipError, match=r"truncated|not a video|no video stream"):
            encode(path)


@pytest.mark.parametrize("name", ["fast.mp4", "plain.webm", "plain.mkv", "plain.avi"])
def test_a_cut_file_is_told_with_its_numbers_of_frames(name, render, encode, tmp_path):
    options, inputs = WHOLE[name]
    content = render(name, *options, inputs=inputs).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ClipError, match=r"truncated: \d+ of 60 frames") as error:
        encode(path)
    assert error.value.where == path


def test_a_live_recording_has_no_length_and_is_whole_unless_its_end_is_missing(program, tmp_path, encode):
    live = tmp_path / "live.webm"
    command = [program.path, "-loglevel", "error", *PICTURE, *WHOLE["plain.webm"][0], "-f", "webm", "-"]
    live.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    assert encode(live).clip.frames == 60
    live.write_bytes(live.read_bytes()[: live.stat().st_size // 2])
    with pytest.raises(ClipError, match="without its end mark"):
        encode(live)


def test_damage_in_the_middle_is_refused_or_leaves_every_frame(render, encode, tmp_path, repetitions):
    content = render("fast.mp4", *WHOLE["fast.mp4"][0]).read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "flipped.mp4"
    for _ in range(15 * repetitions):
        damaged = bytearray(content)
        for position in random.integers(len(content), size=8):
            damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert encode(path).clip.frames == 60
        except ClipError as error:
            assert error.what  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("missing", [1, 100, 124 + 60, 124 + 3000])
def test_fragments_cut_within_a_box_are_refused_but_other_bytes_after_them_are_not(missing, render, encode, tmp_path):
    options, inputs = WHOLE["pieces.mp4"]
    content = render("pieces.mp4", *options, inputs=inputs).read_bytes()
    start = content.rindex(b"moof", 0, len(content) - missing) - 4  # where the fragments before end
    path = tmp_path / "pieces.mp4"
    path.write_bytes(content[:-missing])
    with pytest.raises(ClipError, match=r"truncated: .* within a fragment|truncated"):
        encode(path)
    path.write_bytes(content[:start] + b"\0" * 20)
    assert encode(path).clip.frames in (15, 30, 45, 60)


def test_a_header_that_lost_the_length_is_refused(render, encode, tmp_path):
    """Without its own clock a track gets the file's: 60 frames became 4 in 30 s, without a word."""
    content = bytearray(render("fast.mp4", *WHOLE["fast.mp4"][0]).read_bytes())
    content[content.index(b"mdhd") + 3] ^= 1  # the name of the box with the clock
    path = tmp_path / "clock.mp4"
    path.write_bytes(content)
    with pytest.raises(ClipError, match="does not contain the video's length"):
        encode(path)


def test_frames_are_ffmpegs_own_decoding(render, program, encode):
    path = render("plain.mp4", *H264)
    found, expected = (
        frames.astype(float).mean(axis=3) for frames in (encode(path).pixels, raw_frames(path, program, size=(48, 64)))
    )
    assert np.abs(found - expected).mean() < 4


def test_colours_of_high_definition_video_survive_jpeg(render, encode):
    """JPEG readers assume BT.601; the red of a BT.709 source would come out orange."""
    red = ("-f", "lavfi", "-i", "color=red:size=64x48:rate=5:duration=1")
    options = ("-vf", "scale=out_color_matrix=bt709,format=yuv420p", "-colorspace", "bt709", "-c:v", "libx264")
    clip = encode(render("red.mp4", *options, inputs=red))
    assert clip.pixels.mean(axis=(0, 1, 2)) == pytest.approx([254, 0, 0], abs=6)


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((320, 240), 128, (171, 128)),
        ((240, 320), 128, (128, 171)),
        ((64, 48), 256, (64, 48)),
        ((50, 48), 25, (26, 25)),
        ((200, 200), 100, (100, 100)),
    ],
)
def test_the_short_side_is_scaled_down_and_never_up(size, side, expected, render, encode):
    inputs = ("-f", "lavfi", "-i", f"testsrc2=size={size[0]}x{size[1]}:rate=5:duration=0.4")
    path = render(f"{size[0]}x{size[1]}.mkv", "-c:v", "ffv1", inputs=inputs)
    encoded = encode(path, Encoding(short_side=side))
    assert (encoded.clip.width, encoded.clip.height) == expected
    assert encoded.pixels.shape[1:] == (expected[1], expected[0], 3)


def test_a_rotation_in_the_metadata_is_carried_out(render, program, tmp_path, encode):
    path, turned = render("plain.mp4", *H264), tmp_path / "turned.mp4"
    command = [program.path, "-loglevel", "error", "-display_rotation", "90", "-i", path, "-c", "copy", turned]
    subprocess.run(command, check=True)
    upright, rotated = (encode(clip).pixels[0].astype(int) for clip in (path, turned))
    assert rotated.shape == (64, 48, 3)
    assert np.abs(np.rot90(upright) - rotated).mean() < 4


def test_uneven_frames_keep_their_times_and_even_ones_have_none(render, encode):
    drop = ("-vf", "select='lt(n,20)+not(mod(n,7))'", "-fps_mode", "vfr")
    clip = encode(render("uneven.webm", *drop, "-c:v", "libvpx")).clip
    expected = [n / 30 for n in range(60) if n < 20 or n % 7 == 0]
    assert clip.times == pytest.approx(expected, abs=1e-3)
    assert clip.fps == pytest.approx((len(expected) - 1) / expected[-1], rel=1e-3)
    assert encode(render("plain.webm", *WHOLE["plain.webm"][0])).clip.times is None


@pytest.mark.parametrize("name", ["plain.mp4", "plain.webm", "sound.mkv"])
@pytest.mark.parametrize(("start", "stop"), [(0.5, 1.25), (math.nan, 0.7), (1.4, math.nan), (0.31, 0.52)])
def test_a_part_is_cut_by_time_exactly(name, start, stop, render, encode):
    options, inputs = WHOLE[name]
    path = render(name, *options, inputs=inputs)
    whole = encode(path).pixels
    part = encode(path, start=start, stop=stop).pixels
    first, last = 0 if math.isnan(start) else start, 2 if math.isnan(stop) else stop
    expected = [n for n in range(60) if first - 1e-3 <= n / 30 < last - 1e-3]
    assert np.array_equal(part, whole[expected])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"hello, this is no video\n" * 50, "not a video"),
        (bytes(range(256)) * 40, "not a video"),
        (b"ffconcat version 1.0\nfile 'secret.mp4'\n", "not a video: unsupported container format"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n", "not a video"),
        (simplejpeg.encode_jpeg(np.zeros((48, 64, 3), np.uint8)), "not a video"),
    ],
    ids=["empty", "text", "noise", "ffconcat", "m3u8", "image"],
)
def test_what_is_no_video_is_refused_in_a_few_words(content, reason, render, encode, tmp_path):
    shutil.copy(render("plain.mp4", *H264), tmp_path / "secret.mp4")
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ClipError, match=reason) as error:
        encode(path)
    assert len(error.value.what) < 80


def test_sound_alone_is_no_video(render, encode):
    with pytest.raises(ClipError, match="no video stream"):
        encode(render("sound.m4a", "-c:a", "aac", inputs=SOUND))


def test_what_is_no_regular_file_is_not_opened(encode, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name, reason in (("pipe.mp4", "not a regular"), ("folder.mp4", "not a regular"), ("nowhere.mp4", "no such")):
        with pytest.raises(ClipError, match=f"{reason} file"):
            encode(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    ["-x.mp4", "a:b.mp4", "http:x.mp4", "two words.mp4", "it's \"so\".mp4", "new\nline.mp4", "$(touch x).mp4", "%d.mp4",
     "ünïcödé.mp4", "[0]*?.mp4", os.fsdecode(b"\xff\xfe.mp4"), "l" * 251 + ".mp4"],
)  # fmt: skip
def test_a_name_is_never_anything_but_a_name(name, render, encode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(render("plain.mp4", *H264), name)
    assert encode(Path(name)).clip.frames == 60
    assert [path.name for path in Path().iterdir()] == [name]


def test_a_large_picture_is_refused_with_its_size(render, encode):
    with pytest.raises(ClipError, match="64x48 exceeds the limit of 1000 pixels"):
        encode(render("plain.mp4", *H264), Encoding(max_pixels=1000))


def test_a_long_clip_is_refused(render, encode):
    with pytest.raises(ClipError, match="more than 59 frames"):
        encode(render("plain.mp4", *H264), Encoding(max_frames=59))
    assert encode(render("plain.mp4", *H264), Encoding(max_frames=60)).clip.frames == 60


def test_a_clip_can_be_given_up(program, render, tmp_path, encode):
    shim = tmp_path / "ffmpeg"
    shim.write_text("#!/bin/sh\nexec sleep 100\n")
    shim.chmod(0o755)
    path = render("plain.mp4", *H264)
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        encode(path, program=type(program)(str(shim), "9"), cancel=cancel, limits=Limits(seconds=60))
    assert time.monotonic() - began < 30


def test_the_same_clip_gives_the_same_bytes(render, encode):
    path = render("sound.mp4", *WHOLE["sound.mp4"][0], inputs=PICTURE + SOUND)
    assert encode(path).clip.sha256 == encode(path).clip.sha256


def test_every_real_clip_gives_its_known_number_of_frames(shared, encode):
    folder = shared / "clips"
    wrong = {}
    for row in csv.DictReader((folder / "clips.csv").read_text().splitlines()):
        try:
            clip = encode(folder / row["file"]).clip
            found = (str(clip.frames), round(clip.fps, 2), clip.times is None)
        except ClipError as error:
            found = error.what
        expected = (
            (row["frames"], float(row["fps"]), True) if row["frames"] else "damaged: 49 of 50 frames can be decoded"
        )
        if found != expected:
            wrong[row["file"]] = (found, expected)
    assert wrong == {}
