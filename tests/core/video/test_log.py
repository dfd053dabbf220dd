from pathlib import Path

import pytest

from tdpn_core.video.log import Decoded, Header, complaints, explain, nominal_rate, read_header

LOG = """[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:x.mp4':
[info]   Duration: 01:00:05.50, start: 0.000000, bitrate: 1235 kb/s
[info]   Stream #0:0[0x1]: Audio: aac (LC), 44100 Hz, mono
[info]   Stream #0:1[0x2](und): Video: h264 (avc1 / 0x31637661), yuv420p(tv), 568x320 [SAR 1:1], 5 kb/s, {rate}, 19k tbn
[info]     Side data:
[info]       Display Matrix: rotation of -90.00 degrees
[info] Stream mapping:
[h264 @ 0x55] [error] Invalid NAL unit size (-1 > 551).
[in#0/mov @ 0x56] [warning] Packet corrupt (stream = 0, dts = 11264).
[vist#0:0/h264 @ 0x57] [dec:h264 @ 0x58] [error] Error submitting packet
[h264 @ 0x59] [error] Invalid NAL unit size (-1 > 551).
"""


@pytest.mark.parametrize(
    ("printed", "rate"),
    [(29.97, 30000 / 1001), (23.98, 24000 / 1001), (59.94, 60000 / 1001), (25.0, 25.0), (30.0, 30.0), (12.5, 12.5)],
)
def test_printed_rates_are_made_exact(printed, rate):
    assert nominal_rate(printed) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(
    ("rate", "fps"), [("30 fps, 30 tbr", 30), ("1k fps, 1k tbr", 1000), ("15 tbr", 15), ("", None)]
)
def test_the_header_gives_length_rate_and_upright_size(rate, fps):
    header = read_header(LOG.format(rate=rate))
    assert header == Header("mov,mp4,m4a,3gp,3g2,mj2", 3605.5, None, fps, 320, 568)


def test_complaints_lose_their_prefixes_and_repetitions():
    assert complaints(LOG) == ["Invalid NAL unit size (-1 > 551).", "Error submitting packet"]


def test_an_unknown_failure_quotes_the_first_complaint():
    assert explain("[x @ 0x1] [error] strange thing\n", Path("x"), 100) == "cannot be decoded (strange thing)"
    assert explain("", Path("x"), 100) == "no frame could be decoded"


def decoded(count, seconds, log="", fps=30.0, container="mov", promised=None):
    return Decoded(log, Header(container, seconds, None, fps, 64, 48), count, count / fps, fps, seconds, promised)


def test_a_header_with_one_frame_too_many_accuses_nobody():
    clip = decoded(72, 73 / 30)
    assert clip.cut() is None
    assert not clip.silently_short


def test_a_short_picture_is_cut_only_if_no_stream_reaches_the_promise():
    clip = decoded(90, 5.0)
    assert clip.silently_short
    assert clip.second_look(90, reach=5.0) is None
    assert clip.second_look(90, reach=3.0) == "truncated: 90 of 150 frames"


def test_a_demuxer_that_says_so_needs_no_second_look():
    assert decoded(90, 5.0, "[in#0 @ 0x1] [error] File ended prematurely").cut() == "truncated: 90 of 150 frames"
    assert decoded(150, 5.0, "[in#0 @ 0x1] [error] File ended prematurely").cut() is None


def test_a_file_without_promised_length_is_cut_if_its_end_mark_is_missing():
    fault = decoded(90, None, "[in#0 @ 0x1] [error] File ended prematurely").cut()
    assert fault == "truncated: the file ends after 90 frames without its end mark"
    assert decoded(90, None).cut() is None


def test_decoding_errors_count_only_if_frames_are_missing():
    clip = decoded(49, 5.0, "[h264 @ 0x1] [error] Invalid NAL unit", fps=10.0)
    assert clip.second_look(50, reach=5.0) == "damaged: 49 of 50 frames can be decoded"
    assert clip.second_look(49, reach=5.0) is None
