"""EPIC-KITCHENS' metric by hand, and against pairs that are ranked one by one."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.evaluation.epic import BEST, action_ranks, is_epic, measure_epic

VERBS = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25]])
NOUNS = np.array([[0.9, 0.1], [0.3, 0.7], [0.8, 0.2], [0.55, 0.45]])
VERB, NOUN = np.array([0, 0, 2, 1]), np.array([0, 1, 1, 0])
IDS = ["P01_1_0", "P02_1_0", "P01_1_1", "P03_1_0"]


def rows(**changes):
    call = {
        "probabilities": {"verb": VERBS, "noun": NOUNS},
        "labels": {"verb": VERB, "noun": NOUN},
        "ids": IDS,
        "subsets": {"unseen": {"val": ["P02_1_0", "P03_1_0"]}, "tail": {"verb": [2], "noun": [1]}},
        "split": "val",
    }
    return {(row.part, row.task): row for row in measure_epic(**(call | changes))}


def test_the_table_by_hand() -> None:
    """Ranks by hand: verbs 0, 2, 0, 1; nouns 0, 0, 1, 0.

    Actions: clip 0 has .54 first; clip 1 has .14 behind .35, .21, .15; clip 2 has .14 behind .56 and .16; clip 3 has
    .1925 behind .22.
    """
    found = rows()
    table = {key: (row.clips, row.top1) for key, row in found.items()}
    assert table == {
        ("all", "verb"): (4, 0.5),
        ("all", "noun"): (4, 0.75),
        ("all", "action"): (4, 0.25),
        ("unseen", "verb"): (2, 0.0),
        ("unseen", "noun"): (2, 1.0),
        ("unseen", "action"): (2, 0.0),
        ("tail", "verb"): (1, 1.0),  # clip 2
        ("tail", "noun"): (2, 0.5),  # clips 1 and 2
        ("tail", "action"): (2, 0.0),  # verb or noun in the tail: clips 1 and 2
    }
    assert action_ranks(VERBS, NOUNS, VERB, NOUN).tolist() == [0, 3, 2, 1]
    assert found["all", "action"].top5 == 1.0
    low, high = found["all", "verb"].top1_interval
    assert low <= 0.5 <= high


def test_parts_that_are_not_known_have_no_rows() -> None:
    assert {part for part, _ in rows(subsets={})} == {"all"}
    assert {part for part, _ in rows(split="test")} == {"all", "tail"}
    assert ("tail", "verb") not in rows(subsets={"tail": {"verb": [], "noun": [0]}})


def test_clips_without_a_label_do_not_count() -> None:
    found = rows(labels={"verb": np.array([0, -1, 2, 1]), "noun": np.array([0, 1, -1, 0])})
    assert found["all", "verb"].clips == 2
    assert found["unseen", "noun"].clips == 1


def literal_ranks(verbs, nouns, verb, noun):
    """The pairs of the best verbs and nouns, sorted one by one."""
    ranks = []
    for clip in range(len(verb)):
        best = [
            sorted(range(len(row)), key=lambda label, row=row: (-row[label], label))[:BEST]
            for row in (verbs[clip], nouns[clip])
        ]
        pairs = sorted(
            itertools.product(*best), key=lambda pair, clip=clip: (-verbs[clip][pair[0]] * nouns[clip][pair[1]], pair)
        )
        own = (verb[clip], noun[clip])
        ranks.append(pairs[:BEST].index(own) if own in pairs[:BEST] else BEST)
    return ranks


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_ranks_are_those_of_sorted_pairs_with_ties_too(seed: int, verbs: int, nouns: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = [rng.integers(0, 3, (4, size)) / 4 if coarse else rng.random((4, size)) for size in (verbs, nouns)]
    case = *scores, rng.integers(0, verbs, 4), rng.integers(0, nouns, 4)
    assert action_ranks(*case).tolist() == literal_ranks(*case)


def test_only_the_best_hundred_of_each_and_of_the_pairs_count() -> None:
    rng = np.random.default_rng(0)
    verbs, nouns = rng.dirichlet(np.ones(97), 3), rng.dirichlet(np.ones(300), 3)
    verb, noun = verbs.argmin(axis=1), nouns.argmin(axis=1)
    assert action_ranks(verbs, nouns, verb, noun).tolist() == [BEST] * 3
    verb, noun = verbs.argmax(axis=1), nouns.argmax(axis=1)
    assert action_ranks(verbs, nouns, verb, noun).tolist() == [0] * 3
    verb, noun = rng.integers(0, 97, 3), np.argsort(-nouns, axis=1)[:, 1]
    assert action_ranks(verbs, nouns, verb, noun).tolist() == literal_ranks(verbs, nouns, verb, noun)


@pytest.mark.parametrize(("heads", "expected"), [(["verb", "noun"], True), (["action"], False), (["verb"], False)])
def test_a_network_of_verbs_and_nouns_is_epics(heads: list[str], expected: bool) -> None:
    assert is_epic(heads) is expected
