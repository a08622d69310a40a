"""The leakage check of a set against the real images it was made from, as a manifest records it."""

from __future__ import annotations

from study.core.records import SyntheticSet
from study.core.seeding import Generators
from study.evaluation.leakage import LeakageReport, check_leakage
from study.runs.workspace import Workspace
from study.sets.manifest import LeakageRecord

__all__ = ["leakage_record", "leakage_report"]

SEED = 0
"""Of the feature network and the reference images: one for all sets, so that verdicts compare."""


def leakage_report(workspace: Workspace, synthetic: SyntheticSet) -> LeakageReport:
    """Distances of every synthetic image to the training images of a workspace."""
    return check_leakage(
        synthetic, workspace.train, workspace.compute, Generators(SEED, workspace.compute.device)
    )


def leakage_record(workspace: Workspace, synthetic: SyntheticSet) -> LeakageRecord:
    """The counts and distances of :func:`leakage_report`, for a manifest."""
    return LeakageRecord.model_validate(leakage_report(workspace, synthetic).plain())
