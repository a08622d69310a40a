from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from study.core.errors import TrackingError
from study.tracking.open import open_tracker
from study.tracking.stores import connect, locate


@pytest.fixture(autouse=True)
def no_address_of_the_user(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_default_is_one_file_below_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    location = locate(None, Path("mlruns"))
    assert location.uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert location.artifacts == tmp_path / "mlruns" / "artifacts"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("sqlite:////abs/x.db", "/abs/x.db"),
        ("sqlite:///rel/x.db", "{cwd}/rel/x.db"),
        ("results", "{cwd}/results/mlflow.db"),
        ("/abs/results", "/abs/results/mlflow.db"),
        ("http://host:5000/", None),
        ("postgresql://u:p@h/db", None),
    ],
)
def test_what_a_uri_means(uri, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    location = locate(uri, Path("mlruns"))
    expected = None if database is None else Path(database.format(cwd=tmp_path))
    assert location.database == expected
    assert location.is_server == uri.startswith("http")


def test_the_environment_is_asked_before_the_default_and_after_the_option(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    assert locate(None, Path("mlruns")).uri == "http://lab:5000"
    assert locate("http://mine:5000", Path("mlruns")).uri == "http://mine:5000"


def test_a_password_is_never_shown():
    location = locate("postgresql://ana:s3cret@h:5432/db", Path("mlruns"))
    assert "s3cret" in location.uri
    assert location.shown == "postgresql://ana:***@h:5432/db"


def test_the_retired_file_store_is_explained():
    with pytest.raises(TrackingError, match="retired"):
        locate("file:./mlruns", Path("mlruns"))


def test_a_server_that_does_not_answer_is_told_at_once():
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9: does not answer") as caught:
        open_tracker("http://127.0.0.1:9")
    assert time.monotonic() - started < 10
    assert "\n" not in str(caught.value)
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_server_that_is_no_mlflow_server(tmp_path):
    command = [
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "0",
        "--bind",
        "127.0.0.1",
        "--directory",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            port = process.stdout.readline().split("port ")[1].split()[0]
            with pytest.raises(TrackingError, match=f"127.0.0.1:{port}"):
                open_tracker(f"http://127.0.0.1:{port}")
        finally:
            process.kill()


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "mlruns").write_text("")
    with pytest.raises(TrackingError, match=f"cannot write to {tmp_path}/mlruns"):
        open_tracker(None, tmp_path / "mlruns")
    with pytest.raises(TrackingError, match="cannot write"):
        open_tracker(None, tmp_path / "mlruns" / "deeper")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_that_is_read_only(tmp_path):
    (tmp_path / "mlruns").mkdir(mode=0o555)
    with pytest.raises(TrackingError, match=f"cannot write to {tmp_path}/mlruns"):
        open_tracker(None, tmp_path / "mlruns")


def test_a_folder_that_refuses_new_files():
    # The kernel refuses here whoever asks, also root.
    with pytest.raises(TrackingError, match="cannot write to /proc"):
        open_tracker(None, Path("/proc"))


def test_a_folder_in_the_place_of_the_database(tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(TrackingError, match="is not a file"):
        open_tracker(None, tmp_path)


def test_a_corrupt_database_is_not_touched(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"this is no database at all" * 100)
    started = time.monotonic()
    with pytest.raises(TrackingError, match="cannot be read as an SQLite database"):
        open_tracker(None, tmp_path)
    assert time.monotonic() - started < 5
    assert path.read_bytes() == b"this is no database at all" * 100


@pytest.mark.parametrize(("table", "owner"), [("studies", "Optuna"), ("bookmarks", "another program")])
def test_a_foreign_database_gets_no_tables(tmp_path, table, owner):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {table} (x)")
        connection.commit()
    with pytest.raises(TrackingError, match=owner):
        open_tracker(None, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    assert tables == [table]


def test_a_schema_of_another_mlflow_says_how_to_upgrade(store_root):
    with closing(sqlite3.connect(store_root / "mlflow.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '000000000000'")
        connection.commit()
    with pytest.raises(TrackingError, match="upgrade"):
        open_tracker(None, store_root)


def test_reading_does_not_make_a_store(tmp_path):
    with pytest.raises(TrackingError, match="no tracking store"):
        open_tracker(None, tmp_path / "mlruns", create=False)
    assert list(tmp_path.iterdir()) == []


def test_the_store_is_in_wal_mode(store_root):
    with closing(sqlite3.connect(store_root / "mlflow.db")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connect(locate(None, store_root))
    with closing(sqlite3.connect(store_root / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


OPEN = """
import os, sys
from pathlib import Path
from study.tracking.open import open_tracker
tracker = open_tracker(None, Path(sys.argv[1]))
run = tracker.start_run("digits-ipc1", f"r{os.getpid()}")
run.log_metrics({"a": 1.0})
run.finish()
import mlflow
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
"""


def test_two_processes_can_open_an_empty_store_at_once(tmp_path):
    command = [sys.executable, "-c", OPEN, str(tmp_path / "mlruns")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output, errors) == (0, "", "")
    tracker = open_tracker(None, tmp_path / "mlruns")
    assert [run.status for run in tracker.find_runs("digits-ipc1")] == ["FINISHED", "FINISHED"]


def test_importing_the_package_imports_no_mlflow():
    code = "import sys, study.tracking.open, study.runs.catalog.sets; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def half_made(database, statements):
    """What a kill leaves: the first tables of MLflow's migrations, and not the rest."""
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

    engine = create_sqlalchemy_engine(f"sqlite:///{database}")
    InitialBase.metadata.create_all(engine)
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    "statements",
    [
        (),
        # A migration adds its column before it notes that it did.
        ("ALTER TABLE metrics ADD COLUMN step BIGINT DEFAULT 0 NOT NULL",),
    ],
)
def test_a_store_that_was_left_half_made_is_made_anew(statements, tmp_path):
    (tmp_path / "mlruns").mkdir()
    half_made(tmp_path / "mlruns" / "mlflow.db", statements)
    run = open_tracker(None, tmp_path / "mlruns").start_run("digits-ipc1", "r")
    run.finish()
    assert [one.status for one in open_tracker(None, tmp_path / "mlruns").find_runs("digits-ipc1")] == [
        "FINISHED"
    ]


def test_an_old_store_that_holds_something_is_never_replaced(tmp_path):
    (tmp_path / "mlruns").mkdir()
    database = tmp_path / "mlruns" / "mlflow.db"
    row = "INSERT INTO experiments (experiment_id, name) VALUES (7, 'mine')"
    half_made(database, [row])
    open_tracker(None, tmp_path / "mlruns")
    with closing(sqlite3.connect(database)) as connection:
        assert ("mine",) in connection.execute("SELECT name FROM experiments").fetchall()


def test_what_an_interrupted_making_left_is_cleared_away(tmp_path):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db.new").write_bytes(b"half")
    (tmp_path / "mlruns" / "mlflow.db.new-journal").write_bytes(b"half")
    process = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path / "mlruns")], check=False, capture_output=True, text=True
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert not list((tmp_path / "mlruns").glob("*.new*"))


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_store_that_can_be_opened(tmp_path):
    command = [sys.executable, "-c", OPEN]
    started = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    whole = time.monotonic() - started
    for turn in range(20):
        root = str(tmp_path / f"killed-{turn}")
        process = subprocess.Popen([*command, root], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole * (turn + 1) / 21)
        process.kill()
        process.wait()
        again = subprocess.run([*command, root], check=False, capture_output=True, text=True)
        assert (again.returncode, again.stderr) == (0, ""), f"killed after {turn + 1} of 21 parts"
