"""Messages that hide a packet from the service: no SDK gets any part of them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.conformance.stage import Stage
from tests.conformance.suite import Place, closed, event
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket


async def _sent(stage: Stage, message: str) -> tuple[str, tuple[int, str]]:
    """Connect and send one text message. Returns the socket id and the end of the connection."""
    async with await WebSocket.session(stage.service.url, clients(stage.hub)) as socket:
        await socket.send(f"40{stage.ns},")
        answer = await socket.text()
        sid = json.loads(answer.partition(",")[2])["sid"]
        await socket.send(f'42{stage.ns},["before"]')
        await asyncio.to_thread(stage.space.wait, "event", sid=sid)
        await socket.send(message)
        _, end = await socket.ended()
        return sid, (end.code, end.reason)


@pytest.mark.repair(2)
@pytest.mark.parametrize("transport", ["websocket"])
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('42{},["hidden"]\x1e41{},', "bad-packet"),
        ('43{},1073741824[]\x1e42{},["hidden"]', "bad-packet"),
        ("40/other\x1e41{},", "bad-packet"),
        ('42{},["hid\x00den"]', "bad-packet"),
        ('42{},["hidden",\x0b1]', "bad-packet"),
        ("410-{},", "bad-socketio-packet"),
        ("43{}, 7[]", "bad-socketio-packet"),
    ],
)
def test_a_packet_inside_a_packet(stage: Stage, message: str, reason: str) -> None:
    stage.define()
    observer = stage.client()
    sid, end = asyncio.run(_sent(stage, message.replace("{}", stage.ns)))
    assert end == (1002, reason)
    stage.space.wait("disconnect", sid=sid)
    events = stage.space.app.heard(stage.space.since, notice="event", ns=stage.ns, sid=sid)
    assert [line["args"] for line in events] == [["before"]]
    stage.space.until_serves(observer)
    assert stage.hear([observer], lambda: stage.space.emit("after")) == [[["after"]]]


@pytest.mark.repair(2)
@pytest.mark.parametrize("code", [0x00, 0x01, 0x08, 0x0B, 0x0C, 0x0E, 0x1F])
@pytest.mark.parametrize("packet", ['42["message","%c"]', '42["message",%c1]'])
async def test_a_raw_control_character_ends_the_client_as_natively(
    server: Place, packet: str, code: int
) -> None:
    async with await server.entered() as socket:
        await socket.send(packet % chr(code))
        assert [text for text in await closed(socket) if text != "2"] in ([], ["1"])
    client = await server.polling()
    await client.send("40")
    # Native sends its close packet with the last poll that it answers.
    await client.post(packet % chr(code))
    while (reply := await client.get()).status == 200:
        assert "message-back" not in reply.text


@pytest.mark.repair(2)
@pytest.mark.parametrize("data", ["\t\n\r1", '"\x7f"', r'"\u0000"'])
async def test_other_characters_arrive_as_natively(server: Place, data: str) -> None:
    async with await server.entered() as socket:
        await socket.send(f'42["message",{data}]')
        assert json.loads((await event(socket))[2:]) == ["message-back", json.loads(data)]
