"""Pages stand alone: everything inside, everything escaped, each drawing with its words."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.html_report import Section, charts, render_page
from tdpn_core.html_report import components as parts

VOID = {"meta", "link", "br"}


class Outline(HTMLParser):
    """The nesting of a document's elements, and every attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    blocks = [
        parts.tiles([parts.Tile("top-1", "96.1 %", "± 1.4")]),
        parts.table("Classes <best>", ["class", "share"], [["a<b>", parts.Share(0.25)], ["c", parts.Share(None)]]),
        parts.facts({"seed": 3}),
        parts.clips([parts.Clip("clip 'a'", b"film", ["one", "<two>"])]),
        parts.details("more", [parts.warning("mind & this"), parts.note("x"), parts.text("y")]),
        parts.grid([charts.line_chart("Loss", {"train": [(1, 2.0), (2, 1.0)]}, x="epoch", y="loss")]),
        charts.matrix_chart("Confusion", np.eye(2), ["a", "b<"], verb="taken for"),
    ]
    return render_page("Run <1>", [Section("First", blocks), Section("Empty", []), Section("Last", [parts.text("z")])])


def test_a_page_is_well_formed_and_asks_nothing_of_the_network(page: str) -> None:
    outline = Outline(page)
    links = [value for name, value in outline.attributes if name in ("src", "href")]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "default-src 'none'" in page
    assert "<script" not in page


def test_what_a_page_is_given_is_escaped(page: str) -> None:
    for text in (
        "Run &lt;1&gt;",
        "a&lt;b&gt;",
        "&lt;two&gt;",
        "mind &amp; this",
        "b&lt;: 100.0%",
        "Classes &lt;best&gt;",
    ):
        assert text in page
    assert not re.search(r"<(best|two|1|b>)", page)


def test_sections_without_blocks_are_left_out_and_the_others_are_in_the_contents(page: str) -> None:
    assert "Empty" not in page
    assert re.findall(r'<li><a href="(#.*?)">(.*?)</a>', page) == [("#section-1", "First"), ("#section-2", "Last")]
    assert 'id="section-2">Last' in page


def test_scrolling_tables_can_be_reached_by_keyboard_and_say_what_they_are(page: str) -> None:
    assert 'role="region" aria-label="Classes &lt;best&gt;" tabindex="0"' in page


def test_numbers_stand_right_and_words_left() -> None:
    made = parts.table("t", ["class", "clips"], [["a", 1200], ["b", 3]])
    assert '<th scope="col">class</th><th scope="col" class="number">clips</th>' in made
    assert '<td>a</td><td class="number">1,200</td>' in made


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 9))
def test_ticks_are_few_round_and_cover_the_range(low: float, extent: float, most: int) -> None:
    high = low + extent
    found = charts.ticks(low, high, most)
    assert 1 <= len(found) <= most + 1
    assert found == sorted(found)
    if high - low > 1e-3:
        assert found[0] <= low + 1e-6
        assert high - 1e-6 <= found[-1]


def test_a_line_goes_through_its_points() -> None:
    made = charts.line_chart("t", {"a": [(0, 0.0), (10, 1.0)], "b": [(5, 0.5)]}, x="epoch", y="share", percent=True)
    assert 'd="M52 222L466 26"' in made
    assert '<circle class="dot" cx="259.0" cy="124.0"' in made, "a point alone shows as one"
    assert "100%" in made
    assert 'aria-label="t"' in made


def test_whole_numbers_have_no_ticks_between_them() -> None:
    made = charts.line_chart("t", {"a": [(1, 0.0), (2, 1.0)]}, x="epoch", y="share", percent=True)
    assert 'text-anchor="middle">1<' in made
    assert 'text-anchor="middle">2<' in made
    assert ">1.2<" not in made
    assert ">0.2<" in charts.line_chart("t", {"a": [(0, 0.0), (0.9, 1.0)]}, x="x", y="y", percent=True)


def test_what_is_not_finite_is_no_point_and_nothing_is_said_to_be_nothing() -> None:
    made = charts.line_chart("t", {"a": [(0, 1.0), (1, math.nan), (2, 3.0)], "b": [(0, math.inf)]}, x="x", y="y")
    assert made.count('class="line line-') == 1
    assert "nan" not in made
    assert "inf" not in made
    assert "t: nothing to show." in charts.line_chart("t", {"a": []}, x="x", y="y")


def test_a_matrix_of_many_classes_stays_small() -> None:
    names = [f"class {label}" for label in range(400)]
    shares = np.eye(400) * 0.5 + np.random.default_rng(0).random((400, 400)) * (0.002)
    made = charts.matrix_chart("m", shares, names, verb="taken for")
    assert "<title>" not in made
    assert len(made) < 4_000_000
    sparse = charts.matrix_chart("m", np.eye(400), names, verb="taken for")
    assert sparse.count("h1v1h-1z") == 400
    assert len(sparse) < 20_000


def test_matrix_of_few_classes_names_columns_and_shows_counts() -> None:
    counts = np.array([[12, 3], [0, 5]])
    made = charts.matrix_chart("m", counts / counts.sum(axis=1, keepdims=True), ["a", "b"], verb="as", counts=counts)
    assert re.findall(r"rotate\(-90\)[^>]*>(\w+)</text>", made) == ["a", "b"]
    assert re.findall(r'class="count[^>]*>(\d+)</text>', made) == ["12", "3", "5"]
    names = [str(number) for number in range(21)]
    many = charts.matrix_chart("m", np.eye(21), names, verb="as", counts=np.eye(21, dtype=int))
    assert "rotate" not in many
    assert 'class="count' not in many
