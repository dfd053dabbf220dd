from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdpn_core.datasets.groups import find_groups, split_groups

CLIPS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz")), min_size=1, max_size=60)


def groups_of(names: list[str], label: str = "c") -> list[set[str]]:
    grouping = find_groups(names, [label] * len(names))
    members: dict[str, set[str]] = {}
    for name, group in zip(names, grouping.groups, strict=True):
        members.setdefault(group, set()).add(name)
    return sorted(members.values(), key=sorted)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["v_Dive_g01_c01.avi", "v_Dive_g01_c02.avi", "v_Dive_g02_c01.avi"], [{0, 1}, {2}]),
        (["PS7A1P1T1.avi", "PS7A1P1T2.avi", "PS7A1P3T1.avi"], [{0, 1}, {2}]),
        (["S001C001P001R001A001_rgb.avi", "S001C002P001R001A007_rgb.avi", "S001C001P002R001A001.avi"], [{0, 1}, {2}]),
        (["person01_boxing_d1.avi", "person01_boxing_d2.avi", "person02_boxing_d1.avi"], [{0, 1}, {2}]),
        (["P01_11.MP4", "P01_12.MP4", "P22_11.MP4"], [{0, 1}, {2}]),
        (["U_run_f_nm_np1_fr_med_2.avi", "U_run_h_cm_np1_ba_goo_0.avi", "D_run_f_nm_np1_le_med_3.avi"], [{0, 1}, {2}]),
        (["abcdefghij__000010_000020.mp4", "abcdefghij__000030_000040.mp4", "-b_000010_000020.mp4"], [{0, 1}, {2}]),
        (["a_1.mp4", "a_2.mp4", "b_1.mp4", "c-1.mp4", "d (3).mp4", "d (4).mp4"], [{0, 1}, {2}, {3}, {4, 5}]),
        (["v1/a.mpg", "v1/b.mpg", "v2/a.mpg", "v3/a.mpg", "v4/a.mpg"], [{0, 1}, {2}, {3}, {4}]),
        ([f"fight_{n}.mp4" for n in range(5)], [{n} for n in range(5)]),
        ([f"fi{n:03}.mp4" for n in range(5)], [{n} for n in range(5)]),
    ],
)  # fmt: skip
def test_names_of_one_recording_form_a_group(names, expected):
    assert groups_of(names) == sorted(({names[n] for n in group} for group in expected), key=sorted)


def test_a_person_is_one_group_in_all_classes_and_a_ucf_number_is_not():
    persons = find_groups(["PS7A1P1T1.avi", "PS7A2P1T1.avi"], ["one", "two"]).groups
    numbers = find_groups(["v_A_g01_c01.avi", "v_B_g01_c01.avi"], ["one", "two"]).groups
    assert persons[0] == persons[1]
    assert numbers[0] != numbers[1]


def test_classes_whose_names_tell_nothing_are_named():
    files = ["fi1.mp4", "fi2.mp4", "v_A_g01_c01.avi"]
    assert find_groups(files, ["fight", "fight", "a"]).unknown == ["fight"]


@given(CLIPS, st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_no_group_straddles_the_split_and_every_class_keeps_training_clips(clips, seed):
    groups, classes = [group for group, _ in clips], [label for _, label in clips]
    splits = split_groups(groups, classes, seed)
    sides: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    assert {label for label, split in zip(classes, splits, strict=True) if split == "train"} == set(classes)


@given(CLIPS, st.integers(0, 5), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_split_does_not_depend_on_the_order_of_files(clips, seed, random):
    order = list(range(len(clips)))
    random.shuffle(order)
    groups, classes = [group for group, _ in clips], [label for _, label in clips]
    splits = split_groups(groups, classes, seed)
    shuffled = split_groups([groups[n] for n in order], [classes[n] for n in order], seed)
    assert shuffled == [splits[n] for n in order]


@given(st.lists(st.integers(1, 12), min_size=2, max_size=15), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_groups_of_one_class_give_about_a_fifth(sizes, seed):
    groups = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    splits = Counter(split_groups(groups, ["c"] * len(groups), seed))
    assert splits["val"] > 0
    assert splits["train"] > 0
    assert abs(splits["val"] - 0.2 * len(groups)) <= max(sizes) + 1


def test_single_files_split_to_a_fifth_and_another_seed_draws_others():
    groups, classes = [str(n) for n in range(100)], ["c"] * 100
    first, second = split_groups(groups, classes, 0), split_groups(groups, classes, 1)
    assert Counter(first) == Counter(second) == {"train": 80, "val": 20}
    assert first != second


def test_a_new_file_moves_few_old_ones():
    groups = [str(n) for n in range(100)]
    before = split_groups(groups, ["c"] * 100, 0)
    after = split_groups([*groups, "new"], ["c"] * 101, 0)[:100]
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 2
