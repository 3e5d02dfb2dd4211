"""Clients that come back at another node: each event arrives once and in order."""

from __future__ import annotations

import json
from collections import defaultdict
from random import Random

import pytest

from moorage.hub.recovery.causes import LOST, UNREACHED
from moorage.wire.cluster.messages import Alive, Body
from moorage.wire.commands import EVERYONE, Selection, Send
from moorage.wire.filters.compiled import Filter
from moorage.wire.recovery.handing import HeirFound, HeirSought
from moorage.wire.recovery.late import Late, LateEnd, Wanted
from tests.cluster.recovery.stage import App, Several, Weather
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import ROOT, Returning, room

BOTH = Selection(filter=Filter(any_of=(room("room").group or "", room("other").group or "")))


def numbers(client: Returning) -> list[int]:
    return [event[2] for event in client.events]


def test_a_client_comes_back_at_another_node() -> None:
    several = Several(3)
    client = several.client(0, "room")
    world = several.stages[0].world
    world.emit(room("room"), b'42["e",1]')
    client.read()
    pid, sid = client.pid["/"], client.sid["/"]
    client.lose(save=b'{"name":"x"}')
    for at, to in enumerate((room("room"), ROOT, EVERYONE), 2):
        several.nodes.done(at % 3, Send(HUB, to, b'42["e",%d]' % at))
    several.come_back(client, 1, answer=False)
    (socket,) = [socket for _, socket in several.stages[1].returns.sockets]
    assert (socket.sid, socket.rooms, socket.data) == (sid, ("room",), b'{"name":"x"}')
    assert several.stages[1].link.packets(client.connection) == []
    several.nodes.done(2, Send(HUB, room("room"), b'42["e",5]'))
    client.answer()
    several.nodes.done(0, Send(HUB, room("room"), b'42["e",6]'))
    client.read()
    assert (client.pid["/"], client.sid["/"]) == (pid, sid)
    assert numbers(client) == [2, 3, 4, 5, 6]
    assert several.counts(0).moved == 1


def test_a_client_goes_round_all_nodes_with_and_without_new_events() -> None:
    several = Several(3)
    client = several.client(0, "room")
    got: list[int] = []
    for turn in range(9):
        several.nodes.done(turn % 3, Send(HUB, room("room"), b'42["e",%d]' % turn))
        client.read()
        got += numbers(client)
        client.events.clear()
        client.lose()
        if turn % 2:
            several.nodes.done(turn % 2, Send(HUB, room("room"), b'42["e",%d]' % (100 + turn)))
        several.come_back(client, (turn + 1) % 3)
        assert not several.refused((turn + 1) % 3)
        got += numbers(client)
        client.events.clear()
    assert got == [0, 1, 101, 2, 3, 103, 4, 5, 105, 6, 7, 107, 8]


