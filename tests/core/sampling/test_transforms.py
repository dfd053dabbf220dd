"""Pixels against direct computations on the decoded frames."""

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.errors import ClipError
from tdpn_core.rng import derive
from tdpn_core.sampling import transforms as pixels
from tdpn_core.sampling.crops import Crop, random_crop, trained_short_side


def ramp(height: int, width: int, frames: int = 1) -> torch.Tensor:
    """Frames (frames, 3, height, width) in the decoder's memory order: red tells the row, green the column."""
    picture = np.zeros((frames, height, width, 3), np.uint8)
    picture[..., 0] = np.arange(height)[:, None]
    picture[..., 1] = np.arange(width)
    picture[..., 2] = np.arange(frames)[:, None, None]
    return torch.from_numpy(picture).permute(0, 3, 1, 2)


def test_decoded_frames_are_the_jpegs_in_order(memory_clips):
    source = memory_clips([6, 6], noise=True)
    frames = pixels.decode(source, 1, np.array([0, 2, 5]))
    assert frames.shape == (3, 3, 48, 64)
    for position, number in enumerate([0, 2, 5]):
        expected = simplejpeg.decode_jpeg(source.read(1, [number])[0])
        assert (frames[position].permute(1, 2, 0).numpy() == expected).all()


@pytest.mark.parametrize(
    ("jpeg", "message"),
    [
        (b"no picture", "clip-1: frame 3 cannot be decoded"),
        (simplejpeg.encode_jpeg(np.zeros((48, 64, 3), np.uint8))[:-200], "clip-1: frame 3 cannot be decoded"),
        (simplejpeg.encode_jpeg(np.zeros((50, 64, 3), np.uint8)), "clip-1: frame 3 cannot be decoded"),
        (simplejpeg.encode_jpeg(np.zeros((40, 64, 3), np.uint8)), "clip-1: frame 3 is 64x40, the clip 64x48"),
    ],
)
def test_a_frame_that_is_not_what_it_should_be_is_an_error_with_the_clips_name(memory_clips, jpeg, message):
    source = memory_clips([6, 6])
    source.damaged[1] = jpeg
    with pytest.raises(ClipError, match=message):
        pixels.decode(source, 1, np.array([3, 4]))


@given(st.integers(8, 400), st.integers(8, 400), st.floats(0.05, 1), st.integers(0, 2**40))
def test_a_random_crop_lies_in_the_frame_and_within_area_and_ratio(height, width, smallest, seed):
    sampling = SamplingConfig(crop_area=(smallest, 1.0))
    top, left, crop_height, crop_width = random_crop(height, width, 32, sampling, derive(seed))
    assert top >= 0
    assert left >= 0
    assert 0 < crop_height <= height - top
    assert 0 < crop_width <= width - left
    lowest, highest = sampling.crop_ratio
    assert (crop_width + 0.6) / max(crop_height - 0.6, 0.1) >= lowest
    assert (crop_width - 0.6) / (crop_height + 0.6) <= highest


def test_random_crops_spread_over_area_ratio_and_place():
    sampling = SamplingConfig(crop_area=(0.25, 1.0))
    crops = np.array([random_crop(200, 200, 112, sampling, derive(0, draw)) for draw in range(2000)])
    top, left, height, width = crops.T
    area = height * width / 200**2
    assert area.min() >= 0.24
    assert np.quantile(area, [0.1, 0.9]) == pytest.approx([0.32, 0.87], abs=0.05)
    assert np.median(width / height) == pytest.approx(1, abs=0.03)
    room = height < 195
    assert (top[room] / (200 - height[room])).mean() == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(top, left)[0, 1] < 0.95


@pytest.mark.parametrize(("height", "width", "crop"), [(20, 400, (0, 187, 20, 27)), (400, 20, (187, 0, 27, 20))])
def test_a_frame_too_long_for_any_draw_gives_its_middle(height, width, crop):
    sampling = SamplingConfig(crop_area=(0.9, 1.0))
    found = random_crop(height, width, 32, sampling, derive(0))
    assert np.abs(np.array(found) - crop).max() <= 1


JITTER = SamplingConfig(crop="jitter", jitter=(256, 320))


@given(st.integers(8, 400), st.integers(8, 400), st.integers(32, 400), st.integers(0, 2**40))
def test_a_jitter_crop_is_a_square_of_the_side_that_the_short_sides_give(height, width, side, seed):
    top, left, crop_height, crop_width = random_crop(height, width, side, JITTER, derive(seed))
    short = min(height, width)
    assert crop_height == crop_width
    assert 0 <= top <= height - crop_height
    assert 0 <= left <= width - crop_width
    assert min(short, side * short / 320 - 0.5) <= crop_height <= min(short, side * short / 256 + 0.5)


