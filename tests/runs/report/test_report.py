"""A report over real searches: what a person reads agrees with the store, and the page needs nothing else."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

import study
from study.cli.app import app
from study.core.errors import ConfigError, StudyError, UnknownNameError
from study.core.spaces import parse_space
from study.core.words import percent
from study.runs.catalog.measures import Measured, architectures, measured
from study.runs.catalog.runs import select_runs
from study.runs.config.configure import Request, configure
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.report.command import recorded_config, reproduce_command
from study.runs.report.drawings import picture_address
from study.runs.report.entries import read_entries
from study.runs.report.page import make_report
from study.runs.report.tables import latex_table, markdown_table
from study.runs.tune import tune
from study.tracking.base import RunInfo

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with two searches, one of two objectives and settings of its own."""
    root = tmp_path_factory.mktemp("store") / "mlruns"
    stores = StoreOptions(root=root)
    one = tune(configure(Request("dm", budget="smoke", overrides={"search": {"pruner": "none"}})), stores)
    both = {
        "search": {"objective": "accuracy,cross-arch", "num_trials": 3, "pruner": "none"},
        "model": {"width": 8},
    }
    two = tune(
        configure(
            Request(
                "dm", budget="smoke", overrides=both,
                space=parse_space(["distill.image_lr=0.5:2:log", "distill.init=fixed"]),
            )
        ),
        stores,
        name=EVIL,
    )  # fmt: skip
    return stores, one, two


@pytest.fixture(scope="module")
def page(store):
    return make_report([], store[0]).text


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_data(self, data):
        self.text.append(data)


def run_of(stores, search):
    (found,) = open_tracking(stores).find_runs(tags={"study.search": search, "study.kind": "search"})
    return found


def test_the_page_needs_nothing_else_and_is_small(page):
    reader = Reader(page)
    assert len(page.encode()) < 3_000_000
    assert reader.tags.count("script") == 1
    assert not {"link", "iframe", "object"} & set(reader.tags)
    assert reader.addresses
    assert all(address.startswith(("data:image/webp;base64,", "#")) for address in reader.addresses)
    assert len(reader.ids) == len(set(reader.ids)), "drawings that share a page keep their ids apart"
    assert "Plotly" not in page


