"""An app server hands over what it had sent to a lost node."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from moorage.edge.moorage.frames.unfinished import NOTICE_SECONDS
from moorage.hub.journal.estate import HubEstate
from moorage.hub.journal.heirs import HAND_OVER_SECONDS
from moorage.hub.journal.pages import Pages
from moorage.hub.turns import finished
from moorage.wire.groups import room_group
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from moorage.wire.reasons import LINK_BAD_REQUEST
from tests.edge.moorage.rig import App, Rig
from tests.hub.fakes import HUB
from tests.hub.journal.loss import INSTANCE, SESSION, Keeper, PagesInMemory
from tests.hub.recovery.stage import Returning

CHANNEL = 7


class AtOnce(PagesInMemory):
    """Answers without a loop."""

    def put(self, page: bytes, done: Callable[[bool], object]) -> None:
        super().put(page, done)
        self.answer()


class Heir:
    """The heir of a lost node, with an app server of the dialect, and a client that the lost node had."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.keeping = self.rig.world.node.keep(AtOnce(), lambda: 1e9)
        self.app = App(self.rig, "s1")
        self.app.instance, self.app.recovery = INSTANCE, 60_000
        self.app.dial()
        self.lost = Keeper()
        self.client: Returning = self.lost.client()
        self.client.connection.channel = CHANNEL
        self.lost.tick(31.0)
        self.lost.take(4)

    def read(self) -> None:
        heirs = self.keeping.heirs
        heirs.expect("lost")
        finished(heirs.read("lost", Pages(self.lost.pages)))

    @property
    def estate(self) -> HubEstate:
        found = self.keeping.heirs.estate("lost", HUB)
        assert found is not None
        return found

    def say(self, frame: Any, batch: int = 5) -> None:
        self.app.say(v1.Unfinished("lost", SESSION, batch, 0, frame))
        self.rig.settle()

    def settle(self, number: int = 0) -> None:
        self.app.say(v1.Settled("lost", number))
        self.rig.settle()

    @property
    def missed(self) -> list[bytes]:
        """What the client would get."""
        pid = self.client.pid["/"]
        return [entry.payload[:8] for entry in self.estate.missed(pid, 0) or ()]


@pytest.fixture
def heir() -> Heir:
    made = Heir()
    made.read()
    return made


def test_emits_and_packets(heir: Heir) -> None:
    heir.say(v1.Emit(0, To("/"), 0, b'42["a",1]', 1))
    heir.say(v1.Packet(CHANNEL, b'42["b",1]'))
    heir.say(v1.Packet(99, b'42["c",1]'))
    heir.say(v1.Emit(0, To("/"), 0, b'42["d",1]', 2), batch=4)
    assert heir.missed == [b'42["a",1', b'42["b",1']
    heir.settle(1)
    assert not heir.keeping.heirs.waits("lost")
    heir.say(v1.Packet(CHANNEL, b'42["late",1]'))


def test_rooms(heir: Heir) -> None:
    pid = heir.client.pid["/"]
    heir.say(v1.Enter(3, CHANNEL, "/", ("a", "b")))
    heir.say(v1.Exit(0, CHANNEL, "/", ("b",)))
    heir.say(v1.Join(0, To("/", ("a",)), ("c",), 1))
    track = heir.estate.recovery.find(pid)
    assert track is not None
    a, b, c = (room_group("/", name) for name in "abc")
    assert {a, c} < track.groups
    assert b not in track.groups
    assert heir.app.frames == [], "nobody waits for an answer"


@pytest.mark.parametrize(
    "frame",
    [
        v1.Packet(CHANNEL, b"41"),
        v1.Packet(CHANNEL, b"1"),
        v1.Close(CHANNEL),
        v1.Disconnect(0, To("/"), False, 1),
    ],
    ids=["disconnect", "engine", "close", "selection"],
)
def test_ends(heir: Heir, frame: Any) -> None:
    heir.say(frame)
    assert not heir.estate.has(heir.client.pid["/"])


def test_what_follows_waits_until_the_loss_is_noticed() -> None:
    heir = Heir()
    alive = {"lost"}
    heir.keeping.heirs.is_alive = lambda node: node in alive
    heir.app.say(
        v1.Unfinished("lost", SESSION, 5, 0, v1.Packet(CHANNEL, b'42["a",1]')), v1.Settled("lost", 0)
    )
    heir.app.say(v1.List(1))
    heir.rig.settle()
    assert heir.app.heard() == []
    alive.clear()
    heir.read()
    heir.rig.settle()
    assert [type(frame) for frame in heir.app.heard()] == [v1.Servers]
    assert not heir.keeping.heirs.waits("lost")


def test_a_node_that_lives() -> None:
    heir = Heir()
    heir.keeping.heirs.is_alive = lambda node: True
    heir.app.say(v1.Settled("other", 0), v1.List(1))
    heir.rig.settle()
    assert heir.app.heard() == []
    heir.rig.after(NOTICE_SECONDS + 0.5)
    assert [type(frame) for frame in heir.app.heard()] == [v1.Servers]


def test_without_journals() -> None:
    app = Rig().app()
    app.say(v1.Settled("lost", 0))
    (answer,) = app.heard()
    assert isinstance(answer, v1.Failed)
    assert answer.number == LINK_BAD_REQUEST.number


def test_frames_that_come_when_clients_are_resumed() -> None:
    """The sockets that they were for end."""
    heir = Heir()
    heir.read()
    missed: list[tuple[Collection[str] | None, Collection[str]]] = []
    heirs = heir.keeping.heirs
    heirs.missed = lambda _hub, pids, lanes: missed.append((pids, lanes))
    instance, heir.app.server.app.instance = heir.app.server.app.instance, "away"
    heir.rig.after(HAND_OVER_SECONDS + 0.5)
    heir.app.server.app.instance = instance
    assert not heirs.waits("lost")
    for frame, batch in (
        (v1.Emit(0, To("/", ("old",)), 0, b'42["a",1]', 1), 4),
        (v1.Emit(0, To("/", ("a",)), 0, b'42["a",1]', 2), 5),
        (v1.Leave(0, To("/", ("b",)), ("c",), 3), 5),
        (v1.Packet(CHANNEL, b'42["b",1]'), 5),
    ):
        heir.say(frame, batch)
    heir.settle(3)
    private = room_group("/", heir.client.sid["/"])
    assert missed == [({heir.client.pid["/"]}, {room_group("/", "a"), room_group("/", "b"), private})]


def test_packets_for_a_client_that_was_away() -> None:
    """They had crossed the end of its connection, or were for a socket that had quietly gone away."""
    heir = Heir()
    heir.client.lose()
    heir.read()
    heir.say(v1.Packet(CHANNEL, b'42["a",1]'))
    heir.say(v1.Enter(0, CHANNEL, "/", ("a",)))
    assert heir.missed == [b'42["a",1']
    track = heir.estate.recovery.find(heir.client.pid["/"])
    assert track is not None
    assert room_group("/", "a") in track.groups
