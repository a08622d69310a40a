"""What a search or a single distillation ends with: plain records for people and for ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Outcome", "Winner"]


@dataclass(frozen=True)
class Winner:
    """The set that was registered, and the scores it has earned; accuracies are fractions.

    Attributes:
        trial: its number in the search; None for a single distillation.
        run_id: the run that holds it.
        set: registered name and version, such as ``digits-dm-ipc1/3``.
        params: searched values.
        metric: ``accuracy`` or ``balanced_accuracy``.
        n: evaluation seeds behind each mean; deviations have ddof 1.
        is_best: whether the alias ``best`` points at it now.
        note: how it compares with the holder of the alias.
        near_copies: images that lie as near to a training image as a copy would.
        objectives: what the search raises, by name, with seeds that the set was not selected on.
        cross: validation accuracy on architectures it was not distilled with, by name, with ``mean`` and
            ``worst``, as its trial measured them; empty where left out.
    """

    trial: int | None
    run_id: str
    set: str
    params: Mapping[str, Any]
    metric: str
    val_accuracy: float
    val_accuracy_std: float
    test_accuracy: float
    test_accuracy_std: float
    n: int
    start_val_accuracy: float
    relative_change: float
    sha256: str
    is_best: bool
    note: str
    near_copies: int
    objectives: Mapping[str, float]
    cross: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """Everything the last screen shows.

    Attributes:
        search: name of the search, or of the run.
        trials_finished: trials that count.
        trials: one row a trial: number, outcome, value, params, seconds, run id.
        seconds: wall time of this process.
        random: random real images at the same IPC under the same recipe.
        links: addresses in the UI.
        tracking_seconds: wall time spent on tracking, registry and figures.
        objective: what the search raises, such as ``accuracy`` or ``accuracy,cross-arch``.
        front: numbers of the trials that no other one beats in both objectives; empty where there is one only.
        finalists: the trials that were scored again: number, and the new values of the objectives by name.
        choice: how the winner was chosen from them, in words; empty without a search.
    """

    search: str
    dataset: str
    method: str
    ipc: int
    budget: str
    trials_finished: int
    trials: list[dict[str, Any]]
    seconds: float
    winner: Winner
    random: Mapping[str, float]
    links: Mapping[str, str]
    tracking_seconds: float
    objective: str
    front: tuple[int, ...] = ()
    finalists: tuple[Mapping[str, float], ...] = ()
    choice: str = ""

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return asdict(self)