def test_jitter_crops_spread_evenly_over_short_sides_and_places():
    crops = np.array([random_crop(512, 600, 224, JITTER, derive(0, draw)) for draw in range(2000)])
    top, left, height, _ = crops.T
    shorts = 224 * 512 / height
    assert np.histogram(shorts, 4, (256, 320))[0] == pytest.approx(500, abs=80)
    assert (top / (512 - height)).mean() == pytest.approx(0.5, abs=0.03)
    assert np.histogram(left / (600 - height), 4, (0, 1))[0] == pytest.approx(500, abs=80)


def test_a_jitter_crop_shows_what_a_crop_of_the_resized_frame_shows():
    frames = ramp(120, 160)
    sampling = SamplingConfig(crop="jitter", jitter=(150, 150))
    crop = random_crop(120, 160, 100, sampling, derive(5))
    shown = pixels.resize(pixels.cut(frames, crop), 100, 100).float()
    whole = pixels.resize(frames, 150, 200)
    top, left = round(crop.top * 1.25), round(crop.left * 1.25)
    assert (shown - pixels.cut(whole, Crop(top, left, 100, 100)).float()).abs().max() <= 2


def test_the_crops_of_the_default_are_those_of_earlier_versions():
    crops = [tuple(random_crop(256, 340, 224, SamplingConfig(), derive(7, draw))) for draw in range(3)]
    assert crops == [(32, 49, 221, 273), (21, 16, 212, 171), (2, 3, 252, 250)]


def test_resizing_an_equal_size_copies_nothing():
    frames = ramp(24, 32)
    assert pixels.resize(frames, 24, 32).data_ptr() == frames.data_ptr()


def test_shrinking_averages_what_it_leaves_out():
    checker = torch.from_numpy((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)).expand(1, 3, 64, 64)
    shrunk = pixels.resize(checker, 16, 16)
    assert (shrunk.float() - 127.5).abs().max() <= 6, "a checkerboard becomes grey, not an alias of itself"


def test_resized_bytes_are_the_rounded_float_result():
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 40, 52, 3), np.uint8)).permute(0, 3, 1, 2)
    resized = pixels.resize(pixels.cut(frames, Crop(3, 5, 31, 43)), 16, 16).float()
    part = frames[:, :, 3:34, 5:48].float()
    expected = torch.nn.functional.interpolate(part, (16, 16), mode="bilinear", antialias=True)
    assert (resized - expected).abs().max() <= 1


def test_one_test_crop_is_the_middle_of_the_frame_at_the_short_side():
    (crop,) = pixels.view_crops(ramp(48, 100), 1, SamplingConfig(short_side=48), 32)
    assert crop.shape == (1, 3, 32, 32)
    assert crop[0, 0, :, 0].tolist() == list(range(8, 40))
    assert crop[0, 1, 0].tolist() == list(range(34, 66))


@pytest.mark.parametrize("upright", [False, True])
def test_three_test_crops_stand_at_the_start_middle_and_end_of_the_longer_side(upright):
    frames = ramp(100, 48) if upright else ramp(48, 100)
    along, across = (0, 1) if upright else (1, 0)
    crops = pixels.view_crops(frames, 3, SamplingConfig(short_side=48), 32)
    assert [tuple(crop.shape) for crop in crops] == [(1, 3, 48, 48)] * 3
    assert [int(crop[0, along, 0, 0]) for crop in crops] == [0, 26, 52]
    assert [int(crop[0, along, -1, -1]) for crop in crops] == [47, 73, 99]
    assert [int(crop[0, across, -1, -1]) for crop in crops] == [47, 47, 47]


@pytest.mark.parametrize("upright", [False, True])
def test_three_test_crops_of_the_input_size_are_centred_across_the_frame(upright):
    frames = ramp(100, 48) if upright else ramp(48, 100)
    along, across = (0, 1) if upright else (1, 0)
    crops = pixels.view_crops(frames, 3, SamplingConfig(short_side=48, side_crops="input"), 32)
    assert [tuple(crop.shape) for crop in crops] == [(1, 3, 32, 32)] * 3
    assert [int(crop[0, along, 0, 0]) for crop in crops] == [0, 34, 68]
    assert [int(crop[0, across, 0, 0]) for crop in crops] == [8, 8, 8]


