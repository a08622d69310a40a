"""Strict configuration: frozen models, TOML files, dotted overrides, one digest.

Which models make up a run is decided in :mod:`study.runs`; this module only knows how any of them is
read, merged, checked and hashed.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from study.core.errors import ConfigError, unknown_name

ModelT = TypeVar("ModelT", bound=BaseModel)


class Frozen(BaseModel):
    """Base of every configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; duplicate keys and syntax errors name the file and the line."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read recipe {path}: {error.strerror}") from error


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another; tables merge, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def set_path(tree: Mapping[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Return a copy of a nested mapping with the value at ``a.b.c`` replaced."""
    nested: Any = value
    for key in reversed(dotted.split(".")):
        nested = {key: nested}
    return merge(tree, nested)


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn ``key=value`` words into a nested mapping; values are read as TOML, else as text.

    Raises:
        ConfigError: a word has no ``=`` or no key.
    """
    tree: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--set {pair!r}: expected key=value, such as distill.image_lr=0.5")
        tree = set_path(tree, key, _parse_value(text.strip()))
    return tree


def _parse_value(text: str) -> Any:
    if text.lower() in {"none", "null"}:
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def build(model: type[ModelT], values: Mapping[str, Any], where: str = "") -> ModelT:
    """Validate nested plain values into a model; the first fault becomes one readable line that begins with ``where``.

    Raises:
        ConfigError: an unknown key (with the nearest known one) or an invalid value.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _explain(model, error, where) from error


def _explain(model: type[BaseModel], error: ValidationError, where: str) -> ConfigError:
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"]]
    dotted = ".".join([where, *path] if where else path)
    if fault["type"] == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        return unknown_name(
            "key", dotted, [".".join([*dotted.split(".")[:-1], f]) for f in owner.model_fields]
        )
    if fault["type"] == "missing":
        return ConfigError(f"{dotted} is required")
    return ConfigError(f"{dotted} = {fault['input']!r}: {fault['msg'].removeprefix('Value error, ')}")


def _model_at(model: type[BaseModel], path: list[str]) -> type[BaseModel]:
    for name in path:
        field = model.model_fields.get(name)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return model


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested tables into dotted keys, as MLflow parameters want them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{dotted}."))
        else:
            flat[dotted] = value
    return flat


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a nested mapping of plain values, independent of key order."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