class History:
    """Clients that come and go while events are sent from everywhere, in a random order."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.several = Several(3)
        self.apps = [App(self.several.nodes, "x"), App(self.several.nodes, "y")]
        self.weather = Weather(self.several, self.apps, self.random)
        self.clients = [self.several.client(self.random.randrange(3), "room") for _ in range(3)]
        self.got: list[list[tuple[str, int]]] = [[], [], []]
        self.sent: dict[str, int] = defaultdict(int)
        self.inside = [False, False, False]
        """Whether a client is in a room of its own."""
        self.own: list[list[int]] = [[], [], []]
        """Numbers of the events in those rooms that the client must get."""

    def read(self) -> None:
        for client, got in zip(self.clients, self.got, strict=True):
            client.read()
            got += [(event[1], event[2]) for event in client.events]
            client.events.clear()

    def emit(self) -> None:
        source = self.random.choice(["x", "y", "n0", "n1", "n2"])
        self.sent[source] += 1
        packet = b"42" + json.dumps([source, self.sent[source]]).encode()
        to = self.random.choice((room("room"), ROOT, BOTH))
        if source[0] == "n":
            self.several.nodes.submit(int(source[1]), Send(HUB, to, packet))
        else:
            self.apps[source == "y"].emit(to, packet)

    def change(self) -> None:
        """One app server decides who is in which room, and sends to it."""
        at, app = self.random.randrange(3), self.apps[0]
        if self.random.random() < 0.5:
            self.inside[at] = not self.inside[at]
            app.change(self.clients[at].sid["/"], f"own{at}", joined=self.inside[at])
        else:
            self.sent["own"] += 1
            app.emit(room(f"own{at}"), b'42["own",%d]' % self.sent["own"])
            if self.inside[at]:
                self.own[at].append(self.sent["own"])

    def hop(self) -> None:
        """A client loses its connection, and comes back somewhere."""
        self.read()
        client = self.random.choice(self.clients)
        client.lose()
        self.weather.blow(self.random.randrange(30))
        client.stage = self.several.stages[self.random.randrange(3)]
        client.come_back(answer=False)
        for _ in range(200):
            self.weather.blow(20)
            if self.is_back(client):
                break
        else:
            self.weather.calm()
        assert self.is_back(client)
        client.answer()

    @staticmethod
    def is_back(client: Returning) -> bool:
        sockets = client.stage.returns.sockets
        return bool(sockets) and sockets[-1][0] == client.connection.id


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_network_does_each_event_arrives_once(seed: int) -> None:
    history = History(seed)
    random = history.random
    for _ in range(25):
        for _ in range(random.randrange(4)):
            history.emit()
            history.change()
            history.weather.blow(random.randrange(6))
        if random.random() < 0.5:
            history.hop()
        history.read()
    history.weather.calm()
    history.read()
    for at in range(3):
        for source, last in history.sent.items():
            expected = history.own[at] if source == "own" else list(range(1, last + 1))
            assert [number for name, number in history.got[at] if name == source] == expected, (at, source)


def test_when_a_node_ends_others_fetch_its_sockets() -> None:
    several = Several(3)
    clients = [several.client(0, "room") for _ in range(4)]
    several.nodes.done(1, Send(HUB, room("room"), b'42["e",1]'))
    live = several.client(0)
    for client in clients:
        client.lose()
    several.nodes.done(1, Send(HUB, room("room"), b'42["e",2]'))
    recovery = several.nodes.routers[0].recovery
    assert not recovery.leave()
    assert not recovery.leave()
    several.nodes.settle()
    assert several.counts(0).moved == 4
    assert recovery.leave()
    live.lose(save=None)
    # Its data is missing, so nobody can have it now, and again later.
    assert not recovery.leave()
    several.tick(6.0)
    assert not recovery.leave()
    for at, client in enumerate(clients):
        several.come_back(client, 1 + at % 2)
        assert numbers(client) == [2]
    several.tick(130.0)
    assert recovery.leave()


@pytest.mark.parametrize("arrives", [True, False])
def test_a_client_comes_to_the_heir_while_its_socket_is_on_its_way(arrives: bool) -> None:
    several = Several(2)
    client = several.client(0, "room")
    sid = client.sid["/"]
    client.lose()
    several.nodes.done(1, Send(HUB, room("room"), b'42["e",1]'))
    network = several.nodes.network
    network.delay("node-001", "node-000")
    assert not several.nodes.routers[0].recovery.leave()
    several.nodes.settle()
    several.come_back(client, 1, answer=False)
    assert several.refused(1) == {}, "it waits"
    if arrives:
        network.release("node-001", "node-000")
        several.nodes.settle()
        client.answer()
        assert (client.sid["/"], numbers(client)) == (sid, [1])
    else:
        several.nodes.routers[1].remove("node-000")
        assert several.refused(1) == {LOST: 1}


def test_a_node_that_is_alone_keeps_its_sockets() -> None:
    several = Several(1)
    several.client(0).lose()
    assert several.nodes.routers[0].recovery.leave()


@pytest.mark.parametrize("version", [(1, 0), (1, 1)])
def test_beside_an_older_node_no_socket_moves(version: tuple[int, int]) -> None:
    several = Several(2)
    client = several.client(0)
    client.lose()
    router, now = several.nodes.routers[1], several.nodes.worlds[1].now
    router.join(Alive("own", region="r"))
    assert router.membership is not None
    router.remove("node-000")
    router.membership.alive("node-000", Alive("other", version=version, state="ready", region="r"), now)
    several.nodes.settle()
    several.come_back(client, 1, answer=False)
    if version == (1, 0):
        assert several.refused(1) == {UNREACHED: 1}
    else:
        client.answer()
        client.lose()
        assert not router.recovery.leave()


def test_a_node_without_journals_tells_an_heir_whether_anything_is_lost_with_it() -> None:
    several = Several(2)
    heir, other = several.nodes.routers
    said: list[LateEnd] = []
    heir.handlers[LateEnd] = lambda envelope: said.append(envelope.body)  # type: ignore[arg-type]
    for number in range(2):
        heir.tell("node-001", Wanted("node-009", 0, 0))
        several.nodes.settle()
        several.nodes.done(1, Send(HUB, EVERYONE, b'42["e",%d]' % number))
    assert said == [LateEnd("node-009", complete=True), LateEnd("node-009", complete=False)]
    # Answers for which nobody has asked.
    for body in (Late("node-009", b""), LateEnd("node-009", complete=True)):
        heir.tell("node-001", body)
    several.nodes.settle()
    assert other.streams.bad == {}
    assert [stage.world.faults for stage in several.stages] == [[], []]


def test_a_node_without_journals_is_no_heir() -> None:
    """The home of an app server that asks it does not wait."""
    several = Several(2)
    home, other = several.nodes.routers
    said: list[Body] = []
    home.handlers[HeirFound] = lambda envelope: said.append(envelope.body)
    home.tell("node-001", HeirSought("node-009", HUB))
    home.tell("node-001", HeirFound("node-009", HUB, is_heir=True))
    several.nodes.settle()
    assert said == [HeirFound("node-009", HUB, is_heir=False)]
    assert other.streams.bad == {}
    assert [stage.world.faults for stage in several.stages] == [[], []]
