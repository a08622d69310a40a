"""Which trials are worth more networks."""

import statistics

import pytest

from study.search.racing import may_become_finalist

STRONG = (0.90, 0.92, 0.94)
WEAK = (0.50, 0.52, 0.54)


def test_everybody_may_while_places_are_free():
    assert may_become_finalist((0.0, 0.0), [], 1)
    assert may_become_finalist((0.0, 0.0), [STRONG, WEAK], 3)


def test_the_last_place_is_the_one_to_reach():
    assert not may_become_finalist((0.60, 0.60), [STRONG, WEAK], 1)
    assert may_become_finalist((0.60, 0.60), [STRONG, WEAK], 2)
    assert not may_become_finalist((0.40, 0.40), [STRONG, WEAK], 2)


def test_a_rival_is_taken_by_the_same_networks_and_its_deviation_by_all():
    deviation = statistics.stdev(STRONG)
    assert deviation == pytest.approx(0.02)
    # Its first two networks have 0.91 on average, all three 0.92.
    assert may_become_finalist((0.8901, 0.8901), [STRONG], 1)
    assert not may_become_finalist((0.8899, 0.8899), [STRONG], 1)
    assert may_become_finalist((0.8801,), [STRONG], 1)


def test_a_rival_of_one_network_leaves_no_doubt():
    assert may_become_finalist((0.9,), [(0.9,)], 1)
    assert not may_become_finalist((0.8999,), [(0.9,)], 1)
