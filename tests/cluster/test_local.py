"""The broker of a node that is alone. What every broker does is in `tests/contract`."""

from __future__ import annotations

from moorage.cluster.local import LocalBroker
from moorage.wire.commands import EVERYONE, Send


def test_it_keeps_nothing() -> None:
    local = LocalBroker()
    before = dict(vars(local))
    local.publish(Send("app", EVERYONE, b"42[1]"))
    assert vars(local) == before == {}
