"""Writing into one MLflow run by its explicit id; numbers are buffered, never the global active run."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.tracking.base import RunStatus
from study.tracking.stores import translated

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

FLUSH_SECONDS = 5.0
"""Numbers reach the store at most this long after they were logged, as long as more follow."""
MAX_METRICS = 1000
MAX_PARAMS = 100
DIGEST_LENGTH = 12
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000


class MlflowRecorder:
    """A :class:`study.tracking.base.Recorder` on an ``MlflowClient``; safe to use from several threads."""

    def __init__(self, client: Any, run_id: str, shown: str) -> None:
        """Attach an ``MlflowClient`` to a run that exists; ``shown`` is the store's URI for messages."""
        self.run_id = run_id
        self._client = client
        self._shown = shown
        self._metrics: list[Any] = []
        self._flushed = time.monotonic()
        self._lock = threading.Lock()
        self._open = True

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record plain values; long ones are shortened to what the store takes."""
        from mlflow.entities import Param

        self._send(params=[Param(key, shorten(value, MAX_PARAM_LENGTH)) for key, value in params.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record numbers at an iteration."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._lock:
            self._metrics += [Metric(key, float(value), now, step) for key, value in metrics.items()]
            due = len(self._metrics) >= MAX_METRICS or time.monotonic() - self._flushed >= FLUSH_SECONDS
        if due:
            self.flush()

    def flush(self) -> None:
        """Send what is buffered."""
        with self._lock:
            pending, self._metrics = self._metrics, []
            self._flushed = time.monotonic()
        with translated(self._shown):
            try:
                while pending:
                    self._client.log_batch(self.run_id, metrics=pending[:MAX_METRICS])
                    pending = pending[MAX_METRICS:]
            finally:
                # What a lost server did not take is offered again at the next flush.
                with self._lock:
                    self._metrics = pending + self._metrics

    def log_image(self, image: Image, key: str, step: int) -> None:
        """Record a picture under a key, so that the UI shows it with a step slider."""
        with translated(self._shown):
            self._client.log_image(self.run_id, image, key=key, step=step)

    def log_figure(self, figure: Figure | Image, name: str, dpi: int = 120) -> None:
        """Store a drawing or a picture as an artifact file of that name; ``dpi`` holds for drawings."""
        with translated(self._shown):
            if hasattr(figure, "savefig"):
                self._client.log_figure(self.run_id, figure, name, save_kwargs={"dpi": dpi})
            else:
                self._client.log_image(self.run_id, figure, artifact_file=name)

    def log_file(self, path: Path, folder: str = "") -> None:
        """Store a file in an artifact folder, or all that a folder holds, by default under the name it has."""
        with translated(self._shown):
            if path.is_dir():
                self._client.log_artifacts(self.run_id, str(path), folder or path.name)
            else:
                self._client.log_artifact(self.run_id, str(path), folder or None)

    def log_text(self, text: str, name: str) -> None:
        """Store text as an artifact file of that name."""
        with translated(self._shown):
            self._client.log_text(self.run_id, text, name)

    def log_table(self, rows: list[dict[str, object]], name: str) -> None:
        """Store rows as a table that the UI renders; a table of that name is replaced."""
        # The client's own log_table appends to what is there, and needs pandas for what is two lines here.
        with translated(self._shown):
            self._client.log_text(self.run_id, table_text(rows), name)
            entry = {"path": name, "type": "table"}
            run = self._client.get_run(self.run_id)
            known = json.loads(run.data.tags.get("mlflow.loggedArtifacts", "[]"))
            if entry not in known:
                self._client.set_tag(self.run_id, "mlflow.loggedArtifacts", json.dumps([*known, entry]))

    def log_dataset(self, name: str, digest: str, context: str, profile: Mapping[str, object]) -> None:
        """Record a real dataset as an input of the run."""
        with translated(self._shown):
            from mlflow.entities import Dataset, DatasetInput, InputTag

            dataset = Dataset(
                name=name,
                # The runs table shows it whole in every row; so much of a SHA-256 still tells datasets apart.
                digest=digest[:DIGEST_LENGTH],
                source_type="local",
                source=json.dumps({"uri": name}),
                schema=None,
                profile=json.dumps(dict(profile), default=str),
            )
            tag = InputTag("mlflow.data.context", context)
            self._client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        from mlflow.entities import RunTag

        self._send(tags=[RunTag(key, shorten(value, MAX_TAG_LENGTH)) for key, value in tags.items()])

    def _send(self, **entries: list[Any]) -> None:
        ((kind, values),) = entries.items()
        with translated(self._shown):
            for start in range(0, len(values), MAX_PARAMS):
                self._client.log_batch(self.run_id, **{kind: values[start : start + MAX_PARAMS]})

    def finish(self, status: RunStatus = "FINISHED") -> None:
        """Send what is buffered and end the run; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self.flush()
        finally:
            with translated(self._shown):
                self._client.set_terminated(self.run_id, status)


def table_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as the JSON that MLflow's UI shows as a table; an absent value is null."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    data = [[_cell(row.get(column)) for column in columns] for row in rows]
    return json.dumps({"columns": columns, "data": data}, default=str)


def _cell(value: object) -> object:
    # JSON has no word for these, and the UI shows nothing of a table that it cannot parse.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shorten(value: object, limit: int) -> str:
    """Text of a value, cut with an ellipsis where the store takes no more."""
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
