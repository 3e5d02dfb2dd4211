"""Two nodes that forward to each other, and the end of that."""

from __future__ import annotations

from moorage.wire import reasons
from tests.cluster.forwarding.world import Forwarded


def test_a_node_that_is_gone_ends_its_guests_and_its_app_servers_clients() -> None:
    world = Forwarded(3)
    gone, other = world.client(0), world.client(1)
    world.nodes.routers[0].remove("node-no1")
    assert world.link.ended == [(gone.id, reasons.TRANSPORT_LOST)]
    world.nodes.routers[1].remove("node-no0")
    assert world.closed(gone) == [reasons.APP_LOST]
    assert world.guest(other).open
    world.nodes.settle()
    assert world.link.ended == [(gone.id, reasons.TRANSPORT_LOST)]


def test_a_node_that_was_only_thought_dead_leaves_no_ghost() -> None:
    world = Forwarded()
    host, owner = world.nodes.routers
    client = world.client()
    # Only the host loses the owner, for a moment. The owner notices nothing but another token.
    host.remove("node-no1")
    assert world.link.ended == [(client.id, reasons.TRANSPORT_LOST)]
    world.owners[0].node.receive(client, b'42["lost"]')
    host.add("node-no1", "node 1")
    world.nodes.settle()
    assert world.closed(client) == [reasons.APP_LOST]
    assert world.link.ended == [(client.id, reasons.TRANSPORT_LOST)]
    assert world.client().id != client.id
    assert owner.forwarding.forwarded == (3, 0)


def test_a_lost_token_is_sent_again() -> None:
    world = Forwarded()
    owner = world.nodes.routers[1]
    owner.remove("node-no0")
    world.nodes.network.lose("node-no1", "node-no0")
    owner.add("node-no0", "node 0")
    world.nodes.settle()
    world.nodes.later(1.0)
    world.nodes.settle()
    world.client()


def test_lost_messages_begin_a_new_epoch() -> None:
    world = Forwarded()
    client = world.client()
    world.nodes.routers[0].forwarding.restart("node-no1")
    world.nodes.settle()
    assert world.link.ended == [(client.id, reasons.TRANSPORT_LOST)]
    assert world.closed(client) == [reasons.APP_LOST]
    world.client()
