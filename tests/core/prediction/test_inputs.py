"""What a user may name, and what becomes of it."""

from pathlib import Path

import pytest

from tdpn_core.errors import UsageError
from tdpn_core.output_paths import check_new
from tdpn_core.prediction.outputs import drawn_files
from tdpn_core.video.inputs import Input, find_inputs


def _plant(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def _what(inputs: list[Input]) -> list[tuple[str, str]]:
    return [(found.name, found.source.kind if found.source else str(found.error)) for found in inputs]


def test_a_folder_is_every_video_and_folder_of_pictures_below_it(tmp_path: Path) -> None:
    root = _plant(tmp_path / "r", "b/2.mkv", "a.mp4", "notes.txt", "f/00001.jpg", "f/00002.jpg", ".hidden/x.mp4")
    assert _what(find_inputs([root])) == [
        (f"{root}/a.mp4", "video"), (f"{root}/b/2.mkv", "video"), (f"{root}/f", "frames")
    ]  # fmt: skip


def test_a_folder_of_pictures_is_one_clip_however_it_is_named(tmp_path: Path) -> None:
    folder = _plant(tmp_path / "f", *(f"img_{number:03}.png" for number in range(3, 13)))
    words = [[folder], [f"{folder}/img_%03d.png"], [f"{folder}/*.png"], sorted(folder.iterdir())]
    for given in words:
        (found,) = find_inputs(given, fps=12.0)
        assert found.source is not None
        assert (found.source.kind, found.source.path, found.source.pattern) == ("frames", folder, "img_%03d.png")
        assert found.source.fps == 12.0
        assert found.source.numbers in ((), tuple(range(3, 13)))


def test_named_pictures_are_exactly_the_frames_of_the_clip(tmp_path: Path) -> None:
    folder = _plant(tmp_path / "b", *(f"{number:03}.png" for number in range(1, 41)))
    (globbed,) = find_inputs([f"{folder}/*0.png"])
    (listed,) = find_inputs([folder / name for name in ("010.png", "005.png", "006.png")])
    assert globbed.source is not None
    assert listed.source is not None
    assert (globbed.source.pattern, globbed.source.numbers) == ("%03d.png", (10, 20, 30, 40))
    assert (listed.source.pattern, listed.source.numbers) == ("%03d.png", (5, 6, 10))


def test_pictures_without_leading_zeros_are_ordered_by_number(tmp_path: Path) -> None:
    folder = _plant(tmp_path / "b", *(f"flow_x_{number}.jpg" for number in (1, 2, 9, 10, 100)))
    (found,) = find_inputs([f"{folder}/*.jpg"])
    assert found.source is not None
    assert (found.source.pattern, found.source.numbers) == ("flow_x_%d.jpg", (1, 2, 9, 10, 100))


def test_pictures_numbered_in_two_widths_are_refused(tmp_path: Path) -> None:
    folder = _plant(tmp_path / "b", "01.png", "0002.png")
    ((_, error),) = _what(find_inputs([f"{folder}/*.png"]))
    assert "numbers are written in several widths, as in 01.png and 0002.png; rename them" in error


def test_a_glob_that_the_shell_left_is_expanded(tmp_path: Path) -> None:
    root = _plant(tmp_path, "b.mp4", "a.mp4", "c [1].mp4")
    assert [name for name, _ in _what(find_inputs([f"{root}/?.mp4"]))] == [f"{root}/a.mp4", f"{root}/b.mp4"]
    assert _what(find_inputs([f"{root}/c [1].mp4"])) == [(f"{root}/c [1].mp4", "video")], "a name is no pattern"
    assert "no file matches this pattern" in _what(find_inputs([f"{root}/*.mkv"]))[0][1]


def test_what_cannot_be_read_is_an_error_of_its_own_and_the_rest_goes_on(tmp_path: Path) -> None:
    import os

    root = _plant(tmp_path, "a.mp4", "one/01.jpg")
    os.mkfifo(root / "pipe.mp4")
    (root / "empty").mkdir()
    words = [root / "none.mp4", root / "pipe.mp4", "/dev/zero", root / "empty", root / "one" / "01.jpg", root / "a.mp4"]
    found = [text for _, text in _what(find_inputs(words))]
    expected = ["no such file", "not a regular file", "not a regular file", "no video in this folder: it is empty",
                "a single picture, not a clip; name its folder"]  # fmt: skip
    assert all(part in text for part, text in zip(expected, found, strict=False))
    assert found[5] == "video"
    (root / "below").mkdir()
    os.mkfifo(root / "below" / "p.mp4")
    assert "p.mp4: not a regular file" in _what(find_inputs([root / "below"]))[0][1]


def test_a_folder_without_videos_tells_what_it_has(tmp_path: Path) -> None:
    root = _plant(tmp_path, "a.txt", "b.pdf")
    assert "no video in this folder: 2 files are not videos" in _what(find_inputs([root]))[0][1]


@pytest.mark.parametrize(
    ("url", "kind"),
    [("http://h/a.mp4", "file"), ("https://h/a.m3u8?x=1", "playlist"), ("rtsp://camera:554/live.m3u8", "live")],
)
def test_addresses_are_opened_without_access_to_files(url: str, kind: str) -> None:
    (found,) = find_inputs([url])
    assert found.address is not None
    assert found.address.kind == kind
    protocols = dict(found.address.options)["protocol_whitelist"].split(",")
    assert not {"file", "pipe", "fd", "concat", "subfile", "data", "unix"} & set(protocols)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "concat://a|b", "ftp://h/a.mp4", "data://x"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"are not supported; name a file, or one of http://, https://, rtsp://"):
        find_inputs([url])


