"""Mixup and cutmix against their definitions, and the loss of mixed clips clip by clip."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.rng import derive
from tdpn_core.sampling.mixup import draw_mix


def clips_of(count: int = 4, frames: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3, frames, 16, 24)).astype(np.float32))


def test_nothing_is_mixed_unless_asked_for() -> None:
    assert draw_mix(4, 16, 24, SamplingConfig(), derive(0)) is None


def test_mixup_is_the_weighted_sum_with_the_partner() -> None:
    clips = clips_of()
    mix = draw_mix(4, 16, 24, SamplingConfig(mixup=0.8), derive(1))
    assert mix is not None
    assert 0 < mix.share < 1
    for number, partner in enumerate(mix.partners.tolist()):
        expected = mix.share * clips[number] + (1 - mix.share) * clips[partner]
        assert torch.allclose(mix.clips(clips)[number], expected, atol=1e-6)


def test_cutmix_takes_one_box_of_the_partner_in_every_frame() -> None:
    clips = clips_of()
    before = clips.clone()
    mix = draw_mix(4, 16, 24, SamplingConfig(cutmix=1.0), derive(2))
    assert mix is not None
    assert mix.box is not None
    mixed = mix.clips(clips)
    assert torch.equal(clips, before)
    top, left, height, width = mix.box
    assert height * width > 0
    for number, partner in enumerate(mix.partners.tolist()):
        for y in range(16):
            for x in range(24):
                inside = top <= y < top + height and left <= x < left + width
                assert torch.equal(mixed[number, :, :, y, x], clips[partner if inside else number, :, :, y, x])


@given(
    count=st.integers(1, 9),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    strength=st.floats(0.05, 4),
    cut=st.booleans(),
    seed=st.integers(0, 2**40),
)
def test_the_share_is_that_of_the_pixels(
    count: int, height: int, width: int, strength: float, cut: bool, seed: int
) -> None:
    sampling = SamplingConfig(cutmix=strength) if cut else SamplingConfig(mixup=strength)
    mix = draw_mix(count, height, width, sampling, derive(seed))
    assert mix is not None
    assert (mix.box is not None) == cut
    assert sorted(mix.partners.tolist()) == list(range(count))
    numbered = torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1, 1).expand(-1, 3, 2, height, width)
    means = mix.clips(numbered).mean(dim=(1, 2, 3, 4)).tolist()
    for number, partner in enumerate(mix.partners.tolist()):
        assert means[number] == pytest.approx(mix.share * number + (1 - mix.share) * partner, abs=1e-4)


@pytest.mark.parametrize("strength", [0.2, 1.0, 3.0])
def test_shares_are_drawn_from_the_beta_distribution(strength: float) -> None:
    shares = [
        mix.share for draw in range(3000) if (mix := draw_mix(2, 64, 64, SamplingConfig(mixup=strength), derive(draw)))
    ]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * strength + 1)), rel=0.1)


def test_with_both_each_is_drawn_half_of_the_time_and_pairs_vary() -> None:
    sampling = SamplingConfig(mixup=0.2, cutmix=1.0)
    mixes = [draw_mix(8, 64, 64, sampling, derive(draw)) for draw in range(1000)]
    assert sum(mix is not None and mix.box is None for mix in mixes) == pytest.approx(500, abs=60)
    assert len({tuple(mix.partners.tolist()) for mix in mixes if mix}) > 900


def test_equal_frames_stay_equal() -> None:
    clips = clips_of(4, frames=1).expand(-1, -1, 3, -1, -1)
    for sampling in (SamplingConfig(mixup=0.8), SamplingConfig(cutmix=1.0)):
        mix = draw_mix(4, 16, 24, sampling, derive(2))
        assert mix is not None
        mixed = mix.clips(clips)
        assert torch.equal(mixed[:, :, 0], mixed[:, :, 1])
        assert torch.equal(mixed[:, :, 0], mixed[:, :, 2])


def test_partners_labels_are_those_of_every_head() -> None:
    mix = draw_mix(4, 16, 24, SamplingConfig(mixup=0.8), derive(1))
    assert mix is not None
    labels = {"verb": torch.tensor([3, 1, -1, 0]), "noun": torch.tensor([9, 8, 7, -1])}
    partners = mix.partners.tolist()
    found = mix.partners_labels(labels)
    assert {head: values.tolist() for head, values in found.items()} == {
        "verb": [[3, 1, -1, 0][partner] for partner in partners],
        "noun": [[9, 8, 7, -1][partner] for partner in partners],
    }
