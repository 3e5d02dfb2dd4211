"""The owner's side: what clients of this node exchange with an app server of another one."""

from __future__ import annotations

from moorage.wire import reasons
from moorage.wire.commands import FetchSockets, JoinGroups, Selection, Send
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage.rows import Chunk
from tests.cluster.forwarding.world import Forwarded
from tests.hub.fakes import HUB, heard

EVENT = b'42["e"]'
ROOM = room_group("/", "room")


def test_a_client_is_served_by_an_app_server_of_another_node() -> None:
    world = Forwarded()
    client = world.client()
    owner = world.owners[0].node
    owner.receive(client, b'42["hello"]')
    world.nodes.settle()
    assert world.link.packets(client)[1:] == [b'42["hello"]']
    world.send(client, EVENT)
    assert heard(client) == [EVENT]
    assert world.nodes.routers[1].forwarding.forwarded == (2, 0)
    assert world.nodes.routers[0].forwarding.forwarded == (0, 2)
    owner.disconnect(client, reasons.CLIENT_CLOSED, who="client")
    world.nodes.settle()
    assert world.link.ended == [(client.id, reasons.CLIENT_CLOSED)]
    assert len(world.host.node.guests) == 0


def test_rooms_of_a_forwarded_client() -> None:
    world = Forwarded(3)
    one, two = world.client(0), world.client(1)
    # The app server's own join goes to the client's node alone.
    world.nodes.network.lose("node-no0", "node-no2", 1)
    done = world.nodes.done(0, JoinGroups(HUB, Selection(connection=one.id), (ROOM,), quiet=True))
    assert done.reached == 1
    world.nodes.network.lose("node-no0", "node-no2", 0)
    world.nodes.done(0, Send(HUB, Selection(group=ROOM), EVENT))
    assert (heard(one), heard(two)) == ([EVENT], [])
    # A join by somebody else is reported to the app server.
    world.nodes.done(1, JoinGroups(HUB, Selection(group=namespace_group("/")), (ROOM,)))
    assert world.peer.moves == [(one.id, "/", ("room",), True), (two.id, "/", ("room",), True)]


def test_an_app_server_is_asked_for_its_data_of_forwarded_clients() -> None:
    world = Forwarded(3)
    one, two = world.client(0), world.client(1)
    reply, answers = world.nodes.ask(2, FetchSockets(HUB, Selection(group=namespace_group("/")), "/", 3.0, 0))
    world.nodes.settle()
    assert {sids for _, _, sids in world.peer.queries} == {(f"{one.id}/",), (f"{two.id}/",)}
    for number, _, _ in world.peer.queries:
        assert world.app_hub.queries.answered(number, world.app, (Chunk(1, b"[{}]"),))
    world.nodes.settle()
    assert (reply.outcome.reached, answers.senders, answers.missing) == (2, ["s", "s"], ())
    assert answers.finished == 1
