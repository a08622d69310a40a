"""One frozen configuration from recipes, budget and overrides; everything a run depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, SerializeAsAny

from study.core.config import Frozen, build, digest, flatten, merge, set_path
from study.core.device import ComputeConfig
from study.core.errors import ConfigError, unknown_name
from study.core.spaces import Parameter, describe, read_space
from study.data.datasets import find_dataset
from study.data.splits import DataConfig
from study.evaluation.recipes import EvaluationConfig
from study.methods.base import MethodConfig, find_method
from study.models.pool import MODELS, ModelConfig
from study.runs.config.recipes import DEFAULT, OF_BUDGET, Layer, read_layers
from study.runs.config.work import SIZED, WorkConfig
from study.search.config import SearchConfig

HEAD = ("method", "dataset", "ipc", "budget", "variant", "seed")
LAYER_WEIGHTS = "distill.layer_weights.*"


class RunConfig(Frozen):
    """Everything that decides what a run computes."""

    method: str
    dataset: str
    ipc: int = Field(ge=1)
    """Synthetic images per class."""
    budget: str
    variant: str | None = None
    """Name of the recipes' variant, for the record; its values stand below."""
    seed: int = Field(0, ge=0)
    """Root of every random number."""
    data: DataConfig
    model: ModelConfig
    distill: SerializeAsAny[MethodConfig]
    evaluation: EvaluationConfig
    search: SearchConfig
    compute: ComputeConfig
    work: WorkConfig = WorkConfig()
    """Limits of the budget, and what was chosen by them."""
    space: dict[str, Parameter]

    def plain(self) -> dict[str, Any]:
        """Nested plain values, as logged and stored."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the result; how many trials, on which device, why and under which names is left out.

        A search may be extended, or finished on another machine, under the same digest.
        """
        plain = self.plain()
        plain["search"].pop("num_trials")
        plain.pop("compute")
        plain.pop("work")
        plain.pop("variant")
        plain["data"].pop("name")
        return digest(plain)

    @property
    def data_name(self) -> str:
        """Name of the real images: the dataset's, or the one that the user's own have."""
        return self.data.name or self.dataset

    @property
    def experiment_name(self) -> str:
        """One experiment for each dataset and IPC, so that methods meet in one table."""
        return f"{self.data_name}-ipc{self.ipc}{self._size}"

    @property
    def set_name(self) -> str:
        """Registry name of the sets this makes, such as ``digits-dm-ipc1``."""
        return f"{self.data_name}-{self.method}-ipc{self.ipc}{self._size}"

    @property
    def _size(self) -> str:
        # Scores at another resolution answer another question, so they get a name of their own.
        resolution, native = self.data.resolution, find_dataset(self.dataset).resolution
        return f"-{resolution}px" if resolution is not None and resolution != native else ""

    def with_params(self, params: Mapping[str, Any]) -> RunConfig:
        """The configuration of one trial.

        Raises:
            ConfigError: a key is no setting, or its value is out of range.
        """
        tree = self.plain()
        for dotted, value in params.items():
            tree = set_path(tree, dotted, value)
        return restore(tree)

    def first_trial(self, unchecked: Iterable[str] = ()) -> dict[str, Any]:
        """The configuration's own value of every searched parameter, which a search tries first.

        ``smoke`` runs in seconds because its method does less than is worth searching: what its own sizes put
        below their range is left to the sampler.

        Raises:
            ConfigError: a value lies outside its range, in none of the keys ``unchecked``.
        """
        flat, values = flatten(self.plain()), {}
        tiny = flatten({"distill": find_method(self.method).smoke}) if self.budget == "smoke" else {}
        for key, parameter in self.space.items():
            value = flat[key]
            if parameter.contains(value):
                values[key] = value
            elif key not in unchecked and (key not in tiny or tiny[key] != value):
                raise ConfigError(
                    f"{key} = {value}: lies outside its search range ({describe(parameter)}), but a search tries the "
                    f"configuration's own values first; change one by --set {key}=VALUE or --space {key}=RANGE"
                )
        return values


@dataclass(frozen=True)
class Request:
    """What the user asked for, before recipes are read.

    Attributes:
        overrides: nested values laid over everything else.
        space: parameters added to the method's search space, or None to take one out.
        recipe: a recipe file in place of the one of this method on this dataset.
        variant: named variant of the recipes.
    """

    method: str
    dataset: str = "digits"
    ipc: int = 1
    budget: str = "quick"
    seed: int = 0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Parameter | None] = field(default_factory=dict)
    recipe: Path | None = None
    variant: str | None = None


