"""What containers hold, and clips that odd containers hide."""

from fractions import Fraction

import numpy as np
import pytest

from tdpn_core.errors import ClipError, ClipRefused
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.probe import probe
from tdpn_core.video.timestamps import frame_rate, repaired

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2.4")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
MPEG4 = ("-c:v", "mpeg4")
SUBTITLE = "1\n00:00:00,000 --> 00:00:01,000\na\n\n2\n00:00:07,000 --> 00:00:08,000\nb\n"


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov", "a.ts", "a.wmv", "a.flv", "a.3g2", "a.vob"])
def test_encode_container_that_starts_late_gives_every_frame(name, render, encode):
    codec = {"wmv": ("-c:v", "wmv2"), "vob": ("-c:v", "mpeg2video"), "3g2": MPEG4}
    path = render(f"late_{name}", *codec.get(name[2:], H264), "-output_ts_offset", "0.5", inputs=PICTURE)
    clip = encode(path).clip
    assert (clip.frames, clip.fps) == (60, 25)


@pytest.mark.parametrize("name", ["subtitles.mkv", "subtitles.mp4"])
def test_encode_subtitles_outlast_picture_gives_every_frame(name, render, encode, tmp_path):
    text = tmp_path / "text.srt"
    text.write_text(SUBTITLE)
    kind = "srt" if name.endswith("mkv") else "mov_text"
    path = render(name, *H264, "-c:s", kind, "-map", "0", "-map", "1", inputs=(*PICTURE, "-i", str(text)))
    assert encode(path).clip.frames == 60


def test_encode_timecode_track_gives_every_frame(render, encode):
    assert encode(render("timecode.mov", *H264, "-timecode", "01:00:00:00", inputs=PICTURE)).clip.frames == 60


@pytest.mark.parametrize("codec", ["jpeg", "video"])
def test_encode_repeated_or_backward_stamps_gives_every_frame(codec, render, encode):
    for name, stamp in (("repeated", "29"), ("backward", "27.5")):
        stamps = f"setts=ts=if(eq(N\\,30)\\,{stamp}\\,N)/25/TB"
        path = render(f"{name}.mkv", *MPEG4, "-bsf:v", stamps, inputs=PICTURE)
        encoded = encode(path, Encoding(codec=codec))
        assert (encoded.clip.frames, encoded.clip.fps, encoded.clip.times) == (60, 25, None)


def test_encode_several_streams_takes_the_moving_one_and_says_so(render, encode):
    still = ("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=0.04")
    path = render("probe_still.mkv", *H264, "-map", "0", "-map", "1", inputs=still + PICTURE)
    clip = encode(path).clip
    assert (clip.frames, clip.note) == (60, "video stream 2 of 2 taken (h264, 64x48)")


def test_encode_cover_picture_is_no_stream_to_take(render, encode):
    cover = ("-f", "lavfi", "-i", "color=red:size=320x240:rate=25:duration=0.04")
    options = ("-map", "0", "-map", "1", "-c:v:0", "png", "-c:v:1", "libx264", "-disposition:v:0", "attached_pic")
    clip = encode(render("cover.mp4", *options, inputs=cover + PICTURE)).clip
    assert (clip.frames, clip.width, clip.note) == (60, 64, None)


def test_encode_gif_gives_every_frame(render, encode):
    assert encode(render("probe.gif", inputs=PICTURE)).clip.frames == 60


@pytest.mark.parametrize("part", [{}, {"start": 0.0, "stop": 0.1}])
def test_encode_shorter_than_a_frame_at_fps_gives_one_frame(part, render, encode):
    clip = encode(render("probe_short.mp4", *H264, "-frames:v", "3", inputs=PICTURE), Encoding(fps=2.0), **part).clip
    assert (clip.frames, clip.fps) == (1, 2.0)


def test_encode_part_beyond_the_end_says_how_long_the_video_is(render, encode):
    with pytest.raises(ClipError, match=r"no frame from 7\.00 s to 8\.00 s; the video has 2\.40 s"):
        encode(render("probe_plain.mkv", *H264, inputs=PICTURE), start=7.0, stop=8.0)


def test_encode_every_file_of_hard_video_gives_its_right_frames(hard, encode):
    folder = hard / "video"
    right = {
        "timecode": (60, 25), "dup_stamp": (60, 25), "offset_half_second": (60, 25), "subs_longer_no_tags": (60, 25),
        "mts": (30, 25), "still_first": (60, 25), "fps_drift": (435, 30),
    }  # fmt: skip
    for name, expected in right.items():
        (path,) = (path for path in (folder / name).rglob("*") if path.is_file())
        clip = encode(path).clip
        assert (clip.frames, clip.fps) == expected, name


def test_probe_scan_counts_packets(render):
    found = probe(render("probe_plain.mkv", *H264, inputs=PICTURE), scan=True)
    assert (found.video.packets, found.video.shown, found.video.corrupt, found.fault) == (60, 60, 0, "")
    assert found.video.end == pytest.approx(2.4)


def test_probe_large_picture_names_the_option(render):
    with pytest.raises(ClipRefused, match=r"64x48 exceeds the limit of 9 pixels \(--max-pixels\)"):
        probe(render("probe_plain.mkv", *H264, inputs=PICTURE), max_pixels=9)


def test_probe_reader_that_was_killed_is_started_again(render):
    path = render("probe_plain.mkv", *H264, inputs=PICTURE)
    probe(path)
    from tdpn_core.video.probe import _reader

    _reader().process.kill()
    _reader().process.wait()
    assert probe(path).video.width == 64


def test_default_limit_takes_8k():
    assert Encoding().max_pixels >= 7680 * 4320


@pytest.mark.parametrize(
    ("stamps", "right"),
    [
        ([0, 1, 2, 2, 4], [0, 1, 2, 3, 4]),
        ([0, 1, 2, 0.5, 4], [0, 1, 2, 3, 4]),
        ([0, 1, 9, 3, 4], [0, 1, 2, 3, 4]),
        ([np.nan, 1, 2, 3, np.nan], [0, 1, 2, 3, 4]),
        ([0, 0, 0], [0, 0.1, 0.2]),
    ],
)
def test_repaired_bad_stamps_are_put_between_good_ones(stamps, right):
    assert repaired(np.array(stamps, float), rate=10.0) == pytest.approx(right)


def test_frame_rate_prefers_what_all_stamps_fit():
    times = np.arange(436) / 30
    assert frame_rate(times, [Fraction(1090000, 36251), Fraction(30)], 1 / 90000) == (True, 30.0)
    milliseconds = np.round(np.arange(300) * 1001 / 30000, 3)
    assert frame_rate(milliseconds, [], 1e-3) == (True, pytest.approx(30000 / 1001, rel=1e-12))


def test_encode_uses_up_its_processor_time_and_names_the_option(render, program, encode, tmp_path):
    from tdpn_core.video.subprocess_limits import Limits, TooSlowError

    shim = tmp_path / "ffmpeg"
    shim.write_text("#!/bin/sh\nwhile :; do :; done\n")
    shim.chmod(0o755)
    with pytest.raises(TooSlowError, match=r"used more than 1 s of processor time \(--clip-timeout\)"):
        encode(render("probe_plain.mkv", *H264, inputs=PICTURE), program=type(program)(str(shim), "9"),
               limits=Limits(seconds=0.2, cpu_seconds=1))  # fmt: skip


def test_probe_playlist_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("ffconcat version 1.0\nfile 'x.mp4'\n")
    with pytest.raises(ClipError, match="not a video: unsupported container format"):
        probe(path)
