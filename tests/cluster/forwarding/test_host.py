"""The host's side: the guests of a node."""

from __future__ import annotations

from moorage.hub.hub import LINK
from moorage.wire import reasons
from moorage.wire.cluster import forwarding
from moorage.wire.cluster.messages import Envelope, encode
from tests.cluster.forwarding.world import Forwarded
from tests.hub.fakes import RecordingOpening, heard, sink_of


def test_an_app_server_refuses_a_guest_with_its_own_status() -> None:
    world = Forwarded()
    reason = reasons.APP_REFUSED._replace(http=418, text="", eio=4)
    world.link.on_open = lambda guest: world.host.node.refuse(guest, reason, "no tea")
    opening = RecordingOpening()
    world.owners[0].open(opening)
    world.nodes.settle()
    assert opening.refusals == [(reason, "no tea")]
    assert len(world.host.node.guests) == 0


def test_an_app_server_closes_a_guest() -> None:
    world = Forwarded()
    client = world.client()
    world.host.node.disconnect(world.guest(client), reasons.APP_CLOSED, who="app", detail="enough")
    world.nodes.settle()
    assert world.closed(client) == [reasons.APP_CLOSED]
    assert world.owners[0].observer.closes[-1][1:4] == (reasons.APP_CLOSED.name, "app", "enough")
    assert world.link.ended == [(client.id, reasons.APP_CLOSED)]


def test_an_app_server_that_is_behind_stops_the_reading_of_a_guest() -> None:
    world = Forwarded()
    client = world.client()
    guest = world.guest(client)
    assert guest.hold(LINK)
    assert guest.hold(LINK)
    world.nodes.settle()
    assert not sink_of(client).reading
    guest.release(LINK)
    world.nodes.settle()
    assert sink_of(client).reading


def test_a_guest_that_leaves_while_the_app_server_is_asked_is_closed_there() -> None:
    world = Forwarded()
    world.link.on_open = lambda guest: None
    client = world.owners[0].open(RecordingOpening())
    world.nodes.settle()
    ((guest, _),) = world.link.opened
    world.owners[0].node.abandon(client)
    world.host.node.accept(guest, world.terms)
    world.nodes.settle()
    assert world.link.ended == [(client.id, reasons.TRANSPORT_LOST)]
    assert len(world.host.node.guests) == 0


def test_an_app_server_that_is_gone_closes_its_clients_everywhere() -> None:
    world = Forwarded()
    client = world.client()
    world.host.node.drop_server(world.app_hub, world.app)
    world.nodes.later(0.25)
    world.nodes.settle()
    assert world.closed(client) == [reasons.APP_LOST]
    assert len(world.host.node.guests) == 0
    assert world.link.ended == []


def test_a_packet_of_an_unknown_guest_ends_that_client() -> None:
    world = Forwarded()
    client = world.client()
    world.host.node.guests.gone(world.guest(client), reasons.TRANSPORT_LOST)
    world.owners[0].node.receive(client, b'42["e"]')
    world.nodes.settle()
    assert world.closed(client) == [reasons.APP_FORGOT]


def test_a_node_speaks_only_for_its_own_clients() -> None:
    world = Forwarded(3)
    client = world.client(0)
    forged: list[forwarding.Forwarding] = [
        forwarding.Forward(((client.id, b'42["forged"]'),)),
        forwarding.Gone(client.id, "client-closed"),
        forwarding.Left(client.id, "/"),
        forwarding.Upgraded(client.id),
        forwarding.Moved(client.id, "/", ("r",), joined=True),
    ]
    for body in forged:
        world.nodes.network.carry("node-no2", "node-no0", encode(Envelope("node-no2", body)))
    forged = [forwarding.Close(client.id, "app-closed", "app", ""), forwarding.Unknown(client.id)]
    for body in forged:
        world.nodes.network.carry("node-no2", "node-no1", encode(Envelope("node-no2", body)))
    world.nodes.settle()
    assert world.guest(client).open
    assert world.link.packets(client) == [b"40"]
    assert (world.peer.lefts, world.peer.upgrades, world.peer.moves) == ([], [], [])
    assert heard(client) == []
