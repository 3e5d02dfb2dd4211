"""The rules for cookies depend on the browser, so a real Chromium tests them."""

from __future__ import annotations

import asyncio
import json
import socket
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.support.app_link import AppServer
from tests.support.service import MoorageProcess

DRIVER = Path(__file__).with_name("cookie_pages.mjs")

pytestmark = [pytest.mark.node, pytest.mark.repair(6), pytest.mark.timeout(120)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_foreign_page_connects_without_the_visitors_cookies() -> None:
    port = free_port()
    flags = ("--set", f"cors.allow_origins=* http://listed.shop.example:{port}")
    with MoorageProcess(*flags, command="serve") as service:
        async with AppServer(service, "app") as app:
            driver = await asyncio.create_subprocess_exec(
                "node", DRIVER, service.url, "/clients/socketio/hubs/app", str(port), stdout=PIPE
            )
            output, _ = await driver.communicate()
            assert driver.returncode == 0
            seen: dict[str, bool] = {}
            while not app.events.empty():
                event = app.events.get_nowait()
                if event.name == "connect":
                    asked = event.json()
                    seen[asked["query"]["case"][0]] = asked["headers"].get("cookie") == ["session=secret"]
    results = json.loads(output)
    # Without `withCredentials` a browser adds no cookie to an XMLHttpRequest. To a WebSocket it always does.
    assert seen == {
        "listed websocket": True,
        "listed polling": False,
        "listed credentials": True,
        "foreign websocket": False,
        "foreign polling": False,
        "foreign credentials": False,
    }
    refused = results.pop("foreign credentials")
    assert refused == "xhr poll error", "the browser keeps the answer from the page"
    assert set(results.values()) == {"connected"}
