"""The broker of a node that is alone. What every broker does is in `tests/contract`."""

from __future__ import annotations

from moorage.cluster.local import LocalBroker
from moorage.cluster.ports import Broker


def test_it_keeps_nothing() -> None:
    local = LocalBroker("n0")
    broker: Broker = local
    received: list[bytes] = []
    broker.start(received.append)
    broker.send("n1", b"x")
    broker.send_all(b"x")
    broker.stop()
    assert received == []
    assert vars(local) == {}
