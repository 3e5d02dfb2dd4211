"""Links for tests, with ears."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from moorage.sdk import Moorage, use_moorage
from moorage.sdk.aio.link import Link
from moorage.sdk.link.options import LinkOptions
from moorage.sdk.link.session import MAX_QUEUE_BYTES
from moorage.wire.connection_string import parse
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import Emit, To
from tests.sdk.service_peer import TIMEOUT, ServicePeer


class Ears:
    """A `Receiver` that keeps what it hears, in order."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()

    def received(self, frames: list[v1.FromService]) -> None:
        for frame in frames:
            self.heard.put_nowait(frame)

    def session_lost(self, why: str) -> None:
        self.heard.put_nowait("session lost")

    def clients_lost(self, slot: int, why: str) -> None:
        self.heard.put_nowait(f"clients of {slot} lost")

    def link_event(self, name: str, error: Exception | None) -> None:
        self.heard.put_nowait(name)

    async def next(self) -> Any:
        """What it hears next."""
        async with asyncio.timeout(TIMEOUT):
            return await self.heard.get()


class Linked(Link):
    """A link with its ears."""

    ears: Ears


def link_to(
    connection_string: str, server_id: str = "", hub: str = "app", *, max_queue_bytes: int = MAX_QUEUE_BYTES
) -> Linked:
    """A link that is not open yet."""
    options = LinkOptions(max_queue_bytes=max_queue_bytes)
    ears = Ears()
    made = Linked(parse(connection_string), hub, server_id or uuid.uuid4().hex, ears, options)
    made.ears = ears
    return made


def emit(text: str, ref: int = 0) -> Emit:
    """An emit to everybody."""
    return Emit(ref, To("/"), 0, text.encode())


async def emits(peer: ServicePeer, count: int) -> list[str]:
    """The payloads of the next emits."""
    return [(await peer.frame(Emit)).payload.decode() for _ in range(count)]


async def serving(peer: ServicePeer, sio: Any, **options: Any) -> Moorage:
    """An app server of `peer` with one client, number 1, which is in no namespace."""
    moorage = await use_moorage(sio, hub="app", connection_string=peer.connection_string, **options)
    await peer.send(v1.Open(1, "client", None, b"{}"))
    await peer.frame(v1.Opened)
    return moorage


async def sid_of_client(peer: ServicePeer, number: int = 1) -> str:
    """Its socket id, once it is in `/`."""
    await peer.send(v1.Packet(number, b"40"))
    return (await peer.frame(v1.Packet)).payload.decode().split('"')[3]
