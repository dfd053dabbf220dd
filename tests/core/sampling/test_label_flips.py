"""Flip pairs against those that the data sets' owners and code bases publish."""

import json

import pytest

from tdpn_core.sampling.label_flips import flip_swaps

SOMETHING_V1 = {2: 4, 4: 2, 30: 41, 41: 30, 52: 66, 66: 52}
SOMETHING_V2 = {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}


def test_a_side_swaps_with_the_other_side():
    names = ["Swiping Left", "Swiping Right", "Swiping Down", "Turning Hand Clockwise", "Turning Hand Counterclockwise"]
    assert flip_swaps(names) == ({0: 1, 1: 0, 3: 4, 4: 3}, frozenset())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("moving leftward", "moving rightward"),
        ("leaning leftwards", "leaning rightwards"),
        ("raise left-hand", "raise right-hand"),
        ("swipe_left", "swipe_right"),
        ("SwipeLeft", "SwipeRight"),
        ("turn left2", "turn right2"),
        ("to the left", "To the Right"),
        ("spinning clockwise", "spinning counter-clockwise"),
        ("spinning clockwise", "spinning anti clockwise"),
        ("spinning anticlockwise", "spinning clockwise"),
        ("pulling right out", "pulling left out"),
        ("kick_l", "kick_r"),
        ("L_punch", "R_punch"),
        ("KickL", "KickR"),
        ("lunge-l-deep", "lunge-r-deep"),
    ],
)
def test_a_pair_is_found_in_every_spelling(one, other):
    assert flip_swaps([one, "standing", other]) == ({0: 2, 2: 0}, frozenset())


@pytest.mark.parametrize("name", ["turning left", "right hook", "moving clockwise", "raise left hand", "turn right"])
def test_a_side_without_its_mirror_cannot_be_flipped(name):
    assert flip_swaps(["standing", name]) == ({}, frozenset({1}))


@pytest.mark.parametrize(
    "names", [["L", "R"], ["kick_l", "kick"], ["letter_a", "letter_l", "letter_r"], ["grade R", "grade C", "grade L"]]
)
def test_flip_swaps_single_letters_that_are_no_sides_keep_their_labels(names):
    assert flip_swaps(names) == ({}, frozenset())


def test_two_classes_of_the_same_words_cannot_be_flipped():
    assert flip_swaps(["move left", "Move_Left", "move right"]) == ({}, frozenset({0, 1, 2}))


@pytest.mark.parametrize(
    "name", ["writing bright letters", "cleft lip", "leftover food", "copyright", "pulling it right out of something"]
)
def test_a_word_that_is_no_side_keeps_its_label(name):
    assert flip_swaps([name, "standing"]) == ({}, frozenset())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mmaction2-labelmaps/sthv1_label_map.txt", SOMETHING_V1),
        ("mmaction2-labelmaps/sthv2_label_map.txt", SOMETHING_V2),
        ("tpn/category.txt", SOMETHING_V2),
        ("mmaction2-labelmaps/jester_label_map.txt", {0: 1, 1: 0, 6: 7, 7: 6, 14: 15, 15: 14}),
    ],
)
def test_the_published_pairs_of_real_class_lists_are_found_and_nothing_else(shared, path, expected):
    names = (shared / "annotations" / path).read_text().splitlines()
    assert flip_swaps(names) == (expected, frozenset())


def test_something_somethings_own_mapping_is_reproduced(shared):
    mapping = json.loads((shared / "annotations/sthv2-TwentyBN/augmentation_mappings.json").read_text())
    names = (shared / "annotations/tpn/category.txt").read_text().splitlines()
    swaps, unflippable = flip_swaps(names)
    assert {names[label]: names[other] for label, other in swaps.items()} == mapping["left/right"]
    assert not {names[label] for label in unflippable} & set(mapping["left/right agnostic"])
