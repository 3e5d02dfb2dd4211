"""What is described again, and when."""

from __future__ import annotations

from collections import Counter

import pytest

from moorage.hub.journal import scribe
from moorage.hub.journal.pages import Pages
from moorage.hub.journal.scribe import REPEAT_SECONDS
from moorage.wire.recovery.journal import Ended, Known
from tests.hub.journal.loss import Keeper
from tests.hub.recovery.stage import ROOT


def test_each_socket_is_described_again_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "AT_ONCE", 1)
    keeper = Keeper()
    clients = [keeper.client() for _ in range(8)]
    keeper.tick(0.25)
    # It ends while the round goes on: those that came last are described first.
    keeper.world.send(clients.pop(0).connection, b"41")
    for _ in range(40):
        keeper.tick(0.25)
        keeper.world.settle()
    seen = Counter(
        entry.pid for entry in Pages(keeper.pages).entries() if isinstance(entry, Known) and not entry.new
    )
    assert all(seen[client.pid["/"]] >= 1 for client in clients)


def test_a_socket_that_lacks_something_has_no_heir() -> None:
    keeper = Keeper()
    holed, whole = keeper.client(), keeper.client()
    keeper.tick(0.25)
    recovery = keeper.world.hub().recovery
    assert recovery is not None
    track = recovery.find(holed.pid["/"])
    assert track is not None
    recovery.lacks(track)
    for _ in range(round(4 * (REPEAT_SECONDS + 3))):
        keeper.tick(0.25)
        keeper.world.settle()
    entries = list(Pages(keeper.pages).entries())
    (end,) = [at for at, entry in enumerate(entries) if isinstance(entry, Ended)]
    described = {entry.pid for entry in entries[end:] if isinstance(entry, Known)}
    assert whole.pid["/"] in described
    assert holed.pid["/"] not in described


def test_offsets_of_former_nodes_are_described_again() -> None:
    """A client that has got nothing since it came from another node still has that node's offset."""
    former, keeper, heir = Keeper(), Keeper(), Keeper()
    client = former.client()
    former.emit(ROOT, b'42["a",1]')
    client.read()
    keeper.inherit(former)
    client.stage = keeper
    client.save(b"")
    client.come_back()
    # Until it is certain that the client has had everything.
    for _ in range(6):
        keeper.tick(10.0)
        keeper.world.node.receive(client.connection, b"3")
    old = len(keeper.pages)
    for _ in range(round(REPEAT_SECONDS) // 10 + 1):
        keeper.tick(10.0)
        keeper.world.node.receive(client.connection, b"3")
    keeper.emit(ROOT, b'42["b",2]', former.number + 1)
    del keeper.pages[:old]
    heir.inherit(keeper)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [2]


def test_another_app_server_serves_a_client() -> None:
    """The heir knows both numbers, and the app server that will send the data."""
    keeper = Keeper()
    client = keeper.client()
    client.connection.channel = 7
    recovery, server = keeper.world.hub().recovery, client.connection.server
    assert recovery is not None
    other, _ = keeper.world.server("s2", "other")
    client.connection.server = other
    recovery.served(client.connection, 8)
    (known,) = [
        entry for entry in Pages(keeper.pages).entries() if isinstance(entry, Known) and not entry.new
    ]
    assert (known.channel, known.server) == (8, other.id)
    assert server is not other
