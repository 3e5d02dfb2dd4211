"""Clients that come back to their sockets: what they, their app servers and others see."""

from __future__ import annotations

import pytest

from moorage.hub.ports import Recovered
from moorage.wire.commands import EVERYONE, Selection, Send
from moorage.wire.groups import namespace_group, room_group
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import ROOT, Returning, Stage, room


@pytest.fixture
def stage() -> Stage:
    return Stage()


def refused(stage: Stage) -> dict[str, int]:
    """Causes of refusals so far."""
    return dict(stage.world.node.claims.counts.refused)


def is_fresh(stage: Stage, client: Returning) -> bool:
    """True if the app server got the client's CONNECT as always."""
    return stage.link.packets(client.connection) == [client.asked] and not stage.returns.sockets


def test_missed_events_arrive_once_and_in_order(stage: Stage) -> None:
    world = stage.world
    client, other = stage.client(), stage.client()
    world.join(client.connection, "room")
    world.emit(room("room"), b'42["live",1]')
    client.lose(save=b'{"name":"x"}')
    world.emit(room("room"), b'42["missed",2]')
    world.emit(ROOT, b'42["missed",3]')
    world.emit(EVERYONE, b'42["missed",4]')
    world.emit(room("elsewhere"), b'42["not for it"]')
    client.come_back(answer=False)
    socket = Recovered(client.asked, "/", client.sid["/"], ("room",), b'{"name":"x"}')
    assert stage.returns.sockets == [(client.connection.id, socket)]
    assert stage.link.packets(client.connection) == []
    pid = client.pid["/"]
    client.answer()
    world.emit(room("room"), b'42["live",5]')
    client.read()
    assert client.pid["/"] == pid
    assert client.events == [["/", "missed", 2], ["/", "missed", 3], ["/", "missed", 4], ["/", "live", 5]]
    other.read()
    assert [event[1:] for event in other.events] == [["missed", 3], ["missed", 4]]
    counts = world.node.claims.counts
    assert (counts.parked, counts.resumed, counts.replayed) == (1, 1, 3)
    # It can come back again, and misses only what it has not had.
    client.lose()
    world.emit(room("room"), b'42["missed",6]')
    client.come_back()
    assert client.events == [["/", "missed", 6]]


def test_a_client_that_has_received_nothing_gets_all_since_its_connect(stage: Stage) -> None:
    early = stage.client()
    stage.world.emit(ROOT, b'42["before"]')
    client = stage.client()
    stage.world.emit(ROOT, b'42["lost on the way"]')
    client.lose(read=False)
    client.offset.clear()
    client.come_back()
    assert client.events == [["/", "lost on the way"]]
    early.read()
    assert len(early.events) == 2


def test_all_kinds_of_events_are_missed(stage: Stage) -> None:
    world = stage.world
    client = stage.client("/", "/ns", user_id="u")
    world.join(client.connection, "room", "second")
    sid, former = client.sid, client.connection
    client.lose()
    world.emit(room(sid["/"]), b'42["to its id"]')
    world.emit(Selection(user="u"), b'42["to its user"]')
    world.emit(Selection(connection=client.connection.id), b'42["to its connection"]')
    world.send(former, b'42["to its connection, too"]')
    world.emit(room("room"), b'451-["binary",{"_placeholder":true,"num":0}]\x1ebAAE=')
    world.emit(Selection(group=namespace_group("/ns")), b'42/ns,["in the other namespace"]')
    world.emit(Selection(user="u"), b'42/ns,["user, other namespace"]')
    world.emit(EVERYONE, b'42["both"]\x1e42/ns,["both"]\x1e43/ns,1[]')
    world.execute(Send(HUB, room("room"), b'42["volatile"]', volatile=True))
    client.come_back("/", "/ns")
    assert client.events == [
        ["/", "to its id"],
        ["/", "to its user"],
        ["/", "to its connection"],
        ["/", "to its connection, too"],
        ["/", "binary", {"_placeholder": True, "num": 0}],
        ["/", "both"],
        ["/ns", "in the other namespace"],
        ["/ns", "user, other namespace"],
        ["/ns", "both"],
    ]
    assert b"bAAE=" in client.packets
    assert room_group("/", "second") in client.connection.groups
