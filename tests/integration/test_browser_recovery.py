"""Connection state recovery in a real Chromium, whose TCP connections are reset in the middle of messages."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
import socketio

from moorage.sdk import use_moorage
from tests.support.cutting import Cutter
from tests.support.service import MoorageProcess

DRIVER = Path(__file__).with_name("recovery_page.mjs")
COUNT = 200
BUDGETS = [20_000, 30_000, 45_000, 30_000]
"""Bytes after which a connection is reset."""

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]


async def test_a_page_gets_every_event_once_and_in_order() -> None:
    sio = socketio.AsyncServer(async_mode="asgi")
    seen: list[bool] = []

    @sio.event  # type: ignore[untyped-decorator]
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        seen.append(environ["moorage.recovered"])

    @sio.event  # type: ignore[untyped-decorator]
    async def go(sid: str) -> None:
        for number in range(COUNT):
            # Every other one to the socket, to all, and to its room: the order is that of the emits.
            await sio.emit("number", (number, "x" * 1_000), to=(sid, None, f"room {sid}")[number % 3])
            if number == 0:
                await sio.enter_room(sid, f"room {sid}")

    with MoorageProcess() as service:
        moorage = await use_moorage(
            sio, hub="app", connection_string=service.connection_string, connection_state_recovery={}
        )
        async with moorage, Cutter(service.url, BUDGETS) as cutter:
            driver = await asyncio.create_subprocess_exec(
                "node",
                DRIVER,
                f"http://127.0.0.1:{cutter.port}",
                "/clients/socketio/hubs/app/",
                "websocket",
                str(COUNT),
                stdout=PIPE,
            )
            output, _ = await driver.communicate()
            assert driver.returncode == 0
            assert cutter.cuts == len(BUDGETS)
    result = json.loads(output)
    assert result["numbers"] == list(range(COUNT))
    sids, recovered = zip(*result["connects"], strict=True)
    assert len(set(sids)) == 1
    assert list(recovered) == seen == [False] + [True] * (len(seen) - 1)
    assert len(seen) > 1
