"""Messages are counted per hub and per connection, whatever their way."""

from __future__ import annotations

from moorage.hub.outbox import SLICE
from moorage.hub.settings import HubSettings
from moorage.hub.tallies import MAX_TALLIES, Tallies
from moorage.wire.commands import EVERYONE, Send, SendToConnection
from tests.hub.fakes import World


def test_a_hub_that_comes_back_goes_on_counting() -> None:
    tallies = Tallies()
    tallies.of("Chat").received += 1
    assert tallies.of("CHAT").received == 1
    assert [*tallies.by_name] == ["Chat"]


def test_hubs_that_are_expected_have_their_own_counters_and_the_last_ones_share_theirs() -> None:
    tallies = Tallies()
    tallies.expect(["late"])
    for number in range(MAX_TALLIES):
        tallies.of(f"h{number}")
    assert len(tallies.by_name) == MAX_TALLIES
    assert tallies.of(f"h{MAX_TALLIES - 1}") is tallies.of("h-new") is tallies.rest
    assert tallies.of("late") is not tallies.rest


def test_listed_hubs_are_expected() -> None:
    world = World()
    world.node.configure({"Mine": HubSettings(), "default": HubSettings()}, allow_unlisted_hubs=True)
    assert [*world.node.tallies.by_name] == ["Mine"]


def test_packets_of_clients() -> None:
    world = World()
    world.server()
    one, other = world.client("/"), world.client("/")
    began, other_began = one.session.received, other.session.received
    tally = world.node.tallies.of("app")
    before = tally.received
    world.node.receive(one, b'42["a"]')
    world.node.receive(one, b'451-["a",{"_placeholder":true,"num":0}]')
    world.node.receive_binary(one, b"x")
    assert (one.session.received - began, other.session.received - other_began) == (3, 0)
    assert tally.received - before == 3


def test_packets_to_clients_by_every_way_that_they_take() -> None:
    world = World()
    world.server()
    world.server("s2", hub="zoo")
    clients = [world.client("/") for _ in range(SLICE + 1)]
    clients.append(world.client("/", framed=False))
    stranger = world.client("/", hub="zoo")
    app, zoo = world.node.tallies.of("app"), world.node.tallies.of("zoo")
    one = clients[0]

    def sent_by(command: Send | SendToConnection) -> tuple[int, int, int]:
        before = one.outbox.sent, app.sent, zoo.sent
        world.execute(command)
        return one.outbox.sent - before[0], app.sent - before[1], zoo.sent - before[2]

    binary = b'451-["x",{"_placeholder":true,"num":0}]\x1ebYWI='
    assert sent_by(SendToConnection("app", one.id, b'42["a"]')) == (1, 1, 0)
    assert sent_by(SendToConnection("app", one.id, binary)) == (2, 2, 0)
    assert sent_by(SendToConnection("app", one.id, b"41")) == (1, 1, 0)
    assert sent_by(Send("app", EVERYONE, binary)) == (2, 2 * len(clients), 0)
    assert stranger.outbox.sent == zoo.sent
