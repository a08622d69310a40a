from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

from study.tracking.compare_page import CompareRow, render_compare_page

PNG = b"\x89PNG not really"
TRIALS = [
    CompareRow("0", "COMPLETE", {"lr": 0.1, "init": "real"}, {"val/accuracy": 0.71}, PNG),
    CompareRow("1", "PRUNED", {"lr": 2.0, "init": "real"}, {"val/accuracy": float("nan")}),
    CompareRow("2", "FAIL", {"lr": 9.5, "init": "real"}, {"val/accuracy": None}),
]
RANDOM = CompareRow("random real images", scores={"val/accuracy": 0.62}, is_baseline=True)


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]


def rows_of(page):
    return re.findall(r"<tr.*?</tr>", page, flags=re.DOTALL)


def test_every_trial_and_the_baseline_have_a_row():
    page = render_compare_page("search", [*TRIALS, RANDOM])
    assert len(rows_of(page)) == 1 + 3 + 1
    baselines = page[page.index('<tbody class="baselines">') : page.index('<tbody id="trials">')]
    assert "random real images" in baselines
    assert "62.0 %" in baselines


def test_only_the_best_row_is_highlighted():
    rows = [row for row in rows_of(render_compare_page("search", TRIALS, best="0")) if 'class="best"' in row]
    assert len(rows) == 1
    assert "71.0 %" in rows[0]
    assert 'class="best"' not in render_compare_page("search", TRIALS)


def test_a_badge_stands_beside_the_name_and_is_escaped():
    row = CompareRow("3", "COMPLETE", badge="on the <front>")
    page = render_compare_page("search", [*TRIALS, row], best="3")
    (marked,) = [text for text in rows_of(page) if "&lt;front&gt;" in text]
    assert marked.count('class="badge') == 2
    assert 'class="best"' in marked


def test_the_page_needs_nothing_from_elsewhere():
    reader = Reader(render_compare_page("search", [*TRIALS, RANDOM], best="0"))
    assert reader.addresses
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    assert base64.b64decode(reader.addresses[0].partition(",")[2]) == PNG
    assert "link" not in reader.tags
    assert reader.tags.count("script") == 1


def test_parameters_with_one_value_stand_above_the_table():
    page = render_compare_page("search", TRIALS)
    assert "The same in every trial: init = real." in page
    header = rows_of(page)[0]
    assert ">lr<" in header
    assert ">init<" not in header


def test_missing_numbers_sort_last_and_show_as_a_dash():
    pruned, failed = rows_of(render_compare_page("search", TRIALS))[2:4]
    for row in (pruned, failed):
        assert 'data-value="">–</td>' in row


def test_text_is_escaped():
    evil = '<script>alert("x")</script>'
    row = CompareRow(evil, evil, {evil: evil}, {evil: 0.5})
    page = render_compare_page(evil, [row, CompareRow("1", params={evil: "b"})], best=evil, subtitle=evil)
    assert evil not in page
    assert page.count("<script>") == 1


def test_a_search_without_a_trial_is_still_a_page():
    assert len(rows_of(render_compare_page("search", [RANDOM]))) == 2
