"""A search for two objectives: its front in the store, in the picture and in the result, also when resumed."""

import json
import random
import statistics

import pytest
from matplotlib.cbook import STEP_LOOKUP_MAP

from study.core.errors import ConfigError, SearchError
from study.runs.config.configure import Request, configure
from study.runs.context.run_context import open_context
from study.runs.context.saved import resume_config
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.figures.pareto_front import FRONT_NAME, draw_front
from study.runs.tune import tune
from study.search.records import TrialRecord


def smoke(**search):
    small = {"cross_models": ["mlp:16"], "num_startup_trials": 2, "num_finalists": 3, **search}
    return configure(Request("dm", "digits", 1, "smoke", overrides={"search": small}))


def beats(one, other):
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


def front_of(values):
    return {key for key, own in values.items() if not any(beats(other, own) for other in values.values())}


@pytest.fixture(scope="module")
def searched(tmp_path_factory, interrupt_at):
    """Interrupted in its third trial, resumed, then extended from five trials to six."""
    stores = StoreOptions(root=tmp_path_factory.mktemp("store") / "mlruns")
    config = smoke(objective="cross-arch,accuracy", num_trials=5)
    with pytest.raises(KeyboardInterrupt):
        tune(config, stores, interrupt_at(2), name="s")
    asked = {"overrides": ["search.objective=cross-arch,accuracy", "search.pruner=median"]}
    resumed = tune(resume_config("s", stores, asked), stores, resume="s")
    extended = tune(resume_config("s", stores, {}), stores, resume="s", num_trials=6)
    return stores, resumed, extended


def runs_of(stores, kind):
    runs = open_tracking(stores).find_runs(tags={"study.search": "s"})
    return [run for run in runs if run.tags["study.kind"] == kind]


def test_resumed_search_has_the_trials_asked_for(searched):
    _, resumed, extended = searched
    assert (resumed.trials_finished, extended.trials_finished) == (5, 6)
    assert [trial["trial"] for trial in extended.trials] == list(range(6))
    assert resumed.objective == "accuracy,cross-arch"


def test_front_in_the_outcome_equals_brute_force(searched):
    for result in searched[1:]:
        values = {
            trial["trial"]: (trial["val_accuracy"], trial["cross_mean"])
            for trial in result.trials
            if trial["outcome"] == "COMPLETE"
        }
        assert set(result.front) == front_of(values)
        assert {trial["trial"] for trial in result.trials if trial["on_front"]} == set(result.front)
        for trial in result.trials:
            expected = statistics.fmean(values[trial["trial"]]) if trial["trial"] in values else None
            assert trial["objective"] == expected


def test_registered_one_has_the_highest_mean_of_the_finalists(searched):
    for result in searched[1:]:
        finalists = {one["trial"]: (one["accuracy"], one["cross-arch"]) for one in result.finalists}
        assert set(finalists) <= set(result.front)
        assert len(finalists) == min(3, len(result.front))
        means = {trial: statistics.fmean(values) for trial, values in finalists.items()}
        fit = {one["trial"] for one in result.finalists if one["fit"]} or set(means)
        assert means[result.winner.trial] == max(means[trial] for trial in fit)
        assert tuple(result.winner.objectives.values()) == finalists[result.winner.trial]
        assert "highest mean of accuracy and cross-arch" in result.choice
        assert json.loads(json.dumps(result.plain()))["front"] == list(result.front)


def test_store_says_what_the_outcome_says(searched):
    stores, _, result = searched
    (parent,) = runs_of(stores, "search")
    assert parent.tags["study.objective"] == "accuracy,cross-arch"
    assert parent.tags["study.choice"] == result.choice
    assert parent.tags["study.front"] == ", ".join(str(number) for number in result.front)
    assert parent.tags["study.winner"] == str(result.winner.trial)
    assert parent.metrics["objective"] == pytest.approx(statistics.fmean(result.winner.objectives.values()))
    assert parent.metrics["finalist/cross-arch"] == pytest.approx(result.winner.objectives["cross-arch"])
    by_run = {run.run_id: run for run in runs_of(stores, "trial")}
    for trial in result.trials:
        run = by_run[trial["run_id"]]
        if trial["outcome"] == "COMPLETE":
            assert run.status == "FINISHED"
            assert run.tags["study.on_front"] == str(trial["on_front"]).lower()
            assert run.metrics["objective"] == pytest.approx(trial["objective"])
        else:
            assert trial["outcome"] == "PRUNED"
            assert (run.status, run.tags["optuna.state"]) == ("KILLED", "PRUNED")
            assert "study.on_front" not in run.tags
    assert "PRUNED" in {trial["outcome"] for trial in result.trials}


