"""Background clips: what is chosen from the gaps between annotated segments."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tdpn_core.datasets.background import BackgroundOptions, choose, gaps

SPANS = st.lists(
    st.tuples(st.floats(0, 90), st.floats(0.01, 20)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=8
)
VIDEOS = st.dictionaries(
    st.sampled_from([f"{name}.mp4" for name in "abcdef"]), st.tuples(SPANS, st.floats(0.1, 120)), min_size=1
)
OPTIONS = st.builds(
    BackgroundOptions, share=st.floats(0.05, 0.9), min_length=st.floats(0.05, 5), margin=st.floats(0, 3)
)


@given(VIDEOS, OPTIONS, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_choose_clips_are_within_gaps_and_as_many_as_asked_for(videos, options: BackgroundOptions, seed: int) -> None:
    split_of = {video: ("train", "val")[row % 2] for row, video in enumerate(sorted(videos))}
    counts = {"train": 12, "val": 3}
    found = choose(videos, counts, split_of, options, seed)
    assert found == choose(dict(reversed(videos.items())), counts, split_of, options, seed)
    for video, (start, stop) in found:
        spans, end = videos[video]
        assert 0 <= start < stop <= end
        assert stop - start >= options.min_length - 1e-6
        for begin, last in spans:
            assert stop <= begin - options.margin + 1e-6 or start >= last + options.margin - 1e-6
    for split, count in counts.items():
        of_split = [clip for clip in found if split_of[clip[0]] == split]
        assert len(of_split) <= count * options.share / (1 - options.share) + 0.5
    for (video, one), (other, two) in itertools.pairwise(found):
        assert video != other or one[1] <= two[0] + 1e-9


def test_choose_of_long_gaps_reaches_the_share_and_depends_on_the_seed() -> None:
    videos = {"a.mp4": ([(10.0, 12.0), (50.0, 53.0)], 300.0), "b.mp4": ([(5.0, 9.0)], 200.0)}
    split_of = dict.fromkeys(videos, "train")
    options = BackgroundOptions(share=0.5)
    first, second = (choose(videos, {"train": 10}, split_of, options, seed) for seed in (0, 1))
    assert len(first) == len(second) == 10
    assert first != second
    assert {round(stop - start, 3) for _, (start, stop) in first} <= {2.0, 3.0, 4.0}


def test_gaps_keep_their_distance_from_overlapping_segments() -> None:
    assert gaps([(4, 6), (5, 8), (20, 30)], 25, 0.5) == [(0.0, 3.5), (8.5, 19.5)]
    assert gaps([(0.2, 6)], 7, 0.5) == [(6.5, 7)]
    assert gaps([(40, 50)], 7, 0.5) == [(0.0, 7)]
