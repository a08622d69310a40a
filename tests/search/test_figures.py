"""The page of figures, for one objective and for two, whatever state trials are in."""

import re

import optuna
import pytest

from study.core.spaces import Range
from study.search.config import SearchConfig
from study.search.figures import search_figures, search_page
from study.search.optimize import Pruned, create_search

SPACE = {"distill.image_lr": Range(low=0.1, high=10, log=True), "distill.momentum": Range(low=0, high=0.9)}
HEADINGS = {
    "accuracy": ["History", "Scores at rungs", "Importance", "Slices"],
    "accuracy,cross-arch": [
        "Front",
        "History: accuracy", "Scores at rungs: accuracy", "Importance: accuracy", "Slices: accuracy",
        "History: cross-arch", "Importance: cross-arch", "Slices: cross-arch",
    ],
}  # fmt: skip


@pytest.mark.parametrize("objective", HEADINGS)
def test_page_has_every_figure(objective):
    config = SearchConfig(objective=objective, sampler="random", num_startup_trials=3)
    search = create_search(optuna.storages.InMemoryStorage(), "s", "p", config, SPACE, 0)

    def run(handle):
        score = 0.1 if handle.number == 4 else handle.params["distill.momentum"]
        if handle.report(score, 50):
            raise Pruned
        if handle.number == 5:
            raise KeyboardInterrupt
        values = score, handle.params["distill.image_lr"] / 10
        return values if "," in objective else values[0]

    with pytest.raises(KeyboardInterrupt):
        search.optimize(run, 6)
    # Another process is at work on a trial, and the interrupted one waits.
    search.optuna_study.ask()
    assert search.recover() == [5]
    states = {trial.state.name for trial in search.optuna_study.trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"}
    page = search_page(search.optuna_study, config.objectives)
    assert re.findall("<h2>(.*?)</h2>", page) == HEADINGS[objective]
    assert "Not drawn" not in page
    assert page.count("<svg") == len(HEADINGS[objective])


def test_importance_names_the_hyperparameter_that_decides():
    config = SearchConfig(sampler="random", pruner="none")
    search = create_search(optuna.storages.InMemoryStorage(), "<b>s</b>", "p", config, SPACE, 0)
    search.optimize(lambda handle: handle.params["distill.momentum"], 8)
    (figure,) = search_figures(search.optuna_study, config.objectives, ["Importance"])
    order = [
        name for name in re.findall(r">([a-z_]+)</text>", figure.svg) if name in {"image_lr", "momentum"}
    ]
    assert order == ["momentum", "image_lr"], "the largest share stands first"
    assert "8 complete trials" in figure.words
    assert "<b>" not in search_page(search.optuna_study, config.objectives)


def test_the_trials_of_a_short_search_are_counted_in_whole_numbers():
    config = SearchConfig(sampler="random", pruner="none")
    search = create_search(optuna.storages.InMemoryStorage(), "s", "p", config, SPACE, 0)
    search.optimize(lambda handle: handle.params["distill.momentum"], 3)
    history, importance = search_figures(search.optuna_study, config.objectives, ["History", "Importance"])
    axis = history.svg[: history.svg.index(">trial</text>")]
    assert re.findall(r">(\d+)</text>", axis)[:3] == ["0", "1", "2"]
    assert importance.svg is None
    assert "4 complete trials at least, there are 3" in importance.words


def test_a_search_without_a_complete_trial_has_a_page_too():
    config = SearchConfig(objective="accuracy,cross-arch", sampler="random")
    search = create_search(optuna.storages.InMemoryStorage(), "s", "p", config, SPACE, 0)

    def prune(_):
        raise Pruned

    search.optimize(prune, 1)
    page = search_page(search.optuna_study, config.objectives)
    assert re.findall("<h2>(.*?)</h2>", page) == HEADINGS["accuracy,cross-arch"]
    assert page.count("Not drawn") == len(HEADINGS["accuracy,cross-arch"])
    assert "<svg" not in page
