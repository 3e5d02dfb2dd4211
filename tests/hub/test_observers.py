"""Several observers are told the same, in their order."""

from __future__ import annotations

from moorage.hub.observers import Observers
from moorage.wire.reasons import APP_CLOSED
from tests.hub.fakes import World
from tests.hub.observer import RecordingObserver


def test_all_are_told() -> None:
    world = World()
    first, second = RecordingObserver(), RecordingObserver()
    world.node.observer = Observers(first, second)
    world.server()
    client = world.client("/", "/chat")
    world.node.receive(client, b"41/chat,")
    assert first.sockets == second.sockets == {(client, "/")}
    world.node.disconnect(client, APP_CLOSED, who="app")
    world.node.draining = True
    try:
        world.client()
    except Exception as error:
        assert "draining" in str(error)
    assert first.closes == second.closes and len(first.closes) == 1
    assert first.refusals == second.refusals == [("app", "draining")]
    assert first.opens == second.opens
