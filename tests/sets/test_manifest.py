from __future__ import annotations

import json

import pytest

from study.core.errors import CorruptSetError
from study.core.records import Score
from study.sets.manifest import (
    SCHEMA_VERSION,
    FileRecord,
    Manifest,
    ScheduleRecord,
    ScoreRecord,
    parse_manifest,
)

HASH = "0" * 64


def plain(**changes):
    return {**Manifest(name="digits-dm-ipc1", dataset="digits", method="dm").plain(), **changes}


def parse(values):
    return parse_manifest(json.dumps(values), "manifest.json")


def test_round_trip_keeps_every_field():
    manifest = Manifest(
        name="x", dataset="digits", method="dm", class_names=("a", "b"), ipc=2, num_images=4,
        image_shape=(3, 8, 9), config={"distill": {"image_lr": 0.5}}, step_size=0.01, seeds={"root": 3},
        schedule=ScheduleRecord(num_steps=3, batch_size=10, network_seed=7),
        scores={"test": ScoreRecord(metric="accuracy", mean=0.8, std=0.1, n=5, extra={"auc": 0.9})},
        files={"data.safetensors": FileRecord(sha256=HASH, size=7)},
    )  # fmt: skip
    assert parse_manifest(manifest.dumps(), "manifest.json") == manifest


def test_a_manifest_from_before_schedules_is_read():
    old = plain(schema_version=1)
    del old["schedule"]
    assert parse(old).schedule is None


def test_equal_manifests_are_the_same_text():
    first = Manifest(name="x", dataset="d", method="m", seeds={"a": 1, "b": 2})
    second = Manifest(method="m", seeds={"b": 2, "a": 1}, dataset="d", name="x")
    assert first.dumps() == second.dumps()


def test_score_record_keeps_sample_deviation_and_the_means_of_further_metrics():
    record = ScoreRecord.of(Score("accuracy", (0.5, 0.7), {"auc": (0.6, 0.8)}))
    assert (record.mean, record.n) == (pytest.approx(0.6), 2)
    assert record.std == pytest.approx(0.02**0.5)
    assert record.extra == {"auc": pytest.approx(0.7)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "not JSON"),
        ("[]", "no schema_version"),
        ('{"name": "x"}', "no schema_version"),
        ('{"schema_version": true}', "no schema_version"),
        (json.dumps(plain(schema_version=SCHEMA_VERSION + 1)), "upgrade study"),
        (json.dumps(plain(schema_version=SCHEMA_VERSION + 1, field_of_the_future=1)), "upgrade study"),
        (json.dumps(plain(surprise=1)), "surprise"),
        (json.dumps(plain(ipc="many")), "ipc"),
        (json.dumps(plain(files={"a": {"sha256": "xyz", "size": 1}})), "sha256"),
    ],
)
def test_unusable_manifest_is_one_clear_line(text, message):
    with pytest.raises(CorruptSetError, match=message) as caught:
        parse_manifest(text, "sets/manifest.json")
    assert str(caught.value).startswith("sets/manifest.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "C:x", "a\0b"])
def test_file_names_cannot_leave_the_folder(name):
    with pytest.raises(CorruptSetError, match="leaves the set folder"):
        parse(plain(files={name: {"sha256": HASH, "size": 1}}))


def test_plain_file_names_pass():
    assert set(parse(plain(files={"a.b-c_d": {"sha256": HASH, "size": 1}})).files) == {"a.b-c_d"}
