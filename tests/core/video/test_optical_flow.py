"""Optical flow: its bytes, its methods, and clips packed as flow."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.errors import ConfigError, ToolError
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.optical_flow import (
    decode_flow,
    encode_flow,
    flow_bytes,
    flow_computer,
    flow_method,
    flow_pixels,
    jpeg_quality,
)

SHIFT = (3, -2)  # pixels to the right and downwards


@pytest.fixture(scope="module")
def moved() -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture, and the same moved by SHIFT."""
    noise = np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.float32)
    picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return picture, np.roll(picture, (SHIFT[1], SHIFT[0]), (0, 1))


@pytest.mark.parametrize("method", ["tvl1", "dis"])
def test_a_shift_is_found_in_its_direction(method, moved):
    flow = flow_computer(method)(*moved)
    assert flow.shape == (120, 160, 2)
    assert np.median(flow[20:-20, 20:-20], axis=(0, 1)) == pytest.approx(SHIFT, abs=0.3)


@given(st.floats(-100, 100))
def test_bytes_say_pixels_to_within_their_step(pixels):
    values = flow_bytes(np.array([pixels], np.float32))
    expected = round((min(max(pixels, -20), 20) + 20) * 255 / 40)
    assert abs(int(values[0]) - expected) <= 1
    assert flow_pixels(values)[0] == pytest.approx(np.clip(pixels, -20, 20), abs=0.0785)


def test_rest_is_128():
    assert flow_bytes(np.zeros(1, np.float32)).tolist() == [128]


def test_flow_survives_its_packing(moved):
    flow = flow_computer("dis")(*moved)
    items = encode_flow(flow, 95)
    decoded = decode_flow([*items, *items])
    assert decoded.shape == (2, 120, 160, 2)
    assert np.abs(flow_pixels(decoded[1]) - np.clip(flow, -20, 20)).mean() < 0.2
    with pytest.raises(ValueError, match=r"(?i)jpeg"):
        decode_flow([items[0], b"x"])


def test_the_method_is_chosen_by_what_is_installed(monkeypatch):
    asked = Encoding(modality="flow")
    assert flow_method(Encoding()) is None
    assert flow_method(asked) == "tvl1"
    monkeypatch.delattr(cv2, "optflow")
    assert flow_method(asked) == "dis"
    with pytest.raises(ToolError, match="this OpenCV has no TV-L1 flow, which comes with its contrib modules"):
        flow_method(Encoding(modality="flow", flow_method="tvl1"))


def test_flow_is_not_packed_as_video():
    with pytest.raises(ConfigError, match="packed as JPEG, not as video"):
        Encoding(modality="flow", codec="video")


def test_qualities_meet_at_the_ends():
    assert (jpeg_quality(2), jpeg_quality(31)) == (95, 22)


@pytest.mark.parametrize("method", ["tvl1", "dis"])
def test_a_clip_has_one_pair_less_than_frames(method, render, encode):
    path = render("flow.mkv", "-c:v", "ffv1", inputs=("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=0.5"))
    encoded = encode(path, Encoding(modality="flow", flow_method=method))
    assert (encoded.clip.frames, len(encoded.items), encoded.clip.flow_method) == (4, 8, method)
    assert decode_flow(encoded.items).shape == (4, 48, 64, 2)
    one = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=0.1")
    alone = encode(render("one.mkv", "-c:v", "ffv1", inputs=one), Encoding(modality="flow", flow_method=method))
    assert alone.clip.frames == 1
    assert np.abs(flow_pixels(decode_flow(alone.items))).max() < 0.2, "of a single frame to itself: rest"
