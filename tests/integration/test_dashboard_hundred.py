"""A hundred open dashboards: each gets its pages, and clients go on."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from bench.dashboard.viewers import OVERVIEW
from tests.support.app_link import AppServer
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess
from tests.support.traces import FLAGS, OPERATE_KEY

DASHBOARDS = 100
REFRESHES = 2

pytestmark = pytest.mark.timeout(120)


class Dashboard:
    """One tab, as the service sees it: a session, and the requests of a refresh."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._tab = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def sign_in(self) -> None:
        headers = {"X-Moorage-Admin": "1"}
        async with self._tab.post(
            f"{self._url}/dashboard/session", json={"key": OPERATE_KEY}, headers=headers
        ) as answer:
            assert answer.status == 200, await answer.text()

    async def refresh(self) -> list[int]:
        """The statuses of all answers."""
        found = []
        for path in OVERVIEW:
            async with self._tab.get(f"{self._url}/api/v1/{path}") as answer:
                await answer.read()
                found.append(answer.status)
        return found

    async def close(self) -> None:
        await self._tab.close()


async def test_a_hundred_dashboards_that_refresh_at_once_leave_clients_alone() -> None:
    with MoorageProcess(*FLAGS) as service:
        async with (
            AppServer(service, "main") as app,
            await WebSocket.session(service.url, clients("main")) as client,
        ):
            dashboards = [Dashboard(service.url) for _ in range(DASHBOARDS)]
            try:
                for dashboard in dashboards:
                    await dashboard.sign_in()

                async def watch() -> list[list[int]]:
                    return [
                        statuses
                        for _ in range(REFRESHES)
                        for statuses in await asyncio.gather(*(each.refresh() for each in dashboards))
                    ]

                watching = asyncio.create_task(watch())
                trips = 0
                while not watching.done():
                    await client.send(f"42[{trips}]")
                    assert await app.message(client.sid) == f"42[{trips}]"
                    trips += 1
                assert await watching == [[200] * len(OVERVIEW)] * (DASHBOARDS * REFRESHES)
                # Requests take turns with clients, so the client is served between them.
                assert trips > 10
            finally:
                for dashboard in dashboards:
                    await dashboard.close()
