"""Frames of a clip that was packed as video, at widths whose rows a decoder pads."""

import subprocess

import numpy as np
import pytest

from tdpn_core.errors import ClipError
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.packed_decoder import decode_stored


@pytest.mark.parametrize(("width", "height"), [(48, 48), (144, 256), (66, 64), (340, 256)])
def test_frames_are_those_of_the_file_at_any_width(render, program: Program, width: int, height: int) -> None:
    picture = ("-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate=10:duration=2")
    path = render(
        f"{width}x{height}.mp4", *["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "8", "-bf", "0"], inputs=picture
    )
    whole = [program.path, "-loglevel", "error", "-i", str(path), *["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]]
    raw = subprocess.run(whole, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).astype(int)
    found = decode_stored(path.read_bytes(), [13, 0, 5, 5], height, width).astype(int)
    assert found.shape == (4, height, width, 3)
    difference = np.abs(found[:, None] - expected[None]).mean((2, 3, 4))
    assert difference.argmin(1).tolist() == [13, 0, 5, 5]
    assert difference.min(1).max() < 4  # two ways from YUV to RGB


def test_a_frame_that_is_not_there_is_named(render) -> None:
    with pytest.raises(ClipError, match="has frames 0 to 59, not"):
        decode_stored(render("sixty.mp4").read_bytes(), [60], 48, 64)
