from __future__ import annotations

import colorsys
import itertools
from urllib.parse import parse_qs, urlsplit

from study.tracking.links import deep_links, run_color, runs_view

BASE = "http://127.0.0.1:5000"


def query_of(link):
    return parse_qs(urlsplit(urlsplit(link).fragment).query)


def test_links_of_a_search_filter_on_its_trials_best_first():
    links = deep_links(f"{BASE}/", "7", "abc")
    query = query_of(links["charts"])
    assert links["charts"].startswith(f"{BASE}/#/experiments/7/runs?")
    assert query["searchFilter"] == ["tags.mlflow.parentRunId = 'abc'"]
    assert query["orderByKey"] == ["metrics.`objective`"]
    assert query["orderByAsc"] == ["false"]
    assert query["compareRunsMode"] == ["CHART"]
    assert links["search"].startswith(f"{BASE}/#/experiments/7/runs/abc/artifacts/compare.html")
    assert links["sets"] == f"{BASE}/#/models?workflowType=machine_learning"


def test_every_experiment_page_leaves_the_mode_for_language_models():
    links = deep_links(BASE, "7", "abc", "key")
    for name in ("runs", "charts", "search"):
        assert query_of(links[name])["workflowType"] == ["machine_learning"], name


def test_links_hold_no_sign_that_a_terminal_would_cut():
    for link in deep_links(BASE, "7", "abc").values():
        assert not set(link) & set(" '`\"<>")


def test_a_stored_view_stands_alone_in_its_link():
    query = query_of(deep_links(BASE, "7", "abc", "key")["runs"])
    assert set(query) == {"workflowType", "viewStateShareKey"}


def test_without_a_search_the_whole_experiment_is_shown():
    links = deep_links(BASE, "7")
    assert "search" not in links
    assert "searchFilter" not in query_of(links["runs"])


def test_view_names_its_columns_as_the_ui_does():
    view = runs_view("abc", ["objective"], ["distill.image_lr"], ["optuna.state"])
    assert view["selectedColumns"] == [
        "tags.`optuna.state`",
        "metrics.`objective`",
        "params.`distill.image_lr`",
    ]
    assert view["searchFilter"] == "tags.mlflow.parentRunId = 'abc'"


def test_colours_of_neighbouring_trials_are_far_apart():
    colours = [run_color(index) for index in range(30)]
    assert len(set(colours)) == 30

    def hue(colour):
        return colorsys.rgb_to_hls(*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0]

    for first, second in itertools.pairwise(colours):
        distance = abs(hue(first) - hue(second))
        assert min(distance, 1 - distance) > 0.2