@pytest.mark.parametrize(("height", "width"), [(48, 101), (99, 48), (48, 48), (32, 32)])
def test_ten_test_crops_are_the_corners_the_centre_and_their_mirror_images(height, width):
    frames = torch.from_numpy(np.random.default_rng(0).integers(256, size=(2, 3, height, width), dtype=np.uint8))
    short, size = min(height, width), 32
    down, right = (height - size) // 4, (width - size) // 4  # TSN's code: offsets in quarters of the margin
    expected = []
    for top, left in ((0, 0), (0, 4 * right), (4 * down, 0), (4 * down, 4 * right), (2 * down, 2 * right)):
        crop = torch.empty((2, 3, size, size), dtype=torch.uint8)
        turned = torch.empty((2, 3, size, size), dtype=torch.uint8)
        for row in range(size):
            for column in range(size):
                crop[:, :, row, column] = frames[:, :, top + row, left + column]
                turned[:, :, row, size - 1 - column] = frames[:, :, top + row, left + column]
        expected += [crop, turned]
    found = pixels.view_crops(frames, 10, SamplingConfig(short_side=short, side_crops="short_side"), size)
    assert len(found) == 10
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_ten_test_crops_of_flow_negate_the_horizontal_component_of_mirror_images():
    flow = torch.from_numpy(np.random.default_rng(0).integers(256, size=(1, 2, 40, 60), dtype=np.uint8))
    crop, turned = pixels.view_crops(flow, 10, SamplingConfig(short_side=40), 32)[:2]
    assert torch.equal(turned[:, 0], 255 - crop[:, 0].flip(-1))
    assert torch.equal(turned[:, 1], crop[:, 1].flip(-1))


@pytest.mark.parametrize(
    ("crop", "aspect", "zoom"),
    [
        ({"crop_area": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}, 1.0, 1.0),
        ({"crop_area": (0.25, 0.25), "crop_ratio": (1.0, 1.0)}, 1.0, 2.0),
        ({"crop_area": (0.25, 0.25), "crop_ratio": (1.0, 1.0)}, 16 / 9, 1.5),
        ({"crop_area": (1.0, 1.0)}, 16 / 9, 1.0),
        ({"crop": "jitter", "jitter": (280, 280)}, 16 / 9, 1.25),
    ],
)
def test_trained_short_side_is_the_input_times_the_mean_magnification_of_training_crops(crop, aspect, zoom):
    assert trained_short_side(SamplingConfig(**crop), 224, aspect) == pytest.approx(224 * zoom, abs=2)


@given(st.integers(8, 90), st.integers(8, 90), st.sampled_from([1, 3, 10]), st.integers(8, 64), st.integers(8, 64))
def test_test_crops_are_square_at_every_frame_size(height, width, crops, short_side, input_size):
    views = pixels.view_crops(ramp(height, width), crops, SamplingConfig(short_side=short_side), input_size)
    side = short_side if crops == 3 else input_size
    assert [tuple(view.shape) for view in views] == [(1, 3, side, side)] * crops


def test_frames_are_arranged_in_order_with_repeats():
    clip = pixels.arrange(ramp(4, 6, frames=3), np.array([2, 0, 0, 1]))
    assert clip.shape == (3, 4, 4, 6)
    assert clip.is_contiguous()
    assert clip[2, :, 0, 0].tolist() == [2, 0, 0, 1]
    assert clip[1, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_flip_mirrors_the_width_of_every_frame():
    order = np.array([1, 0])
    plain = pixels.arrange(ramp(4, 6, frames=2), order)
    flipped = pixels.arrange(ramp(4, 6, frames=2), order, flip=True)
    assert flipped.is_contiguous()
    assert torch.equal(flipped, plain[..., [5, 4, 3, 2, 1, 0]])


def test_normalised_clips_have_the_formulas_values():
    sampling = SamplingConfig()
    clips = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 2, 4, 4), np.uint8))
    result = pixels.normalise(clips, sampling)
    assert result.dtype == torch.float32
    for channel in range(3):
        expected = (clips[:, channel] / 255 - sampling.mean[channel]) / sampling.std[channel]
        assert torch.allclose(result[:, channel], expected, atol=1e-6)
    assert torch.allclose(pixels.normalise(clips[0], sampling), result[0])
    assert torch.allclose(pixels.normalise(clips[:, None], sampling), result[:, None])


def test_normalise_gives_the_same_after_it_was_traced_first():
    class Normalise(torch.nn.Module):
        def forward(self, clips):
            return pixels.normalise(clips, sampling)

    sampling = SamplingConfig(mean=(0.11, 0.22, 0.33), std=(0.2, 0.3, 0.4))  # of no other test: nothing is cached
    clips = torch.randint(0, 256, (2, 3, 2, 4, 4), dtype=torch.uint8)
    graph = torch.export.export(Normalise(), (clips,)).module()
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (sampling.mean, sampling.std))
    expected = (clips / 255 - mean) / std
    torch.testing.assert_close(graph(clips), expected)
    torch.testing.assert_close(pixels.normalise(clips, sampling), expected)
