"""The live trace, from stock clients to the reader, through running services."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jwt
import pytest
import socketio

from moorage.sdk import use_moorage
from tests.integration.test_python_client import Client
from tests.support.app_link import AppServer
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess
from tests.support.traces import FLAGS, OPERATE_KEY, READ_KEY, TraceStream

pytestmark = pytest.mark.timeout(120)
_numbers = count(1)


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    with MoorageProcess(*FLAGS) as running:
        yield running


@pytest.fixture(params=["moorage", "azure"])
async def hub(request: pytest.FixtureRequest, service: MoorageProcess) -> AsyncIterator[str]:
    """A hub with an app server of either dialect, which echoes."""
    name = f"traced_{next(_numbers)}"
    if request.param == "azure":
        async with AppServer(service, name):
            yield name
        return
    sio = socketio.AsyncServer(async_mode="asgi")

    async def echo(event: str, _sid: str, *arguments: Any) -> Any:
        return ["got", event, *arguments]

    sio.on("*", echo)
    running = await use_moorage(sio, hub=name, connection_string=service.connection_string, server_id="app")
    yield name
    await running.close()


def token(service: MoorageProcess, hub: str, user: str, **claims: object) -> str:
    """An access token."""
    audience = f"{service.url}/clients/socketio/hubs/{hub}"
    made = {"aud": audience, "sub": user, "exp": int(time.time()) + 300, **claims}
    return jwt.encode(made, service.key)


async def connect(service: MoorageProcess, client: Client, hub: str, transport: str, given: str = "") -> None:
    url = service.url + (f"?access_token={given}" if given else "")
    path = f"/clients/socketio/hubs/{hub}"
    await client.sio.connect(url, transports=[transport], socketio_path=path, wait_timeout=PATIENCE)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_user(service: MoorageProcess, hub: str, transport: str) -> None:
    async with TraceStream(service, OPERATE_KEY, user="ada", hub=hub, payload=1) as trace, Client() as other:
        await connect(service, other, hub, transport)
        async with Client() as client:
            await connect(service, client, hub, transport, token(service, hub, "ada"))
            await client.sio.call("häuser", {"some": [b"123", 1]})
            await other.sio.call("hidden", 1)
        await trace.until(lambda events: any(each.data.get("state") == "closed" for each in events))
    event = await trace.named("häuser")
    assert json.loads(event.data["payload"])[0] == "häuser"
    assert (event.data["attachments"], event.data["user"], event.data["hub"]) == (1, "ada", hub)
    assert event.data["app_server"]
    (answer,) = [each.data for each in trace.events if each.data.get("type") == "ack"]
    assert answer["ack"] == event.data["ack"]
    assert 0 < answer["ack_ms"] < 10_000
    assert abs(answer["time"] - time.time()) < 60
    short = trace.short
    assert [each for each in short if each[0] in ("opened", "joined", "left", "closed")] == [
        ("opened",),
        ("joined", "/"),
        ("left", "/"),
        ("closed", "client-closed"),
    ]
    assert ("in", "connect", None) in short
    assert ("out", "connect", None) in short
    assert not any("hidden" in each for each in short)
    connects = [each.data for each in trace.events if each.data.get("type") == "connect"]
    assert not any("payload" in each for each in connects), "a CONNECT holds credentials"


async def test_a_room_a_connection_and_an_app_server(service: MoorageProcess) -> None:
    hub = f"traced_{next(_numbers)}"
    async with (
        TraceStream(service, room="r", hub=hub) as room,
        TraceStream(service, app_server="web", hub=hub) as app,
    ):
        sio = socketio.AsyncServer(async_mode="asgi")

        @sio.event  # type: ignore[untyped-decorator]
        async def enter(sid: str) -> None:
            await sio.enter_room(sid, "r")

        running = await use_moorage(
            sio, hub=hub, connection_string=service.connection_string, server_id="web"
        )
        async with Client() as first, Client() as second:
            for client in (first, second):
                await connect(service, client, hub, "websocket")
                await client.sio.call("enter")
            await sio.emit("news", "a" * 10, room="r")
            await first.next()
            await second.next()
            news = (await room.named("news")).data
            assert (news["recipients"], news["connection"], news["app_server"]) == (2, None, "web")
            assert [each for each in room.short if "news" in each] == [("out", "event", "news")]
            # The two streams are read one beside the other.
            await app.until(lambda events: any(each.data.get("state") == "opened" for each in events))
            opened = next(each.data for each in app.events if each.data.get("state") == "opened")
            async with TraceStream(service, connection=opened["connection"]) as one:
                await first.sio.emit("said")
                await second.sio.emit("said")
                await one.named("said")
                assert one.events[0].data == {
                    "node": opened["node"],
                    "connections": 1,
                    "limited": False,
                }
                await app.until(lambda events: sum(each.data.get("event") == "said" for each in events) == 2)
                assert sum("said" in each for each in one.short) == 1
        await running.close()
    states = [(each.data["state"], each.data.get("room")) for each in room.events if each.name == "state"]
    assert states[:2] == [("joined", "r"), ("joined", "r")]


async def test_why_a_user_cannot_connect(service: MoorageProcess, hub: str) -> None:
    async with TraceStream(service, user="ada", hub=hub) as trace:
        for transport in ("websocket", "polling"):
            async with Client() as client:
                with pytest.raises(socketio.exceptions.ConnectionError):
                    expired = token(service, hub, "ada", exp=int(time.time()) - 3_600)
                    await connect(service, client, hub, transport, expired)
        await trace.until(lambda events: sum(each.data.get("state") == "refused" for each in events) == 2)
        for refused in trace.events[1:]:
            assert refused.data["reason"] == "token-expired"
            assert refused.data["number"] == 3004
            assert refused.data["claimed"]
            assert refused.data["connection"] is None


async def test_a_user_who_connects_too_often() -> None:
    limit = "--set=hubs.default.connects_per_user=1/m"
    with MoorageProcess(*FLAGS, limit) as service:
        async with AppServer(service, "app"), TraceStream(service, user="ada") as trace, Client() as client:
            await connect(service, client, "app", "websocket", token(service, "app", "ada"))
            async with Client() as second:
                with pytest.raises(socketio.exceptions.ConnectionError):
                    await connect(service, second, "app", "websocket", token(service, "app", "ada"))
            await trace.until(lambda events: any(each.data.get("state") == "refused" for each in events))
    refused = next(each.data for each in trace.events if each.data.get("state") == "refused")
    assert refused["reason"] == "too-many-connects"
    assert "claimed" not in refused, "the token is valid"


async def test_nobody_serves_the_hub(service: MoorageProcess) -> None:
    async with TraceStream(service, user="ada", hub="empty") as trace, Client() as client:
        with pytest.raises(socketio.exceptions.ConnectionError):
            await connect(service, client, "empty", "websocket", token(service, "empty", "ada"))
        await trace.until(lambda events: events[-1].name == "state")
        refused = trace.events[-1].data
        assert (refused["reason"], refused["user"]) == ("no-app-server", "ada")
        assert "claimed" not in refused


@pytest.mark.parametrize(
    ("key", "query", "status", "code"),
    [
        ("wrong" * 5, {"user": "ada"}, 401, "admin-wrong-key"),
        (READ_KEY, {}, 400, "api-bad-argument"),
        (READ_KEY, {"user": "ada", "room": "r"}, 400, "api-bad-argument"),
        (READ_KEY, {"sample": 0}, 400, "api-bad-argument"),
        (READ_KEY, {"sample": 1.5}, 400, "api-bad-argument"),
        (READ_KEY, {"sample": "nan"}, 400, "api-bad-argument"),
        (READ_KEY, {"user": "x" * 2_000}, 400, "api-bad-argument"),
        (READ_KEY, {"nothing": "x"}, 400, "api-bad-argument"),
        (READ_KEY, {"room": "r", "namespace": "no-slash"}, 400, "api-bad-argument"),
        (READ_KEY, {"user": "ada", "payload": 1}, 403, "admin-role"),
    ],
)
async def test_refusals(
    service: MoorageProcess, key: str, query: dict[str, object], status: int, code: str
) -> None:
    async with TraceStream(service, key, **query) as trace:
        assert (trace.status, trace.refusal["code"]) == (status, code)


async def test_the_end_of_the_service() -> None:
    with MoorageProcess(f"--set=admin.operate_key={OPERATE_KEY}") as service:
        async with TraceStream(service, OPERATE_KEY, user="ada", payload=1) as refused:
            assert refused.refusal["code"] == "admin-payloads-off"
        async with TraceStream(service, OPERATE_KEY, sample=0.5) as trace:
            service.signal(signal.SIGTERM)
            last = await trace.ended()
            assert (last.name, last.data["name"], last.data["number"]) == ("end", "draining", 1100)
        assert await asyncio.to_thread(service.wait_exit) == 0


async def test_a_key_that_changes(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(OPERATE_KEY)
    with MoorageProcess(f"--set=admin.operate_key_file={key}", command="serve") as service:
        async with TraceStream(service, OPERATE_KEY, sample=1) as trace:
            key.write_text("another-" + OPERATE_KEY)
            service.signal(signal.SIGHUP)
            last = await trace.ended()
            assert (last.name, last.data["name"], last.data["number"]) == ("end", "admin-keys-changed", 5112)
        async with TraceStream(service, OPERATE_KEY, sample=1) as refused:
            assert refused.status == 401
        async with TraceStream(service, "another-" + OPERATE_KEY, sample=1) as again:
            assert again.status == 200
