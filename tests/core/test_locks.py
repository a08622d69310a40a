from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from study.core.locks import alone, is_shared, share


def test_many_hold_and_nobody_is_alone_until_all_let_go(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    assert not is_shared(folder)
    assert not folder.exists(), "looking leaves nothing behind"
    first, second = share(folder), share(folder)
    first()
    with alone(folder) as free:
        assert not free
    second()
    assert not is_shared(folder)
    with alone(folder) as free:
        assert free


def test_nobody_begins_to_hold_while_one_is_alone(tmp_path: Path) -> None:
    releases = []
    with alone(tmp_path) as free:
        assert free
        waiting = threading.Thread(target=lambda: releases.append(share(tmp_path)))
        waiting.start()
        time.sleep(0.2)
        assert not releases
    waiting.join(timeout=10)
    assert is_shared(tmp_path)
    releases[0]()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_other_processes_are_seen_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from study.core.locks import share;"
        "release = share(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_shared(tmp_path)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert not is_shared(tmp_path)
    assert not list(tmp_path.glob("*.held"))
