"""Commands against an ``mlflow server`` that keeps the files itself: what it prints next works as printed."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study.cli.app import app
from study.sets.files import read_set

SECONDS = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with proxied artifacts."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/server.db", "--serve-artifacts",
        "--artifacts-destination", str(folder / "files"),
    ]  # fmt: skip
    with (folder / "log").open("w") as log, subprocess.Popen(
        command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:  # fmt: skip
        try:
            _wait(address, process, folder / "log")
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server does not answer: {log.read_text()[-500:]}")


def run(words: str) -> str:
    result = CliRunner().invoke(app, shlex.split(words))
    assert result.exit_code == 0, result.output
    return result.stdout


def printed(output: str) -> list[str]:
    """Commands that a person is told to go on with."""
    lines = (line.strip().removeprefix("Next: ") for line in output.splitlines())
    return [line.removeprefix("study ") for line in lines if line.startswith("study ")]


def test_every_next_command_works_as_printed(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = run(f"distill --method random --dataset digits --budget smoke --tracking-uri {server}")
    commands = printed(made)
    assert [words.split()[0] for words in commands] == ["ui", "sets", "evaluate"]
    assert server in run(commands[0])
    assert f"--tracking-uri {server}" in commands[1]
    run(commands[1])
    assert read_set(tmp_path / "digits-random-ipc1").synthetic.ipc == 1
    run(f"{commands[2]} --seeds 1 --pool none --no-full-data")
    (again,) = printed(run(f"sets list --tracking-uri {server}"))
    run(f"{again} --output second")
    assert len(read_set(tmp_path / "second")) == 10
    assert not (tmp_path / "mlruns").exists()


def test_sets_are_exported_promoted_verified_and_deleted_there(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        run(f"distill -m random -d digits --ipc 2 --budget smoke --seed {seed} --tracking-uri {server}")
    name, where = "digits-random-ipc2", f"--tracking-uri {server}"
    run(f"sets export {name}@best --format npz --output exported {where}")
    assert (tmp_path / "exported" / "data.npz").is_file()
    listed = run(f"sets list {name} {where}")
    other = "2" if f"{name}/1 │ best" in listed else "1"
    run(f"sets promote {name}/{other} --force --reason 'an example' {where}")
    assert "an example" in run(f"sets show {name}@best {where}")
    assert "2 of 2 sets are whole" in run(f"sets verify {name}/1 {name}/2 {where}")
    gone = "1" if other == "2" else "2"
    assert "its files too" in run(f"sets delete {name}/{gone} --yes {where}")
    assert f"{name}/{gone}" not in run(f"sets list {where}")
