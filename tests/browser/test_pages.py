"""What a person sees in a browser: MLflow's pages of a real search, and the report at two widths."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_process import ui_process

import study

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
PATIENCE = 60_000

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A store with a search of two methods, and their results."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        results = {
            method: study.tune(method, "digits", budget="smoke", trials=2, settings={"search.pruner": "none"})
            for method in ("dm", "mtt")
        }
        study.report().write(folder / "report.html")
    return folder, results


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def shown(searched: tuple[Path, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with ui_process(searched[0]) as started:
        yield started


def test_the_first_screen_tells_which_method_won(
    searched: tuple[Path, dict[str, Any]], shown: dict[str, Any], browser: Any
) -> None:
    page = browser.new_page(viewport={"width": 1800, "height": 900})
    page.goto(next(iter(shown["links"].values())))
    page.get_by_role("link", name="digits-dm-ipc1-1").wait_for(timeout=PATIENCE)
    names = page.get_by_role("link", name=re.compile("digits-.*-ipc1-1")).all_inner_texts()
    results = searched[1].values()
    by_test = sorted(results, key=lambda result: -result.winner.test.mean)
    assert names == [result.search for result in by_test], "searches alone, the best first"
    text = page.locator("body").inner_text()
    for column in ("test/accuracy", "random/test", "cross/mean"):
        assert column in text
    assert "synthetic sets of one dataset and size" in text
    page.close()


def test_a_search_says_what_won_and_leads_to_the_set(
    searched: tuple[Path, dict[str, Any]], shown: dict[str, Any], browser: Any
) -> None:
    result = searched[1]["mtt"]
    page = browser.new_page(viewport={"width": 1500, "height": 1400})
    page.goto(next(iter(shown["links"].values())))
    page.get_by_role("link", name=result.search).click(timeout=PATIENCE)
    page.get_by_text("Fetch it").wait_for(timeout=PATIENCE)
    page.get_by_role("link", name="mtt-1/trial-0").wait_for(timeout=PATIENCE)
    text = page.locator("body").inner_text()
    assert f"{100 * result.winner.test.mean:.1f} ± {100 * result.winner.test.std:.1f} %" in text
    assert "random real images" in text
    assert "study sets download digits-mtt-ipc1@best" in text
    with page.expect_popup() as opened:
        page.get_by_role("link", name=result.winner.set).click()
    version = opened.value
    version.get_by_text("Read this first").or_(version.get_by_text("Copies of real images")).first.wait_for(
        timeout=PATIENCE
    )
    assert "/models/digits-mtt-ipc1/versions/1" in version.url
    version.close()
    page.close()


@pytest.mark.parametrize("width", [1600, 400])
def test_the_report_fits_its_window(searched: tuple[Path, dict[str, Any]], browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((searched[0] / "report.html").as_uri())
    for result in searched[1].values():
        assert page.get_by_text(result.search).first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == [], "it needs no network"
    page.close()
