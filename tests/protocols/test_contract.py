"""Every registered protocol keeps the contract."""

from __future__ import annotations

import pytest

from study.protocols.base import PROTOCOLS, Protocol
from study.testing import ProtocolContract

OPTIONS = {"architectures": {"models": ("mlp:8",), "full_data": True}}


def suite_of(protocol: type[Protocol]) -> type[ProtocolContract]:
    facts = {"protocol": protocol, "options": OPTIONS.get(protocol.name, {})}
    return type(f"Test{protocol.__name__}", (ProtocolContract,), facts)


globals().update({f"Test{one.__name__}": suite_of(one) for one in PROTOCOLS.values()})


def test_no_protocol_is_left_out() -> None:
    assert {"architectures", "continual", "cost", "leakage", "noise", "ranking"} <= set(PROTOCOLS)


def test_a_broken_protocol_fails_the_suite() -> None:
    class Broken(PROTOCOLS["leakage"]):
        about = "two\nlines"

    class Suite(ProtocolContract):
        protocol = Broken

    with pytest.raises(AssertionError):
        Suite().test_is_registered_and_says_what_it_asks()
