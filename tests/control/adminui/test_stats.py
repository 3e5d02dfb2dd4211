"""What a node tells the Admin UI."""

from __future__ import annotations

from typing import Any

from moorage.control.adminui.stats import NodeStats, Sockets, Stats, StatsQuery, shown
from moorage.hub.observers import Observers
from moorage.wire import reasons
from tests.hub.fakes import HUB, World

ABOUT: dict[str, Any] = {"name": "n1", "hostname": "h", "pid": 7}


def test_a_node() -> None:
    world = World()
    sockets = Sockets()
    world.node.observer = Observers(world.observer, sockets)
    stats = Stats(world.node, sockets, lambda: {"packetsIn": 5}, ABOUT)
    empty = stats.now(StatsQuery(hub=HUB))
    assert (empty.clients, empty.polling, empty.namespaces) == (0, 0, {})
    world.server()
    client = world.client("/", "/n")
    world.client("/", framed=False)
    world.now += 3.7
    assert stats.now(StatsQuery(hub=HUB)) == NodeStats(
        **ABOUT,
        uptime=3,
        clients=2,
        polling=1,
        namespaces={"/": 2, "/n": 1},
        totals={"rawConnection": 2, "packetsIn": 5},
    )
    world.node.receive(client, b"41/n,")
    world.node.disconnect(client, reasons.PING_TIMEOUT, who="service")
    now = stats.now(StatsQuery(hub=HUB.upper()))
    assert (now.namespaces, now.totals["rawDisconnection ping-timeout"]) == ({"/": 1}, 1)
    for other in tuple(world.hub().directory.connections.values()):
        world.node.disconnect(other, reasons.APP_CLOSED, who="app")
    assert sockets.counts == {}


def test_as_the_ui_shows_it() -> None:
    node = NodeStats(
        **ABOUT,
        uptime=3,
        clients=2,
        polling=1,
        namespaces={"/n": 1, "/": 2},
        totals={"bytesIn": 30, "packetsIn": 5, "rawDisconnection ping-timeout": 2, "new": 9},
    )
    before = {"bytesIn": 10, "packetsIn": 5, "rawDisconnection ping-timeout": 1}
    assert shown(node, before, 100) == {
        "serverId": "n1",
        "hostname": "h",
        "pid": 7,
        "uptime": 3,
        "clientsCount": 2,
        "pollingClientsCount": 1,
        "namespaces": [{"name": "/", "socketsCount": 2}, {"name": "/n", "socketsCount": 1}],
        "aggregatedEvents": [
            {"timestamp": 100_000, "type": "bytesIn", "count": 20},
            {"timestamp": 100_000, "type": "rawDisconnection", "count": 1, "subType": "ping-timeout"},
        ],
    }
    assert shown(node, {}, 100)["aggregatedEvents"] == [], "the first figures are no change"
