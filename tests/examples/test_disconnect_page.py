"""docs/howto/find-out-why-a-user-was-disconnected.md: its commands as they stand there."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from typing import Any

import socketio

from moorage.auth import AccessKeys, sign
from moorage.sdk import use_moorage
from tests.support.pages import commands
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess

PAGE = "docs/howto/find-out-why-a-user-was-disconnected.md"
KEY = "o" * 32


def run(service: MoorageProcess, command: str) -> Any:
    """What a command of the page prints, in a shell that has run the first block."""
    first = commands(PAGE)[0].replace("http://127.0.0.1:8080", service.url).replace("KEY=...", f"KEY={KEY}")
    done = subprocess.run(
        ["bash", "-c", f"{first}\n{command}"], capture_output=True, text=True, timeout=90, check=True
    )
    return json.loads(done.stdout)


async def test_the_commands() -> None:
    _, connected, ended, everybody, close = commands(PAGE)
    with MoorageProcess(f"--set=admin.operate_key={KEY}") as service:
        sio = socketio.AsyncServer(async_mode="asgi")
        sio.on("connect", lambda sid, environ: None)
        moorage = await use_moorage(sio, hub="app", connection_string=service.connection_string)
        audience = f"{service.url}/clients/socketio/hubs/app"
        token = sign(AccessKeys(service.key), audience, time.time(), 60, user="ada")
        client = socketio.AsyncClient(reconnection=False)
        gone = asyncio.Event()
        client.on("disconnect", lambda reason: gone.set())
        path = "/clients/socketio/hubs/app"
        await client.connect(f"{service.url}?access_token={token}", socketio_path=path, wait_timeout=PATIENCE)
        (row,) = (await asyncio.to_thread(run, service, connected))["connections"]
        assert row["user"] == "ada"
        one = await asyncio.to_thread(run, service, f'ask "connections/{row["id"]}"')
        assert one["id"] == row["id"]
        assert (await asyncio.to_thread(run, service, close))["connections"] == 1
        # `client.wait` may take another 30 s: it waits for a task that waits for something to send.
        await gone.wait()
        (end,) = (await asyncio.to_thread(run, service, ended))["disconnects"]
        assert (end["id"], end["reason"], end["detail"]) == (row["id"], "api-closed", "stale session")
        history = await asyncio.to_thread(run, service, everybody)
        assert history["missing"] == []
        (action,) = (await asyncio.to_thread(run, service, "ask audit"))["actions"]
        assert action["action"] == "disconnect"
        await moorage.close()
