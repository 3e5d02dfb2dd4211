"""Quiet recovery: a client that comes back by another app server of its node than the one of its sockets."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.engine.upgrade import State
from moorage.hub.handover.homecoming import Homecoming
from moorage.hub.hub import Connection
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import LINK_OVERFLOW, RETURNED, TRANSPORT_LOST
from tests.hub.fakes import RecordingOpening, World
from tests.hub.handover.moving import Mobile, names
from tests.hub.recovery.stage import RecordingReturns, Stage


class Home(Stage):
    """Two app servers with quiet recovery. `client` has its sockets at `one`; the next connection begins at
    `two`, which has fewer clients."""

    def __init__(self, *namespaces: str, stay: int = 1) -> None:
        self.world = World()
        self.returns = RecordingReturns()
        self.seconds, self.quiet = 120.0, True
        self.one = Mobile(self.world, "one")
        self.server = self.one.app
        self.recoverable(self.server)
        self.back = self.client(*namespaces)
        for _ in range(stay):
            self.client()
        self.two = Mobile(self.world, "two")
        self.recoverable(self.two.app)

    def come_back(self, *namespaces: str) -> Any:
        """The client is lost, comes back, and claims its sockets. Returns its channel at `one`."""
        self.back.lose(save=None)
        self.one.take()
        self.back.come_back(*namespaces, answer=False)
        return self.offered()

    def offered(self) -> Any:
        (offer,) = [told for told in self.one.take() if told[0] == "adopt"]
        assert offer[2] == (), "the connection has no sockets"
        return offer[1]

    @property
    def connection(self) -> Connection:
        return self.back.connection

    def accept(self) -> None:
        self.world.node.accept(self.connection, OpenInfo())
        self.one.run()

    def refuse(self) -> None:
        self.world.node.refuse(self.connection, LINK_OVERFLOW)
        self.one.run()

    def says(self, *packets: bytes) -> None:
        for packet in packets:
            self.world.node.receive(self.connection, packet)
        self.one.run()


def backs(home: Home, *namespaces: str) -> list[tuple[str, str, str]]:
    """Connection, namespace and socket of what the app server is told of the client's return."""
    sids = home.back.sid
    return [(home.connection.id, namespace, sids[namespace]) for namespace in namespaces]


def came_back(home: Home) -> list[tuple[str, str, str]]:
    return [back[:3] for back in home.returns.backs]


def test_the_app_server_of_the_sockets_gets_the_connection() -> None:
    home = Home()
    channel = home.come_back()
    assert isinstance(home.connection.channel, Homecoming)
    assert (home.connection.server, came_back(home)) == (home.two.app, [])
    home.says(b'42["too early"]')
    assert names(home.two.take()) == []
    home.accept()
    assert came_back(home) == backs(home, "/")
    assert (home.connection.server, home.connection.channel) == (home.one.app, channel)
    assert [told[::2] for told in home.two.take()] == [("closed", RETURNED.name)]
    assert names(home.one.take()) == ["closed", "packet"], "of the former connection; of this one"
    home.back.read()
    assert [packet[:2] for packet in home.back.packets] == [b"40"]
    home.says(b'42["later"]')
    assert home.one.take() == [("packet", channel, b'42["later"]')]
    assert (home.two.app.load, home.one.app.load) == (0, 2)
    assert home.world.node.handovers.counts.total() == 0, "no app server has given a client away"
    assert home.world.faults == []


def test_all_its_sockets_come_back() -> None:
    home = Home("/", "/ns")
    home.come_back("/", "/ns")
    home.accept()
    assert came_back(home) == backs(home, "/", "/ns")


def test_a_new_namespace_beside_it_begins_at_the_app_server_that_has_the_connection() -> None:
    home = Home()
    channel = home.come_back()
    home.says(b"40/new,")
    home.accept()
    assert came_back(home) == backs(home, "/")
    assert home.one.take()[1:] == [("packet", channel, b"40/new,")]


