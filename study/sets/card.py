"""The dataset card: what a stranger reads before using a synthetic set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.core.templates import render
from study.core.words import percent
from study.sets.manifest import Manifest, ScoreRecord

SCORE_ROWS = {
    "validation": ("this set", "validation"),
    "test": ("this set", "test"),
    "random_validation": ("random real images", "validation"),
    "random_test": ("random real images", "test"),
    "start_validation": ("its starting point", "validation"),
}
CROSS_TOTALS = {"mean": "mean of these", "worst": "worst of these"}
MAX_CLASS_NAMES = 12


def render_card(manifest: Manifest) -> str:
    """Markdown for ``README.md`` and for the registry page; depends on the manifest alone."""
    channels, height, width = manifest.image_shape
    plain_loop, study_loop = _training_loops(manifest)
    return render(
        Path(__file__).with_name("templates"), "card.md.j2", m=manifest, channels=channels, height=height,
        width=width, class_list=_class_list(manifest.class_names), score_rows=_score_rows(manifest),
        extra=sorted({name for score in manifest.scores.values() for name in score.extra}),
        cross_rows=_cross_rows(manifest), plain_loop=plain_loop, study_loop=study_loop,
        recipe=_recipe(manifest), facts=_facts(manifest), percent=_percent, numbers=_numbers,
        networks=_networks(manifest), share=percent,
    )  # fmt: skip


def _percent(mean: float, std: float | None = None) -> str:
    """As people read it everywhere, without the sign: the table says that it is percent."""
    return percent(mean, std).removesuffix(" %")


def _networks(manifest: Manifest) -> tuple[list[str], list[str]]:
    """Networks that learn more from the set than from random real images, and those that do not."""
    cross = manifest.cross
    scored: dict[str, tuple[float, float]] = {}
    own, random = manifest.scores.get("validation"), manifest.scores.get("random_validation")
    if own is not None and random is not None:
        scored[manifest.evaluation.get("model", {}).get("name", "its own")] = (own.mean, random.mean)
    if cross is not None:
        names = [name for name in cross.distilled if name not in CROSS_TOTALS and name in cross.random]
        scored.update({name: (cross.distilled[name], cross.random[name]) for name in names})
    better = [name for name, (mean, baseline) in scored.items() if mean > baseline]
    return better, [name for name in scored if name not in better]


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _class_list(names: tuple[str, ...]) -> str:
    shown = ", ".join(name.replace("|", "/") for name in names[:MAX_CLASS_NAMES])
    more = len(names) - MAX_CLASS_NAMES
    return f"{shown}, and {more} more" if more > 0 else shown


def _score_rows(manifest: Manifest) -> list[tuple[str, str, ScoreRecord]]:
    """What was trained on, what was scored on, and the score."""
    known = manifest.scores
    order = [*SCORE_ROWS, *sorted(set(known) - set(SCORE_ROWS))]
    rows = [(*SCORE_ROWS.get(key, (key, "")), known[key]) for key in order if key in known]
    if (full := manifest.full_data) is not None:
        words = f"all {full.num_images:,} training images, {full.num_epochs} epochs"
        rows += [(words, split, score) for split, score in full.scores.items()]
    return rows


def _cross_rows(manifest: Manifest) -> dict[str, str]:
    """How each architecture is called, in the order of the table: means stand last."""
    distilled = {} if manifest.cross is None else manifest.cross.distilled
    names = {name: name for name in distilled if name not in CROSS_TOTALS}
    return names | {key: words for key, words in CROSS_TOTALS.items() if key in distilled}


def _training_loops(manifest: Manifest) -> tuple[str, str]:
    """The lines that train: from the loaded tensors, and from what study loads."""
    if manifest.schedule is None:
        targets = 'data["logits"].softmax(1)' if manifest.soft_labels else 'data["labels"]'
        head = f"for _ in range({manifest.evaluation.get('num_steps') or 300}):\n"
        return (
            head + _update('data["images"]', targets),
            'images, targets = study.load(".").as_dataset().tensors\n' + head + _update("images", "targets"),
        )
    head = 'for chosen, size in zip({}, {}.tolist()):\n    optimizer.param_groups[0]["lr"] = size\n'
    name, suffix = ("logits", ".softmax(1)") if manifest.soft_labels else ("labels", "")
    return (
        head.format('data["schedule.order"]', 'data["schedule.step_sizes"]')
        + _update('data["images"][chosen]', f'data["{name}"][chosen]{suffix}'),
        'stored = study.load(".")\n'
        + head.format("stored.schedule.order", "stored.schedule.step_sizes")
        + _update("stored.images[chosen]", f"stored.{name}[chosen]{suffix}"),
    )


def _update(images: str, targets: str) -> str:
    return (
        f"    optimizer.zero_grad(); cross_entropy(network({images}), {targets}).backward(); optimizer.step()"
    )


def _recipe(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Settings by part, those of training first; what is not set is left out."""
    known = {key: value for key, value in manifest.evaluation.items() if value is not None}
    training = {key: value for key, value in known.items() if not isinstance(value, dict)}
    if manifest.step_size is not None:
        training["learned step size"] = f"{manifest.step_size:g}"
    parts = {key: value for key, value in known.items() if isinstance(value, dict)}
    every = {"training": training, **parts} if training else parts
    return {
        name: {key: value for key, value in settings.items() if value is not None}
        for name, settings in every.items()
    }


def _facts(manifest: Manifest) -> dict[str, str]:
    """Where the set comes from; empty where it is not known."""
    code = " ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))
    commit = f"at commit `{manifest.git_commit}`" if manifest.git_commit else ""
    fingerprint = manifest.dataset_fingerprint
    return {
        "method": manifest.method,
        "configuration": f"`{manifest.config_digest}`" if manifest.config_digest else "",
        "real data": manifest.dataset + (f", fingerprint `{fingerprint}`" if fingerprint else ""),
        "seeds": ", ".join(f"{name} {seed}" for name, seed in manifest.seeds.items()),
        "run": f"`{manifest.origin_run_id}`" if manifest.origin_run_id else "",
        "code": f"{code} {commit}".strip(),
    }
