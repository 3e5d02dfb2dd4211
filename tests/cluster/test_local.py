"""The broker of a node that is alone. What every broker does is in `tests/contract`."""

from __future__ import annotations

from moorage.cluster.local import LocalBroker
from moorage.hub.ports import Broker
from moorage.wire.commands import EVERYONE, Send


def test_it_keeps_nothing() -> None:
    local = LocalBroker()
    broker: Broker = local
    before = dict(vars(local))
    broker.publish(Send("app", EVERYONE, b"42[1]"))
    assert vars(local) == before == {}
