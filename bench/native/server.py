"""Native python-socketio: one process under uvicorn and uvloop that holds the clients and runs the app."""

from __future__ import annotations

import asyncio
import socket

import socketio
import uvicorn
import uvloop

from bench.app.handlers import control, server


async def main() -> None:
    """Listen, and take commands."""
    sio = server(async_mode="asgi")
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        socketio.ASGIApp(sio),
        log_level="warning",
        access_log=False,
        # Engine.IO has its own heartbeat.
        ws_ping_interval=None,
    )
    web = uvicorn.Server(config)
    serving = asyncio.create_task(web.serve([listener]))
    while not web.started:
        await asyncio.sleep(0.01)
    await control(sio, {"port": listener.getsockname()[1]})
    web.should_exit = True
    await serving


uvloop.run(main())
