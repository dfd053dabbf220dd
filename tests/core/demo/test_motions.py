"""Paths against what their classes' names say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.demo.motions import MOTIONS, draw_path
from tdpn_core.rng import derive

NAMES = sorted(MOTIONS)
seeds = st.integers(0, 2**40)


def steps(name: str, seed: int, frames: int = 32) -> np.ndarray:
    """Displacements (frames - 1, 2), the short way round the torus."""
    return (np.diff(draw_path(name, frames, derive(seed)), axis=0) + 0.5) % 1 - 0.5


def speeds(name: str, seed: int) -> np.ndarray:
    return np.linalg.norm(steps(name, seed), axis=1)


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
def test_a_path_stays_on_the_torus_and_is_seen_to_move_without_jumps(name, seed):
    path = draw_path(name, 32, derive(seed))
    assert path.shape == (32, 2)
    assert path.min() >= 0
    assert path.max() < 1
    assert speeds(name, seed).max() < 0.15, "a sixth of the side, far from the half where directions become ambiguous"


@given(seed=seeds)
def test_left_and_right_are_steady_mirror_images(seed):
    left, right = steps("moving left", seed), steps("moving right", seed)
    assert np.allclose(left, right * [-1, 1])
    assert (right[:, 0] > 0).all()
    assert np.ptp(right[:, 0]) < 1e-9


@given(seed=seeds)
def test_speeding_up_and_slowing_down_are_each_other_backwards(seed):
    up, down = speeds("speeding up", seed), speeds("slowing down", seed)
    assert (np.diff(up) > 0).all()
    assert (np.diff(down) < 0).all()
    assert up[-1] > 4 * up[0]


@pytest.mark.parametrize("kind", ["swinging", "circling"])
@given(seed=seeds)
def test_slow_and_fast_differ_in_rate_over_the_same_extent(kind, seed):
    def turns(name):
        spectrum = np.abs(np.fft.rfft(steps(name, seed, frames=241), axis=0)).sum(axis=1)
        return np.argmax(spectrum) / 240

    assert 1 / 61 < turns(f"{kind} slowly") < 1 / 32
    assert 1 / 20 < turns(f"{kind} fast") < 1 / 10


@pytest.mark.parametrize("name", NAMES)
def test_any_place_is_as_likely_as_any_other_at_any_moment(name):
    paths = np.stack([draw_path(name, 32, derive(0, draw)) for draw in range(600)])
    for frame in (0, 15, 31):
        for axis in (0, 1):
            shares = np.histogram(paths[:, frame, axis], bins=4, range=(0, 1))[0] / 600
            assert shares == pytest.approx(np.full(4, 0.25), abs=0.08)
