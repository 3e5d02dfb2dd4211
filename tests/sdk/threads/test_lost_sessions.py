"""The session ends while a thread has something to send in it: none of that enters the next session, where
the same client number or reference may be another's."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from copy import copy
from functools import partial
from typing import Any

import engineio.packet
import pytest
import socketio.packet

from moorage.sdk.errors import SessionLost
from moorage.sdk.threads.app_server import ThreadedMoorage, use_moorage_sync
from moorage.sdk.threads.link import ThreadedLink
from moorage.wire.connection_string import parse
from moorage.wire.moorage import v1
from tests.sdk.conftest import until
from tests.sdk.linked import Ears
from tests.sdk.service_peer import TIMEOUT, ServicePeer

LAST = v1.Emit(0, v1.To("/"), 0, b'42["last"]')


class SlowJson:
    """A JSON module whose `dumps` waits at the value `slow`, as a large value would make it."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def dumps(self, value: Any, **options: Any) -> str:
        if "slow" in value:
            self.begun.set()
            assert self.go_on.wait(TIMEOUT)
        return json.dumps(value, **options)

    loads = staticmethod(json.loads)


class Case:
    """An app server of `peer` in its first session, with client 1 in `/`."""

    def __init__(self, peer: ServicePeer, moorage: ThreadedMoorage, slow: SlowJson) -> None:
        self.peer = peer
        self.moorage = moorage
        self.slow = slow
        self.sid = ""

    async def new_session_while(self, sending: Callable[[], object]) -> None:
        """`sending` runs in a thread and waits in `SlowJson`; the session ends meanwhile."""
        running = asyncio.create_task(asyncio.to_thread(sending))
        assert await asyncio.to_thread(self.slow.begun.wait, TIMEOUT)
        await new_session(self.peer, self.moorage.link)
        self.slow.go_on.set()
        await running

    async def first_frame(self) -> v1.FromApp:
        """What comes first in the new session; at the latest an emit made now."""
        await asyncio.to_thread(self.moorage.emit, "last")
        return await self.peer.any_frame()


async def new_session(peer: ServicePeer, link: ThreadedLink) -> None:
    """The service restarts."""
    peer.forget()
    peer.cut()
    await until(lambda: link.up and link.session_of(1) == "session2")


@pytest.fixture
async def case(peer: ServicePeer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    slow = SlowJson()
    # A server sets its JSON module in the libraries' classes, for all servers of the process.
    for packet in (socketio.packet.Packet, engineio.packet.Packet):
        monkeypatch.setattr(packet, "json", packet.json)
    sio = socketio.Server(async_mode="threading", json=slow)
    where = peer.connection_string
    moorage = await asyncio.to_thread(lambda: use_moorage_sync(sio, hub="app", connection_string=where))
    made = Case(peer, moorage, slow)
    await peer.send(v1.Open(1, "client", None, b"{}"))
    await peer.frame(v1.Opened)
    await peer.send(v1.Packet(1, b"40"))
    made.sid = (await peer.frame(v1.Packet)).payload.decode().split('"')[3]
    yield made
    await asyncio.to_thread(moorage.close)


async def test_a_reply_to_another_app_server(case: Case) -> None:
    answered = threading.Event()

    @case.moorage.on_server_event("ask")
    def ask() -> str:
        return "slow"

    case.moorage.on_server_event("after")(answered.set)
    await case.peer.send(v1.Told(1, "other", "/", b'42["ask"]'))
    await case.new_session_while(lambda: None)
    assert await case.first_frame() == LAST


async def test_a_packet_with_a_callback(case: Case) -> None:
    await case.new_session_while(
        lambda: case.moorage.sio.emit("slow", to=case.sid, callback=lambda *args: None)
    )
    assert await case.first_frame() == LAST


async def test_the_answer_of_a_handler(case: Case) -> None:
    case.moorage.sio.on("ask", lambda sid: "slow")
    await case.peer.send(v1.Packet(1, b'421["ask"]'))
    await case.new_session_while(lambda: None)
    assert await case.first_frame() == LAST


async def test_what_a_link_gets_for_another_session(peer: ServicePeer) -> None:
    link = ThreadedLink(parse(peer.connection_string), "app", "one", Ears())
    await asyncio.to_thread(link.start)
    try:
        await new_session(peer, link)
        for frame in (
            v1.Packet(1, b"42[]"),
            v1.Opened(1, 1, 1, 1),
            v1.Close(1),
            v1.Facts(1, ()),
            v1.Reply(1, b""),
        ):
            link.send(frame, "session1")
        with pytest.raises(SessionLost):
            enter = partial(v1.Enter, client=1, namespace="/", rooms=("a",))
            await asyncio.to_thread(link.request, enter, session="session1")
        link.send(v1.Close(7), "session2")
        link.send(copy(LAST))  # A link numbers the frame that it is given.
        assert [await peer.any_frame() for _ in range(2)] == [v1.Close(7), LAST]
    finally:
        await asyncio.to_thread(link.close)