def test_the_page_says_what_the_searches_found(store, page):
    text = " ".join("".join(Reader(page).text).split())
    for result in store[1:]:
        winner = result.winner
        for score in (winner.test, winner.random_test, winner.score, winner.random):
            assert f"{percent(score.mean, score.std)} n = {score.n}" in text
        assert result.search in text
        assert winner.sha256 in text
        assert str(winner.params["distill.image_lr"]) in text
    for word in ("History", "Front", "On other networks", "Where the seconds went", "start, iteration 0",
                 "end, iteration 8", "mlp", "lenet", "random real images", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"):  # fmt: skip
        assert word in text, word
    run = run_of(store[0], store[1].search)
    for fact in (
        run.tags["study.git.commit"],
        run.tags["study.torch"],
        run.tags["study.digest"],
        run.run_id,
        "UTC",
    ):
        assert fact in text


def test_nothing_from_the_store_is_markup(page):
    assert EVIL not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("which", [1, 2])
def test_the_command_makes_the_same_configuration(store, which):
    _stores, run = store[0], run_of(store[0], store[which].search)
    words = shlex.split(reproduce_command(run))
    assert words[:2] == ["study", "tune"]
    result = CliRunner().invoke(app, [*words[1:], "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    options = {word: words[index + 1] for index, word in enumerate(words) if word.startswith("--")}
    again = study.configure(
        options["--method"], options["--dataset"], ipc=int(options["--ipc"]), budget=options["--budget"],
        seed=int(options["--seed"]), trials=int(options["--trials"]) if "--trials" in options else None,
        objective=options.get("--objective"),
        settings=[words[index + 1] for index, word in enumerate(words) if word == "--set"],
        space=[words[index + 1] for index, word in enumerate(words) if word == "--space"],
    )  # fmt: skip
    assert again.digest == run.tags["study.digest"]
    assert again.search.num_trials == recorded_config(run).search.num_trials


def test_a_command_that_cannot_be_exact_is_none(store):
    run = run_of(store[0], store[1].search)
    changed = replace(run, params={**run.params, "distill.momentum": "0.25"})
    with pytest.raises(StudyError, match="other settings"):
        reproduce_command(changed)
    with pytest.raises(StudyError, match="recorded no budget"):
        reproduce_command(replace(run, params={"method": "dm", "dataset": "digits", "ipc": "1"}))


def test_markdown_and_latex_are_the_same_table(store):
    entries = read_entries(open_tracking(store[0]), select_runs(open_tracking(store[0]), [], None))
    markdown, latex = markdown_table(entries), latex_table(entries)
    test = store[1].winner.test
    assert f"{percent(test.mean, test.std)} (n = {test.n})" in markdown
    assert percent(test.mean, test.std).replace("±", r"$\pm$").replace("%", r"\%") in latex
    assert "±" not in latex
    assert EVIL not in markdown
    assert len([line for line in markdown.splitlines() if line.startswith("|")]) == 2 + len(entries)
    assert latex.count(r"\\") == 1 + len(entries)


def test_scores_of_a_store_with_or_without_deviations():
    bare = RunInfo(
        "1", "r", "FINISHED", "e", {}, {"cross/mean": 0.5, "cross/mlp": 0.6, "cross/worst": 0.4}, {}
    )
    full = replace(
        bare, metrics={**bare.metrics, "cross/mean_std": 0.01, "cross/mlp_std": 0.02, "cross/num_seeds": 3.0}
    )
    assert measured("cross", bare) == Measured(0.5)
    assert measured("cross", full) == Measured(0.5, 0.01, 3)
    assert architectures("cross/", bare) == {"mlp": Measured(0.6)}
    assert architectures("cross/", full) == {"mlp": Measured(0.6, 0.02, 3)}
    assert measured("test", bare) == Measured()
    assert measured("random_cross", full, bare) == Measured()


def test_a_large_picture_becomes_small():
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="PNG")
    assert len(picture_address(buffer.getvalue(), 20_000)) < 20_000 * 4 / 3 + 100
    assert len(buffer.getvalue()) > 500_000


def test_a_report_of_some_of_one_experiment_and_of_none(store, tmp_path):
    stores, one, two = store
    assert make_report([one.search], stores).searches == (one.search,)
    assert set(make_report([], stores, experiment="digits-ipc1").searches) == {one.search, two.search}
    with pytest.raises(UnknownNameError, match=r"unknown experiment 'nope'.*digits-ipc1"):
        make_report([], stores, experiment="nope")
    with pytest.raises(ConfigError, match="no run to report on"):
        make_report([], StoreOptions(root=tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()


def test_commands_write_pages_and_tables(store, tmp_path, monkeypatch):
    stores, one, _two = store
    monkeypatch.chdir(tmp_path)
    where = ["--tracking-uri", str(stores.root)]

    def run(*words):
        return CliRunner().invoke(app, [*words, *where])

    done = run("report", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["bytes"] == (tmp_path / "report.html").stat().st_size
    assert "History" in (tmp_path / "report.html").read_text(), (
        "the storage beside the tracking store is found"
    )
    assert run("compare", one.search, "--html", "one.html").exit_code == 0
    assert one.search in (tmp_path / "one.html").read_text()
    assert run("report", one.search, "--latex").stdout.startswith("% needs")
    assert run("report", "--markdown", "-o", "table.md").exit_code == 0
    assert (tmp_path / "table.md").read_text().startswith("| search")
    for words in (("compare", "--experiment", "nope"), ("report", "--experiment", "nope"),
                  ("report", "--markdown", "--latex"), ("compare", "--html", "x.html", "--csv")):  # fmt: skip
        refused = run(*words)
        assert refused.exit_code == 2, words
        assert len(refused.stderr.strip().splitlines()) == 1
    assert "digits-ipc1" in run("compare", "--experiment", "nope").stderr


def test_trials_show_hyperparameters_random_and_whole_names(store, monkeypatch):
    stores, one, _two = store
    where = ["--tracking-uri", str(stores.root)]
    rows = json.loads(CliRunner().invoke(app, ["compare", one.search, "--trials", "--json", *where]).stdout)[
        "runs"
    ]
    assert len(rows) == one.trials_finished
    assert all(row["search"] == one.search for row in rows)
    assert {"distill.image_lr", "distill.momentum", "distill.init", "random_validation"} <= rows[0].keys()
    assert "test" not in rows[0], "trials never meet the test set"
    assert not [key for key in rows[0] if all(row[key] in (None, "") for row in rows)]
    table = CliRunner().invoke(app, ["compare", one.search, "--trials", "--csv", *where]).stdout
    assert next(iter(csv.DictReader(io.StringIO(table))))["distill.init"] == rows[0]["distill.init"]
    monkeypatch.setenv("COLUMNS", "50")
    shown = CliRunner().invoke(app, ["compare", "--trials", *where]).stdout
    for word in (one.search, EVIL, "image_lr", "momentum", "random, val", "trial-0", "trial-1"):
        assert word in shown, word
    assert "…" not in shown


def test_a_set_that_was_altered_is_said_and_the_rest_is_shown(tmp_path):
    stores = StoreOptions(root=tmp_path / "mlruns")
    tune(configure(Request("dm", budget="smoke")), stores)
    entries = read_entries(open_tracking(stores), select_runs(open_tracking(stores), [], None))
    assert entries[0].notes == ()
    for path in (tmp_path / "mlruns").rglob("data.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    text = make_report([], stores).text
    assert re.search("set digits-dm-ipc1/1: .*(altered|changed|SHA-256|hash)", text)
    assert "Make it again" in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
def test_the_table_sorts_and_filters_in_a_browser(store, page, tmp_path):
    acted = """<script>
    const heading = [...document.querySelectorAll("#runs th button")].find(one => one.textContent === "trials");
    const rowsNow = () => [...document.querySelectorAll("#runs tbody tr")];
    const order = () => rowsNow().map(row => row.cells[0].dataset.value).join("|");
    heading.click(); const down = order();
    heading.click(); const up = order();
    const field = document.getElementById("filter");
    field.value = "digits-dm-ipc1-1"; field.dispatchEvent(new Event("input"));
    const shown = [...document.querySelectorAll("#runs tbody tr, .run")].filter(one => !one.hidden).length;
    document.title = JSON.stringify({down, up, shown, count: document.getElementById("count").textContent});
    </script>"""
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"{acted}</body>"))
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
    done = subprocess.run(
        ["chromium", *quiet, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    found = json.loads(html.unescape(re.search("<title>(.*?)</title>", done.stdout)[1]))
    counts = {result.search: result.trials_finished for result in store[1:]}
    fewest, most = sorted(counts, key=counts.__getitem__)
    assert counts[fewest] < counts[most]
    assert (found["down"], found["up"]) == (f"{most}|{fewest}", f"{fewest}|{most}")
    assert (found["shown"], found["count"]) == (2, "1 of 2"), "a row and its section"
