"""Frame numbers against literal re-statements of the sampling rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.rng import derive
from tdpn_core.sampling.frame_indices import training_indices, view_indices, with_window

DENSE = SamplingConfig(mode="dense", interval=8)
SEGMENTS = SamplingConfig(mode="segments")

counts = st.integers(1, 400)
lengths = st.integers(1, 40)
intervals = st.integers(1, 20)
views = st.integers(1, 12)


@given(counts, lengths, intervals, st.sampled_from(["dense", "segments"]), st.integers(0, 2**40))
def test_training_frames_exist_and_are_as_many_as_asked_for(count, num_frames, interval, mode, seed):
    sampling = SamplingConfig(mode=mode, interval=interval)
    frames = training_indices(count, num_frames, sampling, derive(seed))
    assert frames.shape == (num_frames,)
    assert frames.dtype == np.int64
    assert frames.min() >= 0
    assert frames.max() < count


@given(counts, lengths, intervals, st.integers(0, 2**40))
def test_dense_training_frames_are_an_interval_apart_and_start_anew_past_the_end(count, num_frames, interval, seed):
    frames = training_indices(count, num_frames, SamplingConfig(interval=interval), derive(seed)).tolist()
    position = frames[0]
    for frame in frames:
        assert frame == position % count
        position += interval
    if count > (num_frames - 1) * interval:
        assert frames == sorted(set(frames)), "a video that is long enough is never wrapped"


def test_dense_training_starts_take_every_possible_value():
    starts = {int(training_indices(60, 8, DENSE, derive(0, draw))[0]) for draw in range(200)}
    assert starts == {0, 1, 2, 3}


@given(counts, lengths, st.integers(0, 2**40))
def test_segment_training_takes_one_frame_of_each_equal_part(count, num_frames, seed):
    frames = training_indices(count, num_frames, SEGMENTS, derive(seed))
    assert (np.diff(frames) >= 0).all()
    for part, frame in enumerate(frames):
        assert int(part * count / num_frames) <= frame <= np.ceil((part + 1) * count / num_frames)


def test_segment_training_reaches_every_frame():
    frames = np.concatenate([training_indices(24, 8, SEGMENTS, derive(0, draw)) for draw in range(60)])
    assert set(frames.tolist()) == set(range(24))


@given(counts, lengths, intervals, views, st.sampled_from(["dense", "segments"]))
def test_views_are_frames_of_the_clip(count, num_frames, interval, number, mode):
    frames = view_indices(count, num_frames, SamplingConfig(mode=mode, interval=interval), number)
    assert frames.shape == (number, num_frames)
    assert frames.dtype == np.int64
    assert frames.min() >= 0
    assert frames.max() < count


def test_one_dense_view_is_the_centre():
    assert view_indices(257, 8, DENSE, 1).tolist() == [[100, 108, 116, 124, 132, 140, 148, 156]]


def test_ten_dense_views_go_from_the_first_to_the_last_possible_start():
    frames = view_indices(147, 8, DENSE, 10)
    assert frames[:, 0].tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert frames[-1, -1] == 146


def test_a_short_video_is_looped():
    assert view_indices(20, 8, DENSE, 1).tolist() == [[0, 8, 16, 4, 12, 0, 8, 16]]


@given(counts, lengths, views)
def test_segment_views_stand_at_even_points_of_each_part(count, num_frames, number):
    frames = view_indices(count, num_frames, SEGMENTS, number)
    for view in range(number):
        for part in range(num_frames):
            exact = (part + (view + 0.5) / number) * count / num_frames
            assert frames[view, part] in {min(int(exact + slack), count - 1) for slack in (-1e-9, 0, 1e-9)}


def test_one_segment_view_is_the_middle_of_each_part():
    assert view_indices(80, 8, SEGMENTS, 1).tolist() == [[5, 15, 25, 35, 45, 55, 65, 75]]


def test_segments_of_a_video_with_fewer_frames_repeat_in_order():
    assert view_indices(3, 8, SEGMENTS, 1).tolist() == [[0, 0, 0, 1, 1, 2, 2, 2]]


@pytest.mark.parametrize("sampling", [DENSE, SEGMENTS])
def test_a_single_frame_fills_the_clip(sampling):
    assert training_indices(1, 4, sampling, derive(0)).tolist() == [0, 0, 0, 0]
    assert view_indices(1, 4, sampling, 2).tolist() == [[0, 0, 0, 0]] * 2


def test_a_window_brings_the_two_frames_before_and_after_each():
    assert with_window(np.array([4, 9]), 20, 5).tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_a_window_repeats_the_nearest_frame_at_the_ends():
    assert with_window(np.array([0, 9]), 10, 5).tolist() == [0, 0, 0, 1, 2, 7, 8, 9, 9, 9]


@given(counts, lengths, intervals, views)
def test_windows_of_looped_views_are_clamped_around_each_frame(count, num_frames, interval, number):
    frames = view_indices(count, num_frames, SamplingConfig(interval=interval), number)
    windows = with_window(frames, count, 5).reshape(number, num_frames, 5)
    for place in np.ndindex(number, num_frames):
        middle = int(frames[place])
        assert windows[place].tolist() == [min(max(middle + step, 0), count - 1) for step in (-2, -1, 0, 1, 2)]


def test_a_window_of_one_changes_nothing():
    indices = np.array([3, 1, 2])
    assert with_window(indices, 5, 1).tolist() == [3, 1, 2]
