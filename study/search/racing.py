"""Whether a trial that a few networks have scored may still become a finalist, and is worth more of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def may_become_finalist(
    first: Sequence[float], finished: Sequence[Sequence[float]], num_finalists: int
) -> bool:
    """Whether the first scores of a trial come within one deviation of the last place among the finalists.

    Trials share their evaluation seeds, so the mean is compared with that of the same networks of the rival, the
    trial that now holds the last place: what luck the networks had, both had. The deviation is the rival's, over all
    of its networks, since that of a few is known too badly.

    Args:
        first: one score a network.
        finished: those of every complete trial so far, of the same networks in the same order, and of more.
        num_finalists: places.
    """
    if len(finished) < num_finalists:
        return True
    num_networks = len(first)
    by_mean = sorted((statistics.fmean(scores[:num_networks]), *scores) for scores in finished)
    bar, *rival = by_mean[-num_finalists]
    deviation = statistics.stdev(rival) if len(rival) > 1 else 0.0
    return statistics.fmean(first) + deviation >= bar
