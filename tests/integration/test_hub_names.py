"""The name of a hub ignores case."""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp
import pytest
import socketio

from moorage.sdk import use_moorage
from tests.support.python_client import leave
from tests.support.service import ROOT, MoorageProcess

SECONDS = 30.0


async def token(service: MoorageProcess, hub: str) -> str:
    """A token made with the command line."""
    words = ("token", "create", "--hub", hub, "--endpoint", service.url, "--access-key", service.key)
    maker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "moorage", *words),
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=asyncio.subprocess.PIPE,
    )
    return (await maker.communicate())[0].decode().strip()


async def connects(url: str, path: str) -> None:
    # The library does not close a session of its own when it is refused.
    async with aiohttp.ClientSession() as http:
        client = socketio.AsyncClient(http_session=http)
        await client.connect(url, socketio_path=path, wait_timeout=SECONDS)
        await leave(client)


@pytest.mark.repair(32)
async def test_hub_names_ignore_case_for_all_peers() -> None:
    with MoorageProcess("--hub", "Chat", "--set", "hubs.LOBBY.anonymous=false") as service:
        for hub in ("CHAT", "lobby"):
            sio = socketio.AsyncServer(async_mode="asgi")
            async with await use_moorage(sio, hub=hub, connection_string=service.connection_string):
                if hub == "CHAT":
                    await connects(service.url, "/clients/socketio/hubs/chat")
                    await connects(service.url, "/socket.io/")
                else:
                    with pytest.raises(socketio.exceptions.ConnectionError):
                        await connects(service.url, "/clients/socketio/hubs/Lobby")
                    url = f"{service.url}?access_token={await token(service, 'loBBy')}"
                    await connects(url, "/clients/socketio/hubs/Lobby")
