"""Clients that flood are read in turn, one read at a time."""

from __future__ import annotations

import pytest

from moorage.hub.hub import BURST, LINK, Connection
from moorage.wire.commands import CloseConnections, Selection
from tests.hub.fakes import HUB, RecordingLink, World, sink_of

pytestmark = pytest.mark.repair(4)


def crowd(count: int) -> tuple[World, RecordingLink, list[Connection]]:
    world = World()
    _, link = world.server()
    return world, link, [world.client("/") for _ in range(count)]


def reading(clients: list[Connection]) -> list[bool]:
    return [sink_of(client).reading for client in clients]


def turns(world: World, count: int = 1) -> None:
    """A turn of the event loop, without the app server."""
    for _ in range(count):
        callbacks, world.callbacks = world.callbacks, []
        for callback in callbacks:
            callback()


def test_reading_resumes_when_the_app_server_has_taken_the_burst() -> None:
    world, link, (client, other) = crowd(2)
    world.node.burst(client)
    turns(world, 10)
    assert reading([client, other]) == [False, True]
    link.take()
    assert reading([client, other]) == [True, True]
    turns(world, 2)
    assert link.waiting == []


def test_clients_that_flood_are_read_in_turn() -> None:
    world, link, clients = crowd(3)
    for client in clients:
        world.node.burst(client)
    assert reading(clients) == [False, False, False]
    assert len(link.waiting) == 1
    order: list[int] = []
    for _ in range(9):
        link.take()
        (now,) = [n for n, client in enumerate(clients) if sink_of(client).reading]
        order.append(now)
        turns(world)
        # Its next read is a burst again.
        world.node.burst(clients[now])
        turns(world)
        assert reading(clients) == [False, False, False]
    assert order == [0, 1, 2] * 3


def test_a_client_that_stops_flooding_delays_no_other() -> None:
    world, link, clients = crowd(3)
    for client in clients:
        world.node.burst(client)
    for _ in range(3):
        link.take()
        turns(world, 2)
    assert reading(clients) == [True, True, True]
    assert link.waiting == []


def test_a_client_that_closes_while_queued_delays_no_other() -> None:
    world, link, clients = crowd(3)
    for client in clients:
        world.node.burst(client)
    for client in clients[:2]:
        world.execute(CloseConnections(HUB, Selection(connection=client.id)))
    link.take()
    assert sink_of(clients[2]).reading
    world.node.burst(clients[2])
    world.execute(CloseConnections(HUB, Selection(connection=clients[2].id)))
    turns(world, 2)
    link.take()
    late = world.client("/")
    world.node.burst(late)
    link.take()
    assert sink_of(late).reading


def test_a_client_is_queued_once() -> None:
    world, link, (client,) = crowd(1)
    world.node.burst(client)
    world.node.burst(client)
    assert len(world.node.bursts[client.server]) == 1
    assert len(link.waiting) == 1


def test_reading_resumes_when_no_reason_to_pause_is_left() -> None:
    world, link, (client,) = crowd(1)
    client.hold(LINK)
    world.node.burst(client)
    client.release(LINK)
    assert not sink_of(client).reading
    client.hold(LINK)
    link.take()
    assert not sink_of(client).reading
    assert client.held == LINK
    client.release(LINK)
    assert sink_of(client).reading
    assert not client.held & BURST


def test_an_app_server_that_never_answers_delays_clients_only_briefly() -> None:
    world, link, clients = crowd(2)
    for client in clients:
        world.node.burst(client)
    waiting, link.waiting = link.waiting, []
    for _ in range(5):
        world.now += 0.25
        world.node.tick(world.now)
    assert reading(clients) == [True, False]
    for _, done in waiting:
        done()
    assert reading(clients) == [True, False], "an answer that comes too late moves nobody"
    turns(world, 2)
    link.take()
    assert reading(clients) == [True, True]


def test_an_app_server_whose_clients_do_not_flood_needs_no_turn() -> None:
    world, link, (client,) = crowd(1)
    world.node.burst(client)
    link.take()
    turns(world, 2)
    for _ in range(20):
        world.now += 0.25
        world.node.tick(world.now)
    assert (reading([client]), link.waiting) == ([True], [])
