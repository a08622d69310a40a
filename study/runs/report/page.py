"""``study report``: one HTML page that needs nothing else, or a table for a paper, over any number of searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from study import __version__
from study.core.errors import ConfigError, StudyError
from study.core.files import replace_file
from study.core.templates import render
from study.core.words import percent
from study.runs.catalog.runs import select_runs
from study.runs.context.stores import StoreOptions, open_reading
from study.runs.report.drawings import GRIDS_BYTES, architecture_bars, cost_bars, picture_address
from study.runs.report.entries import Entry, read_entries
from study.runs.report.tables import CAPTION, latex_table, markdown_table, table_of

Format = Literal["html", "markdown", "latex"]
FIGURES_BYTES = 1_200_000
"""For the figures of all searches together; of more searches the best have theirs."""
LEFT_OUT = "Its figures are left out to keep this page small; they are in search.html of its run."
MOST_NAMES = 20


@dataclass(frozen=True)
class Report:
    """A finished report.

    Attributes:
        format: ``html``, ``markdown`` or ``latex``.
        text: of the page or table.
        searches: names, in the order of its rows.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke", name="baseline")
        >>> study.report(format="markdown").searches
        ('baseline',)
    """

    format: Format
    text: str
    searches: tuple[str, ...]

    def write(self, path: Path) -> int:
        """Write it, whole or not at all; gives its bytes.

        Raises:
            ConfigError: the place cannot be written.
        """
        try:
            with replace_file(path) as partial:
                partial.write_text(self.text, encoding="utf-8")
                # As readable as any other new file, which a temporary one is not.
                partial.chmod(0o644)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error
        return path.stat().st_size


def make_report(
    references: Sequence[str], stores: StoreOptions, *, experiment: str | None = None, format: Format = "html"
) -> Report:
    """A report over searches and distillations, by name, set, run id or experiment; without any over all.

    Raises:
        UnknownSetError: a reference is neither run nor search nor set.
        UnknownNameError: there is no such experiment.
        ConfigError: there is no run to report on.
    """
    tracker = open_reading(stores)
    runs = [] if tracker is None else select_runs(tracker, references, experiment)
    if tracker is None or not runs:
        raise ConfigError(
            "there is no run to report on yet; start with: study tune --method dm --dataset digits"
        )
    unique = list({run.run_id: run for run in runs}.values())
    entries = read_entries(tracker, unique)
    makers = {"html": lambda: _page(entries, stores), "markdown": lambda: markdown_table(entries),
              "latex": lambda: latex_table(entries)}  # fmt: skip
    return Report(format, makers[format](), tuple(entry.name for entry in entries))


def _page(entries: Sequence[Entry], stores: StoreOptions) -> str:
    headings, rows = table_of(entries)
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.run.experiment, []).append(entry)
    room = GRIDS_BYTES // max(1, sum(len(entry.grids) for entry in entries))
    left, sections = FIGURES_BYTES, {}
    for entry in sorted(entries, key=lambda one: -(one.scores["test"].mean or 0.0)):
        figures, note = _figures(entry, stores)
        size = sum(len(figure.svg or "") for figure in figures)
        if size > left:
            figures, note = [], LEFT_OUT
        left -= size if figures else 0
        grids = [(step, picture_address(png, room)) for step, png in entry.grids.items()]
        sections[entry.run.run_id] = {"entry": entry, "figures": figures, "figure_note": note, "grids": grids,
                                      "origin": _origin(entry), "classes": _classes(entry)}  # fmt: skip
    return render(
        Path(__file__).with_name("templates"), "report.html.j2",
        title=_title(entries), lead=[_lead(name, own) for name, own in groups.items()], headings=headings, rows=rows,
        caption=CAPTION, bars={name: architecture_bars(own) for name, own in groups.items()},
        cost=cost_bars(entries), sections=[sections[entry.run.run_id] for entry in entries], version=__version__,
    )  # fmt: skip


def _title(entries: Sequence[Entry]) -> str:
    data = sorted({entry.run.experiment for entry in entries})
    count = "1 run" if len(entries) == 1 else f"{len(entries)} runs"
    return f"{count} on {', '.join(data[:4])}{' and others' if len(data) > 4 else ''}"


def _lead(experiment: str, entries: Sequence[Entry]) -> str:
    tested = [entry for entry in entries if entry.scores["test"].mean is not None]
    if not tested:
        return f"{experiment}: no set has met the test set yet."
    best = tested[0]
    own, random = best.scores["test"], best.scores["random_test"]
    beside = (
        ""
        if random.mean is None
        else f", where random real images reach {percent(random.mean, random.std, random.n)}"
    )
    return f"{experiment}: highest on test is {best.name} with {percent(own.mean, own.std, own.n)}{beside}."


def _figures(entry: Entry, stores: StoreOptions) -> tuple[list[Any], str]:
    """Figures of a search from its storage, or why there are none."""
    if not entry.trials:
        return [], ""
    from study.search.figures import ALONE, search_figures
    from study.search.optimize import find_search

    storage = _storage(stores)
    if storage is None:
        return [], "The storage of its search is not here, so how it went is not drawn; --storage names it."
    objectives = entry.run.params.get("search.objective", "accuracy").split(",")
    try:
        return search_figures(find_search(storage, entry.name), objectives, ALONE), ""
    except StudyError as error:
        return [], f"How it went is not drawn: {error}"


def _storage(stores: StoreOptions) -> Any:
    """The search storage that was named, or the one beside the tracking store; None where there is none."""
    from study.search.storage import default_storage_url, open_storage
    from study.tracking.stores import locate

    if stores.storage:
        return open_storage(stores.storage)
    database = locate(stores.tracking_uri, stores.root).database
    roots = [stores.root, *([] if database is None else [database.parent])]
    found = next((root for root in reversed(roots) if (root / "optuna.db").is_file()), None)
    return None if found is None else open_storage(default_storage_url(found))


def _classes(entry: Entry) -> str:
    """How to read the pictures."""
    if entry.manifest is None:
        return ""
    names = entry.manifest.class_names
    shown = ", ".join(names[:MOST_NAMES]) + (
        f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    )
    each = "one image each" if entry.manifest.ipc == 1 else f"{entry.manifest.ipc} images each"
    return f"Classes in this order, row by row, {each}: {shown}."


def _origin(entry: Entry) -> dict[str, str]:
    """Where it comes from, in words; empty values are left out."""
    tags, params, manifest = entry.run.tags, entry.run.params, entry.manifest
    device = ", ".join(params[key] for key in ("machine.device", "machine.precision") if key in params)
    threads = params.get("machine.threads")
    facts = {
        "made": entry.made,
        "commit": tags.get("study.git.commit", ""),
        "versions": ", ".join(
            f"{name} {tags[key]}"
            for name, key in (("study", "study.study"), ("Python", "study.python"), ("torch", "study.torch"))
            if key in tags
        ),
        "device": device + (f", {threads} threads" if threads and device else ""),
        "platform": tags.get("study.platform", ""),
        "chosen": tags.get("study.choice", ""),
        "settings, SHA-256": tags.get("study.digest", ""),
        "real images, fingerprint": "" if manifest is None else manifest.dataset_fingerprint,
        "set": tags.get("study.set", ""),
        "set, SHA-256": "" if entry.registered is None else entry.registered.tags.get("sha256", ""),
        "run": entry.run.run_id,
    }
    return {name: value for name, value in facts.items() if value}