def test_picture_and_pages_are_stored(searched, tmp_path):
    stores, _, result = searched
    tracker = open_tracking(stores)
    (parent,) = runs_of(stores, "search")
    assert tracker.download(parent.run_id, FRONT_NAME, tmp_path).read_bytes().startswith(b"\x89PNG")
    page = tracker.download(parent.run_id, "compare.html", tmp_path).read_text()
    assert page.count(">on the front<") == len(result.front)
    figures = tracker.download(parent.run_id, "search.html", tmp_path).read_text()
    assert "Importance: cross-arch" in figures


def test_a_search_cannot_change_its_objectives(searched):
    with pytest.raises(SearchError, match=r"search\.objective = 'accuracy,cross-arch', asked is 'accuracy'"):
        resume_config("s", searched[0], {"overrides": ["search.objective=accuracy"]})
    with pytest.raises(SearchError, match=r"search\.pruner = 'median', asked is 'none'"):
        resume_config("s", searched[0], {"overrides": ["search.pruner=none"]})


def test_pools_that_cannot_be_are_refused():
    for search in ({"num_cross_seeds": 0}, {"cross_models": ["convnet"]}):
        with pytest.raises(ConfigError, match=r"'accuracy,cross-arch' needs search\.num_cross_seeds"):
            open_context(smoke(objective="accuracy,cross-arch", **search), None)


def drawn(values, winner, reference):
    front = front_of(dict(enumerate(values)))
    records = [
        TrialRecord(number, "COMPLETE", {}, own, {}, {}, 1.0, number in front)
        for number, own in enumerate(values)
    ]
    return front, draw_front(records, winner, reference, xlabel="own, %", ylabel="others, %", title="t")


def test_picture_has_every_trial_and_the_edge_of_what_was_reached():
    draw = random.Random(0)
    values = [(draw.random(), draw.random()) for _ in range(20)]
    front, figure = drawn(values, min(front_of(dict(enumerate(values)))), (0.4, 0.4))
    (axes,) = figure.axes
    named = [number for text in axes.texts for number in text.get_text().split(", ")]
    assert sorted(map(int, named)) == list(range(20))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("own, %", "others, %")
    (line,) = axes.lines
    corners = list(zip(*STEP_LOOKUP_MAP[line.get_drawstyle()](*line.get_data()), strict=True))
    assert len(corners) == 2 * (len(front) + 2) - 1
    for x, y in corners[1:-1]:
        # Nothing lies beyond the line, and each of its corners touches what a trial reached.
        assert not any(100 * a > x + 1e-9 and 100 * b > y + 1e-9 for a, b in values)
        assert any(100 * a >= x - 1e-9 and 100 * b >= y - 1e-9 for a, b in values)
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    assert (corners[0][0], corners[-1][1]) == (left, bottom)
    labels = {text.get_text() for text in axes.get_legend().get_texts()}
    assert labels == {"other trials", "on the front", f"registered: trial {min(front)}", "random real images"}


def test_far_reference_gets_a_second_panel_with_the_trials_alone():
    values = [(0.80, 0.70), (0.82, 0.69), (0.81, 0.68)]
    assert len(drawn(values, 1, (0.79, 0.69))[1].axes) == 1
    _, figure = drawn(values, 1, (0.3, 0.3))
    whole, close = figure.axes
    assert whole.get_xlim()[0] < 30 < 75 < close.get_xlim()[0]
    assert {text.get_text() for text in close.texts} == {"0", "1", "2"}


def test_trials_on_one_spot_share_a_label():
    _, figure = drawn([(0.9, 0.9), (0.5, 0.5), (0.2, 0.7), (0.5, 0.5001)], 0, None)
    assert {text.get_text() for text in figure.axes[0].texts} == {"0", "1, 3", "2"}


def test_one_trial_is_drawn_too(tmp_path):
    _, figure = drawn([(0.5, 0.5)], 0, None)
    figure.savefig(tmp_path / "one.png")
    assert len(figure.axes) == 1
