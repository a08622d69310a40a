"""Which version is ``best``: the rule, what is recorded of a move, and what is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.core.errors import ConfigError, UnknownSetError
from study.runs.catalog.versions import delete_set, list_sets, promote_set
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.registration.promotion import find_holder, may_be_best
from study.tracking.base import RegisteredSet

NAME = "digits-dm-ipc1"
Register = Callable[..., RegisteredSet]


@pytest.fixture(params=["memory", "sqlite"])
def stores(request: pytest.FixtureRequest, store_root: Path, memory_uri: str) -> StoreOptions:
    return StoreOptions(root=store_root) if request.param == "sqlite" else StoreOptions(memory_uri)


@pytest.fixture
def register(stores: StoreOptions, set_factory: Callable[..., Path], tmp_path: Path) -> Register:
    folder = set_factory(tmp_path / "a-set")
    tracker = open_tracking(stores)
    run = tracker.start_run("digits-ipc1", "trial-0")

    def make(accuracy: float, alias: str | None = None, **more: str) -> RegisteredSet:
        tags = {"dataset": "digits", "val_accuracy": repr(accuracy), "fingerprint": "f", "fit": "yes", **more}
        return tracker.register_set(folder, NAME, run_id=run.run_id, tags=tags, card="", alias=alias)

    return make


def version(accuracy: float, **tags: str) -> RegisteredSet:
    every = {"dataset": "digits", "val_accuracy": repr(accuracy), "fingerprint": "f", "fit": "yes", **tags}
    return RegisteredSet(NAME, "1", (), every, "r", 0.0)


@pytest.mark.parametrize(
    ("newcomer", "holder", "allowed", "words"),
    [
        (version(0.9), None, True, "first of its name"),
        (version(0.9), version(0.8), True, "beats version 1"),
        (version(0.8), version(0.8), False, "stays best with 80.0 %"),
        (version(0.9, fit="no: too wild"), version(0.1), False, "since too wild; version 1 stays best"),
        (version(0.9, fit="no: too wild"), None, False, "no set is best"),
        (version(0.1, fingerprint="g"), version(0.9), True, "made from other data"),
        (version(0.99, fingerprint="g", dataset="folder"), version(0.1), False, "other images of your own"),
    ],
)
def test_the_rule(newcomer: RegisteredSet, holder: Any, allowed: bool, words: str) -> None:
    found, why = may_be_best(newcomer, holder)
    assert found is allowed
    assert words in why


def test_a_better_version_is_promoted_and_the_move_is_recorded(
    stores: StoreOptions, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    register(0.8, "best")
    register(0.9)
    done = promote_set(f"{NAME}/2", stores, "seen by eye")
    assert done["aliases"] == ["best"]
    assert "beats version 1" in done["rule"]
    tags = open_tracking(stores).resolve_set(f"{NAME}@best").tags
    assert (tags["promoted.by"], tags["promoted.reason"]) == ("ada", "seen by eye")
    assert (tags["promoted.before"], tags["promoted.forced"]) == ("1", "no")
    assert tags["promoted.at"].endswith("+00:00")


def test_what_the_rule_refuses_takes_force_with_a_reason(stores: StoreOptions, register: Register) -> None:
    register(0.8, "best")
    register(0.7)
    for force, reason, message in (
        (False, "", "cannot be best: version 1 stays best with 80.0 %"),
        (True, " ", "--force needs --reason"),
    ):
        with pytest.raises(ConfigError, match=message):
            promote_set(f"{NAME}/2", stores, reason, force=force)
    assert open_tracking(stores).resolve_set(f"{NAME}@best").version == "1"
    done = promote_set(f"{NAME}/2", stores, "the other one leaks", force=True)
    assert done["version"] == "2"
    assert done["tags"]["promoted.reason"] == "the other one leaks"
    assert done["tags"]["promoted.forced"].startswith("yes: version 1 stays best")
    with pytest.raises(ConfigError, match="best already"):
        promote_set(f"{NAME}@best", stores)


def test_a_version_is_deleted_with_its_files_but_not_the_best(
    stores: StoreOptions, register: Register
) -> None:
    register(0.8, "best")
    register(0.7, "candidate")
    with pytest.raises(ConfigError, match="promote another version first"):
        delete_set(NAME, stores)
    assert delete_set(f"{NAME}@candidate", stores)["versions_left"] == ["1"]
    assert [entry["version"] for entry in list_sets(stores)] == ["1"]
    with pytest.raises(UnknownSetError):
        delete_set(f"{NAME}/2", stores)
    if stores.tracking_uri is None:
        assert len(list((stores.root / "artifacts").rglob("data.safetensors"))) == 1
    assert delete_set(f"{NAME}/1", stores, force=True)["versions_left"] == []
    assert list_sets(stores) == []
    if stores.tracking_uri is None:
        assert list((stores.root / "artifacts").rglob("data.safetensors")) == []
    assert find_holder(open_tracking(stores), NAME) is None
    again = register(0.9, "best")
    assert open_tracking(stores).resolve_set(NAME).version == again.version
