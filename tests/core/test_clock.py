import threading
import time

import pytest
import torch

from study.core import clock as clock_module
from study.core.clock import PARTS, Clock, compile_seconds, cost_metrics


@pytest.fixture
def turn(monkeypatch):
    """``turn(2.0)`` lets two seconds pass, ``turn(2.0, compiling=0.5)`` with half a second of the compiler's."""
    now = {"wall": 100.0, "compiler": 7.0}

    def advance(seconds, compiling=0.0):
        now["wall"] += seconds
        now["compiler"] += compiling

    monkeypatch.setattr(time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(clock_module, "compile_seconds", lambda: now["compiler"])
    return advance


def test_parts_exclude_each_other_and_add_up(turn):
    clock = Clock()
    turn(1.0)
    with clock.part("distill"):
        turn(2.0)
        with clock.part("rungs"):
            turn(4.0)
            with clock.part("tracking"):
                turn(8.0)
            turn(16.0)
        turn(32.0)
    split = clock.split()
    assert tuple(split) == PARTS
    assert {part: seconds for part, seconds in split.items() if seconds} == {
        "distill": 34.0, "rungs": 20.0, "tracking": 8.0, "other": 1.0,
    }  # fmt: skip
    assert sum(split.values()) == 63.0


def test_a_part_ends_with_an_error(turn):
    clock = Clock()

    def fail():
        with clock.part("test"):
            turn(1.0)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    turn(2.0)
    assert (clock.split()["test"], clock.split()["other"]) == (1.0, 2.0)


def test_the_compiler_is_taken_out_of_the_part_that_called_it(turn):
    clock = Clock()
    with clock.part("scores"):
        turn(3.0, compiling=2.0)
    # Other threads compile too: more than has passed here cannot have been taken from here.
    with clock.part("cross"):
        turn(1.0, compiling=5.0)
    split = clock.split()
    assert (split["scores"], split["cross"], split["compiling"]) == (1.0, 0.0, 3.0)


def test_other_threads_do_not_count(turn):
    clock = Clock()

    def work():
        with clock.part("baselines"):
            turn(5.0)

    with clock.part("distill"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert (clock.split()["distill"], clock.split()["baselines"]) == (5.0, 0.0)


def test_time_since_and_what_is_recorded(turn):
    clock = Clock()
    turn(1.0)
    before = clock.split()
    with clock.part("start"):
        turn(2.0)
    assert cost_metrics(clock.since(before)) == {"cost/start_seconds": 2.0}
    assert cost_metrics(clock.split()) == {"cost/start_seconds": 2.0, "cost/other_seconds": 1.0}


def test_seconds_of_the_compiler_are_those_torch_counts():
    def count(frame, inputs):
        time.sleep(0.05)
        return frame.forward

    before = compile_seconds()
    compiled = torch.compile(lambda x: x.sin() + 1, backend=count)
    started = time.perf_counter()
    compiled(torch.ones(3))
    passed = time.perf_counter() - started
    assert 0.05 <= compile_seconds() - before <= passed
    after = compile_seconds()
    compiled(torch.ones(3))
    assert compile_seconds() == after
