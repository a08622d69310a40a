"""The protocol that adds noise: curves of a set, of one that started elsewhere, and of random real images."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from study.core.config import flatten
from study.core.records import Score
from study.data.mhist import NUM_ANNOTATORS
from study.evaluation.robustness import NOISE_LEVELS, NoiseTest
from study.runs.config.configure import Request, RunConfig, configure
from study.runs.context.stored_set import stored_config
from study.runs.protocol_pictures import draw_curves
from study.runs.protocol_session import BESIDE, DISTILLED, RANDOM, Findings, Session
from study.sets.files import StoredSet

__all__ = ["measure_noise", "twin_command"]

START = "distill.init"
KEYS = {DISTILLED: "distilled", BESIDE: "beside", RANDOM: "random"}
"""A metric's part for a curve's name."""

Curves = Mapping[str, Mapping[str, list[Score]]]


def measure_noise(session: Session) -> Findings:
    """Curves over noise on the synthetic images and on the real ones, random real images beside."""
    unit = float(session.context.train.images.std())
    curves = _curves(session, unit)
    labels = _labels(session)
    rows = [
        {"noise_on": where.removeprefix("on "), "trained_on": labels[name], "level": level,
         "accuracy": score.mean, "std": score.std, "n": score.n, **_by_agreement(score)}
        for where, by_name in curves.items()
        for name, scores in by_name.items()
        for level, score in zip(NOISE_LEVELS, scores, strict=True)
    ]  # fmt: skip
    points = {
        f"noise/{where.split()[1]}/{KEYS[name]}": [
            (round(100 * level), score.mean) for level, score in zip(NOISE_LEVELS, scores, strict=True)
        ]
        for where, by_name in curves.items()
        for name, scores in by_name.items()
    }
    figure = draw_curves(
        {f"noise {where}": by_name for where, by_name in curves.items()}, NOISE_LEVELS,
        xlabel="deviation of the noise / deviation of real images",
        ylabel=curves["on real images"][DISTILLED][0].metric.replace("_", " "),
        title=f"{session.stored.manifest.name} under Gaussian noise", labels=labels,
    )  # fmt: skip
    return Findings(_means(curves), rows, points, {"noise.png": figure}, _notes(session, unit))


def _by_agreement(score: Score) -> dict[str, float]:
    return {key: mean for key, mean in score.extra_means().items() if "agreement" in key}


def _curves(session: Session, unit: float) -> dict[str, dict[str, list[Score]]]:
    sets = {DISTILLED: [session.synthetic]}
    if session.beside is not None:
        sets[BESIDE] = [session.beside.synthetic.to(session.context.compute.device)]
    sets[RANDOM] = session.random_sets()
    curves: dict[str, dict[str, list[Score]]] = {"on training images": {}, "on real images": {}}
    for name, some in sets.items():
        session.callback.on_phase(f"training {session.num_seeds * (len(NOISE_LEVELS) + 1)} networks: {name}")
        # Two sets get the same networks at the start, and the same noise on the real images.
        family = session.generators.child("curves", DISTILLED if name == BESIDE else name)
        test = NoiseTest(
            session.real(), unit, *session.common(), family, num_seeds=session.num_seeds,
            votes=session.votes(), num_annotators=NUM_ANNOTATORS,
        )  # fmt: skip
        curves["on training images"][name] = test.on_training_images(some)
        curves["on real images"][name] = test.on_real_images(some)
    return curves


def _labels(session: Session) -> dict[str, str]:
    """What table and picture call the curves: with two sets, which is which and how each started."""
    if session.beside is None:
        return {DISTILLED: DISTILLED, RANDOM: RANDOM}
    return {
        DISTILLED: f"{session.reference} (from {_start(session.stored)})",
        BESIDE: f"{session.options.beside} (from {_start(session.beside)})",
        RANDOM: RANDOM,
    }


def _start(stored: StoredSet) -> str:
    return str(flatten(stored.manifest.config).get(START))


def _means(curves: Curves) -> dict[str, float]:
    """Mean over the levels above 0 of each curve."""
    return {
        f"noise/{where.split()[1]}_{KEYS[name]}_mean": sum(s.mean for s in scores[1:]) / (len(scores) - 1)
        for where, by_name in curves.items()
        for name, scores in by_name.items()
    }


def _notes(session: Session, unit: float) -> list[str]:
    notes = [f"level 1 is the deviation of the real training images, {unit:.3f} in normalised space"]
    start = _start(session.stored)
    if session.beside is None:
        other = "noise" if start != "noise" else "real"
        twin = twin_command(stored_config(session.stored, {}), {START: other})
        return [
            *notes,
            f"{START} = {start}; to draw a twin with {START} = {other} in the same picture, make it and name it "
            "with --beside:",
            twin,
        ]
    differing = _differences(session.stored, session.beside)
    return [*notes, f"settings that differ: {'; '.join(differing) or 'none'}"]


def _differences(stored: StoredSet, beside: StoredSet) -> list[str]:
    """Settings of the distillation that two sets do not share, in words."""
    first, second = (
        {"method": one.manifest.method, **flatten({"distill": one.manifest.config.get("distill", {})})}
        for one in (stored, beside)
    )
    return [
        f"{key} = {first.get(key)} and {second.get(key)}"
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    ]


def twin_command(config: RunConfig, changes: Mapping[str, Any]) -> str:
    """The `study distill` that makes a set again with some settings changed.

    Args:
        config: of the set.
        changes: dotted keys with their new values.
    """
    request = Request(
        config.method, config.dataset, config.ipc, config.budget, config.seed, variant=config.variant
    )
    usual, wanted = (_settings(one) for one in (configure(request), config))
    settings = {key: value for key, value in {**wanted, **changes}.items() if usual.get(key) != value}
    words = ["study", "distill", "--method", config.method, "--dataset", config.dataset,
             "--ipc", str(config.ipc), "--budget", config.budget]  # fmt: skip
    words += ["--seed", str(config.seed)] if config.seed else []
    words += ["--variant", config.variant] if config.variant is not None else []
    for key, value in settings.items():
        words += ["--set", f"{key}={_text(value)}"]
    return shlex.join(words)


def _text(value: Any) -> str:
    """A value as --set reads it."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def _settings(config: RunConfig) -> dict[str, Any]:
    """What decides the images and their recipe, by dotted key."""
    plain = config.plain()
    return flatten({part: plain[part] for part in ("data", "model", "distill", "evaluation")})
