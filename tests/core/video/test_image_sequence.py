"""Clips that are stored as numbered pictures, in folders and tar archives."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from tdpn_core.errors import ClipError, ClipRefused, UsageError
from tdpn_core.frame_names import parts_of
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.source import Source

COUNT = 6


def pictures(count: int = COUNT, size: tuple[int, int] = (24, 32)) -> list[bytes]:
    """Smooth JPEGs, each brighter than the one before."""
    ramp = np.linspace(0, 100, size[1], dtype=np.uint8)
    planes = [np.broadcast_to((ramp + 20 * number)[None, :, None], (*size, 3)) for number in range(count)]
    return [simplejpeg.encode_jpeg(np.ascontiguousarray(plane), 95) for plane in planes]


def fill(folder: Path, pattern: str = "img_%05d.jpg", first: int = 1, contents: list[bytes] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents or pictures(), first):
        (folder / (pattern % number)).write_bytes(content)
    return folder


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    return fill(tmp_path / "clip")


def test_pictures_of_the_right_size_are_copied_byte_for_byte(folder, encode):
    encoded = encode(Source(folder, "frames", "img_%05d.jpg", fps=12.0))
    assert encoded.items == pictures()
    clip = encoded.clip
    assert (clip.frames, clip.fps, clip.times, clip.width, clip.height) == (COUNT, 12.0, None, 32, 24)
    assert encode(Source(folder, "frames", "img_%05d.jpg")).clip.fps == 25


@pytest.mark.parametrize(("first", "last", "expected"), [(2, 4, [1, 2, 3]), (-1, 2, [0, 1]), (5, -1, [4, 5])])
def test_a_part_is_taken_by_number_inclusive(first, last, expected, folder, encode):
    items = encode(Source(folder, "frames", "img_%05d.jpg", first=first, last=last)).items
    assert items == [pictures()[number] for number in expected]


def test_larger_pictures_are_scaled_in_order(folder, encode):
    encoded = encode(Source(folder, "frames", "img_%05d.jpg"), Encoding(short_side=12))
    assert encoded.pixels.shape == (COUNT, 12, 16, 3)
    brightness = encoded.pixels.mean(axis=(1, 2, 3))
    assert np.diff(brightness) == pytest.approx([20] * (COUNT - 1), abs=3)


def test_png_pictures_are_read_and_checked(tmp_path, program, encode):
    render = ["-f", "lavfi", "-i", "testsrc2=size=32x24:rate=5:duration=1.2", str(tmp_path / "%03d.png")]
    subprocess.run([program.path, "-loglevel", "error", *render], check=True)
    source = Source(tmp_path, "frames", "%03d.png")
    assert encode(source).pixels.shape == (6, 24, 32, 3)
    content = bytearray((tmp_path / "004.png").read_bytes())
    content[-20] ^= 1
    (tmp_path / "004.png").write_bytes(content)
    with pytest.raises(ClipError, match=r"frame 4 \(004\.png\) is truncated or damaged"):
        encode(source)


def test_a_tar_gives_what_its_folder_gives_whatever_lies_around(folder, tmp_path, encode):
    members = {f"P01/img_{n:05d}.jpg": content for n, content in enumerate(pictures(), 1)}
    tar = archive(tmp_path / "clip.tar", {"readme.txt": b"x", **members})
    assert encode(Source(tar, "tar", "img_%05d.jpg")).items == pictures()
    doubled = archive(tmp_path / "twice.tar", {**members, **{f"b/{Path(name).name}": b"x" for name in members}})
    with pytest.raises(ClipError, match=r"holds img_00001\.jpg in more than one folder"):
        encode(Source(doubled, "tar", "img_%05d.jpg"))


def test_a_cut_tar_is_told_wherever_it_is_cut(tmp_path, encode):
    tar = archive(tmp_path / "clip.tar", {f"img_{n:05d}.jpg": content for n, content in enumerate(pictures(), 1)})
    content = tar.read_bytes()
    for share in (0.05, 0.3, 0.6):
        tar.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ClipError):
            encode(Source(tar, "tar", "img_%05d.jpg", first=1, last=COUNT))


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + bytes(100)])
def test_what_is_no_tar_is_said_so(content, tmp_path, encode):
    path = tmp_path / "clip.tar"
    path.write_bytes(content)
    with pytest.raises(ClipError, match=r"not a tar archive|compressed, so frames cannot be found|no file matches"):
        encode(Source(path, "tar", "img_%05d.jpg"))


def test_a_missing_frame_is_named(folder, encode):
    (folder / "img_00003.jpg").unlink()
    with pytest.raises(ClipError, match=r"frame 3 of 1\.\.6 is missing"):
        encode(Source(folder, "frames", "img_%05d.jpg"))


@pytest.mark.parametrize("side", [12, 256], ids=["scaled", "copied"])
@pytest.mark.parametrize("damage", ["cut", "text", "other size"])
def test_a_damaged_picture_is_named(side, damage, folder, encode):
    path = folder / "img_00004.jpg"
    content = {
        "cut": path.read_bytes()[:-30],
        "text": b"no picture",
        "other size": pictures(1, (30, 32))[0],
    }[damage]
    path.write_bytes(content)
    said = {"cut": "is truncated or damaged", "text": "is neither a JPEG nor a PNG", "other size": "is a JPEG of 32x30"}
    with pytest.raises(ClipError, match=rf"frame 4 \(img_00004\.jpg\) {said[damage]}"):
        encode(Source(folder, "frames", "img_%05d.jpg"), Encoding(short_side=side))


def test_pipes_and_devices_among_the_pictures_hold_nobody_up(folder, encode):
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        path = folder / "img_00002.jpg"
        path.unlink()
        make(path)
        with pytest.raises(ClipError, match="not a regular file"):
            encode(Source(folder, "frames", "img_%05d.jpg"))


def test_limits_hold_for_pictures_too(folder, encode):
    source = Source(folder, "frames", "img_%05d.jpg")
    with pytest.raises(ClipRefused, match="more than 5 frames"):
        encode(source, Encoding(max_frames=5))
    with pytest.raises(ClipRefused, match="32x24 exceeds the limit of 700 pixels"):
        encode(source, Encoding(max_pixels=700))
    with pytest.raises(UsageError, match="frames of unknown rate cannot be resampled"):
        encode(source, Encoding(fps=10))
    assert encode(Source(folder, "frames", "img_%05d.jpg", fps=20.0), Encoding(fps=10)).clip.frames == COUNT // 2
    with pytest.raises(ClipError, match="no such folder of frames"):
        encode(Source(folder / "nowhere", "frames", "img_%05d.jpg"))


@pytest.mark.parametrize("pattern", ["100%%%03d.jpg", "%%d%d.jpg", "a%05d %% b.jpg"])
def test_percent_signs_in_names_are_only_that(pattern, tmp_path, encode):
    fill(tmp_path / "clip", pattern, first=9, contents=pictures(3))
    fill(tmp_path / "clip", "other%d.jpg", contents=pictures(1))
    assert encode(Source(tmp_path / "clip", "frames", pattern)).items == pictures(3)


@pytest.mark.parametrize("pattern", ["", "x.jpg", "%s.jpg", "%d/%d.jpg", "%d%d.jpg", "a/%d.jpg", "%5d.jpg", "100%.jpg"])
def test_other_patterns_are_refused(pattern):
    with pytest.raises(ValueError, match="frame names must contain one number"):
        Source(Path("x"), "frames", pattern)
    assert parts_of("a%%%05d%%.jpg") == ("a%", "%.jpg")