def test_a_new_namespace_before_it_keeps_the_connection_where_it_is() -> None:
    home = Home()
    home.back.lose(save=None)
    home.one.take()
    asked = home.world.open(RecordingOpening())
    home.world.node.receive(asked, b"40/new,")
    home.back.connection = asked
    home.world.node.receive(asked, b'40{"pid":"%s"}' % home.back.pid["/"].encode())
    assert names(home.one.take()) == ["closed"], "it is told, and saves the socket"
    home.back.save(b"{}")
    assert [socket.sid for _, socket in home.returns.sockets] == [home.back.sid["/"]]
    assert home.connection.server is home.two.app


@pytest.mark.parametrize("way", ["refuse", "late", "lost"])
def test_an_app_server_that_does_not_take_it(way: str) -> None:
    home = Home()
    home.come_back()
    if way == "refuse":
        home.refuse()
    elif way == "late":
        for _ in range(8):
            home.tick(1.0)
        assert "withdraw" in names(home.one.take())
    else:
        home.one.lose()
    assert came_back(home) == []
    assert home.connection.server is home.two.app
    if way == "lost":
        # Its sockets are gone with it, so the client gets a new one.
        assert names(home.two.take()) == ["packet"]
        return
    assert "closed" in names(home.one.take()) or way == "late"
    home.back.save(b"{}")
    assert [connection for connection, _ in home.returns.sockets] == [home.connection.id]
    assert names(home.two.take()) == []


def test_both_app_servers_are_gone() -> None:
    home = Home()
    home.come_back()
    home.two.lose()
    home.one.lose()
    three = Mobile(home.world, "three")
    home.recoverable(three.app)
    home.one.run()
    (offer,) = three.take()
    assert offer[0] == "adopt"
    home.accept()
    assert names(three.take()) == ["packet"], "a new socket"
    assert home.connection.server is three.app


@pytest.mark.parametrize("accepts", [True, False])
def test_a_client_that_goes_again_meanwhile(accepts: bool) -> None:
    home = Home()
    channel = home.come_back()
    home.world.node.disconnect(home.connection, TRANSPORT_LOST, who="client")
    if accepts:
        home.accept()
        assert home.one.take() == [("closed", channel, TRANSPORT_LOST.name)]
        assert [told[::2] for told in home.two.take()] == [("closed", RETURNED.name)]
    else:
        home.refuse()
        assert [told[::2] for told in home.two.take()] == [("closed", TRANSPORT_LOST.name)]
    assert came_back(home) == []
    home.back.come_back(answer=False)
    home.offered()
    home.accept()
    assert came_back(home) == backs(home, "/"), "the next time"


def test_a_client_that_leaves_the_namespace_meanwhile() -> None:
    home = Home()
    channel = home.come_back()
    home.says(b"41")
    home.accept()
    assert came_back(home) == []
    assert home.one.take() == [("packet", channel, b"41")]
    assert home.connection.session.peer.namespaces == {}


@pytest.mark.parametrize("by_another", [True, False])
def test_twice_at_once_the_later_connection_gets_the_socket(by_another: bool) -> None:
    home = Home(stay=3 if by_another else 1)
    home.come_back()
    former = home.connection
    home.back.come_back(answer=False)
    assert isinstance(home.connection.channel, Homecoming) == by_another
    assert former.session.state == State.CLOSED
    home.world.node.accept(former, OpenInfo())
    if by_another:
        home.accept()
    home.one.run()
    assert came_back(home) == backs(home, "/")
    assert home.connection.session.state != State.CLOSED


def test_an_app_server_that_leaves_gets_none() -> None:
    home = Home()
    home.back.lose(save=None)
    home.one.take()
    done: list[object] = []
    home.world.node.handovers.begin(home.world.hub(), home.one.app, lambda *found: done.append(found))
    home.back.come_back(answer=False)
    assert "adopt" not in names(home.one.take())
    assert home.connection.server is home.two.app


def test_the_chosen_app_server_gives_its_clients_away_meanwhile() -> None:
    home = Home()
    channel = home.come_back()
    done: list[object] = []
    home.world.node.handovers.begin(home.world.hub(), home.two.app, lambda *found: done.append(found))
    home.two.run()
    home.accept()
    assert home.connection.channel == channel
    home.tick(1.0)
    home.two.run()
    assert done == [(1, ())]
    assert names(home.one.take()) == ["closed"], "of the former connection"
