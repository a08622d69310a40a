"""The leakage check of a set against the real images it was made from, as a manifest records it."""

from __future__ import annotations

from study.core.records import SyntheticSet
from study.core.seeding import Generators
from study.evaluation.leakage import LeakageReport, check_leakage
from study.runs.context.run_context import RunContext
from study.sets.manifest import LeakageRecord

__all__ = ["leakage_record", "leakage_report"]

SEED = 0
"""Of the feature network and the reference images: one for all sets, so that verdicts compare."""


def leakage_report(context: RunContext, synthetic: SyntheticSet) -> LeakageReport:
    """Distances of every synthetic image to the training images of a context."""
    return check_leakage(synthetic, context.train, context.compute, Generators(SEED, context.compute.device))


def leakage_record(context: RunContext, synthetic: SyntheticSet) -> LeakageRecord:
    """The counts and distances of :func:`leakage_report`, for a manifest."""
    return LeakageRecord.model_validate(leakage_report(context, synthetic).plain())