def configure(request: Request) -> RunConfig:
    """Resolve a request, such as ``Request("dm", "digits", ipc=10)``: the code's defaults below :func:`request_layers`.

    A searched key ``distill.layer_weights.*`` becomes one parameter for each layer of the network.

    Raises:
        ConfigError: an unknown name or key (with the nearest match), a value out of range, or a recipe whose own
            value a search could not try.
    """
    find_dataset(request.dataset)
    tree: dict[str, Any] = {}
    space: dict[str, Any] = dict(find_method(request.method).space)
    layers = request_layers(request)
    for layer in layers:
        values = dict(layer.values)
        space.update(read_space(values.pop("space", {})))
        tree = merge(tree, values)
    for key, parameter in request.space.items():
        if parameter is None and key not in space:
            raise unknown_name("searched parameter", key, space)
        space[key] = parameter
    tree = {**_without_defaults(tree), **{key: getattr(request, key) for key in HEAD}}
    searched = {key: parameter for key, parameter in space.items() if parameter is not None}
    asked = {*flatten(request.overrides), *request.space}
    if (weight := searched.pop(LAYER_WEIGHTS, None)) is not None:
        weights = _raw_layer_weights(_assemble(tree, {}))
        tree = merge(tree, {"distill": {"layer_weights": weights}})
        single = {LAYER_WEIGHTS.replace("*", layer): weight for layer in weights}
        searched.update(single)
        asked |= single.keys() if LAYER_WEIGHTS in request.space else set()
    tree = merge(tree, {"work": {"open": _left_open(layers)}})
    config = _assemble(tree, searched)
    _check_space(config)
    # What the user sets may lie anywhere where nothing is searched; a search checks it as well.
    config.first_trial(unchecked=asked)
    return config


def request_layers(request: Request) -> list[Layer]:
    """What recipes say (:func:`~study.runs.config.recipes.read_layers`), and above it what the user sets."""
    for key in (*HEAD, "space"):
        if key in request.overrides:
            raise ConfigError(f"--set {key}: use --{key}")
    layers = read_layers(
        request.method, request.dataset, request.budget, request.ipc, request.variant, request.recipe
    )
    return [*layers, Layer("--set", request.overrides)]


def _left_open(layers: Iterable[Layer]) -> list[str]:
    """Settings that no recipe of a method or dataset states, nor the user: the budget may choose them."""
    stated: set[str] = set()
    for layer in layers:
        if layer.origin.startswith(OF_BUDGET):
            continue
        flat = flatten(layer.values)
        stated = {key for key in stated | flat.keys() if flat.get(key) != DEFAULT}
    return [key for key in SIZED if key not in stated]


def _without_defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_defaults(value) if isinstance(value, Mapping) else value
        for key, value in tree.items()
        if value != DEFAULT
    }


def restore(plain: Mapping[str, Any]) -> RunConfig:
    """Rebuild a configuration from what :meth:`RunConfig.plain` gave."""
    return _assemble(plain, read_space(plain.get("space", {})))


def _assemble(tree: Mapping[str, Any], space: Mapping[str, Parameter]) -> RunConfig:
    for key in tree:
        if key not in RunConfig.model_fields:
            raise unknown_name("key", key, RunConfig.model_fields)
    method = find_method(str(tree["method"]))
    sections: dict[str, type[Frozen]] = {
        "data": DataConfig, "model": ModelConfig, "distill": method.Config, "evaluation": EvaluationConfig,
        "search": SearchConfig, "compute": ComputeConfig, "work": WorkConfig,
    }  # fmt: skip
    parts: dict[str, Any] = {}
    for name, model in sections.items():
        values = tree.get(name, {})
        if not isinstance(values, Mapping):
            raise ConfigError(f"{name} = {values!r}: expected settings below it, such as {name}.key=value")
        parts[name] = build(model, values, name)
    if parts["data"].name is not None and not find_dataset(str(tree["dataset"])).users_own:
        raise ConfigError(
            f"data.name = {parts['data'].name!r}: dataset {tree['dataset']!r} has a name; only your own images "
            "(--dataset folder) are given one"
        )
    if parts["model"].name not in MODELS:
        raise unknown_name("model", parts["model"].name, MODELS)
    head = {key: tree[key] for key in HEAD if key in tree}
    return build(RunConfig, {**head, **parts, "space": dict(space)})


def _raw_layer_weights(config: RunConfig) -> dict[str, float]:
    """The recipe's weight of every layer; none where a single layer leaves no ratio to search.

    Nor where the network's depth is unknown before the images are: own pictures without a resolution.
    """
    spec = find_dataset(config.dataset)
    side = config.data.resolution or spec.resolution
    if side is None:
        return {}
    method = find_method(config.method)(config.distill)
    layers = method.layer_weights(config.model, (spec.channels or 3, side, side))
    raw: Mapping[str, float] = getattr(config.distill, "layer_weights", {})
    return {layer: raw.get(layer, 1.0) for layer in layers} if len(layers) > 1 else {}


def _check_space(config: RunConfig) -> None:
    flat = flatten(config.plain())
    searchable = [key for key in flat if key.startswith(("distill.", "model."))]
    for key, parameter in config.space.items():
        if key not in searchable:
            raise unknown_name("searched parameter", key, searchable)
        for value in parameter.extremes:
            config.with_params({key: value})
