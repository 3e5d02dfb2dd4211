"""The choice of an app server for a client."""

from __future__ import annotations

import pytest

from moorage.hub.hub import AppServer, AppServers
from tests.hub.fakes import LEAST, RecordingLink, RecordingOpening, World


def new_server(server_id: str, *, up: bool = True) -> AppServer:
    """An app server without clients."""
    server = AppServer(server_id, RecordingLink(), "test", LEAST)
    server.up = up
    return server


def test_app_servers_are_listed_by_id_in_order_of_arrival() -> None:
    servers = AppServers()
    one, two = new_server("one"), new_server("two")
    servers.add(one)
    servers.add(two)
    assert servers.get("two") is two
    assert servers.get("three") is None
    assert servers.all() == (one, two)
    assert len(servers) == 2
    servers.remove(one)
    servers.remove(one)
    assert servers.all() == (two,)


def test_removing_a_replaced_app_server_keeps_its_successor() -> None:
    servers = AppServers()
    old, new = new_server("same"), new_server("same")
    servers.add(old)
    servers.add(new)
    servers.remove(old)
    assert servers.get("same") is new


def test_no_app_server_is_chosen_if_none_is_up() -> None:
    servers = AppServers()
    assert servers.choose() is None
    servers.add(new_server("away", up=False))
    assert servers.choose() is None


def test_a_client_goes_to_the_app_server_with_the_fewest_clients() -> None:
    world = World()
    servers = [world.server(name)[0] for name in ("one", "two", "three")]
    clients = [world.client() for _ in range(7)]
    assert [len(server.clients) for server in servers] == [3, 2, 2]
    # An app server that has lost its clients gets the next ones.
    for client in clients:
        if client.server is servers[1]:
            world.node.receive(client, b"1")
    assert [world.client().server for _ in range(2)] == [servers[1]] * 2


def test_pending_clients_count() -> None:
    world = World()
    (one, slow), (two, _) = world.server("one"), world.server("two")
    slow.on_open = lambda connection: None
    for _ in range(4):
        world.open(RecordingOpening())
    assert (len(one.clients), len(two.clients)) == (2, 2)


def test_a_server_without_a_link_gets_no_new_clients_but_keeps_its_own() -> None:
    world = World()
    (one, _), (two, _) = world.server("one"), world.server("two")
    first = world.client()
    one.up = False
    assert {world.client().server.id for _ in range(3)} == {"two"}
    assert first in one.clients
    one.up = True
    assert world.client().server is one
    assert len(two.clients) == 3


def test_a_slow_app_server_gets_new_clients_last() -> None:
    world = World()
    (slow, _), (two, _) = world.server("slow"), world.server("two")
    slow.behind = True
    assert {world.client().server for _ in range(3)} == {two}
    two.draining = True
    assert world.client().server is slow, "better than none"
    slow.behind = two.draining = False
    assert world.client().server is slow


@pytest.mark.repair(14)
def test_an_app_server_that_only_emits_is_never_chosen() -> None:
    servers = AppServers()
    worker = new_server("worker")
    worker.emit_only = True
    servers.add(worker)
    assert servers.choose() is None
    app = new_server("app")
    servers.add(app)
    assert servers.choose() is app


@pytest.mark.parametrize("own", ["none", "up", "down"])
@pytest.mark.parametrize("home", [True, False])
def test_a_client_is_forwarded_to_a_home_alone_and_only_if_its_app_server_has_no_session_here(
    own: str, home: bool
) -> None:
    """A client has one way to its app server, or what that sends on two ways could overtake each other."""
    servers = AppServers()
    there = new_server("app")
    there.home, there.node = home, "n2"
    servers.elsewhere.add(there)
    if own != "none":
        servers.add(here := new_server("app", up=own == "up"))
    expected = {"none": there if home else None, "up": here if own == "up" else None, "down": None}
    assert servers.choose() is expected[own]


def test_an_app_server_of_another_node_is_found_by_its_id_and_one_that_is_up_first() -> None:
    world = World()
    hub = world.node.ensure_hub("app")
    assert hub.servers.get_elsewhere("one") is None
    for node, up in (("n1", False), ("n2", True), ("n3", True)):
        server = new_server("one", up=up)
        server.node = node
        hub.servers.elsewhere.add(server)
    found = hub.servers.get_elsewhere("one")
    assert found is not None
    assert found.node == "n2"
