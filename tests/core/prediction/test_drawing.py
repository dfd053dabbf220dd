"""Drawn videos show what was named, and what the network looked at."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import tdpn_core
from tdpn_cli.app import app
from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config.schema import RunConfig, from_dict, to_dict
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import UsageError
from tdpn_core.model.registry import create_model
from tdpn_core.model.tdpn import TDPN
from tdpn_core.prediction import Prediction, PredictOptions, Segment, Windowing
from tdpn_core.prediction.drawing import caption_height, draw_caption, draw_scale, overlay_video
from tdpn_core.prediction.explain import film_rate, heat_of, paced
from tdpn_core.prediction.predict import predict
from tdpn_core.sampling.transforms import normalise
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.source import Source

CPU = Runtime(torch.device("cpu"))


@pytest.fixture(scope="module")
def video(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of grey, 101 pixels high, with sound."""
    path = tmp_path_factory.mktemp("grey") / "grey.mkv"
    inputs = ["-f", "lavfi", "-i", "color=gray:size=240x101:rate=10:duration=4", "-f", "lavfi", "-i", "sine=duration=4"]
    codecs = ["-c:v", "libx264", "-pix_fmt", "yuv444p", "-c:a", "flac"]
    command = [program.path, "-y", "-loglevel", "error", *inputs, *codecs, path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return path


def _frames(path: Path, program: Program) -> np.ndarray:
    """(K, H, W, 3) of a whole video."""
    command = [program.path, "-loglevel", "error", "-i", path, "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    output = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL, timeout=60).stdout
    size = re.search(r"Video: .*, (\d+)x(\d+)", _streams(path, program))
    assert size is not None
    return np.frombuffer(output, np.uint8).reshape(-1, int(size[2]), int(size[1]), 3).astype(int)


def _streams(path: Path, program: Program) -> str:
    return subprocess.run(
        [program.path, "-hide_banner", "-i", path], capture_output=True, text=True, check=False
    ).stderr


def test_labels_are_drawn_under_the_picture_at_their_time(video: Path, program: Program, tmp_path: Path) -> None:
    segments = [Segment(1.0, 2.0, {"action": [("one", 0.9)]}), Segment(3.0, 4.0, {"action": [("two", 0.1)]})]
    out = tmp_path / "out.mp4"
    overlay_video(Prediction(name="x", segments=segments), Source(video), out, program)
    pictures = _frames(out, program)
    height = caption_height(240, 3)
    assert pictures.shape == (40, 100 + height, 240, 3)
    assert "Audio: aac" in _streams(out, program)
    shown = {frame: pictures[frame] for frame in (5, 15, 25, 35)}
    assert all(np.abs(picture[:96] - 127).max() <= 4 for picture in shown.values()), "nothing covers the picture"
    feet = {frame: picture[102:] for frame, picture in shown.items()}
    assert max(feet[frame].max() for frame in (5, 25)) < 40, "an empty strip where nothing is named"
    assert min(feet[frame].max() for frame in (15, 35)) > 150
    blue = {frame: (feet[frame][..., 2] - feet[frame][..., 0] > 60).sum() for frame in (15, 35)}
    assert blue[15] > 4 * blue[35] > 0, "the bar is as long as the class is probable"


def test_a_part_is_drawn_as_a_part_with_one_label(video: Path, program: Program, tmp_path: Path) -> None:
    source = Source(video, start=1.0, stop=2.5)
    overlay_video(Prediction(name="x", heads={"action": [("one", 0.9)]}), source, tmp_path / "o.mp4", program)
    pictures = _frames(tmp_path / "o.mp4", program)
    assert pictures.shape == (15, 100 + caption_height(240, 3), 240, 3)
    assert np.abs(pictures[0] - pictures[14]).mean() < 2


def test_a_long_label_is_cut_and_any_script_is_drawn() -> None:
    short = np.asarray(draw_caption(320, 1, [("x" * 300, 0.5)]))
    assert short.shape == (caption_height(320, 1), 320, 3)
    bar_left = 320 - round(320 * 0.28) - 10
    assert (short[:, 5 : bar_left - 6] > 200).any()
    assert not (short[2:-2, bar_left - 4 : bar_left - 1] > 200).any(), "the label keeps clear of the bar"
    assert (np.asarray(draw_caption(320, 3, [("прыжок → ✓", 1.0)])) > 200).any()
    assert np.asarray(draw_caption(320, 3, [])).max() < 40


def test_a_scale_runs_from_its_low_end_to_its_high_end() -> None:
    colours = np.linspace([0, 0, 255], [255, 0, 0], 256)
    scale = np.asarray(draw_scale(224, 26, colours, "motion 0%", "37%")).astype(int)
    assert scale.shape == (26, 224, 3)
    balance = scale[13, :, 0] - scale[13, :, 2]  # red minus blue: rises along the scale
    coloured = np.flatnonzero(np.abs(scale[13]).max(1) > 100)
    ramp = balance[(scale[13, :, 1] == 0)]
    assert len(ramp) > 60
    assert (np.diff(ramp) >= 0).all()
    assert (ramp[0], ramp[-1]) == (-255, 255)
    assert coloured[0] < 30, "the name of the low end is at the left"


def test_the_activation_map_is_the_classifiers_evidence_at_each_place(config: RunConfig, checkpoint: Path) -> None:
    network = load_checkpoint(checkpoint).build(CPU.device)
    assert isinstance(network, TDPN)
    view = torch.randint(0, 256, (3, 10, 64, 64), dtype=torch.uint8)
    heat = heat_of(network, view, config.sampling)
    with torch.no_grad():
        clip = normalise(view[None], config.sampling)
        features = network.feature_maps(clip).top[0]  # (C, 1, 2, 2)
        logits = network(clip)[0]
    weight = network.head.linear.get_parameter("action.weight")[int(logits.argmax())]
    evidence = torch.stack([
        torch.stack([(features[:, 0, row, column] * weight).sum() for column in range(2)]) for row in range(2)
    ]).clamp_min(0)  # fmt: skip
    assert heat.activation.shape == (2, 64, 64)
    corners = heat.activation[:, [[0], [-1]], [[0, -1]]]
    assert torch.allclose(corners, (evidence / evidence.max()).expand(2, 2, 2), atol=1e-5)
    assert torch.allclose(heat.scores["action"], logits.double().softmax(0), atol=1e-6)


def test_responses_are_the_share_of_motion_in_what_leaves_the_modules(config: RunConfig) -> None:
    torch.manual_seed(0)
    network = create_model("tdpn", arch="r18", width=0.125, num_frames=2, input_size=64, num_classes=3).eval()
    assert isinstance(network, TDPN)
    for name, value in network.named_parameters():
        if "lateral" in name and name.endswith("bn.weight"):
            torch.nn.init.ones_(value)
    still = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8).expand(3, 10, 64, 64).contiguous()
    view = still.clone()
    view[:, 5:] = torch.randint(0, 256, (3, 5, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        clip = normalise(view[None], config.sampling)
        entered = network.backbone(network.frames(clip))
        left = network.temporal_difference(clip, entered)
    heat = heat_of(network, view, config.sampling)
    assert set(heat.motion) == {"global", "local"}
    for kind, names in (("global", ("res2", "res3")), ("local", ("res4", "res5"))):
        shares = []
        for name in names:
            before, added = entered[name][0].abs().mean(0), (left[name] - entered[name])[0].abs().mean(0)
            share = (added / (before + added))[:, None]
            shares.append(torch.nn.functional.interpolate(share, (64, 64), mode="bilinear")[:, 0])
        assert torch.allclose(heat.motion[kind], sum(shares) / 2, atol=1e-5)
    local = heat.motion["local"].mean((1, 2))
    assert local[1] > 1.2 * local[0], "the second window moves, the first stands still"


@pytest.mark.parametrize("timeline", [None, Windowing(seconds=1.0)])
def test_explanations_show_every_frame_with_three_panels(
    checkpoint: Path, video: Path, program: Program, tmp_path: Path, timeline: Windowing | None
) -> None:
    options = PredictOptions(explain=tmp_path / "e", overlay=tmp_path / "o.mp4", timeline=timeline)
    (prediction,) = predict([video], checkpoint=checkpoint, runtime=CPU, options=options)
    assert prediction.error is None
    out = tmp_path / "e" / "grey.mp4"
    assert _frames(out, program).shape == (80, 26 + 224 + 26 + caption_height(672, 3), 672, 3)
    assert "20 fps" in _streams(out, program)
    assert len(_frames(tmp_path / "o.mp4", program)) == 40
    assert {path.name for path in tmp_path.iterdir()} == {"e", "o.mp4"}


@given(
    steps=st.lists(st.floats(0.0, 0.7), max_size=30), fps=st.sampled_from([20.0, 23.976, 30.0]), last=st.integers(1, 3)
)
def test_a_film_shows_each_picture_from_its_own_time_on(steps: list[float], fps: float, last: int) -> None:
    times = [sum(steps[:count]) for count in range(len(steps) + 1)]
    film = list(paced([(seconds, b"%d" % number) for number, seconds in enumerate(times)], fps, last))
    assert len(film) == round(times[-1] * fps) + last
    for place, shown in enumerate(film):
        # literally: the latest picture whose time, to the nearest picture of the film, has come
        due = max(number for number, seconds in enumerate(times) if number == 0 or round(seconds * fps) <= place)
        assert int(shown) == due


def test_times_that_jump_make_no_endless_film() -> None:
    film = list(paced([(0.0, b"a"), (95443.7, b"b"), (95443.8, b"c"), (3.0, b"d")], 20.0))
    assert [film.count(picture) for picture in (b"a", b"b", b"c", b"d")] == [6000, 2, 0, 1]
    assert (film_rate(1.0), film_rate(15.0), film_rate(25.0), film_rate(1e6)) == ((20, 20), (30, 2), (25, 1), (240, 1))


def test_an_explanation_of_uneven_frames_follows_their_times(
    checkpoint: Path, program: Program, tmp_path: Path
) -> None:
    """Dark for one second at 25 frames a second, bright for three at about 2, and dark again."""
    uneven = tmp_path / "uneven.mkv"
    bright = "drawbox=color=0xCCCCCC:t=fill:enable='between(t,1,3.99)'"
    drawn = f"color=0x333333:size=64x48:rate=25:duration=5,{bright},select='lt(t,1)+gte(t,4)+not(mod(n,12))'"
    command = [program.path, "-loglevel", "error", "-f", "lavfi", "-i", drawn, "-fps_mode", "vfr", uneven]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    options = PredictOptions(explain=tmp_path / "e.mp4")
    (prediction,) = predict([uneven], checkpoint=checkpoint, runtime=CPU, options=options)
    assert prediction.error is None
    pictures = _frames(tmp_path / "e.mp4", program)
    assert len(pictures) == 5 * 25
    light = {seconds: pictures[round(seconds * 25), 150:240, 20:200].mean() for seconds in (0.5, 1.3, 1.6, 3.9, 4.5)}
    assert min(light[1.6], light[3.9]) > max(light[0.5], light[1.3], light[4.5]) + 30, "bright from 1.44 s to 4 s"


def test_a_network_without_difference_modules_has_one_panel_and_pictures_are_drawn(
    config: RunConfig, save_fresh, video: Path, program: Program, tmp_path: Path
) -> None:
    values = to_dict(config)
    values["model"] = {"name": "tsn", "arch": "r18", "num_classes": {"verb": 3, "noun": 2}, "num_frames": 2,
                       "input_size": 32, "width": 0.125}  # fmt: skip
    values["data"]["classes"] = {"verb": ["take", "put", "cut"], "noun": ["cup", "pan"]}
    checkpoint = save_fresh(from_dict(RunConfig, values), tmp_path / "best.pt")
    pictures = tmp_path / "frames"
    pictures.mkdir()
    command = [program.path, "-loglevel", "error", "-i", video, "-t", "1", pictures / "%03d.jpg"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    options = PredictOptions(explain=tmp_path / "e.mp4", overlay=tmp_path / "o.mp4", fps=10.0)
    (prediction,) = predict([pictures], checkpoint=checkpoint, runtime=CPU, options=options)
    assert prediction.error is None
    assert list(prediction.heads) == ["verb", "noun", "action"]
    explained = _frames(tmp_path / "e.mp4", program)
    assert (len(explained), explained.shape[2], len(_frames(tmp_path / "o.mp4", program))) == (20, 224, 10)


def test_a_flow_network_is_not_explained(flow_checkpoint: Path, video: Path, tmp_path: Path) -> None:
    options = PredictOptions(explain=tmp_path / "e.mp4")
    with pytest.raises(
        UsageError, match=r"best.pt: optical flow cannot be drawn on; use --explain with an RGB network"
    ):
        list(predict([video], checkpoint=flow_checkpoint, runtime=CPU, options=options))


def test_outputs_that_are_there_are_refused_before_anything_is_loaded(video: Path, tmp_path: Path) -> None:
    (tmp_path / "o.mp4").write_bytes(b"mine")
    for options in (PredictOptions(overlay=tmp_path / "o.mp4"), PredictOptions(explain=tmp_path / "o.mp4")):
        with pytest.raises(UsageError, match=r"o.mp4: exists already; add --force to replace it"):
            list(predict([video], checkpoint=tmp_path / "none.pt", runtime=CPU, options=options))
    assert (tmp_path / "o.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/proc/o", "cannot be written: "),  # no permission, or no such file for root
        ("file/o", "cannot be written: Not a directory"),
        ("file/new/o", "cannot be written: Not a directory"),
        ("o" * 260, "cannot be written: File name too long"),
    ],
)
@pytest.mark.parametrize("option", ["--csv", "--segments", "--overlay", "--explain", "--archive"])
def test_outputs_that_cannot_be_written_are_refused_before_anything_is_loaded(
    option: str, place: str, reason: str, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    ending = {"--csv": ".csv", "--segments": ".json", "--archive": ""}.get(option, ".mp4")
    words = ["predict", str(video), "--checkpoint", "none.pt", "--timeline", "--gpus", "0", option, place + ending]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, UsageError), result.output
    assert reason in str(result.exception)
    assert f"choose another {option}" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("option", ["overlay", "explain"])
def test_output_in_place_of_the_clip_is_refused_and_the_clip_kept(option: str, video: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(video.read_bytes())
    (tmp_path / "link.mp4").symlink_to(clip)
    for target in (clip, tmp_path / "link.mp4", tmp_path):
        options = PredictOptions(force=True, **{option: target})  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="is a clip to predict, and is not replaced"):
            list(predict([clip], checkpoint=tmp_path / "none.pt", runtime=CPU, options=options))
    assert clip.read_bytes() == video.read_bytes()


def test_outputs_of_two_options_in_one_file_are_refused(video: Path, tmp_path: Path) -> None:
    both = PredictOptions(overlay=tmp_path / "o.mp4", explain=tmp_path / "o.mp4")
    with pytest.raises(UsageError, match=r"o.mp4: is to be written by two options; give each option a file of its own"):
        list(predict([video], checkpoint=tmp_path / "none.pt", runtime=CPU, options=both))
    table = tmp_path / "o.csv"
    options = PredictOptions(timeline=Windowing(), segments=table)
    with pytest.raises(UsageError, match=r"o.csv: is to be written by two options"):
        tdpn_core.predict([video], checkpoint=tmp_path / "none.pt", options=options, csv=table)
