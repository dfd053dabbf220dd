"""Items of the two data sets: which frames, labels and shapes, from what they depend on."""

import numpy as np
import pytest
import torch

from tdpn_core.config.families import model_config
from tdpn_core.config.schema import SamplingConfig
from tdpn_core.errors import ClipError, DatasetError
from tdpn_core.sampling import dataset
from tdpn_core.sampling.dataset import TrainingClips

MODEL = model_config(num_frames=4, input_size=32, num_classes={"action": 3})
PLAIN = model_config(num_frames=4, input_size=32, num_classes={"action": 3}, temporal=("none",) * 4)
DENSE = SamplingConfig(interval=3, short_side=40, flip=0.0)
WHOLE = SamplingConfig(interval=3, short_side=40, flip=0.5, crop_area=(1.0, 1.0))


def grey_levels(clip: torch.Tensor) -> list[int]:
    """The frame numbers of a grey clip (3, T, S, S) of the stand-in's clip 0."""
    return (clip[0, :, 0, 0].to(torch.int64) / 2).round().to(torch.int64).tolist()


def test_a_training_clip_carries_the_window_of_each_sampled_frame(memory_clips):
    sample = TrainingClips(memory_clips([40]), MODEL, DENSE, seed=0)[0, 0]
    assert sample.clip.shape == (3, 20, 32, 32)
    assert sample.clip.dtype == torch.uint8
    assert sample.clip.is_contiguous()
    groups = np.array(grey_levels(sample.clip)).reshape(4, 5)
    middle = groups[:, 2]
    assert (np.diff(middle) == 3).all()
    assert (groups == np.clip(middle[:, None] + [-2, -1, 0, 1, 2], 0, 39)).all()


def test_a_model_without_local_module_gets_no_window(memory_clips):
    assert TrainingClips(memory_clips([40]), PLAIN, DENSE, seed=0)[0, 0].clip.shape == (3, 4, 32, 32)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_distinct_frame_is_read_once(memory_clips, count):
    source = memory_clips([count])
    TrainingClips(source, MODEL, DENSE, seed=0)[0, 0]
    dataset.ViewClips(source, MODEL, DENSE)[0]
    assert len(source.reads) == 2
    assert all(len(frames) == len(set(frames)) <= count for frames in source.reads)


def test_a_training_clip_depends_on_seed_epoch_and_clip_alone(memory_clips):
    source = memory_clips([40, 40], noise=True)
    one = TrainingClips(source, MODEL, SamplingConfig(interval=3), seed=0)
    other = TrainingClips(source, MODEL, SamplingConfig(interval=3), seed=0)
    first = one[5, 1].clip
    for item in ((5, 0), (4, 1), (0, 0)):
        assert not torch.equal(other[item].clip, first)
    assert torch.equal(other[5, 1].clip, first)
    assert not torch.equal(TrainingClips(source, MODEL, SamplingConfig(interval=3), seed=1)[5, 1].clip, first)


def test_one_crop_and_flip_holds_for_all_frames_of_a_clip(memory_clips):
    still = memory_clips([1], noise=True)
    clips = TrainingClips(still, MODEL, SamplingConfig(), seed=0)
    for epoch in range(8):
        clip = clips[epoch, 0].clip
        assert (clip == clip[:, :1]).all(), "a video that stands still gives a clip that stands still"


def test_a_flip_swaps_the_label_of_a_side_and_mirrors_the_pixels(memory_clips):
    source = memory_clips([1, 1, 1], size=(48, 48), noise=True)
    sampling = SamplingConfig(crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.5)
    plain = TrainingClips(source, MODEL, SamplingConfig(crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0), seed=3)
    clips = TrainingClips(source, MODEL, sampling, seed=3)
    swapped = {0: 1, 1: 0, 2: 2}
    outcomes = set()
    for clip in range(3):
        for epoch in range(10):
            sample, straight = clips[epoch, clip], plain[epoch, clip]
            flipped = torch.equal(sample.clip, straight.clip.flip(-1))
            assert flipped != torch.equal(sample.clip, straight.clip)
            assert sample.labels == {"action": swapped[clip] if flipped else clip}
            outcomes.add((clip, flipped))
    assert len(outcomes) == 6, "each class was seen flipped and not"


