"""The demo's clips: real files, the same each time, and nothing in a single frame that tells the class."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tdpn_core.demo.motions import MOTIONS
from tdpn_core.demo.render import FPS, FRAMES, SIDE, encode, render_clip, render_dataset
from tdpn_core.errors import ToolError
from tdpn_core.rng import derive

NAMES = sorted(MOTIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("videos")
    render_dataset(out, train_per_class=2, val_per_class=1, seed=0)
    return out


@pytest.fixture(scope="module")
def clips() -> tuple[np.ndarray, np.ndarray]:
    """48 clips of each class (clips, FRAMES, SIDE, SIDE, 3) and their labels, class after class."""
    labels = np.repeat(np.arange(len(NAMES)), 48)
    return np.stack([render_clip(NAMES[label], derive(5, place)) for place, label in enumerate(labels)]), labels


def digests(folder: Path) -> dict[str, str]:
    found = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found if p.is_file()}


def test_class_folders_hold_numbered_clips(folder):
    expected = {f"train/{name}/{number:03d}.mp4" for name in NAMES for number in (0, 1)}
    assert set(digests(folder)) == expected | {f"val/{name}/000.mp4" for name in NAMES}


def test_every_clip_differs_and_the_same_seed_gives_the_same(folder, tmp_path):
    made = digests(folder)
    assert len(set(made.values())) == len(made)
    render_dataset(tmp_path / "again", train_per_class=2, val_per_class=1, seed=0)
    render_dataset(tmp_path / "other", train_per_class=1, val_per_class=0, seed=1)
    assert digests(tmp_path / "again") == made
    assert not set(digests(tmp_path / "other").values()) & set(made.values())


def test_a_second_run_adds_what_is_missing_and_keeps_what_is_there(folder, tmp_path):
    render_dataset(tmp_path, train_per_class=1, val_per_class=0, seed=0)
    kept = tmp_path / "train" / NAMES[0] / "000.mp4"
    kept.write_bytes(b"the user's own")
    lost = tmp_path / "train" / NAMES[1] / "000.mp4"
    lost.unlink()
    render_dataset(tmp_path, train_per_class=2, val_per_class=1, seed=0)
    again = digests(tmp_path)
    assert kept.read_bytes() == b"the user's own"
    del again[f"train/{NAMES[0]}/000.mp4"]
    assert again.items() <= digests(folder).items()
    assert len(again) == 23


def test_progress_counts_every_clip(tmp_path):
    class Counter:
        steps, total, ended = 0, 0, False

        def begin(self, title, total):
            self.total = total

        def advance(self, steps=1, **fields):
            self.steps += steps

        def end(self):
            self.ended = True

        def say(self, line):
            raise AssertionError(line)

    counter = Counter()
    render_dataset(tmp_path, train_per_class=1, val_per_class=1, seed=0, progress=counter)
    assert (counter.steps, counter.total, counter.ended) == (16, 16, True)


def test_a_file_decodes_to_the_frames_that_were_rendered(tmp_path):
    frames = render_clip("swinging fast", derive(3))
    assert frames.shape == (FRAMES, SIDE, SIDE, 3)
    encode(frames, tmp_path / "clip.mp4", get_ffmpeg_exe())
    command = [get_ffmpeg_exe(), "-i", str(tmp_path / "clip.mp4"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert f"{FPS} fps" in done.stderr.decode()
    decoded = np.frombuffer(done.stdout, np.uint8).reshape(-1, SIDE, SIDE, 3)
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 8, "chroma is halved, little else is lost"


def test_a_failing_ffmpeg_is_an_error_and_leaves_no_file(tmp_path):
    frames = render_clip("moving left", derive(0))[:, :71, :71]
    with pytest.raises(ToolError, match="ffmpeg cannot encode"):
        encode(frames, tmp_path / "odd.mp4", get_ffmpeg_exe())
    assert list(tmp_path.iterdir()) == []


def test_a_hanging_ffmpeg_is_ended(tmp_path, monkeypatch):
    shim = tmp_path / "ffmpeg"
    shim.write_text("#!/bin/sh\nexec sleep 600\n")
    shim.chmod(0o755)
    monkeypatch.setattr("tdpn_core.demo.render.ENCODING_SECONDS", 0.3)
    with pytest.raises(ToolError, match="took more than"):
        encode(render_clip("moving left", derive(0)), tmp_path / "out" / "clip.mp4", str(shim))
    assert list((tmp_path / "out").iterdir()) == []


def test_the_object_stands_out_in_every_frame(clips):
    frames, _ = clips
    background = np.median(frames[::8].astype(np.float32), axis=1, keepdims=True)
    moved = np.abs(frames[::8] - background).max(axis=-1) > 25
    assert (moved.sum(axis=(2, 3)) > 15).mean() > 0.9, "but for what rests longer than half the clip"


@pytest.mark.parametrize(
    "classifier",
    [
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)),
        RandomForestClassifier(100, random_state=0),
    ],
    ids=["linear", "forest"],
)
def test_a_single_frame_does_not_tell_the_class(clips, classifier):
    frames, labels = clips
    moments = np.arange(len(frames)) * 7 % FRAMES
    pictures = frames[np.arange(len(frames)), moments, 2::4, 2::4].reshape(len(frames), -1).astype(np.float32)
    train = np.arange(len(frames)) % 48 < 36
    accuracy = classifier.fit(pictures[train], labels[train]).score(pictures[~train], labels[~train])
    assert accuracy < 0.24, "chance is 0.125, and 96 guesses deviate by 0.034"


def test_motion_tells_the_class(clips):
    frames, labels = clips
    features = np.stack([motion_features(clip) for clip in frames])
    train = np.arange(len(frames)) % 48 < 36
    forest = RandomForestClassifier(200, random_state=0).fit(features[train], labels[train])
    assert forest.score(features[~train], labels[~train]) > 0.8


def motion_features(clip: np.ndarray) -> np.ndarray:
    """Speeds over the clip of the centroid of what differs from the median frame, taken on the torus."""
    clip = clip[:, ::2, ::2]
    difference = np.abs(clip - np.median(clip[::2], axis=0).astype(np.float32)).sum(axis=-1)
    weight = np.where(difference > 0.3 * difference.max(), difference, 0) + 1e-6
    wave = np.exp(2j * np.pi * np.arange(clip.shape[1]) / clip.shape[1])
    x, y = (weight.sum(axis=1) * wave).sum(axis=1), (weight.sum(axis=2) * wave).sum(axis=1)
    path = np.stack([np.angle(x), np.angle(y)], axis=1)
    step = (np.diff(path, axis=0) + np.pi) % (2 * np.pi) - np.pi
    speed = np.linalg.norm(step, axis=1)
    halves = [speed[:12].mean(), speed[-12:].mean()]
    return np.array(
        [*np.median(step, axis=0), *np.abs(step).mean(axis=0), *halves, np.median(speed), *step.std(axis=0)]
    )


def test_encoding_is_h264_without_sound(folder):
    path = folder / "val" / NAMES[0] / "000.mp4"
    log = subprocess.run([get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True).stderr
    assert "Video: h264" in log
    assert "yuv420p" in log
    assert "Audio" not in log
