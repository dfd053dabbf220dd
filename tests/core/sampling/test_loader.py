"""Batches: exact sets and order, the same for any workers and resume point; faults of workers."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdpn_core.config.families import model_config
from tdpn_core.config.schema import SamplingConfig
from tdpn_core.errors import ClipError, DatasetError, ShardError
from tdpn_core.sampling import dataset, loader
from tdpn_core.sampling.loader import Batch, TrainingLoader

MODEL = model_config(num_frames=2, input_size=32, num_classes={"action": 3})
SAMPLING = SamplingConfig(interval=2, short_side=32, crop_area=(0.5, 1.0))


def training(source, *, batch_size=3, workers=0, seed=0, **options) -> TrainingLoader:
    clips = dataset.TrainingClips(source, MODEL, SAMPLING, seed)
    return TrainingLoader(clips, batch_size=batch_size, seed=seed, workers=workers, **options)


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for mine, yours in zip(one, other, strict=True):
        assert torch.equal(mine.clips, yours.clips)
        assert torch.equal(mine.indices, yours.indices)
        assert mine.labels.keys() == yours.labels.keys()
        assert all(torch.equal(mine.labels[head], yours.labels[head]) for head in mine.labels)


def test_a_batch_holds_clips_labels_and_numbers(memory_clips):
    batch = next(training(memory_clips([9, 9, 9, 9])).epoch(0))
    assert batch.clips.shape == (3, 3, 10, 32, 32)
    assert batch.clips.dtype == torch.uint8
    assert batch.labels["action"].dtype == batch.indices.dtype == torch.int64
    assert batch.labels["action"].shape == batch.indices.shape == (3,)


@settings(max_examples=40, deadline=None)
@given(clips=st.integers(1, 14), batch_size=st.integers(1, 16), epoch=st.integers(0, 50), seed=st.integers(0, 9))
def test_an_epoch_takes_each_clip_once_but_for_a_short_last_batch(memory_clips, clips, batch_size, epoch, seed):
    loader_ = training(memory_clips([2] * clips), batch_size=batch_size, seed=seed)
    seen = [batch.indices.tolist() for batch in loader_.epoch(epoch)]
    taken = [clip for batch in seen for clip in batch]
    assert len(seen) == len(loader_)
    assert len(taken) == len(set(taken))
    if batch_size >= clips:
        assert sorted(taken) == list(range(clips)), "a data set smaller than a batch is one batch"
    else:
        assert all(len(batch) == batch_size for batch in seen)
        assert clips - len(taken) == clips % batch_size


def test_epochs_and_seeds_have_orders_of_their_own(memory_clips):
    source = memory_clips([2] * 12)

    def order(epoch, seed):
        return torch.cat([batch.indices for batch in training(source, seed=seed).epoch(epoch)]).tolist()

    orders = [order(0, 0), order(1, 0), order(0, 1)]
    assert len({tuple(numbers) for numbers in orders}) == 3
    assert all(sorted(numbers) == list(range(12)) for numbers in orders)
    assert order(1, 0) == orders[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing_over_epochs_and_resume_points(memory_clips, workers):
    source = memory_clips([9, 1, 30, 4, 9, 12, 5, 6, 7, 8, 20], noise=True)
    alone, helped = training(source), training(source, workers=workers)
    whole = list(alone.epoch(0))
    assert len(whole) == 3
    assert_equal(list(helped.epoch(0)), whole)
    for start in range(4):
        assert_equal(list(helped.epoch(0, start=start)), whole[start:])
    assert_equal(list(helped.epoch(7)), list(alone.epoch(7)))


def test_an_epoch_left_in_the_middle_does_not_disturb_the_next(memory_clips):
    source = memory_clips([5] * 12)
    helped = training(source, workers=2)
    left = helped.epoch(0)
    next(left)
    left.close()
    assert_equal(list(helped.epoch(1)), list(training(source).epoch(1)))


def test_workers_live_over_epochs(memory_clips):
    class WhoReads(memory_clips):
        def read(self, clip, frames):
            self.damaged[clip] = self.encoded(os.getpid())
            return super().read(clip, frames)

        def encoded(self, number):
            import simplejpeg

            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[:, :] = [number >> 16 & 255, number >> 8 & 255, number & 255]
            return simplejpeg.encode_jpeg(pixels, quality=100, colorsubsampling="444")

    helped = training(WhoReads([1] * 3), workers=1)
    colours = [next(iter(helped.epoch(epoch))).clips[0, :, 0, 0, 0].tolist() for epoch in range(2)]
    assert colours[0] == colours[1]


def test_loading_draws_nothing_from_the_global_generator(memory_clips):
    before = torch.get_rng_state()
    list(training(memory_clips([4] * 6), workers=1).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 4, 9])
def test_testing_takes_every_clip_once_in_order(memory_clips, workers, batch_size):
    source = memory_clips([1, 5, 30, 2, 9, 7, 40], noise=True)
    views = dataset.ViewClips(source, MODEL, SamplingConfig(interval=2, short_side=32, views="2x3"))
    batches = list(loader.view_batches(views, workers=workers, batch_size=batch_size))
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(7))
    clips = torch.cat([batch.clips for batch in batches])
    assert clips.shape == (7, 6, 3, 10, 32, 32)
    assert all(torch.equal(clips[clip], views[clip].clip) for clip in range(7))


@pytest.mark.parametrize("workers", [0, 1])
def test_one_clip_of_one_frame_is_an_epoch_and_a_test(memory_clips, workers):
    source = memory_clips([1])
    (batch,) = training(source, batch_size=8, workers=workers).epoch(0)
    assert batch.clips.shape == (1, 3, 10, 32, 32)
    (tested,) = loader.view_batches(dataset.ViewClips(source, MODEL, SAMPLING), workers=workers)
    assert tested.clips.shape == (1, 1, 3, 10, 32, 32)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_clip_surfaces_as_the_error_it_is(memory_clips, workers):
    source = memory_clips([5] * 6)
    source.damaged[4] = b"damaged"
    with pytest.raises(ClipError, match=r"^clip-4: frame \d cannot be decoded") as caught:
        list(training(source, workers=workers).epoch(0))
    assert caught.value.where == "clip-4"


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_keeps_its_kind_and_fields_on_the_way_out_of_a_worker(memory_clips, workers):
    class Broken(memory_clips):
        def read(self, clip, frames):
            raise ShardError("digest differs", where=f"shard-0001.h5 ({self.ids[clip]})", hint="prepare it again")

    with pytest.raises(ShardError) as caught:
        list(loader.view_batches(dataset.ViewClips(Broken([5]), MODEL, SAMPLING), workers=workers))
    assert (caught.value.what, caught.value.where) == ("digest differs", "shard-0001.h5 (clip-0)")
    assert caught.value.hint == "prepare it again"


def test_a_killed_worker_is_an_error_with_the_clip_it_was_at(memory_clips):
    class Deadly(memory_clips):
        def read(self, clip, frames):
            if clip == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().read(clip, frames)

    with pytest.raises(ClipError, match=r"^clip-2: a loader worker died or hung") as caught:
        list(loader.view_batches(dataset.ViewClips(Deadly([5] * 3), MODEL, SAMPLING), workers=1))
    assert "--workers 0" in str(caught.value)


def test_a_hung_worker_is_an_error_with_the_clip_it_was_at(memory_clips):
    class Stuck(memory_clips):
        def read(self, clip, frames):
            if clip == 1:
                time.sleep(3600)
            return super().read(clip, frames)

    with pytest.raises(ClipError, match=r"^clip-1: a loader worker died or hung"):
        list(training(Stuck([5] * 4), batch_size=4, workers=1, timeout=1.0).epoch(0))


def test_a_worker_that_dies_during_a_step_is_noticed_at_the_next_batch_and_not_before(memory_clips):
    class Mortal(memory_clips):
        def read(self, clip, frames):
            if clip == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().read(clip, frames)

    batches = loader.view_batches(dataset.ViewClips(Mortal([5] * 9), MODEL, SAMPLING), workers=1)
    next(batches)
    next(batches)
    next(batches)  # by now clip 4 is prefetched
    time.sleep(0.5)
    with pytest.raises(ClipError, match=r"^clip-4: a loader worker died"):
        list(batches)


def test_a_slow_batch_is_waited_for_up_to_the_timeout(memory_clips):
    class Slow(memory_clips):
        def read(self, clip, frames):
            time.sleep(0.5)
            return super().read(clip, frames)

    views = dataset.ViewClips(Slow([5] * 2), MODEL, SAMPLING)
    numbers = [batch.indices.item() for batch in loader.view_batches(views, workers=1, timeout=60)]
    assert numbers == [0, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_that_is_not_ours_is_not_dressed_up(memory_clips, workers):
    class Buggy(memory_clips):
        def read(self, clip, frames):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(training(Buggy([5]), workers=workers).epoch(0))


def test_a_cpu_gets_one_worker_and_a_gpu_the_free_cores(monkeypatch):
    assert loader.loader_workers("cpu") == 1
    for cores, workers in ((1, 1), (2, 1), (9, 8), (128, 16)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert loader.loader_workers("cuda") == workers


def test_a_worker_that_died_between_two_epochs_is_an_error_and_no_crash(memory_clips):
    batches = training(memory_clips([5] * 4), batch_size=2, workers=1)
    list(batches.epoch(0))
    for worker in multiprocessing.active_children():
        worker.terminate()
        worker.join()
    with pytest.raises(ClipError, match="a loader worker died or hung"):
        list(batches.epoch(1))


def parts_of(source, world: int, batch_size: int, epoch: int = 0, workers: int = 0) -> list[list[list[int]]]:
    """The clips of every batch of every rank."""
    loaders = [
        training(source, batch_size=batch_size, workers=workers, rank=rank, world=world) for rank in range(world)
    ]
    return [[batch.indices.tolist() for batch in loader_.epoch(epoch)] for loader_ in loaders]


@settings(max_examples=40, deadline=None)
@given(clips=st.integers(1, 30), world=st.integers(1, 4), batch_size=st.integers(1, 16), epoch=st.integers(0, 9))
def test_ranks_share_the_batches_that_one_process_would_have(memory_clips, clips, world, batch_size, epoch):
    source = memory_clips([1] * clips)
    if min(clips, batch_size) < world:
        with pytest.raises(DatasetError, match=f"clips cannot be shared among {world} processes"):
            parts_of(source, world, batch_size)
        return
    (alone,) = parts_of(source, 1, batch_size, epoch)
    ranks = parts_of(source, world, batch_size, epoch)
    assert {len(batches) for batches in ranks} == {len(alone)}, "no rank waits for another at the epoch's end"
    for number, whole in enumerate(alone):
        shared = [batches[number] for batches in ranks]
        assert sorted(clip for part in shared for clip in part) == sorted(whole)
        sizes = {len(part) for part in shared}
        assert max(sizes) - min(sizes) <= 1, "parts are even, or one clip apart"


@pytest.mark.parametrize("workers", [1, 2])
def test_ranks_with_workers_have_the_same_parts_from_any_batch_on(memory_clips, workers):
    source = memory_clips([1] * 13)
    assert parts_of(source, 2, 6, workers=workers) == parts_of(source, 2, 6)
    second = training(source, workers=workers, batch_size=6, rank=1, world=2)
    later = [batch.indices.tolist() for batch in second.epoch(0, start=1)]
    assert later == parts_of(source, 2, 6)[1][1:]


def test_one_clip_and_one_process_of_one_is_todays_loader(memory_clips):
    source = memory_clips([5] * 7, noise=True)
    assert_equal(list(training(source, rank=0, world=1).epoch(3)), list(training(source).epoch(3)))


@settings(max_examples=60, deadline=None)
@given(clips=st.integers(1, 20), world=st.integers(1, 6), batch_size=st.integers(1, 5))
def test_testing_on_ranks_takes_every_clip_exactly_once(memory_clips, clips, world, batch_size):
    views = dataset.ViewClips(memory_clips([1] * clips), MODEL, SAMPLING)
    taken = []
    for rank in range(world):
        for batch in loader.view_batches(views, workers=0, batch_size=batch_size, rank=rank, world=world):
            assert len(batch.indices) <= batch_size
            taken += batch.indices.tolist()
    assert sorted(taken) == list(range(clips))


@pytest.mark.parametrize("workers", [1, 2])
def test_testing_on_more_ranks_than_clips_with_workers(memory_clips, workers):
    views = dataset.ViewClips(memory_clips([1, 4, 2], noise=True), MODEL, SAMPLING)
    parts = [list(loader.view_batches(views, workers=workers, rank=rank, world=4)) for rank in range(4)]
    assert [[batch.indices.tolist() for batch in part] for part in parts] == [[[0]], [[1]], [[2]], []]
    assert all(torch.equal(parts[clip][0].clips[0], views[clip].clip) for clip in range(3))
