"""The 32 cases of Socket.IO's public suite (protocol 5): s14 to s32 in its order. The ones before are
Engine.IO's as well, and stand in `test_engineio_suite.py`."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suite import Place, closed, event
from tests.support.rawhttp import HttpConnection, request_bytes
from tests.support.rawws import TEXT, WebSocket, frame

pytestmark = pytest.mark.repair(11)

TWO = '[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'


async def connect(socket: WebSocket, ns: str, payload: str = "") -> Any:
    """Connect to a namespace. Returns the handshake in the answer."""
    start = "40" if ns == "/" else f"40{ns},"
    await socket.send(start + payload)
    answer = await event(socket)
    assert answer.startswith(start), answer
    return json.loads(answer[len(start) :])


# -- upgrade, without a pause ---------------------------------------------------------------------


async def test_s14_an_upgrade(server: Place) -> None:
    client = await server.polling()
    async with await server.upgrade(client.sid) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        await socket.send("5")
        await connect(socket, "/")


async def test_s15_a_poll_right_after_the_upgrade(server: Place) -> None:
    client = await server.polling()
    async with await server.upgrade(client.sid) as socket, await HttpConnection.open(server.url) as http:
        await socket.raw(frame(TEXT, b"2probe") + frame(TEXT, b"5"))
        await http.send(request_bytes("GET", client.target))
        assert (await http.reply()).status == 400


async def test_s16_a_websocket_right_after_the_upgrade(server: Place) -> None:
    client = await server.polling()
    async with await server.upgrade(client.sid) as socket:
        await socket.raw(frame(TEXT, b"2probe") + frame(TEXT, b"5"))
        query = f"EIO=4&transport=websocket&sid={client.sid}"
        other, reply = await WebSocket.ask(server.url, server.target(query))
        async with other:
            if reply.status == 101:
                assert await closed(other) == []


# -- connect --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ns", "payload", "auth"),
    [
        pytest.param("/", "", {}, id="s17"),
        pytest.param("/", '{"token":"123"}', {"token": "123"}, id="s18"),
        pytest.param("/custom", "", {}, id="s19"),
        pytest.param("/custom", '{"token":"abc"}', {"token": "abc"}, id="s20"),
    ],
)
async def test_s17_s18_s19_s20_connect(server: Place, ns: str, payload: str, auth: dict[str, str]) -> None:
    async with await server.websocket() as socket:
        handshake = await connect(socket, ns, payload)
        assert list(handshake) == ["sid"]
        assert isinstance(handshake["sid"], str)
        start = "42" if ns == "/" else f"42{ns},"
        assert await event(socket) == f'{start}["auth",{json.dumps(auth, separators=(",", ":"))}]'


async def test_s21_an_unknown_namespace(server: Place) -> None:
    async with await server.websocket() as socket:
        await socket.send("40/random")
        refusal = await event(socket)
    if server.sdk in ("python", "threads"):
        # The text of python-socketio.
        assert refusal == '44/random,"Unable to connect"'
    else:
        assert refusal == '44/random,{"message":"Invalid namespace"}'


async def test_s22_a_broken_connect(server: Place) -> None:
    async with await server.websocket() as socket:
        await socket.send("4abc")
        await closed(socket)


async def test_s23_a_client_that_does_not_connect(server: Place) -> None:
    async with await server.websocket() as socket:
        await closed(socket)


# -- disconnect -----------------------------------------------------------------------------------


async def test_s24_a_client_leaves_the_main_namespace(server: Place) -> None:
    async with await server.entered() as socket:
        await socket.send("41")
        assert await socket.text() == "2"


async def test_s25_a_client_leaves_another_namespace(server: Place) -> None:
    async with await server.entered() as socket:
        await connect(socket, "/custom")
        assert await event(socket) == '42/custom,["auth",{}]'
        await socket.send("41/custom")
        await socket.send('42["message","message to main namespace"]')
        assert await event(socket) == '42["message-back","message to main namespace"]'


# -- messages -------------------------------------------------------------------------------------


async def test_s26_a_text(server: Place) -> None:
    async with await server.entered() as socket:
        await socket.send('42["message",1,"2",{"3":[true]}]')
        assert await event(socket) == '42["message-back",1,"2",{"3":[true]}]'


async def test_s27_attachments(server: Place) -> None:
    async with await server.entered() as socket:
        await socket.send(f'452-["message",{TWO[1:]}')
        await socket.send(b"\x01\x02\x03")
        await socket.send(b"\x04\x05\x06")
        assert await event(socket) == f'452-["message-back",{TWO[1:]}'
        assert await socket.binary() == b"\x01\x02\x03"
        assert await socket.binary() == b"\x04\x05\x06"


async def test_s28_an_ack(server: Place) -> None:
    async with await server.entered() as socket:
        await socket.send('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert await event(socket) == '43456[1,"2",{"3":[false]}]'


async def test_s29_an_ack_with_attachments(server: Place) -> None:
    async with await server.entered() as socket:
        await socket.send(f'452-789["message-with-ack",{TWO[1:]}')
        await socket.send(b"\x01\x02\x03")
        await socket.send(b"\x04\x05\x06")
        assert await event(socket) == f"462-789{TWO}"
        assert await socket.binary() == b"\x01\x02\x03"
        assert await socket.binary() == b"\x04\x05\x06"


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param("4abc", id="s30"),
        pytest.param("42{}", id="s31"),
        pytest.param('42abc["message-with-ack",1,"2",{"3":[false]}]', id="s32"),
    ],
)
async def test_s30_s31_s32_a_broken_packet(server: Place, packet: str) -> None:
    """Closed for the packet, not for a missing pong."""
    async with await server.entered() as socket, asyncio.timeout(30):
        await socket.send(packet)
        await closed(socket, alive=True)


def test_no_case_is_left_out() -> None:
    here = Path(__file__).parent
    text = "".join((here / name).read_text() for name in ("test_engineio_suite.py", "test_socketio_suite.py"))
    named = set(re.findall(r"(?<=_)[es]\d\d(?=_)", " ".join(re.findall(r"def (test_\w+)", text))))
    assert named == {f"e{n:02}" for n in range(1, 26)} | {f"s{n:02}" for n in range(1, 33)}
