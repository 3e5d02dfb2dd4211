"""Forwarded clients under pressure, and while the network between the nodes is divided."""

from __future__ import annotations

import pytest

from moorage.hub.connections.bursts import BURST as PACKETS
from moorage.hub.hub import LINK
from moorage.hub.ports import RefusedError
from moorage.wire import reasons
from tests.cluster.forwarding.world import Forwarded
from tests.hub.fakes import RecordingOpening, sink_of


def test_a_client_that_floods_waits_until_the_app_server_has_taken_its_packets() -> None:
    world = Forwarded()
    client = world.client()
    owner = world.owners[0].node
    packets = [b'42["e",%d]' % number for number in range(20 * PACKETS)]
    for packet in packets:
        owner.receive(client, packet)
    owner.burst(client)
    world.nodes.settle()
    assert world.link.packets(client) == [b"40", *packets]
    assert not sink_of(client).reading
    world.link.take()
    world.nodes.settle()
    assert sink_of(client).reading


def test_a_burst_and_a_full_link_hold_a_client_until_both_are_over() -> None:
    world = Forwarded()
    client = world.client()
    guest = world.guest(client)
    world.owners[0].node.burst(client)
    guest.hold(LINK)
    world.nodes.settle()
    world.link.take()
    world.nodes.settle()
    assert not sink_of(client).reading
    guest.release(LINK)
    world.nodes.settle()
    assert sink_of(client).reading


def test_what_waits_for_an_app_server_ends_with_its_node() -> None:
    world = Forwarded()
    client = world.client()
    done: list[str] = []
    client.server.link.taken(client, lambda: done.append("taken"))
    world.nodes.settle()
    assert done == []
    world.nodes.routers[1].remove("node-no0")
    assert done == ["taken"]
    # Nothing waits for the second time, and nothing for a client that is gone.
    world.link.take()
    world.nodes.settle()
    client.server.link.drained(client, lambda: done.append("drained"))
    assert done == ["taken", "drained"]


def test_packets_that_wait_at_the_end_of_a_client_come_before_its_end() -> None:
    world = Forwarded()
    client = world.client()
    owner = world.owners[0].node
    owner.receive(client, b'42["last"]')
    owner.disconnect(client, reasons.TRANSPORT_LOST, who="client")
    world.nodes.settle()
    assert world.link.packets(client) == [b"40", b'42["last"]']
    assert world.link.ended == [(client.id, reasons.TRANSPORT_LOST)]


def test_a_client_of_each_side_of_a_partition_ends_once_and_new_ones_come_after_it() -> None:
    world = Forwarded(3)
    clients = [world.client(0), world.client(1)]
    host, *owners = world.nodes.routers
    world.nodes.network.partition(["node-no0", "node-no2"], ["node-no1"])
    owner = world.owners[0].node
    owner.receive(clients[0], b'42["lost"]')
    world.host.node.disconnect(world.guest(clients[0]), reasons.APP_CLOSED, who="app")
    world.nodes.settle()
    host.remove("node-no1")
    owners[0].remove("node-no0")
    owners[0].remove("node-no2")
    owners[1].remove("node-no1")
    world.nodes.settle()
    world.nodes.network.heal()
    for router, others in ((host, ["1"]), (owners[0], ["0", "2"]), (owners[1], ["1"])):
        for other in others:
            router.add(f"node-no{other}", f"node {other}")
    world.nodes.settle()
    assert world.link.ended == [(clients[0].id, reasons.APP_CLOSED)]
    assert world.closed(clients[0]) == [reasons.APP_LOST]
    assert world.guest(clients[1]).open
    assert world.guest(world.client(0)).open
    assert len(world.host.node.guests) == 2


def test_a_node_that_drains_declines_clients_and_its_guests_stay_until_it_ends() -> None:
    world = Forwarded()
    client = world.client()
    world.host.node.draining = True
    opening = RecordingOpening()
    world.owners[0].open(opening)
    world.nodes.settle()
    assert [reason for reason, _ in opening.refusals] == [reasons.DRAINING]
    world.owners[0].node.receive(client, b'42["still"]')
    world.nodes.settle()
    assert world.link.packets(client) == [b"40", b'42["still"]']
    world.nodes.later(0.25)
    world.nodes.settle()
    with pytest.raises(RefusedError) as refused:
        world.owners[0].open(RecordingOpening())
    assert refused.value.reason is reasons.NO_APP_SERVER


def test_a_session_that_is_not_the_home_takes_no_clients_of_other_nodes() -> None:
    """The client's node has not heard yet that another node has become the home."""
    world = Forwarded()
    (server,) = world.host.hub().servers.all()
    server.home = False
    opening = RecordingOpening()
    world.owners[0].open(opening)
    world.nodes.settle()
    assert [reason for reason, _ in opening.refusals] == [reasons.NO_APP_SERVER]
