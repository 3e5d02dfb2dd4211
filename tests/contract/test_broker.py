"""`hub.ports.Broker`: what a node may count on when it publishes, whoever carries it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moorage.cluster.local import LocalBroker
from moorage.hub.ports import Broker
from moorage.wire.commands import (
    EVERYONE,
    CloseConnections,
    Command,
    Exists,
    Invoke,
    JoinGroups,
    LeaveGroups,
    ListGroup,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.filters.compiled import compile_filter
from tests.hub.fakes import HUB, RecordingAnswers, RecordingBroker, World, heard

BROKERS: list[Callable[[], Broker]] = [LocalBroker, RecordingBroker]
FILTERED = Selection(filter=compile_filter("'g' in groups and not (userId eq 'ada')"), excluded=("c9",))
COMMANDS: list[Command] = [
    Send(HUB, EVERYONE, b"42[1]"),
    Send(HUB, FILTERED, b"42[1]"),
    SendToConnection(HUB, "c0001", b"42[1]"),
    Invoke(HUB, FILTERED, b"42[1]"),
    JoinGroups(HUB, Selection(user="ada"), ("g",)),
    LeaveGroups(HUB, Selection(group="g"), None),
    CloseConnections(HUB, Selection(connection="c0001"), "why"),
    Exists(HUB, EVERYONE),
    ListGroup("no-hub", "g", 10, "c1"),
]


@pytest.mark.parametrize("new_broker", BROKERS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_can_be_published(new_broker: Callable[[], Broker], command: Command) -> None:
    broker = new_broker()
    for _ in range(3):
        broker.publish(command)


@pytest.mark.parametrize("new_broker", BROKERS)
def test_the_publisher_has_acted_already_and_does_not_act_twice(new_broker: Callable[[], Broker]) -> None:
    world = World(broker=new_broker())
    world.server()
    client = world.client("/")
    world.emit(EVERYONE, b"42[1]")
    world.execute(Invoke(HUB, EVERYONE, b"42[2]"), RecordingAnswers())
    world.settle()
    assert heard(client) == [b"42[1]", b"421073741824[2]"]
