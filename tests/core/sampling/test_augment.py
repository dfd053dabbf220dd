"""Draws of augmentations: their distributions, that they depend on (seed, epoch, clip) alone, and their use."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdpn_core.config.families import model_config
from tdpn_core.config.schema import SamplingConfig
from tdpn_core.rng import derive
from tdpn_core.sampling.augment import (
    RANDAUGMENT,
    augment,
    colour_jitter,
    erase,
    randaugment,
    random_erasing,
)
from tdpn_core.sampling.augment_ops import operate
from tdpn_core.sampling.dataset import TrainingClips
from tdpn_core.sampling.loader import TrainingLoader

EVERYTHING = SamplingConfig(
    interval=2, short_side=32, colour=(0.4, 0.4, 0.4, 0.1), randaugment=2, erasing=0.5, crop="jitter", jitter=(36, 48)
)


def clips_of(count: int = 3, frames: int = 4, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, frames, side, side), np.uint8))


def test_without_augmentations_the_very_batch_comes_back() -> None:
    clips = clips_of()
    assert augment(clips, [4, 1, 7], 0, SamplingConfig(), seed=0) is clips


def test_colour_jitter_draws_evenly_within_its_strengths_in_every_order() -> None:
    sampling = SamplingConfig(colour=(0.4, 0.2, 0.1, 0.05))
    draws = [colour_jitter(sampling, derive(0, draw)) for draw in range(2000)]
    assert len({tuple(change.operation for change in draw) for draw in draws}) == 24
    for operation, middle, strength in [
        ("brightness", 1, 0.4),
        ("contrast", 1, 0.2),
        ("saturation", 1, 0.1),
        ("hue", 0, 0.05),
    ]:
        amounts = np.array([change.amount for draw in draws for change in draw if change.operation == operation])
        assert len(amounts) == 2000
        assert np.abs(amounts - middle).max() <= strength
        tenths = np.histogram(amounts, 10, (middle - strength, middle + strength))[0]
        assert tenths == pytest.approx(200, abs=60)


def test_a_colour_strength_of_zero_is_left_out() -> None:
    (change,) = colour_jitter(SamplingConfig(colour=(0, 0, 0.3, 0)), derive(0))
    assert change.operation == "saturation"
    assert colour_jitter(SamplingConfig(), derive(0)) == []


def test_randaugment_draws_evenly_among_its_operations_with_both_signs() -> None:
    sampling = SamplingConfig(randaugment=3, randaugment_magnitude=15)
    draws = [randaugment(sampling, derive(0, draw)) for draw in range(1400)]
    assert all(len(draw) == 3 for draw in draws)
    counts = Counter(change.operation for draw in draws for change in draw)
    assert set(counts) == set(RANDAUGMENT)
    assert all(count == pytest.approx(300, abs=80) for count in counts.values())
    amounts = {
        operation: {round(change.amount, 4) for draw in draws for change in draw if change.operation == operation}
        for operation in RANDAUGMENT
    }
    assert amounts["rotate"] == {-15, 15}
    assert amounts["shear_x"] == amounts["shear_y"] == {-0.15, 0.15}
    assert amounts["translate_x"] == amounts["translate_y"] == {-0.2266, 0.2266}
    for operation in ("brightness", "contrast", "saturation", "sharpness"):
        assert amounts[operation] == {0.55, 1.45}
    assert amounts["posterise"] == {6}
    assert amounts["solarise"] == {127.5}


def test_randaugment_of_magnitude_zero_changes_next_to_nothing() -> None:
    clip = clips_of()[0]
    for draw in range(40):
        for operation, amount in randaugment(SamplingConfig(randaugment=2, randaugment_magnitude=0), derive(draw)):
            changed = operate(clip, operation, amount)
            if operation not in ("auto_contrast", "equalise"):
                assert (changed == clip)[clip < 255].all()


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 300), st.integers(16, 300), st.integers(0, 2**40))
def test_an_erased_rectangle_lies_in_the_frame_and_within_its_area(height: int, width: int, seed: int) -> None:
    sampling = SamplingConfig(erasing=1.0, erasing_area=(0.1, 0.3))
    erasing = random_erasing(height, width, sampling, derive(seed))
    if erasing is None:
        assert max(height / width, width / height) > 3, "only a long frame has no room for ten draws"
        return
    top, left, rows, columns = erasing.place
    assert 0 <= top <= height - rows
    assert 0 <= left <= width - columns
    assert (rows + 0.6) * (columns + 0.6) >= 0.1 * height * width
    assert (rows - 0.6) * (columns - 0.6) <= 0.3 * height * width
    assert erasing.noise.shape == (3, 1, rows, columns)


def test_erasing_happens_as_often_as_asked_and_with_even_noise() -> None:
    drawn = [random_erasing(64, 64, SamplingConfig(erasing=0.25), derive(0, draw)) for draw in range(2000)]
    erased = [erasing for erasing in drawn if erasing]
    assert len(erased) == pytest.approx(500, abs=70)
    noise = torch.cat([erasing.noise.flatten() for erasing in erased]).float()
    assert noise.mean().item() == pytest.approx(127.5, abs=1)
    assert noise.std().item() == pytest.approx(73.9, abs=1)


def test_an_erased_rectangle_is_the_same_in_every_frame_and_the_rest_stays() -> None:
    clip = clips_of()[0]
    before = clip.clone()
    erasing = random_erasing(32, 32, SamplingConfig(erasing=1.0), derive(3))
    assert erasing is not None
    erased = erase(clip, erasing)
    assert torch.equal(clip, before)
    top, left, height, width = erasing.place
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[top : top + height, left : left + width] = False
    assert torch.equal(erased[..., outside], clip[..., outside])
    for frame in range(4):
        assert torch.equal(erased[:, frame, top : top + height, left : left + width], erasing.noise[:, 0])


def test_equal_frames_stay_equal_under_everything_at_once() -> None:
    clips = clips_of(24, frames=1).expand(-1, -1, 4, -1, -1)
    augmented = augment(clips, range(24), 0, EVERYTHING, seed=0)
    assert augmented.shape == clips.shape
    assert all(torch.equal(augmented[:, :, 0], augmented[:, :, frame]) for frame in range(1, 4))
    assert all(not torch.equal(one, other) for one, other in zip(augmented, clips, strict=True))


def test_a_clips_draw_depends_on_seed_epoch_and_clip_and_not_on_the_batch() -> None:
    clips = clips_of(1).expand(6, -1, -1, -1, -1)
    whole = augment(clips, [5, 3, 1, 0, 2, 4], 7, EVERYTHING, seed=1)
    parts = [augment(clips[:2], [4, 2], 7, EVERYTHING, seed=1), augment(clips[:4], [0, 1, 3, 5], 7, EVERYTHING, seed=1)]
    assert torch.equal(torch.cat(parts).flip(0), whole)
    assert not torch.equal(augment(clips, [5, 3, 1, 0, 2, 4], 8, EVERYTHING, seed=1), whole)
    assert not torch.equal(augment(clips, [5, 3, 1, 0, 2, 4], 7, EVERYTHING, seed=2), whole)
    assert len({clip.sum().item() for clip in whole}) == 6


def test_augmentations_do_not_disturb_which_frames_and_pixels_are_drawn(memory_clips) -> None:
    source = memory_clips([30] * 4, noise=True)
    model = model_config(num_frames=2, input_size=32, num_classes={"action": 3})
    plain = SamplingConfig(interval=2)
    with_all = replace(EVERYTHING, crop="area", mixup=0.2, cutmix=1.0)
    for clip in range(4):
        one, other = (TrainingClips(source, model, sampling, seed=3)[2, clip] for sampling in (plain, with_all))
        assert torch.equal(one.clip, other.clip)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing_with_every_augmentation(memory_clips, workers: int) -> None:
    source = memory_clips([9, 1, 30, 4, 9, 12, 5], noise=True)
    model = model_config(num_frames=2, input_size=32, num_classes={"action": 3})

    def epoch(workers: int) -> list[torch.Tensor]:
        dataset = TrainingClips(source, model, EVERYTHING, seed=0)
        batches = TrainingLoader(dataset, batch_size=3, seed=0, workers=workers).epoch(4)
        return [augment(batch.clips, batch.indices.tolist(), 4, EVERYTHING, seed=0) for batch in batches]

    alone, helped = epoch(0), epoch(workers)
    assert len(alone) == 2
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))