def test_a_side_without_a_mirror_class_is_never_flipped(memory_clips):
    source = memory_clips([1], size=(48, 48), classes=["turning left", "standing"], noise=True)
    sampling = SamplingConfig(crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=1.0)
    clips = TrainingClips(source, MODEL, sampling, seed=0)
    assert clips[0, 0].labels == {"action": 0}
    never = TrainingClips(source, MODEL, SamplingConfig(crop_area=(1, 1), crop_ratio=(1, 1), flip=0), seed=0)
    assert torch.equal(clips[0, 0].clip, never[0, 0].clip)


def test_every_head_has_a_say_in_a_flip(memory_clips):
    source = memory_clips([1, 1], size=(48, 48), noise=True)
    source.classes = {"verb": ["push left", "push right"], "noun": ["cup", "left shoe"]}
    source.labels = {"verb": np.array([0, 1]), "noun": np.array([0, 1])}
    clips = TrainingClips(source, MODEL, SamplingConfig(flip=1.0), seed=0)
    assert clips[0, 0].labels == {"verb": 1, "noun": 0}, "flipped"
    assert clips[0, 1].labels == {"verb": 1, "noun": 1}, "a left shoe has no mirror"


@pytest.mark.parametrize(("views", "expected"), [("1x1", (1, 32)), ("4x1", (4, 32)), ("2x3", (6, 40))])
def test_views_are_stacked_clips_in_time_first(memory_clips, views, expected):
    sampling = SamplingConfig(interval=3, short_side=40, views=views)
    sample = dataset.ViewClips(memory_clips([41]), MODEL, sampling)[0]
    number, side = expected
    assert sample.clip.shape == (number, 3, 20, side, side)
    assert sample.clip.is_contiguous()
    crops = int(views[-1])
    starts = [grey_levels(view)[2] for view in sample.clip]
    times = number // crops
    last = 41 - 10
    spread = [last // 2] if times == 1 else [time * last // (times - 1) for time in range(times)]
    assert starts == [start for start in spread for _ in range(crops)]


def test_views_are_the_same_each_time(memory_clips):
    views = dataset.ViewClips(memory_clips([9, 30], noise=True), MODEL, DENSE)
    assert torch.equal(views[1].clip, views[1].clip)
    assert views[1].labels == {"action": 1}
    assert views[1].number == 1


def test_an_unlabelled_clip_can_be_tested_and_not_trained_on(memory_clips):
    source = memory_clips([5, 5])
    source.labels["action"][1] = -1
    assert dataset.ViewClips(source, MODEL, DENSE)[1].labels == {"action": -1}
    with pytest.raises(DatasetError, match=r"^clip-1: 1 clips have no label and cannot be trained on"):
        TrainingClips(source, MODEL, DENSE, seed=0)


def test_a_clip_with_a_label_of_one_head_can_be_trained_on(memory_clips):
    source = memory_clips([5, 5])
    source.classes = {"verb": ["push", "pull"], "noun": ["cup"]}
    source.labels = {"verb": np.array([0, 1]), "noun": np.array([0, -1])}
    assert TrainingClips(source, MODEL, DENSE, seed=0)[0, 1].labels == {"verb": 1, "noun": -1}


@pytest.mark.parametrize("label", [-2, 3])
def test_a_label_that_is_no_class_is_an_error(memory_clips, label):
    source = memory_clips([5, 5])
    source.labels["action"][0] = label
    with pytest.raises(DatasetError, match=f"^clip-0: action label {label} is not among the 3 classes"):
        TrainingClips(source, MODEL, DENSE, seed=0)


@pytest.mark.parametrize(
    "build", [lambda s: TrainingClips(s, MODEL, DENSE, 0), lambda s: dataset.ViewClips(s, MODEL, DENSE)]
)
def test_no_clips_and_clips_without_frames_are_errors(memory_clips, build):
    with pytest.raises(DatasetError, match="there is no clip"):
        build(memory_clips([]))
    with pytest.raises(ClipError, match="clip-1: the clip has no frames"):
        build(memory_clips([3, 0]))
