"""Promotion by the rule and deletion of registered versions."""

from __future__ import annotations

import pytest

from study.core.errors import ConfigError, UnknownSetError
from study.runs.catalog.changes import delete_set, promote_set
from study.runs.context.stores import StoreOptions, open_tracking

NAME = "digits-dm-ipc1"
FIT = {"fit": "yes", "fingerprint": "f"}
VERSIONS = [
    {**FIT, "val_accuracy": "0.8"},
    {**FIT, "val_accuracy": "0.9"},
    {**FIT, "val_accuracy": "0.7"},
    {"fit": "no: its pixels are wild", "fingerprint": "f", "val_accuracy": "0.95"},
    {"fingerprint": "f", "val_accuracy": "0.95"},
]


@pytest.fixture
def stores(memory_uri, set_factory, tmp_path):
    """Five versions; the first is best."""
    folder, stores = set_factory(tmp_path / "a-set"), StoreOptions(tracking_uri=memory_uri)
    tracker = open_tracking(stores)
    run = tracker.start_run("digits-ipc1", "trial-0")
    for tags in VERSIONS:
        tracker.register_set(folder, NAME, run_id=run.run_id, tags=tags, card="")
    tracker.set_alias(NAME, "best", "1")
    return stores


def best(stores):
    return open_tracking(stores).resolve_set(f"{NAME}@best")


def test_what_beats_the_holder_becomes_best_with_its_reason(stores, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    done = promote_set(f"{NAME}/2", "for the course", False, stores)
    assert (done["set"], done["before"], done["forced"]) == (f"{NAME}/2", f"{NAME}/1", False)
    holder = best(stores)
    assert holder.version == "2"
    assert (holder.tags["promoted_reason"], holder.tags["promoted_by"]) == ("for the course", "ada")
    assert holder.tags["promoted_at"].endswith("+00:00")


def test_without_a_reason_the_rule_is_the_reason(stores):
    promote_set(f"{NAME}/2", None, False, stores)
    assert best(stores).tags["promoted_reason"].startswith("beats version 1 on validation, 80.0 %")


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("1", "is best already"),
        ("3", "version 1 stays best with 80.0 % on validation"),
        ("4", "since its pixels are wild"),
        ("5", "nobody judged"),
    ],
)
def test_what_the_rule_is_against_is_refused(stores, version, why):
    with pytest.raises(ConfigError, match=why):
        promote_set(f"{NAME}/{version}", "I like it", False, stores)
    assert best(stores).version == "1"
    assert "promoted_reason" not in open_tracking(stores).resolve_set(f"{NAME}/{version}").tags


def test_force_needs_a_reason_and_records_what_it_overruled(stores):
    for reason in (None, "", "  "):
        with pytest.raises(ConfigError, match="--force needs --reason"):
            promote_set(f"{NAME}/4", reason, True, stores)
    assert best(stores).version == "1"
    assert promote_set(f"{NAME}/4", "to show wild pixels", True, stores)["forced"]
    assert best(stores).version == "4"
    assert "its pixels are wild" in best(stores).tags["promoted_against"]


@pytest.mark.parametrize("reference", [NAME, f"{NAME}@best"])
def test_a_change_names_its_version(stores, reference):
    with pytest.raises(ConfigError, match="names no version"):
        promote_set(reference, None, False, stores)
    with pytest.raises(ConfigError, match="names no version"):
        delete_set(reference, False, False, stores)


def test_the_holder_is_deleted_by_force_alone(stores):
    with pytest.raises(ConfigError, match="is best of its name"):
        delete_set(f"{NAME}/1", False, False, stores)
    assert best(stores).version == "1"
    assert delete_set(f"{NAME}/1", True, False, stores)["deleted"]
    with pytest.raises(UnknownSetError):
        best(stores)


def test_a_dry_run_deletes_nothing(stores):
    assert not delete_set(f"{NAME}/3", False, True, stores)["deleted"]
    assert len(open_tracking(stores).list_sets(NAME)) == len(VERSIONS)
