"""Messages that hide a packet from the service: no SDK gets any part of them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.conformance.stage import Stage
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
