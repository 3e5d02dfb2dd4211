"""A limit of the app server that the service does not grant is told when the link comes up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import socketio

from moorage.sdk import use_moorage, use_moorage_sync
from tests.support.app_link import AppServer
from tests.support.python_client import PATIENCE
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(23)

MAX_PAYLOAD = 200_000


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    with MoorageProcess("--set", f"limits.max_payload={MAX_PAYLOAD}") as running:
        yield running


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "max_http_buffer_size" in text]


@pytest.mark.parametrize("wanted", [MAX_PAYLOAD, MAX_PAYLOAD + 1])
async def test_asyncio(wanted: int, service: MoorageProcess, caplog: pytest.LogCaptureFixture) -> None:
    sio = socketio.AsyncServer(async_mode="asgi", max_http_buffer_size=wanted)
    async with await use_moorage(sio, hub="a", connection_string=service.connection_string):
        assert len(lines(caplog)) == (wanted > MAX_PAYLOAD)
    for line in lines(caplog):
        assert f"{wanted}" in line
        assert f"at most {MAX_PAYLOAD} bytes" in line
        assert "limits.max_payload" in line


@pytest.mark.parametrize("wanted", [MAX_PAYLOAD, MAX_PAYLOAD + 1])
def test_threads(wanted: int, service: MoorageProcess, caplog: pytest.LogCaptureFixture) -> None:
    sio = socketio.Server(async_mode="threading", max_http_buffer_size=wanted)
    use_moorage_sync(sio, hub="a", connection_string=service.connection_string).close()
    assert len(lines(caplog)) == (wanted > MAX_PAYLOAD)


@pytest.mark.parametrize("threads", [False, True])
async def test_no_limit_of_its_own(threads: bool, service: MoorageProcess) -> None:
    hub = "threads" if threads else "asyncio"
    where: dict[str, Any] = {"hub": hub, "connection_string": service.connection_string}
    sio: Any
    moorage: Any
    if threads:
        sio = socketio.Server(async_mode="threading", max_http_buffer_size=float("inf"))
        moorage = await asyncio.to_thread(use_moorage_sync, sio, **where)
    else:
        sio = socketio.AsyncServer(async_mode="asgi", max_http_buffer_size=float("inf"))
        moorage = await use_moorage(sio, **where)
    try:
        async with socketio.AsyncSimpleClient() as client:
            await client.connect(
                service.url, socketio_path=clients(hub), transports=["websocket"], wait_timeout=PATIENCE
            )
    finally:
        await (asyncio.to_thread(moorage.close) if threads else moorage.close())


async def test_the_azure_dialect_with_the_first_client(service: MoorageProcess) -> None:
    async with AppServer(service, "azure", "large") as large, AppServer(service, "other", "small") as small:
        large.options["maxPayload"] = MAX_PAYLOAD + 1
        small.options["maxPayload"] = MAX_PAYLOAD
        for hub in ("other", "azure", "azure"):
            socket = await WebSocket.session(service.url, clients(hub))
            await socket.http.close()
        record = await asyncio.to_thread(service.wait_record, level="warning", max_payload=MAX_PAYLOAD)
        assert (record["server"], record["wanted"]) == ("large", MAX_PAYLOAD + 1)
    told = [line for line in service.lines if '"wanted"' in line]
    assert len(told) == 1
