"""What operators see of a client that its app has disconnected."""

from __future__ import annotations

from moorage.hub.commands.deliver import EXPELLED
from moorage.wire.reasons import CLIENT_CLOSED
from tests.hub.fakes import World


def test_operators_see_that_the_app_had_disconnected_the_client() -> None:
    world = World()
    world.server()
    client = world.client("/", "/ns")
    other = world.client("/")

    def details() -> list[str]:
        return [detail for _, _, _, detail, _, _ in world.logged]

    world.send(client, b"41/ns,")
    world.node.disconnect(client, CLIENT_CLOSED, who="client")
    assert details() == [""], "it had another socket"
    world.send(other, b"41")
    world.node.receive(other, b"40")
    world.send(other, b'40{"sid":"again"}')
    world.node.disconnect(other, CLIENT_CLOSED, who="client")
    assert details()[1:] == [""], "it has come back"
    last = world.client("/")
    world.send(last, b"41")
    world.node.disconnect(last, CLIENT_CLOSED, who="client")
    assert details()[2:] == [EXPELLED]
