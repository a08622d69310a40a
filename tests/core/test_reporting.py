import threading

import pytest

from study.core.reporting import advance, listening, work


@pytest.fixture
def heard():
    told = []
    with listening(lambda what, done, total: told.append((what, done, total))):
        yield told


def test_work_is_told_of_from_start_to_end(heard):
    with work("decoding", 3):
        advance()
        advance(0.5)
    assert heard == [("decoding", 0, 3), ("decoding", 1, 3), ("decoding", 1.5, 3), ("decoding", 3, 3)]


def test_work_inside_of_work_counts_towards_it(heard):
    with work("finalists", 2):
        with work("training", 1):
            advance()
        advance(5)
    assert [what for what, _, _ in heard] == ["finalists"] * 4
    assert [done for _, done, _ in heard] == [0, 1, 2, 2], "never more than there was to do"


def fail():
    with work("testing", 2):
        raise ValueError("x")


def test_an_error_ends_work(heard):
    with pytest.raises(ValueError, match="x"):
        fail()
    with work("more", 1):
        pass
    assert heard[1:3] == [("testing", 2, 2), ("more", 0, 1)]


def test_nobody_hears_of_other_threads_or_of_work_after_the_block(heard):
    def elsewhere():
        with work("elsewhere", 1):
            advance()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    advance()
    assert heard == []


def test_without_a_listener_nothing_happens():
    with work("alone", 1):
        advance()
