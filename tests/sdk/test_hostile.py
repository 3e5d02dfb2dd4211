"""Whatever a client sends and the service lets through: the Python SDKs take it or close that client, and
nothing throws."""

from __future__ import annotations

import asyncio
import base64
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest
import socketio

from moorage.engine.peer import Forward, Left, SocketPeer
from moorage.sdk import use_moorage, use_moorage_sync
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from tests.sdk.service_peer import ServicePeer

pytestmark = pytest.mark.repair(1)

CLIENTS = 500
PACKETS = 12
SEED = 7
PATIENCE = 30.0

NAMESPACES = ("", "", "", "", "/a,", "/a", "/b?x=1,", "/__proto__,", ",")
ATTACHMENTS = ("", "", "", "0-", "1-", "2-", "3-", "01-", "-")
IDS = ("", "", "0", "1", "2", "7", "007", "9" * 15, "9" * 30, "1073741824", "2147483647")
BODIES = (
    "",
    "[]",
    "{}",
    "null",
    "0",
    '"x"',
    "[null]",
    "[true]",
    "[false,1]",
    "[1.5]",
    "[1]",
    '["x"]',
    '["x",1,{"a":[null]}]',
    '["connect",1]',
    '["disconnect"]',
    '["*"]',
    '["__proto__",{"__proto__":{"x":1}}]',
    '["a",{"_placeholder":true,"num":0}]',
    '["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]',
    '["a",{"_placeholder":true,"num":-1}]',
    '["a",{"_placeholder":true,"num":"0"}]',
    '["a",{"_placeholder":true,"num":1e3}]',
    '["a",{"_placeholder":true}]',
    '[{"_placeholder":true,"num":0}]',
    '{"_placeholder":true,"num":0}',
    '{"token":"x"}',
    '{"sid":"x"}',
    "[" + "9" * 5_000 + "]",
    '["big",' + "9" * 5_000 + "]",
    "[" * 5_000,
    '["deep",' + "[" * 5_000 + "]" * 5_000 + "]",
    '["deep",' + '{"a":' * 3_000 + "1" + "}" * 3_000 + "]",
    '["nan",NaN,Infinity,-Infinity]',
    '["\\ud800"]',
    '["x",]',
    "[1,2",
    '["é\u2028\x00"]',
    "[" + ",".join(["1"] * 300) + "]",
)
BINARY = (b"", b"\x00", b"abc", bytes(range(256)))


def said(luck: random.Random) -> Iterator[str | bytes]:
    """What one client says, packets and attachments."""
    yield "40"
    for _ in range(PACKETS):
        if luck.random() < 0.15:
            yield luck.choice(BINARY)
            continue
        parts = (luck.choice(part) for part in ("0122223335566", ATTACHMENTS, NAMESPACES, IDS, BODIES))
        text = "4" + "".join(parts)
        yield text
        # Now and then, all that was announced.
        if text[1] in "56" and text[2:3].isdigit() and luck.random() < 0.7:
            for _ in range(int(text[2])):
                yield luck.choice(BINARY)


def passed(luck: random.Random) -> Iterator[bytes]:
    """What of it reaches the app server, by the rules of the service itself."""
    peer = SocketPeer(10, 100)
    for packet in said(luck):
        try:
            event = peer.binary(packet) if isinstance(packet, bytes) else peer.message(packet.encode())
        except PeerError:
            # That would be the client's end; the rest is as good for another one.
            peer = SocketPeer(10, 100)
            continue
        if isinstance(event, Forward | Left):
            yield event.packet


async def bombard(peer: ServicePeer) -> None:
    """Let clients say all that; one that behaves is answered all along, on the same link."""
    luck = random.Random(SEED)
    count = 0
    await peer.send(v1.Open(1, "good", None, b"{}"))
    await peer.send(v1.Packet(1, b"40"))
    for number in range(2, CLIENTS + 2):
        frames: list[Any] = [v1.Open(number, f"c{number}", None, b"{}")]
        frames += [v1.Packet(number, packet) for packet in passed(luck)]
        if luck.random() < 0.3:
            frames.append(v1.Closed(number, 1000, "client-closed", "transport close"))
        await peer.send(*frames)
        count += len(frames)
        if number % 50 == 0:
            await peer.send(v1.Packet(1, b'42%d["echo"]' % number))
            await answered(peer, b"43%d[" % number)
    assert count > 5 * CLIENTS, "most packets are let through"


async def answered(peer: ServicePeer, start: bytes) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            frame = await peer.frames.get()
            if isinstance(frame, v1.Packet) and frame.client == 1 and frame.payload.startswith(start):
                return


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was thrown: by the SDK's own log, or by asyncio's for what nobody took."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_asyncio(caplog: pytest.LogCaptureFixture, async_handlers: bool) -> None:
    sio = socketio.AsyncServer(async_mode="asgi", namespaces="*", async_handlers=async_handlers)
    sio.on("echo", lambda sid, *data: data)
    sio.on("*", lambda name, sid, *data: data)
    async with ServicePeer() as peer:
        moorage = await use_moorage(sio, hub="app", connection_string=peer.connection_string)
        await bombard(peer)
        await moorage.close()
        assert faults(caplog) == []


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_threads(caplog: pytest.LogCaptureFixture, async_handlers: bool) -> None:
    sio = socketio.Server(async_mode="threading", namespaces="*", async_handlers=async_handlers)
    sio.on("echo", lambda sid, *data: data)
    sio.on("*", lambda name, sid, *data: data)
    async with ServicePeer() as peer:
        where = peer.connection_string
        moorage = await asyncio.to_thread(lambda: use_moorage_sync(sio, hub="app", connection_string=where))
        await bombard(peer)
        await asyncio.to_thread(moorage.close)
        assert faults(caplog) == []


async def test_answers_to_a_broadcast(caplog: pytest.LogCaptureFixture) -> None:
    luck = random.Random(SEED)
    texts = [f"4{kind}{n}1073741824{body}" for kind, n in (("3", ""), ("6", "1-")) for body in BODIES]
    payloads = [text.encode() for text in texts if len(text) < 500]
    payloads += [payload + b"\x1eb" + base64.b64encode(luck.choice(BINARY)) for payload in payloads]
    async with ServicePeer() as peer:
        sio = socketio.AsyncServer(async_mode="asgi")
        moorage = await use_moorage(sio, hub="app", connection_string=peer.connection_string)
        asking = asyncio.ensure_future(moorage.emit_with_acks("q", timeout=20))
        ask = await peer.frame(v1.Ask)
        answers = [v1.Answer(ask.ref, f"s{n}", payload) for n, payload in enumerate(payloads)]
        await peer.send(*answers, v1.Done(ask.ref, len(payloads)))
        acks = await asking
        assert len(acks.answers) + len(acks.missing) == len(payloads)
        await moorage.close()
    assert faults(caplog) == []
