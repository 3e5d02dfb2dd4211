"""What tests need to know about `socketio.AsyncClient`."""

from __future__ import annotations

import socketio


async def leave(client: socketio.AsyncClient) -> None:
    """Disconnect. A client that disconnects while it waits for the answer to a POST drops its close packet,
    and then waits 30 s for its last poll. So wait for the answer first."""
    if client.connected:
        await client.eio.queue.join()
    await client.disconnect()