def test_cameras_are_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = find_inputs([], webcam="0")
    assert found.address is not None
    assert (found.name, found.address.name, found.address.kind) == ("webcam 0", "/dev/video0", "live")
    assert find_inputs([], webcam="/dev/v4l/by-id/x")[0].address is not None
    with pytest.raises(UsageError, match="'/etc/passwd' is not a camera; give a number"):
        find_inputs([], webcam="/etc/passwd")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert ("f", "avfoundation") in find_inputs([], webcam=1)[0].address.options  # type: ignore[union-attr]
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    with pytest.raises(UsageError, match="--webcam: webcams are not supported on Plan9"):
        find_inputs([], webcam=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": -1.0}, "--start must not be negative, not -1"),
        ({"start": 2.0, "stop": 1.0}, "--stop 1 is not after --start 2"),
    ],
)
def test_parts_that_cannot_be_are_refused(options: dict[str, float], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        find_inputs([tmp_path], **options)


def test_nothing_named_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="nothing to predict; name a video, a folder, an address or --webcam 0"):
        find_inputs([])


def test_drawings_of_several_clips_go_into_a_folder_under_names_of_their_own(tmp_path: Path) -> None:
    root = _plant(tmp_path, "a/x.mp4", "b/x.mkv", "f/001.jpg", "f/002.jpg")
    inputs = find_inputs([root / "a" / "x.mp4", root / "b" / "x.mkv", f"{root}/f/%03d.jpg"])
    out = tmp_path / "out"
    paths = drawn_files(inputs, out, option="--overlay", force=False)
    assert paths == [out / "x.mp4", out / "x-2.mp4", out / "f.mp4"]
    assert drawn_files(inputs[:1], tmp_path / "y.mp4", option="--overlay", force=False) == [tmp_path / "y.mp4"]
    with pytest.raises(UsageError, match=r"y.mp4: one file for 3 clips; give --overlay a folder"):
        drawn_files(inputs, tmp_path / "y.mp4", option="--overlay", force=False)
    with pytest.raises(UsageError, match=r"a/x.mp4: exists already; add --force to replace it"):
        drawn_files(inputs[:1], root / "a" / "x.mp4", option="--overlay", force=False)
    assert drawn_files(inputs[:1], root / "a" / "x.mp4", option="--overlay", force=True)
    with pytest.raises(UsageError, match=r"y.avi: is neither a folder nor named .mp4"):
        drawn_files(inputs[:1], tmp_path / "y.avi", option="--overlay", force=False)
    with pytest.raises(UsageError, match="webcam 0: --overlay draws on files, not on a live stream"):
        drawn_files(find_inputs([], webcam=0), out, option="--overlay", force=False)
    assert drawn_files(inputs, None, option="--overlay", force=False) == [None] * 3


def test_check_new_counts_the_longer_name_while_a_file_is_written(tmp_path: Path) -> None:
    check_new([tmp_path / f"{'o' * 230}.csv"], option="--csv", force=False)
    with pytest.raises(UsageError, match="cannot be written: File name too long; choose another --csv"):
        check_new([tmp_path / f"{'o' * 240}.csv"], option="--csv", force=False)
