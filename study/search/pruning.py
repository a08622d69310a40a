"""When a weak trial is stopped: Optuna's median pruner, and its rule with a margin for several objectives.

Optuna takes no intermediate score from a trial with several objectives and prunes none. Such trials keep their
scores at rungs as an attribute in the storage, which every process that works on the search sees.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.search.config import SearchConfig

RUNGS = "study.rungs"


def build_pruner(config: SearchConfig) -> optuna.pruners.BasePruner:
    """Optuna's pruner, for searches with one objective."""
    if config.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=_num_startup(config), n_warmup_steps=0)


def rung_scores(trial: FrozenTrial) -> dict[int, float]:
    """Scores of a trial by percent of iterations done, wherever they are kept."""
    kept: Mapping[str, float] = trial.user_attrs.get(RUNGS, {})
    return {**trial.intermediate_values, **{int(percent): score for percent, score in kept.items()}}


def report(trial: optuna.Trial, config: SearchConfig, score: float, percent: int) -> bool:
    """Keep a score of a running trial; True means that the trial is to be stopped."""
    if len(config.objectives) == 1:
        trial.report(score, percent)
        return trial.should_prune()
    reported = {**rung_scores(trial.storage.get_trial(trial._trial_id)), percent: score}
    trial.set_user_attr(RUNGS, {str(done): value for done, value in reported.items()})
    if config.pruner == "none":
        return False
    finished = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    others = [rung_scores(other) for other in finished]
    return is_weak(reported, others, _num_startup(config), config.prune_margin)


def is_weak(
    reported: Mapping[int, float],
    finished: Sequence[Mapping[int, float]],
    num_startup_trials: int,
    margin: float = 0.0,
) -> bool:
    """Whether the best score so far is below the median of others at this rung by more than a margin.

    Without a margin it is the rule of Optuna's median pruner.

    Args:
        reported: scores of the trial by percent of iterations done; the highest percent is the rung.
        finished: those of every complete trial; pruned ones do not set the standard.
        num_startup_trials: complete trials before any is pruned, at least 1.
        margin: in units of the score.
    """
    if len(finished) < num_startup_trials:
        return False
    rung = max(reported)
    standard = [scores[rung] for scores in finished if rung in scores]
    return bool(standard) and max(reported.values()) < statistics.median(standard) - margin


def _num_startup(config: SearchConfig) -> int:
    return max(1, config.num_startup_trials)
