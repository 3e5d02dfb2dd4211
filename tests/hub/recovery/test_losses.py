"""Sockets that may have missed an emit of another node end."""

from __future__ import annotations

import pytest

from moorage.hub.recovery.losses import CONNECTION, LOOKED_AT, MANY, Losses, lanes_of
from moorage.hub.recovery.sockets.replay import EVERYONE, USER
from moorage.hub.turns import AT_ONCE
from moorage.wire.commands import Invoke, LeaveGroups, Selection, Send, SendToConnection
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import EVENTS_LOST, TRANSPORT_LOST
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import ROOT, Returning, Stage, refused

ROOM = room_group("/", "a")


class Lossy:
    """A node that misses emits."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.node = self.stage.world.node
        self.ended: list[tuple[str, int]] = []
        self.losses = Losses(
            self.node.hubs,
            self.node.turns,
            lambda connection: self.node.disconnect(connection, EVENTS_LOST, who="service"),
        )

    def lose(self, *lanes: str, before: dict[str, int] | None = None, settle: bool = True) -> None:
        before = self.losses.mark() if before is None else before
        self.losses.lost(
            HUB.upper(), lanes, before, lambda hub, count: self.ended.append((hub, count)), moved=False
        )
        if settle:
            self.stage.world.settle()

    def closed(self) -> list[str]:
        return [close[0] for close in self.stage.world.observer.closes if close[1] == "events-lost"]


@pytest.fixture
def lossy() -> Lossy:
    return Lossy()


def resumes(client: Returning) -> bool:
    client.save(b"{}")
    client.come_back(answer=False)
    return (client.connection.id, client.sid["/"]) in [
        (connection, socket.sid) for connection, socket in client.stage.returns.sockets
    ]


def test_those_in_the_lanes_end_and_are_not_recovered(lossy: Lossy) -> None:
    world = lossy.stage.world
    inside, left, away, outside = [lossy.stage.client(user_id="u") for _ in range(4)]
    for client in (inside, left, away):
        world.join(client.connection, "a")
    world.execute(LeaveGroups(HUB, Selection(connection=left.connection.id), (ROOM,)))
    world.emit(ROOT, b'42["e",1]')
    away.lose()
    lossy.lose(ROOM)
    assert lossy.closed() == [inside.connection.id, left.connection.id]
    assert lossy.ended == [(HUB, 3)]
    for client in (inside, left, away):
        assert not resumes(client)
    assert refused(lossy.stage) == {"dropped": 3}
    outside.lose()
    assert resumes(outside)


@pytest.mark.parametrize("lane", [EVERYONE, USER + "u", "connection", namespace_group("/")])
def test_other_lanes(lossy: Lossy, lane: str) -> None:
    client, anonymous = lossy.stage.client(user_id="u"), lossy.stage.client()
    name = client.connection.id
    lossy.lose(CONNECTION + name if lane == "connection" else lane)
    both = lane in (EVERYONE, namespace_group("/"))
    assert lossy.closed() == ([name, anonymous.connection.id] if both else [name])


def test_later_sockets_are_not_concerned_and_nobody_is_counted_twice(lossy: Lossy) -> None:
    before = lossy.losses.mark()
    early = lossy.stage.client()
    before = lossy.losses.mark()
    lossy.stage.client()
    lossy.lose(EVERYONE, before=before)
    lossy.lose(EVERYONE, before=before)
    assert lossy.closed() == [early.connection.id]
    assert lossy.ended == [(HUB, 1)]


def test_many_end_in_steps(lossy: Lossy) -> None:
    stage = lossy.stage
    clients = [stage.client() for _ in range(AT_ONCE + 5)]
    parked = [stage.client() for _ in range(LOOKED_AT)]
    for client in parked:
        client.lose()
    busy = [lossy.losses.busy]
    lossy.lose(EVERYONE, settle=False)
    busy.append(lossy.losses.busy)
    clients[-1].lose(TRANSPORT_LOST, read=False)
    stage.world.settle()
    assert [*busy, lossy.losses.busy] == [False, True, False]
    assert lossy.ended == [(HUB, len(clients) + len(parked))]
    assert len(lossy.closed()) == len(clients) - 1
    assert not resumes(clients[-1]), "it went before its step"


def test_a_claimed_socket(lossy: Lossy) -> None:
    client = lossy.stage.client()
    client.lose()
    client.come_back(answer=False)
    lossy.lose(EVERYONE)
    lossy.stage.world.send(client.connection, b'40{"sid":"%b"}' % client.sid["/"].encode())
    assert [close[1] for close in lossy.stage.world.observer.closes][-1] == "missed-too-much"


def test_hubs_without_recovery(lossy: Lossy) -> None:
    lossy.stage.client()
    lossy.lose(EVERYONE, before={})
    lossy.losses.lost("nobody", (EVERYONE,), {"nobody": 1}, lambda hub, count: None, moved=False)
    lossy.lose(EVERYONE, settle=False)
    lossy.stage.world.hub().recovery = None
    assert lossy.losses.mark() == {}
    lossy.lose(EVERYONE, before={HUB: 10**9})
    assert lossy.ended == []


def test_whom_a_command_is_for() -> None:
    payload = b"42[1]"
    many = tuple(str(number) for number in range(MANY + 1))
    assert lanes_of(SendToConnection(HUB, "c", payload)) == (CONNECTION + "c",)
    assert lanes_of(Send(HUB, Selection(connection="c"), payload)) == (CONNECTION + "c",)
    assert lanes_of(Invoke(HUB, Selection(group="g", user="u"), payload)) == ("g",)
    assert lanes_of(Send(HUB, Selection(user="u"), payload)) == (USER + "u",)
    assert lanes_of(Send(HUB, Selection(filter=Filter(any_of=("a", "b"))), payload)) == ("a", "b")
    assert lanes_of(Send(HUB, Selection(filter=Filter(any_of=many)), payload)) == (EVERYONE,)
    assert lanes_of(Send(HUB, Selection(), payload)) == (EVERYONE,)


def test_some_sockets_have_missed_something_whatever_they_had(lossy: Lossy) -> None:
    named, outside, other = [lossy.stage.client() for _ in range(3)]
    for client in (named, other):
        lossy.stage.world.join(client.connection, "a")
    pids = [named.pid["/"], outside.pid["/"], "unknown"]
    counted: list[tuple[str, int]] = []
    for hub in (HUB, "no hub"):
        lossy.losses.missed(hub, pids, {ROOM}, lambda name, count: counted.append((name, count)))
    lossy.stage.world.settle()
    assert counted == [(HUB, 1)]
    assert lossy.closed() == [named.connection.id]
