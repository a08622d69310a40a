"""The dataset card: what a stranger reads before using a synthetic set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.sets.manifest import Manifest, ScheduleRecord, ScoreRecord

__all__ = ["render_card"]

SCORE_ROWS = {
    "validation": ("this set", "validation"),
    "test": ("this set", "test"),
    "random_validation": ("random real images", "validation"),
    "random_test": ("random real images", "test"),
    "start_validation": ("its starting point", "validation"),
    "start_test": ("its starting point", "test"),
}

CROSS_TOTALS = {"mean": "mean of these", "worst": "worst of these"}


def render_card(manifest: Manifest) -> str:
    """Markdown for ``README.md`` and for the registry page; depends on the manifest alone."""
    sections = [
        _title(manifest),
        _leakage(manifest),
        _scores(manifest),
        _cross(manifest),
        _usage(manifest),
        _origin(manifest),
        _licence(manifest),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _title(manifest: Manifest) -> str:
    channels, height, width = manifest.image_shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")
    labels = (
        "soft labels (`logits`) beside the class labels" if manifest.soft_labels else "hard labels (`labels`)"
    )
    return (
        f"# {manifest.name}\n\n"
        f"{manifest.num_images} synthetic images that stand in for the training set of "
        f"**{manifest.dataset}**: {manifest.ipc} for each of {len(manifest.class_names)} classes "
        f"({_class_list(manifest.class_names)}), {height} x {width} pixels in {colour}, with {labels}. "
        f"Made by the method **{manifest.method}**.\n\n"
        "![one row a class](preview.png)"
    )


def _class_list(names: tuple[str, ...]) -> str:
    shown = ", ".join(name.replace("|", "/") for name in names[:12])
    return shown if len(names) <= 12 else f"{shown}, and {len(names) - 12} more"


def _leakage(manifest: Manifest) -> str:
    found = manifest.leakage
    if found is None:
        return ""
    rule = (
        "A near copy lies no farther from a training image, in pixels or in features of a random network, than "
        f"{found.quantile:.0%} of the training images lie from their own nearest neighbour."
    )
    if not found.num_near_copies:
        return f"## Copies of real images\n\nNone of the {found.num_images} images is a near copy. {rule}"
    exact = f", {found.num_exact_copies} of them exact" if found.num_exact_copies else ""
    return (
        f"## Copies of real images\n\n**Warning: {found.num_near_copies} of {found.num_images} images are near "
        f"copies of real training images{exact}.** Where those show people or patients, so does this set. {rule}"
    )


def _scores(manifest: Manifest) -> str:
    known = manifest.scores
    if not known:
        return "## Scores\n\nNot scored yet."
    extra = sorted({name for score in known.values() for name in score.extra})
    header = ["trained on", "scored on", "metric", "mean", "std", "n", *extra]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    order = [*SCORE_ROWS, *sorted(set(known) - set(SCORE_ROWS))]
    lines += [
        _score_line(*SCORE_ROWS.get(key, (key, "")), known[key], extra) for key in order if key in known
    ]
    if (whole := manifest.full_data) is not None:
        words = f"all {whole.num_images:,} training images, {whole.num_epochs} epochs"
        lines += [_score_line(words, split, score, extra) for split, score in whole.scores.items()]
    return (
        "## Scores\n\n"
        + "\n".join(lines)
        + "\n\nAccuracies in percent: mean and sample deviation (ddof 1) over n "
        "networks trained from scratch with the recipe below. "
        + _replay_note(manifest)
        + ("All training images together have a recipe of their own. " if manifest.full_data else "")
        + "The set was chosen on validation"
        + (", and met the test images once, afterwards." if "test" in known else "; test was not opened.")
    )


def _replay_note(manifest: Manifest) -> str:
    """What has to be known about the rows of a set that brings its own steps along."""
    if manifest.schedule is None or not manifest.evaluation.get("use_schedule", True):
        return ""
    note = (
        "This set and its starting point replay their own steps, random real images follow the rest of it. "
    )
    if manifest.schedule.network_seed is not None:
        note += "The steps belong to one network, which leaves one score and no deviation. "
    return note


def _cross(manifest: Manifest) -> str:
    """The table of architectures the set was not distilled with."""
    found = manifest.cross
    if found is None:
        return ""
    names = [name for name in found.distilled if name not in CROSS_TOTALS]
    rows = {name: name for name in names} | {
        key: words for key, words in CROSS_TOTALS.items() if key in found.distilled
    }
    lines = ["| trained network | this set | random real images |", "|---|---|---|"]
    lines += [
        f"| {words} | {100 * found.distilled[key]:.2f} | "
        + (f"{100 * found.random[key]:.2f} |" if key in found.random else " |")
        for key, words in rows.items()
    ]
    own = manifest.evaluation.get("model", {}).get("name", "another network")
    return (
        "## On other architectures\n\n"
        + "\n".join(lines)
        + f"\n\nAccuracies in percent on validation, mean over n = "
        f"{found.n} networks each, with seeds of the search's own. The set was distilled with {own}."
    )


def _score_line(trained: str, split: str, score: ScoreRecord, extra: list[str]) -> str:
    cells = [
        trained,
        split,
        score.metric.replace("_", " "),
        f"{score.mean:.2%}",
        f"{score.std:.2%}",
        str(score.n),
    ]
    cells += [f"{score.extra[name]:.4f}" if name in score.extra else "" for name in extra]
    return "| " + " | ".join(cell.replace("%", "") for cell in cells) + " |"


def _usage(manifest: Manifest) -> str:
    plain, with_study = _training_loops(manifest)
    channels, height, width = manifest.image_shape
    size = f"{channels * height * width}, {len(manifest.class_names)}"
    step = manifest.step_size or manifest.evaluation.get("lr") or 0.01
    momentum = ", momentum=0.9" if manifest.schedule is None else ""
    paragraphs = f"""## Use it

