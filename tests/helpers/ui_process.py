"""Starts ``study ui`` as a user does, and stops it with Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def ui_process(folder: Path, *words: str) -> Iterator[dict[str, Any]]:
    """What it prints with ``--json``; at the end of the block it is stopped and has to have ended cleanly."""
    command = [sys.executable, "-c", "from study.cli.app import main; main()", "ui", *words, "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Whoever runs the tests in the background may have had Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            lines: list[str] = []
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if line == "}\n":
                    break
            yield json.loads("".join(lines))
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, output) == (0, "")
    assert errors.splitlines()[-1] == "Stopped."
