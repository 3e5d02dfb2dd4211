"""Payloads that the service must handle itself, because they also change its own state."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from moorage.hub.commands.deliver import is_special
from tests.hub.fakes import RecordingCluster, World, heard


@pytest.mark.parametrize(
    ("payload", "special"),
    [
        (b'42["a"]', False),
        (b"2", False),
        (b"430[]", False),
        (b'451-["a"]\x1ebYWI=', False),
        (b'42["40"]', False),
        (b'40{"sid":"x"}', True),
        (b"41", True),
        (b"41/ns,", True),
        (b'44{"message":"x"}', True),
        (b"1", True),
        (b'42["a"]\x1e1', True),
        (b'42["a"]\x1e42["b"]\x1e41', True),
    ],
)
def test_payloads_that_the_service_must_handle(payload: bytes, special: bool) -> None:
    assert is_special(payload) == special


class Unaware(RecordingCluster):
    """Other nodes that do not know yet that the namespace has a client here."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], object]] = []

    def is_pending(self, hub: str, groups: Iterable[str]) -> bool:
        return True

    def when_visible(self, hub: str, groups: Iterable[str], call: Callable[[], object]) -> None:
        self.waiting.append(call)


@pytest.mark.parametrize("members", [None, Unaware()], ids=["not told", "told"])
def test_a_client_hears_of_its_connect_when_the_other_nodes_know(members: Unaware | None) -> None:
    world = World(cluster=RecordingCluster(), members=members)
    world.server()
    client = world.client()
    world.node.receive(client, b"40")
    world.send(client, b'40{"sid":"s"}')
    world.settle()
    assert bool(heard(client)) == (members is None)
    for call in members.waiting if members is not None else ():
        call()
    world.settle()
    assert heard(client) == [b'40{"sid":"s"}']
