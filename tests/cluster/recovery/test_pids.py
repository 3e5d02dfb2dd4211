"""The `pid`s of sockets that may be recovered."""

from __future__ import annotations

from itertools import count

import pytest

from moorage.auth import AccessKeys
from moorage.cluster.recovery.pids import Pids
from moorage.wire.ids import incarnation_of


def pids(*keys: str) -> Pids:
    numbers = count(1)
    return Pids(AccessKeys(*keys), lambda: f"incarnat{next(numbers)}")


def test_nodes_with_a_common_key_know_each_others() -> None:
    own = pids("one", "two")
    pid = own.make()
    assert incarnation_of(pid) == "incarnat"
    assert pid != own.make()
    assert own.is_genuine(pid)
    assert pids("two", "one").is_genuine(pid)
    assert not pids("two").is_genuine(pid)


@pytest.mark.parametrize(
    "pid", ["", "x", "incarnat1", "incarnat1" + "A" * 16, "\ud800" * 30, "\xe4" * 30, "\0" * 99]
)
def test_those_of_strangers(pid: str) -> None:
    assert not pids("one").is_genuine(pid)


def test_a_changed_one() -> None:
    own = pids("one")
    pid = own.make()
    for at in range(len(pid)):
        assert not own.is_genuine(pid[:at] + ("A" if pid[at] != "A" else "B") + pid[at + 1 :])
