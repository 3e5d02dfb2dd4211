"""A service in this process, and requests to its Admin API in which every byte is the test's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from unittest import mock

from moorage.app.service import Service
from moorage.config.load import load
from tests.support.rawhttp import Reply, fetch

READ, OPERATE = "r" * 32, "o" * 32
ACCESS = "k" * 32


class Served:
    """`service` answers at `url`."""

    def __init__(self, service: Service, url: str) -> None:
        self.service = service
        self.url = url

    async def ask(
        self,
        target: str,
        method: str = "GET",
        *,
        key: str = OPERATE,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request. `target` is below `/api/v1`, or a whole path. A `body` is sent as JSON unless it is
        bytes."""
        given = {"Authorization": f"Bearer {key}"} if key else {}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            given["Content-Type"] = "application/json"
        path = target if target.startswith(("/api/", "/dashboard")) else f"/api/v1{target}"
        return await fetch(self.url, path, method=method, headers=given | dict(headers or {}), body=data)

    async def code(self, *args: Any, **given: Any) -> tuple[int, str]:
        """The status and the reason of a refused request."""
        reply = await self.ask(*args, **given)
        return reply.status, reply.json()["code"]

    async def cookie(self, key: str = OPERATE) -> str:
        """The cookie of a new session."""
        reply = await self.ask("/dashboard/session", "POST", key="", body={"key": key})
        assert reply.status == 200, reply
        return reply.headers["set-cookie"].partition(";")[0]


@contextlib.asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[Served]:
    """`settings` by path, with `__` for each dot."""
    given = {name.replace("__", "."): value for name, value in settings.items()}
    base = {
        "server.port": 0,
        "keys.primary": ACCESS,
        "admin.read_key": READ,
        "admin.operate_key": OPERATE,
    }
    service = Service(load(None, {}, base | given))
    url = await service.start()
    try:
        yield Served(service, url)
    finally:
        # The end of a node takes one tick, and there are a hundred tests.
        with mock.patch("moorage.app.service.TICK_SECONDS", 0.0):
            await service.stop(drain=False)
