"""Clients whose app server is linked to another node come back to their sockets."""

from __future__ import annotations

import json

import pytest

from moorage.cluster.forwarding.host import SAVE_SECONDS
from moorage.hub.hub import Connection
from moorage.wire.cluster import forwarding as wire
from moorage.wire.commands import JoinGroups, Selection, Send, SendToConnection
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import TRANSPORT_LOST
from tests.cluster.forwarding.world import Forwarded
from tests.hub.fakes import HUB, RecordingOpening, heard
from tests.hub.recovery.stage import RecordingReturns

ROOT = Selection(group=namespace_group("/"))


class Recoverable(Forwarded):
    """The app server has recovery."""

    def __init__(self, count: int = 2) -> None:
        super().__init__(count)
        self.returns = RecordingReturns()
        node = self.host.node
        node.claims.turn_on(
            self.app_hub, self.app, self.returns, 60.0, settings=node.hub_settings(HUB), news=node.members
        )
        self.nodes.later(0.5)
        self.nodes.settle()

    def open(self, packet: bytes, owner: int = 0) -> Connection:
        world = self.owners[owner]
        connection = world.open(RecordingOpening())
        self.nodes.settle()
        world.node.receive(connection, packet)
        self.nodes.settle()
        return connection

    def enter(self, owner: int = 0) -> tuple[Connection, str, str]:
        """A new client, its socket id and its `pid`."""
        connection = self.open(b"40", owner)
        self.send(connection, f'40{{"sid":"{connection.id}/"}}'.encode())
        answer = json.loads(heard(connection)[0][2:])
        return connection, answer["sid"], answer["pid"]

    def lose(self, connection: Connection, owner: int = 0) -> None:
        self.owners[owner].node.disconnect(connection, TRANSPORT_LOST, who="client")
        self.nodes.settle()

    def save(self, sid: str, data: bytes = b"{}") -> None:
        self.host.node.claims.save(self.app_hub, self.app, "/", sid, data)
        self.nodes.settle()

    def numbers(self, connection: Connection) -> list[int]:
        return [json.loads(packet[2:])[1] for packet in heard(connection) if packet.startswith(b"42")]

    def refused(self, owner: int = 0) -> dict[str, int]:
        return dict(self.owners[owner].node.claims.counts.refused)


@pytest.mark.parametrize("at", [0, 1])
def test_a_forwarded_client_comes_back_to_its_socket(at: int) -> None:
    world = Recoverable(3)
    client, sid, pid = world.enter()
    to = Selection(connection=client.id)
    world.nodes.done(0, JoinGroups(HUB, to, (room_group("/", "room"),)))
    self_sent = SendToConnection(HUB, client.id, b'42["on its way",1]')
    world.lose(client)
    world.nodes.done(0, self_sent)
    world.save(sid, b'{"name":"x"}')
    world.nodes.done(0, Send(HUB, Selection(group=room_group("/", "room")), b'42["room",2]'))
    world.nodes.done(2, Send(HUB, ROOT, b'42["all",3]'))
    again = world.open(b'40{"pid":"%b"}' % pid.encode(), at)
    ((connection, socket),) = world.returns.sockets
    assert (connection, socket.sid, socket.rooms) == (again.id, sid, ("room",))
    assert socket.data == b'{"name":"x"}'
    assert world.link.packets(again) == []
    world.send(again, f'40{{"sid":"{sid}"}}'.encode())
    assert json.loads(heard(again)[0][2:]) == {"sid": sid, "pid": pid}
    assert world.numbers(again) == [1, 2, 3]
    world.nodes.done(0, Send(HUB, ROOT, b'42["live",4]'))
    assert world.numbers(again) == [1, 2, 3, 4]
    assert world.refused() == world.refused(1) == {}


def test_a_claim_that_waits_for_the_data() -> None:
    world = Recoverable()
    client, sid, pid = world.enter()
    world.lose(client)
    again = world.open(b'40{"pid":"%b"}' % pid.encode())
    assert world.returns.sockets == []
    world.save(sid)
    assert [(one, socket.sid) for one, socket in world.returns.sockets] == [(again.id, sid)]


def test_data_that_comes_too_late_or_from_nowhere_goes_nowhere() -> None:
    world = Recoverable()
    client, sid, pid = world.enter()
    world.save("nobody")
    world.lose(client)
    world.nodes.later(SAVE_SECONDS + 1.0)
    world.save(sid)
    world.open(b'40{"pid":"%b"}' % pid.encode())
    world.owners[0].node.claims.tick(world.owners[0].now + 10.0)
    assert world.refused() == {"unsaved": 1}
    assert dict(world.host.node.claims.counts.refused) == {}


def test_what_the_host_is_told_of_strangers() -> None:
    world = Recoverable()
    client, sid, _ = world.enter()
    (owner,) = world.owners
    router = world.nodes.routers[1]

    def tell(connection: str) -> None:
        body = wire.Returning(connection, b"40", "/", "s", (), b"")
        router.tell(world.host.incarnation, body)
        world.nodes.settle()

    tell("nobody")
    assert world.returns.sockets == []
    world.app.returns = None
    tell(client.id)
    assert world.link.packets(client) == [b"40", b"40"], "it makes a new socket"
    world.nodes.routers[0].tell(owner.incarnation, wire.Saved(99, "/", sid, b"{}"))
    world.nodes.settle()
    remote = next(iter(owner.node.ensure_hub(HUB).servers.elsewhere))
    assert remote.returns is not None
    assert not remote.returns.parked(client, TRANSPORT_LOST)
    remote.returns.back(client, "/", sid, client)


def test_recovery_at_an_owner_ends_with_the_app_servers_of_others() -> None:
    world = Recoverable()
    hub = world.owners[0].node.ensure_hub(HUB)
    assert hub.recovery is not None
    world.owners[0].node.tick(world.owners[0].now + 1.0)
    assert hub.recovery is not None
    world.host.node.drop_server(world.app_hub, world.app)
    world.nodes.later(0.5)
    world.nodes.settle()
    assert world.owners[0].node.hub(HUB) is None
