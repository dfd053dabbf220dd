from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdpn_core.datasets.train_val_split import find_groups, find_originals, merge, split_groups

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
        (["GX010012.MP4", "GX020012.MP4", "GX010013.MP4", "GX0100123.MP4"], [{0, 1}, {2}, {3}]),
        (["GOPR0012.MP4", "GP010012.MP4", "GH030012_t2.mp4", "GOPR0013.MP4"], [{0, 1, 2}, {3}]),
        (["a_1.mp4", "a_2.mp4", "b_1.mp4", "c-1.mp4", "d (3).mp4", "d (4).mp4"], [{0, 1}, {2}, {3}, {4, 5}]),
        (["v1/a.mpg", "v1/b.mpg", "v2/a.mpg", "v3/a.mpg", "v4/a.mpg"], [{0, 1}, {2}, {3}, {4}]),
        ([f"fight_{n}.mp4" for n in range(5)], [{n} for n in range(5)]),
        ([f"fi{n:03}.mp4" for n in range(5)], [{n} for n in range(5)]),
    ],
)  # fmt: skip
def test_names_of_one_recording_form_a_group(names, expected):
    assert groups_of(names) == sorted(({names[n] for n in group} for group in expected), key=sorted)


@pytest.mark.parametrize(
    "copy",
    [
        "X_flipped.mp4", "X_hflip.avi", "X_mirror.mp4", "X-mirrored.mp4", "X.mp4.mp4", "X(1).mp4", "X (1).mp4",
        "X - Copy.mp4", "X - Copy (2).mp4", "X_copy.mp4", "X_copy2.mp4", "X_aug3.mp4", "X_rot90.mp4", "X_aug_2.mp4",
        "X_flipped_aug1.mp4", "X_flip.mp4", "X_dark.mp4", "Copy of X.mp4", "flipped_X.mp4", "X_noise.mp4.mp4",
    ],
)  # fmt: skip
def test_find_originals_copy_of_a_clip_returns_the_clip(copy):
    files = ["X.mp4", "Y.mp4", copy]
    assert find_originals(files, ["c"] * 3) == ["X.mp4", "Y.mp4", "X.mp4"]
    assert groups_of([*files, "Z.mp4"]) == sorted([{"X.mp4", copy}, {"Y.mp4"}, {"Z.mp4"}], key=sorted)


@pytest.mark.parametrize("name", ["X (1).mp4", "X_dark.mp4", "back_flip.mp4", "X_1.mp4", "X2.mp4", "Xflipped.mp4"])
def test_find_originals_name_alone_is_its_own_original(name):
    assert find_originals([name, "Y.mp4"], ["c", "c"]) == [name, "Y.mp4"]


def test_find_originals_copies_without_their_original_share_one():
    first, second = find_originals(["X_flipped.mp4", "X_aug1.mp4"], ["c", "c"])
    assert first == second == "X.mp4"


def test_find_originals_number_behind_a_name_that_is_there_is_a_take():
    files = ["jump.mp4", *(f"jump_{n}.mp4" for n in range(3))]
    assert find_originals(files, ["c"] * 4) == files


def test_find_originals_many_extensions_of_one_name_are_no_copies():
    files = ["download.mp4", *(f"download ({n}).mp4" for n in range(1, 9))]
    assert find_originals(files, ["c"] * 9) == files


def test_find_originals_copy_belongs_to_its_own_folder_first():
    files = ["train/c/1.mp4", "val/c/1.mp4", "val/c/1_flipped.mp4", "val/c/2_flipped.mp4", "train/c/2.mp4"]
    found = find_originals(files, ["c"] * 5)
    assert found[2:4] == ["val/c/1.mp4", "train/c/2.mp4"]


def test_find_originals_same_name_in_another_class_is_another_clip():
    assert find_originals(["1.mp4", "1_flipped.mp4"], ["a", "b"]) == ["1.mp4", "1.mp4"]
    assert len(set(find_groups(["1.mp4", "1_flipped.mp4"], ["a", "b"]).groups)) == 2


def test_merge_joins_groups_by_pairs_of_rows():
    assert merge(["b", "a", "c", "d", "b"], [(0, 1), (2, 1)]) == ["a", "a", "a", "d", "a"]


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
