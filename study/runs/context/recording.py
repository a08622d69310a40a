"""What a run leaves in the tracking store, and how each ending of a trial is recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from study.core.clock import Clock
from study.core.config import flatten
from study.core.errors import DivergedError
from study.runs.config.configure import RunConfig
from study.runs.config.counting import DataSize
from study.runs.config.resolution import oversize
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext, open_context
from study.runs.context.stores import StoreOptions, open_tracking
from study.search.optimize import Pruned
from study.tracking.base import Recorder, Tracker
from study.tracking.provenance import provenance


class _Timed:
    """A tracker or a recorder whose every method call counts as tracking, and so do those of recorders it opens."""

    def __init__(self, target: Any, clock: Clock) -> None:
        self._target = target
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return self._timed(name, value) if callable(value) else value

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._clock.part("tracking"):
                result = method(*args, **kwargs)
            return _Timed(result, self._clock) if name in {"start_run", "resume_run"} else result

        return call


def prepare(config: RunConfig, stores: StoreOptions, callback: Callback) -> tuple[RunContext, Tracker]:
    """Load the data and open the tracking store, on the context's clock; baselines wait until they are asked for."""
    callback.on_phase(f"loading {config.dataset}")
    context = open_context(config, stores.data_root)
    if warning := oversize(context.config, DataSize.of(context.splits)):
        callback.on_warning(warning)
    with context.clock.part("tracking"):
        tracker = cast(Tracker, _Timed(open_tracking(stores), context.clock))
    return context, tracker


def run_tags(config: RunConfig, kind: str, **extra: str) -> dict[str, str]:
    """Tags of every run: what it is, and the code that made it."""
    code = provenance()
    tags = {
        "study.kind": kind,
        "study.method": config.method,
        "study.dataset": config.dataset,
        "study.ipc": str(config.ipc),
        "study.budget": config.budget,
        "study.seed": str(config.seed),
        "study.digest": config.digest,
    }
    tags.update({f"study.{key.replace('_', '.')}": str(value) for key, value in code.items()})
    return {**tags, **extra}


def describe_run(recorder: Recorder, config: RunConfig, context: RunContext) -> None:
    """Record the whole configuration, the machine and the real data of a run."""
    plain = config.plain()
    space = plain.pop("space")
    params = {key: value for key, value in flatten(plain).items() if value is not None}
    params.update({f"space.{key}": str(value) for key, value in space.items()})
    params.update({f"machine.{key}": value for key, value in context.compute.describe().items()})
    recorder.log_params(params)
    log_data(recorder, context)


def log_data(recorder: Recorder, context: RunContext) -> None:
    """Record the real data of a run as its input."""
    splits = context.splits
    counts = splits.class_counts()
    profile: Mapping[str, object] = {
        "image_shape": list(splits.image_shape), "classes": list(splits.class_names),
        "train": sum(counts["train"]), "validation": sum(counts["validation"]), "test": len(splits.test),
    }  # fmt: skip
    recorder.log_dataset(splits.name, splits.fingerprint, "distillation", profile)


@contextlib.contextmanager
def recorded(
    tracker: Tracker, config: RunConfig, name: str, *, kind: str, parent: str | None = None, **tags: str
) -> Iterator[Recorder]:
    """Open a run, and end it as it deserves: FINISHED, KILLED where pruned or interrupted, FAILED otherwise.

    The state that Optuna gives the trial stands in the tag ``optuna.state``, since a store has no word
    for a pruned run.
    """
    recorder = tracker.start_run(
        config.experiment_name, name, parent=parent, tags=run_tags(config, kind, **tags)
    )
    try:
        yield recorder
    except Pruned:
        recorder.set_tags({"optuna.state": "PRUNED"})
        recorder.finish("KILLED")
        raise
    except DivergedError as error:
        recorder.set_tags({"optuna.state": "FAIL", "study.error": str(error)})
        recorder.finish("FAILED")
        raise
    except KeyboardInterrupt:
        recorder.set_tags({"optuna.state": "FAIL", "study.error": "interrupted"})
        recorder.finish("KILLED")
        raise
    except BaseException as error:
        # The store itself may be what failed; the first error is the one to show.
        with contextlib.suppress(Exception):
            recorder.set_tags({"optuna.state": "FAIL", "study.error": f"{type(error).__name__}: {error}"})
            recorder.finish("FAILED")
        raise
    recorder.set_tags({"optuna.state": "COMPLETE"})
    recorder.finish("FINISHED")
