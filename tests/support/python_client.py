"""What tests need to know about `socketio.AsyncClient`."""

from __future__ import annotations

from typing import Final

import socketio

PATIENCE: Final = 60.0
"""Seconds for `connect(wait_timeout=...)`. Without it a connect fails after one second, too soon on a busy
machine."""


async def leave(client: socketio.AsyncClient) -> None:
    """Disconnect. A client that disconnects while it waits for the answer to a POST drops its close packet,
    and then waits 30 s for its last poll. So wait for the answer first."""
    if client.connected:
        await client.eio.queue.join()
    await client.disconnect()
