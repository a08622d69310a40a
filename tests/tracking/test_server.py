from __future__ import annotations

import contextlib
import os
import socket
import time
import urllib.request

import pytest

from study.core.errors import ConfigError, TrackingError
from study.tracking.open import open_tracker
from study.tracking.server import BLOCKED_PORTS, choose_port, serve, start_server
from study.tracking.stores import StoreLocation, locate

HOST = "127.0.0.1"


@contextlib.contextmanager
def occupied():
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_free_port_is_taken_as_asked():
    with occupied() as port:
        pass
    assert choose_port(HOST, port) == port


def test_a_taken_port_is_refused():
    with occupied() as port, pytest.raises(ConfigError, match=f"{port} is taken"):
        choose_port(HOST, port)


@pytest.mark.parametrize("port", [5060, 6000, 10080])
def test_ports_that_browsers_block_are_refused(port):
    assert port in BLOCKED_PORTS
    with pytest.raises(ConfigError, match="browsers refuse"):
        choose_port(HOST, port)


@pytest.mark.parametrize("port", [0, 80, 70000])
def test_ports_out_of_range(port):
    with pytest.raises(ConfigError, match="1024"):
        choose_port(HOST, port)


def test_the_default_port_gives_way(monkeypatch):
    with occupied() as port:
        monkeypatch.setattr("study.tracking.server.DEFAULT_PORT", port)
        chosen = choose_port(HOST, None)
    assert port < chosen < port + 100
    assert chosen not in BLOCKED_PORTS


def test_the_default_port_skips_blocked_ones(monkeypatch):
    monkeypatch.setattr("study.tracking.server.DEFAULT_PORT", 5060)
    assert choose_port(HOST, None) not in {5060, 5061}


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_a_host_that_is_not_this_machine(host):
    with pytest.raises(ConfigError, match="no address of this machine"):
        choose_port(host, 5000)


def test_a_server_that_cannot_start_tells_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr("study.tracking.server.START_SECONDS", 60)
    with occupied() as port:
        pass
    with pytest.raises(TrackingError, match="ended with code"):
        start_server(StoreLocation("nosuch://database"), HOST, port)


def test_it_serves_the_store_and_is_gone_afterwards(store_root):
    location = locate(None, store_root)
    run = open_tracker(None, store_root).start_run("digits-ipc1", "trial-0", tags={"t": "x"})
    run.log_text("hello", "a.txt")
    run.finish()
    with serve(location, HOST) as server:
        with urllib.request.urlopen(f"{server.address}/health", timeout=5) as answer:
            assert answer.status == 200
        over_http = open_tracker(server.address)
        (found,) = over_http.find_runs("digits-ipc1", {"t": "x"})
        assert found.run_id == run.run_id
        assert over_http.links("digits-ipc1")["runs"].startswith(server.address)
        group = server.process.pid
    assert server.process.returncode is not None
    assert not server.log.exists()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("a process of the server is left")
