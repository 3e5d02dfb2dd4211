"""A socket moves from one node to another when one of the two dies, at any moment. It is not lost."""

from __future__ import annotations

import pytest

from tests.cluster.recovery.keepers import Keepers, heir
from tests.hub.recovery.stage import Returning

MESSAGES = range(0, 25, 2)
"""Messages that arrive before the node dies. With all of them, the client is back."""


async def calm(keepers: Keepers, client: Returning) -> None:
    """Everything arrives, and the app server's data with it."""
    for _ in range(6):
        keepers.save(client)
        keepers.settle()
        await keepers.read()


async def moving(messages: int, origin: int, to: int, *, stores: bool) -> tuple[Keepers, Returning]:
    """A client comes from one node to another, and the first node dies."""
    keepers = Keepers()
    client = keepers.client(origin, "room")
    keepers.emit(1, 1)
    client.read()
    keepers.emit(1, 2)
    client.stage = keepers.stages[to]
    client.come_back(answer=False)
    for _ in range(messages):
        keepers.step(stores=stores)
        keepers.save(client)
    keepers.kill()
    keepers.emit(1, 3)
    await keepers.lose(1, 2)
    await calm(keepers, client)
    return keepers, client


def is_whole(keepers: Keepers, client: Returning) -> bool:
    """The client gets its socket, with what it has missed."""
    assert [socket.sid for _, socket in client.stage.returns.sockets] == [client.sid["/"]]
    client.answer()
    keepers.settle()
    client.read()
    return [event[2] for event in client.events] == [2, 3]


@pytest.mark.parametrize("messages", MESSAGES)
@pytest.mark.parametrize("stores", [True, False])
async def test_the_node_that_has_it_dies(messages: int, stores: bool) -> None:
    """The client comes to the node that reads the journal of the dead one."""
    assert is_whole(*await moving(messages, 0, heir(), stores=stores))


@pytest.mark.parametrize("messages", MESSAGES)
@pytest.mark.parametrize("stores", [True, False])
async def test_the_node_to_which_it_comes_dies(messages: int, stores: bool) -> None:
    """The client comes to a third one."""
    keepers, client = await moving(messages, 2, 0, stores=stores)
    client.stage = keepers.stages[1]
    client.come_back(answer=False)
    await calm(keepers, client)
    assert is_whole(keepers, client)
