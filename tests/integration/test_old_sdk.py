"""An SDK that knows nothing of several nodes, over one link to one of two nodes that tell of each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from moorage.wire.moorage import v1
from tests.integration.test_forwarded import App
from tests.support.service import MoorageProcess
from tests.support.two_nodes import two_nodes

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def processes() -> Iterator[list[MoorageProcess]]:
    with two_nodes() as started:
        yield started


@pytest.mark.parametrize("revision", [1, 2, 3])
async def test_one_link_serves_the_clients_of_both_nodes(
    revision: int, processes: list[MoorageProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v1, "REVISION", revision)
    async with AsyncExitStack() as stack:
        app = App(processes, stack)
        await app.start()
        client, sid = await app.client()
        assert await client.sio.call("echo", 1) == 1
        await app.sio.enter_room(sid, "room")
        await app.sio.emit("to a room", room="room")
        assert await client.next() == ("to a room",)
        tunnels = f'moorage_tunnel_connections{{dialect="moorage",hub="{app.hub}"}}'
        assert [node.metric(tunnels) for node in processes] == [1, 0]
