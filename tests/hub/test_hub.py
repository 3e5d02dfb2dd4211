"""The lifetime of a hub, and its isolation from other hubs."""

from __future__ import annotations

from moorage.hub.hub import Hub
from moorage.hub.tallies import Tally
from moorage.wire.commands import EVERYONE, Invoke, SendToConnection
from tests.hub.fakes import RecordingAnswers, RecordingOpening, World, heard


def test_a_new_hub_is_empty() -> None:
    hub = Hub("h", Tally())
    assert hub.is_empty
    assert hub.websockets == 0


def test_a_hub_exists_while_it_is_used() -> None:
    world = World()
    server, _ = world.server()
    hub = world.hub()
    client = world.client("/")
    world.node.receive(client, b"1")
    assert world.node.hubs == {"app": hub}
    world.node.drop_server(hub, server)
    assert hub.is_empty
    assert world.node.hubs == {}


def test_a_hub_stays_while_requests_are_open() -> None:
    world = World()
    server, _ = world.server()
    client, answers = world.client("/"), RecordingAnswers()
    world.execute(Invoke("app", EVERYONE, b'42["q"]'), answers)
    world.node.receive(client, b"1")
    world.node.drop_server(world.hub(), server)
    assert answers.finished == 0
    world.node.tick(world.now + world.links.invoke_timeout)
    assert answers.finished == 1
    assert world.node.hubs == {}


def test_hubs_are_isolated() -> None:
    world = World()
    world.server(hub="one")
    world.server(hub="two")
    here, there = world.node.hub("one"), world.node.hub("two")
    assert here is not None and there is not None
    assert here.directory is not there.directory
    assert here.invocations is not there.invocations
    clients = [world.open(RecordingOpening(), hub=name) for name in ("one", "two")]
    assert world.emit(EVERYONE, b"42[1]", hub="one").reached == 1
    world.settle()
    assert [heard(connection) for connection in clients] == [[b"42[1]"], []]
    # An id of one hub has no meaning in the other.
    assert not world.execute(SendToConnection("two", clients[0].id, b"42[2]")).found
