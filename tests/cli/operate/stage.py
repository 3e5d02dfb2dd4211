"""Running services with clients in them, and commands that ask them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import socketio
from click.testing import CliRunner, Result

from moorage.cli.main import app
from moorage.sdk import use_moorage
from tests.integration.test_python_client import Client
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess
from tests.support.traces import OPERATE_KEY

_numbers = count(1)


class Stage:
    """An app server at the first of the services, and a client at each, all in room `lobby`."""

    def __init__(self, services: list[MoorageProcess], clients: list[Client], server_id: str = "") -> None:
        self.services = services
        self.server_id = server_id
        self.clients = clients

    async def command(self, *words: str, at: int = 0, key: str = OPERATE_KEY) -> Result:
        """The outcome of `moorage WORDS`, asked at one of the services."""
        env = {"MOORAGE_ADMIN_URL": self.services[at].url, "MOORAGE_ADMIN_KEY": key}
        # In a thread: the app server and the clients need this one.
        return await asyncio.to_thread(CliRunner().invoke, app, list(words), env=env)

    async def json(self, *words: str, at: int = 0) -> Any:
        """What `moorage WORDS --json` prints."""
        done = await self.command(*words, "--json", at=at)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    async def until(self, wanted: int, *words: str, at: int = 0) -> Any:
        """The JSON of a list, once it has this many rows: a cluster's nodes learn of each other's."""
        async with asyncio.timeout(30):
            while True:
                found = await self.json(*words, at=at)
                if len(found[words[0]]) == wanted:
                    return found
                await asyncio.sleep(0.05)


@asynccontextmanager
async def staged(services: list[MoorageProcess], users: tuple[str, ...] = ()) -> AsyncIterator[Stage]:
    """Use it while the services run. `users`: a token for each client; without, they are anonymous."""
    sio = socketio.AsyncServer(async_mode="asgi")

    async def connect(sid: str, environ: object, auth: object = None) -> None:
        await sio.enter_room(sid, "lobby")

    async def echo(sid: str, value: object) -> object:
        return value

    sio.on("connect", handler=connect)
    sio.on("echo", handler=echo)
    # A node may still know the app server of the test before.
    server_id = f"web-{next(_numbers)}"
    moorage = await use_moorage(
        sio, hub="app", connection_string=services[0].connection_string, server_id=server_id
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(moorage.close)
        clients = [await stack.enter_async_context(Client()) for _ in services]
        for client, service in zip(clients, services, strict=True):
            await client.sio.connect(service.url, transports=["websocket"], wait_timeout=PATIENCE)
            assert await client.sio.call("echo", 1) == 1
        yield Stage(services, clients, server_id)
