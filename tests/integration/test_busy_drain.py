"""A busy node of two is drained through the Admin API: its clients send acked events all the time."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import pytest
import socketio

from moorage.sdk import use_moorage
from tests.integration.test_admin import KEYS, admin, until
from tests.support.rawhttp import clients
from tests.support.rawws import TEXT, WebSocket
from tests.support.service import MoorageProcess
from tests.support.two_nodes import two_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CLIENTS = 520
RATE = 130
"""Clients that the node closes in a second."""
PAUSE = 0.4
"""Seconds between two events of one client: 1,300 round trips a second in total."""
HUB = "busy"


class Talker:
    """A client that sends the next event when it has the ack of the last one, and connects to the other node
    when its node closes it."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.sent = self.acked = 0
        self.ends: list[tuple[int, str]] = []
        self.lost: list[int] = []
        """Numbers of events without an ack. Socket.IO delivers at most once: at most one for each end."""

    async def talk(self, done: asyncio.Event) -> None:
        while not done.is_set():
            url = self.urls[len(self.ends) % 2]
            async with await WebSocket.session(url, clients(HUB)) as socket:
                await socket.send("40")
                assert (await socket.text()).startswith("40")
                await self._rounds(socket, done)

    async def _rounds(self, socket: WebSocket, done: asyncio.Event) -> None:
        while not done.is_set():
            self.sent += 1
            try:
                await socket.send(f'42{self.sent}["echo",{self.sent}]')
                answer = await self._next(socket)
            except (EOFError, ConnectionError):
                # The close frame was not seen: that would be an abrupt end.
                self.ends.append((1006, ""))
                answer = ""
            if answer != f"43{self.sent}[{self.sent}]":
                assert answer == "", answer
                self.lost.append(self.sent)
                return
            self.acked += 1
            if await self._ended(socket):
                return

    async def _ended(self, socket: WebSocket) -> bool:
        """Wait for the next event's time. True if the node ends the connection before."""
        try:
            async with asyncio.timeout(PAUSE):
                return await self._next(socket) == ""
        except TimeoutError:
            return False

    async def _next(self, socket: WebSocket) -> str:
        """The next event or ack; "" at the end. Pings are answered."""
        while True:
            found = await socket.frame()
            if found.opcode != TEXT:
                self.ends.append((int.from_bytes(found.payload[:2], "big"), found.payload[2:].decode()))
                return ""
            text = found.payload.decode()
            if text == "2":
                await socket.send("3")
            elif text != "1":
                return text


async def test_a_busy_node_is_drained_through_the_admin_api() -> None:
    pace = (f"--set=shutdown.rate={RATE}", "--set=shutdown.timeout=30", "--set=shutdown.lb_wait=0.5")
    with two_nodes(*KEYS, *pace) as nodes:
        await _drained(nodes)


async def _drained(nodes: list[MoorageProcess]) -> None:
    stays, leaves = nodes
    sio = socketio.AsyncServer(async_mode="asgi", ping_interval=10)
    sio.on("echo", lambda _sid, number: number)
    moorage = await use_moorage(sio, hub=HUB, connection_string=stays.connection_string)
    ask, done = admin(stays), asyncio.Event()
    await asyncio.to_thread(
        until, lambda: len(ask.get("/apps", hub=HUB)["apps"]) == 2, "both nodes are covered"
    )
    talkers = [
        Talker([node.url for node in (nodes if number % 2 else nodes[::-1])]) for number in range(CLIENTS)
    ]
    running = [asyncio.create_task(talker.talk(done)) for talker in talkers]

    def per_node() -> dict[str, int]:
        return {row["name"]: row["clients"] for row in ask.get("/nodes")["nodes"]}

    half = CLIENTS // 2
    await asyncio.to_thread(
        until, lambda: per_node() == {"node-1": half, "node-2": half}, "all are connected"
    )
    began = time.monotonic()
    assert await asyncio.to_thread(ask.post, "/nodes/node-2/drain", 202) == {}
    assert await asyncio.to_thread(leaves.wait_exit) == 0
    took = time.monotonic() - began
    await asyncio.to_thread(until, lambda: per_node() == {"node-1": CLIENTS}, "all are at the other node")
    before = sum(talker.acked for talker in talkers)
    await asyncio.sleep(2 * PAUSE)
    done.set()
    await asyncio.gather(*running)
    await moorage.close()

    moved = [talker for talker in talkers if talker.ends]
    assert len(moved) == half, "only clients of the drained node are disconnected, each once"
    assert all(talker.urls[0] == leaves.url and len(talker.ends) == 1 for talker in moved)
    # 1001 is "going away". At most the event that was on its way when the node closed has no ack.
    assert Counter(code for talker in moved for code, _ in talker.ends) == {1001: half}
    assert all(len(talker.lost) <= 1 for talker in talkers)
    assert not any(talker.lost for talker in talkers if not talker.ends)
    assert sum(talker.acked for talker in talkers) > before, "traffic goes on"
    assert half / RATE <= took < half / RATE + 15
    (row,) = ask.get("/audit")["actions"]
    assert (row["action"], row["target"], row["outcome"]) == ("drain", {"node": "node-2"}, "done")
    print(json.dumps({"seconds": round(took, 1), "lost": sum(len(talker.lost) for talker in talkers)}))