Any network will do; a linear one keeps the example short:

```python
import torch
from torch.nn.functional import cross_entropy

network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear({size}))
optimizer = torch.optim.SGD(network.parameters(), lr={step:g}{momentum})
```

Load and train with plain torch and safetensors, in this folder:

```python
from safetensors.torch import load_file

data = load_file("data.safetensors")
{plain}
```

Or with study, which checks every byte first; a registered name such as `{manifest.name}@best` works as well
as a folder:

```python
import study

{with_study}
```

The images are stored **normalised**, as `float32 [n, channels, height, width]`, and not clamped.
{_space(manifest)}"""
    recipe = _recipe(manifest)
    return f"{paragraphs}\n\n{recipe}" if recipe else paragraphs


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
    logits = "logits[chosen].softmax(1)" if manifest.soft_labels else "labels[chosen]"
    tensor = logits.replace("logits", 'data["logits"]').replace("labels", 'data["labels"]')
    return (
        head.format('data["schedule.order"]', 'data["schedule.step_sizes"]')
        + _update('data["images"][chosen]', tensor),
        'stored = study.load(".")\n'
        + head.format("stored.schedule.order", "stored.schedule.step_sizes")
        + _update("stored.images[chosen]", f"stored.{logits}"),
    )


def _update(images: str, targets: str) -> str:
    return (
        f"    optimizer.zero_grad(); cross_entropy(network({images}), {targets}).backward(); optimizer.step()"
    )


def _space(manifest: Manifest) -> str:
    kind = manifest.preprocessing.get("kind")
    after = "Real images must be brought into the same space before a network trained on the set sees them: "
    if kind == "standard":
        mean, std = _numbers(manifest.preprocessing["mean"]), _numbers(manifest.preprocessing["std"])
        return (
            after
            + f"`(pixels - mean) / std` with pixels in [0, 1], mean {mean} and std {std} of each channel."
        )
    if kind == "zca":
        return after + (
            "`(pixels - zca_mean).flatten(1) @ zca_matrix` with pixels in [0, 1]; both tensors lie in "
            "`data.safetensors`. `preview.png` shows the images with the whitening undone."
        )
    return after + "they are plain pixels in [0, 1]."


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _recipe(manifest: Manifest) -> str:
    recipe = {key: value for key, value in manifest.evaluation.items() if value is not None}
    parts = {key: value for key, value in recipe.items() if isinstance(value, dict)}
    flat = {key: value for key, value in recipe.items() if key not in parts}
    if manifest.step_size is not None:
        flat["learned step size"] = f"{manifest.step_size:g}"
    lines = [_replay(manifest.schedule)] if manifest.schedule is not None else []
    lines += [_settings("training", flat)] if flat else []
    lines += [_settings(name, values) for name, values in parts.items()]
    return "Recipe it is meant for, and was scored with:\n\n" + "\n".join(lines) if lines else ""


def _replay(schedule: ScheduleRecord) -> str:
    """What a set with its own steps asks of whoever trains on it."""
    networks = (
        "networks of this architecture, freshly drawn at random"
        if schedule.network_seed is None
        else f"one network of this architecture, drawn from a CPU generator with seed {schedule.network_seed}"
    )
    return (
        f"- replay: {schedule.num_steps} plain gradient steps on {schedule.batch_size} images each, in the order of "
        "`schedule.order` and with the learning rates of `schedule.step_sizes`, without momentum, weight decay "
        f"or augmentation. They were learned for {networks}; shuffled or longer training on the images gives much "
        "less. Where `use_schedule` holds, what follows is for sets without such steps"
    )


def _settings(name: str, values: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)
    return f"- {name.replace('_', ' ')}: {shown}".replace("_", " ")


def _origin(manifest: Manifest) -> str:
    code = " ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))
    facts = {
        "method": manifest.method,
        "configuration": f"`{manifest.config_digest}`" if manifest.config_digest else "",
        "real data": manifest.dataset
        + (f", fingerprint `{manifest.dataset_fingerprint}`" if manifest.dataset_fingerprint else ""),
        "seeds": ", ".join(f"{name} {seed}" for name, seed in manifest.seeds.items()),
        "run": f"`{manifest.origin_run_id}`" if manifest.origin_run_id else "",
        "code": f"{code} {f'at commit `{manifest.git_commit}`' if manifest.git_commit else ''}".strip(),
    }
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    return (
        "## Where it comes from\n\n"
        + "\n".join(lines)
        + "\n\n`manifest.json` holds the whole configuration and the SHA-256 of every file."
    )


def _licence(manifest: Manifest) -> str:
    terms = manifest.dataset_licence or f"see the source of {manifest.dataset}"
    return (
        "## Licence\n\nThe images are derived from real ones, so the terms of the source data go on to hold: "
        f"{terms}."
    )
