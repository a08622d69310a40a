"""What a run tells whoever watches it; a terminal draws it, a test records it, silence is the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.core.records import Score


class Callback:
    """Hooks in the order in which a search calls them; each does nothing by default.

    Example:
        >>> import study
        >>> class Printed(study.Callback):
        ...     def on_trial_end(self, number, outcome, values):
        ...         print(number, outcome)
        >>> result = study.distill("random", budget="smoke", callback=Printed())
        0 COMPLETE
    """

    def on_phase(self, text: str) -> None:
        """A stage begins: data, baselines, trials, finalists, test, registration."""

    def on_search(self, name: str, num_trials: int, num_finished: int) -> None:
        """The search is open; on resume some trials are finished already."""

    def on_trial_start(self, number: int, params: Mapping[str, Any], num_iterations: int) -> None:
        """A trial begins with these parameters."""

    def on_work(self, what: str, done: float, total: int) -> None:
        """Long work goes on, such as decoding, experts or baselines: units done, and to do; it ends with both equal."""

    def on_iteration(self, iteration: int, losses: Mapping[str, float]) -> None:
        """The synthetic images were updated; iteration 0 is the start."""

    def on_score(self, iteration: int, score: Score) -> None:
        """A set was scored on validation, at a rung or at the end of a trial."""

    def on_random(self, score: Score) -> None:
        """Random real images beside the set that was scored last, on validation."""

    def on_trial_end(self, number: int, outcome: str, values: Mapping[str, float]) -> None:
        """A trial ended: COMPLETE, PRUNED, DIVERGED or INTERRUPTED; values by objective where it is complete."""

    def on_warning(self, text: str) -> None:
        """Something the user should know, but that stops nothing."""
