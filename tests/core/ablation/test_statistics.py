"""Means, deviations, the paired test against scipy, and Holm's correction against its closed form."""

import csv
import dataclasses
import itertools
import statistics

import numpy as np
import pytest
from scipy import stats

from tdpn_core.ablation.ablate import Ablation
from tdpn_core.ablation.plot import write_plot
from tdpn_core.ablation.statistics import Row, adjust, compare, holm
from tdpn_core.ablation.tables import cells, columns, csv_table, latex_table, markdown_table, plain_rows
from tdpn_core.evaluation.paired import sign_flip_test


def row(name: str, paper: float | None = None) -> Row:
    empty = {"seeds": [], "scores": {}, "failed": {}}
    nothing = dict.fromkeys(["difference", "p_value", "parameters", "gmac", "clips_per_second"])
    return Row(name=name, levels={"temporal": name}, paper_top1=paper, **empty, **nothing)


def result(hits: list[int], head: str = "action") -> dict[str, object]:
    ids = [str(number) for number in range(len(hits))]
    return {"ids": ids, "hits": {head: hits}, "parameters": 1_234_567, "gmac": 2.5, "clips_per_second": 10.0}


@pytest.fixture
def rows() -> list[Row]:
    rng = np.random.default_rng(3)
    weak = {seed: result((rng.random(40) < 0.4).astype(int).tolist()) for seed in (0, 1, 2)}
    strong = {seed: result((rng.random(40) < 0.7).astype(int).tolist()) for seed in (0, 1, 2)}
    return [compare(row("none", 0.74), weak, {}), compare(row("both", 0.772), strong, weak), row("a_b")]


@pytest.mark.parametrize("spread", [1, 3])
def test_the_paired_test_is_scipys_exact_permutation_test(spread: int) -> None:
    rng = np.random.default_rng(spread)
    for _ in range(5):
        gains = rng.integers(-spread, spread + 1, size=11)
        exact = stats.permutation_test(
            (gains,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        )
        # scipy doubles the smaller tail; where the null is symmetric that is the share as far from 0
        assert sign_flip_test(gains) == pytest.approx(exact.pvalue, abs=1e-12)


def test_with_one_seed_it_is_mcnemars_exact_test() -> None:
    gains = np.array([1] * 19 + [-1] * 7 + [0] * 100)
    assert sign_flip_test(gains) == pytest.approx(stats.binomtest(19, 26).pvalue, abs=1e-12)


def test_it_stays_exact_and_finite_over_thousands_of_clips() -> None:
    gains = np.array([1] * 3000 + [-1] * 2800)
    assert sign_flip_test(gains) == pytest.approx(stats.binomtest(3000, 5800).pvalue, rel=1e-6)
    assert sign_flip_test(np.zeros(5, np.int64)) == 1.0


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.6, 0.7, 1.0], [1.0, 1.0, 1.0]),
    ],
)
def test_holm_adjusts_as_by_hand(given: list[float], adjusted: list[float]) -> None:
    assert holm(given) == pytest.approx(adjusted)


def test_holm_rejects_what_the_closed_test_of_bonferroni_rejects() -> None:
    rng = np.random.default_rng(5)
    for count in (1, 2, 4, 6):
        values = (rng.random(count) ** 3).tolist()
        closed = [
            max(
                min(1.0, len(subset) * min(values[place] for place in subset))
                for size in range(1, count + 1)
                for subset in itertools.combinations(range(count), size)
                if own in subset
            )
            for own in range(count)
        ]
        assert holm(values) == pytest.approx(closed)


def test_rows_are_adjusted_for_the_number_compared_with_the_first(rows: list[Row]) -> None:
    first, second, _ = rows
    third = dataclasses.replace(second, name="third", p_value=0.4)
    plain = adjust([first, second, row("failed")])
    assert [known.holm_p_value for known in plain] == [None, second.p_value, None]
    assert "p (Holm)" not in columns(plain)
    several = adjust([first, third, dataclasses.replace(second, p_value=0.03)])
    assert [known.holm_p_value for known in several[1:]] == pytest.approx([0.4, 0.06])
    assert cells(several)[2][columns(several).index("p (Holm)")] == "0.060"
    assert "p (Holm): adjusted for the number" in markdown_table(several)
    (_, _, last) = csv.DictReader(csv_table(several).splitlines())
    assert float(last["holm_p_value"]) == pytest.approx(0.06)


def test_rows_have_means_and_sample_deviations_of_their_seeds(rows: list[Row]) -> None:
    weak, strong, _ = rows
    assert weak.mean("action") == pytest.approx(statistics.fmean(weak.scores["action"]))
    assert strong.deviation("action") == pytest.approx(np.std(strong.scores["action"], ddof=1))
    assert strong.difference == pytest.approx(strong.mean("action") - weak.mean("action"))
    assert strong.p_value is not None
    assert strong.p_value < 0.01
    assert (weak.difference, weak.p_value) == (None, None)


def test_a_difference_is_over_the_seeds_that_both_rows_have() -> None:
    first = {0: result([0, 0, 0, 1]), 1: result([1, 1, 1, 1])}
    other = compare(row("both"), {0: result([1, 1, 0, 1])}, first)
    assert (other.difference, other.seeds, other.deviation("action")) == (0.5, [0], None)


def test_two_heads_count_alike_and_keep_their_own_columns() -> None:
    def two(verb: list[int], noun: list[int]) -> dict[str, object]:
        return result([]) | {"ids": ["a", "b"], "hits": {"verb": verb, "noun": noun}}

    both = compare(row("both"), {0: two([1, 1], [1, 0])}, {0: two([0, 1], [0, 0])})
    assert both.difference == 0.5
    assert columns([both])[:3] == ["temporal", "verb top-1", "noun top-1"]
    assert cells([both])[0][1:3] == ["100.0", "50.0"]


def test_every_form_of_the_table_holds_the_same_numbers(rows: list[Row]) -> None:
    _, strong, empty = cells(rows)
    assert columns(rows)[-1] == "paper's top-1"
    assert strong[-1] == "77.2"
    assert empty[1:] == ["–", "0", "–", "–", "–", "–", "–", "–"]
    written = f"{100 * rows[1].mean('action'):.1f} ± {100 * rows[1].deviation('action'):.1f}"
    assert strong[1] == written
    assert f"| both | {written} | 3 |" in markdown_table(rows)
    assert f"both & {written.replace('±', '$' + chr(92) + 'pm$')} & 3 &" in latex_table(rows)
    assert r"a\_b & -- &" in latex_table(rows)
    (_, second, _) = csv.DictReader(csv_table(rows).splitlines())
    assert float(second["action_top1"]) == pytest.approx(rows[1].mean("action"))
    assert plain_rows(rows)[1]["top1"]["action"] == rows[1].mean("action")


def test_the_plot_is_a_png_and_a_pdf(rows: list[Row], tmp_path) -> None:
    write_plot(rows, tmp_path)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "plot.pdf").read_bytes().startswith(b"%PDF")


def test_failures_are_named_under_the_table(rows: list[Row], tmp_path) -> None:
    broken = dataclasses.replace(rows[2], failed={4: "no memory"})
    assert "- a_b, seed 4 failed: no memory" in markdown_table([*rows[:2], broken])
    assert Ablation(folder=tmp_path, rows=[broken]).failed == {"a_b, seed 4": "no memory"}
