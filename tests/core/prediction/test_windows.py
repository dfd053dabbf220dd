"""Windows slide over frames without leaving any out, and their answers become segments without gaps."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import ClipError, UsageError
from tdpn_core.prediction.timeline import Answer, Stretch, cells, lengthen, merge, smooth
from tdpn_core.prediction.windows import Window, Windowing, latest, measured_rate, slide
from tdpn_core.video.stream import StreamedFrame


def _frames(count: int, fps: float = 10.0) -> list[StreamedFrame]:
    return [StreamedFrame((b"%d" % index,), index / fps) for index in range(count)]


@given(count=st.integers(1, 200), length=st.integers(1, 50), stride=st.integers(1, 50))
def test_windows_start_a_stride_apart_and_the_last_ends_with_the_stream(
    config: RunConfig, count: int, length: int, stride: int
) -> None:
    stride = min(stride, length)
    windowing = Windowing(seconds=length / 10, stride=stride / 10)
    windows = list(slide(iter(_frames(count)), windowing, config))
    numbers = [[int(frame.items[0]) for frame in window.frames] for window in windows]
    if count == 1:
        assert numbers == [[0]]
        return
    # literally: every start that leaves a whole window, and one more window at the end if frames are left
    expected = [list(range(start, start + length)) for start in range(0, count - length + 1, stride)]
    if not expected or expected[-1][-1] != count - 1:
        expected.append(list(range(max(count - length, 0), count)))
    assert numbers == expected
    assert {number for window in numbers for number in window} == set(range(count))
    assert windows[-1].end == pytest.approx(count / 10)


@pytest.mark.parametrize(("count", "first"), [(1, 0), (5, 0), (31, 0), (32, 0), (60, 0), (250, None)])
def test_a_live_stream_that_is_shorter_than_a_window_gives_one_of_its_frames(
    config: RunConfig, count: int, first: int | None
) -> None:
    windows = list(latest(iter(_frames(count)), Windowing(seconds=10.0), config))
    if first is None:  # as many as there was time for
        assert windows[0].end - windows[0].start == pytest.approx(10.0)
    else:
        assert [[int(frame.items[0]) for frame in window.frames] for window in windows] == [list(range(count))]


def test_a_live_stream_that_breaks_off_early_gives_its_frames_before_the_error(config: RunConfig) -> None:
    def broken() -> Iterator[StreamedFrame]:
        yield from _frames(7)
        raise ClipError("breaks off")

    windows = latest(broken(), Windowing(seconds=10.0), config)
    assert len(next(windows).frames) == 7
    with pytest.raises(ClipError, match="breaks off"):
        next(windows)


def test_a_window_spans_what_the_network_spans_unless_told_otherwise(config: RunConfig) -> None:
    dense = replace(config, sampling=replace(config.sampling, mode="dense", interval=8))
    dense = replace(dense, model=replace(config.model, num_frames=8))
    assert Windowing().in_frames(dense, 30.0) == (57, 28)
    assert Windowing(stride=1.0).in_frames(dense, 30.0) == (57, 30)
    segments = replace(dense, sampling=replace(config.sampling, mode="segments"))
    assert Windowing().in_frames(segments, 25.0) == (100, 50)
    assert Windowing(seconds=2.0).in_frames(segments, 25.0) == (50, 25)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seconds": 0.0}, "--window must be a positive number of seconds, not 0"),
        ({"stride": -1.0}, "--stride must be a positive number of seconds, not -1"),
        ({"seconds": 2.0, "stride": 3.0}, "--stride 3 leaves gaps between windows of 2 s"),
    ],
)
def test_windows_that_cannot_be_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Windowing(**values)


def test_the_rate_is_that_of_most_frames() -> None:
    assert measured_rate([0.0, 0.04, 0.08, 0.5, 0.54]) == pytest.approx(25)
    assert measured_rate([round(index / 29.97, 3) for index in range(32)]) == pytest.approx(29.97, rel=1e-3)
    assert measured_rate([3.0]) == 25
    assert measured_rate([0.0, 0.0]) == 25


@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=12),
    certain=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_segments_are_the_runs_of_equal_labels_above_the_threshold(labels: list[int], certain: list[bool]) -> None:
    answers = []
    for index, label in enumerate(labels):
        scores = np.full(3, 0.05 if certain[index] else 0.3)
        scores[label] = 0.9 if certain[index] else 0.4
        answers.append(Answer(Window([], float(index), index + 2.0), {"action": scores}))
    shares = list(cells(answers))
    assert [share.start for share in shares] == [0.0] + [index + 1.5 for index in range(len(labels) - 1)]
    assert all(a.end == b.start for a, b in pairwise(shares))
    assert shares[-1].end == len(labels) + 1.0
    found = [(s.start, s.end, s.label, s.windows) for s in merge(shares, 0.5)]
    expected: list[tuple[float, float, tuple[int, ...], int]] = []
    joinable = False
    for share, sure in zip(shares, certain, strict=False):
        if sure and joinable and expected[-1][2] == share.label:
            expected[-1] = (expected[-1][0], share.end, share.label, expected[-1][3] + 1)
        elif sure:
            expected.append((share.start, share.end, share.label, 1))
        joinable = sure
    assert found == expected


def test_a_segment_has_the_mean_of_its_windows() -> None:
    rng = np.random.default_rng(0)
    scores = [np.array([0.6, 0.4]) + rng.uniform(0, 0.05, 2) * [1, -1] for _ in range(5)]
    (joined,) = merge(Stretch(float(i), i + 1.0, {"action": values}) for i, values in enumerate(scores))
    assert (joined.start, joined.end, joined.windows) == (0.0, 5.0, 5)
    assert joined.scores["action"] == pytest.approx(np.mean(scores, axis=0))


def _answers(scores: list[list[float]], length: float = 2.0) -> list[Answer]:
    """Windows that start a second apart."""
    return [
        Answer(Window([], float(start), start + length), {"action": np.array(values)})
        for start, values in enumerate(scores)
    ]


@given(
    values=st.lists(st.floats(0, 1), max_size=20),
    seconds=st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 4.0, 7.0, 100.0])),
)
def test_smoothing_is_the_mean_of_windows_within_half_the_span(values: list[float], seconds: float | None) -> None:
    answers = _answers([[value, 1 - value] for value in values])
    found = list(smooth(iter(answers), seconds))
    reach = int((2.0 if seconds is None else seconds) / 2)  # windows to either side: their middles are 1 s apart
    for place, answer in enumerate(found):
        near = values[max(0, place - reach) : place + reach + 1]
        assert answer.scores["action"] == pytest.approx([np.mean(near), 1 - np.mean(near)])
        assert answer.window.start == place
    assert len(found) == len(values)


def test_smoothing_gives_each_answer_as_soon_as_it_is_known() -> None:
    taken = 0

    def counted() -> Iterator[Answer]:
        nonlocal taken
        for answer in _answers([[0.5, 0.5]] * 9):
            taken += 1
            yield answer

    next(smooth(counted()))
    assert taken == 3, "the first window, the next one, and one that is too far"


def _stretches(parts: list[tuple[str, float]]) -> list[Stretch]:
    """Neighbours by class and length; "-" is a gap."""
    start, made = 0.0, []
    for label, seconds in parts:
        scores = np.full(3, 0.1)
        if label != "-":
            scores["abc".index(label)] = 0.8
            made.append(Stretch(start, start + seconds, {"action": scores}))
        start += seconds
    return made


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([("a", 3), ("b", 0.4), ("a", 2)], [("a", 0, 5.4)]),
        ([("a", 3), ("b", 0.4), ("c", 2)], [("a", 0, 3.4), ("c", 3.4, 5.4)]),
        ([("b", 0.4), ("a", 3)], [("a", 0, 3.4)]),
        ([("a", 3), ("b", 0.4)], [("a", 0, 3.4)]),
        ([("a", 3), ("-", 1), ("b", 0.4), ("-", 1), ("a", 3)], [("a", 0, 3), ("b", 4, 4.4), ("a", 5.4, 8.4)]),
        ([("a", 3), ("-", 0.2), ("a", 3)], [("a", 0, 3), ("a", 3.2, 6.2)]),
        ([("b", 0.4)], [("b", 0, 0.4)]),
        ([("a", 0.4), ("b", 0.4), ("a", 0.4), ("b", 5)], [("a", 0, 1.2), ("b", 1.2, 6.2)]),
        ([("a", 1.0), ("b", 1.0)], [("a", 0, 1), ("b", 1, 2)]),
        ([], []),
    ],
)
def test_short_stretches_go_to_a_neighbour(
    parts: list[tuple[str, float]], expected: list[tuple[str, float, float]]
) -> None:
    found = [("abc"[s.label[0]], s.start, s.end) for s in lengthen(_stretches(parts), 1.0)]
    assert found == [(label, pytest.approx(start), pytest.approx(end)) for label, start, end in expected]


def test_a_short_stretch_goes_where_its_windows_agree_more() -> None:
    parts = _stretches([("a", 3), ("b", 0.4), ("c", 2)])
    parts[1] = replace(parts[1], scores={"action": np.array([0.1, 0.5, 0.4])})
    assert [(s.start, s.end) for s in lengthen(parts, 1.0)] == [(0.0, 3.0), (3.0, pytest.approx(5.4))]


@given(parts=st.lists(st.tuples(st.sampled_from("abc-"), st.floats(0.1, 3)), max_size=12), shortest=st.floats(0, 3))
def test_no_moment_is_lost_and_no_neighbours_agree(parts: list[tuple[str, float]], shortest: float) -> None:
    given_ = list(merge(_stretches(parts)))
    given_ = [one for n, one in enumerate(given_) if not n or given_[n - 1].end <= one.start]
    found = list(lengthen(given_, shortest))
    covered = [(one.start, one.end) for one in given_]
    assert sum(s.end - s.start for s in found) == pytest.approx(sum(end - start for start, end in covered))
    for before, after in pairwise(found):
        assert before.end <= after.start
        assert before.end < after.start or before.label != after.label
    for place, one in enumerate(found):
        touches = [other for other in (found[place - 1 : place] + found[place + 1 : place + 2])
                   if other.end == one.start or other.start == one.end]  # fmt: skip
        assert one.seconds >= shortest or not touches
