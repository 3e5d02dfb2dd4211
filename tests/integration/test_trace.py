"""The live trace over several nodes and workers, with many readers, and with readers that do not read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest

from moorage.control.trace.stream import MAX_BYTES
from moorage.control.trace.streams import MAX_STREAMS
from tests.support.app_link import AppServer
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess
from tests.support.traces import FLAGS, OPERATE_KEY, Event, TraceStream
from tests.support.two_nodes import two_nodes

pytestmark = pytest.mark.timeout(120)


def joined(events: list[Event]) -> list[Event]:
    """The sockets that have joined."""
    return [each for each in events if each.data.get("state") == "joined"]


def events_in(events: list[Event]) -> list[Event]:
    """The events of clients."""
    return [each for each in events if each.short[:2] == ("in", "event")]


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    with MoorageProcess(*FLAGS) as running:
        yield running


async def test_two_nodes_on_nats() -> None:
    with two_nodes(*FLAGS) as (one, two):
        async with AsyncExitStack() as stack:
            traces = [
                await stack.enter_async_context(TraceStream(node, sample=1, hub="shared"))
                for node in (one, two)
            ]
            for trace in traces:
                await trace.until(
                    lambda events: {each.data["node"] for each in events} == {"node-1", "node-2"}
                )
            async with AppServer(one, "shared"):
                sockets = [
                    await stack.enter_async_context(await WebSocket.session(node.url, clients("shared")))
                    for node in (one, two)
                ]
                for number, socket in enumerate(sockets):
                    await socket.send("40")
                    await socket.text()
                    await socket.send(f'42["from {number + 1}"]')
                for trace in traces:
                    for number in (1, 2):
                        event = await trace.named(f"from {number}")
                        assert event.data["node"] == f"node-{number}"


async def test_workers() -> None:
    flags = ("--workers", "2", *FLAGS)
    with MoorageProcess(*flags) as service:
        async with TraceStream(service, sample=1, hub="shared") as trace, AppServer(service, "shared"):
            names: set[str] = set()
            async with AsyncExitStack() as stack:
                while len(names) < 2:
                    socket = await stack.enter_async_context(
                        await WebSocket.session(service.url, clients("shared"))
                    )
                    await socket.send("40")
                    await socket.text()
                    await trace.until(
                        lambda events: any(each.data.get("state") == "joined" for each in events)
                    )
                    names = {each.data["node"] for each in trace.events if each.data.get("state") == "joined"}


@pytest.mark.slow
async def test_a_reader_that_does_not_read(service: MoorageProcess) -> None:
    """It loses packets, and the service keeps no more for it than a bound."""
    async with AppServer(service, "slow"), await WebSocket.session(service.url, clients("slow")) as client:
        await client.send("40")
        await client.text()
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            address = urlsplit(service.url)
            reader.connect((address.hostname, address.port))
            head = f"GET /api/v1/trace?sample=1&hub=slow&payload=1 HTTP/1.1\r\nHost: {address.netloc}\r\n"
            reader.sendall(f"{head}Authorization: Bearer {OPERATE_KEY}\r\n\r\n".encode())
            assert b"200 OK" in reader.recv(4_096)
            before = service.memory("VmRSS")
            for _ in range(80):
                for _ in range(100):
                    await client.send('42["' + "x" * 3_000 + '"]')
                for _ in range(100):
                    await client.text()
                await asyncio.sleep(0.05)
            assert service.memory("VmRSS") - before < 32 * MAX_BYTES
            reader.settimeout(30)
            received = bytearray()
            while b"event: dropped" not in received:
                received += reader.recv(1_000_000)
            assert received.count(b"event: packet") < 8_000


async def test_many_readers(service: MoorageProcess) -> None:
    async with AppServer(service, "many"), AsyncExitStack() as stack:
        traces = [TraceStream(service, sample=1, hub="many") for _ in range(MAX_STREAMS)]
        for trace in traces:
            await stack.enter_async_context(trace)
        async with TraceStream(service, user="ada") as refused:
            assert (refused.status, refused.refusal["code"]) == (503, "admin-too-many-traces")
        client = await stack.enter_async_context(await WebSocket.session(service.url, clients("many")))
        await client.send("40")
        await client.text()
        await client.send('42["hello"]')
        for trace in traces:
            await trace.named("hello")
    # They are gone, and so are their watches.
    async with TraceStream(service, user="ada") as again:
        assert again.status == 200


async def test_names_that_clients_choose(service: MoorageProcess) -> None:
    names = ["<img src=x onerror=alert(1)>", "x" * 100_000, "\n\ndata: forged\n\n", "\u2028", "é\U0001f600"]
    async with (
        AppServer(service, "names"),
        TraceStream(service, sample=1, hub="names") as trace,
        await WebSocket.session(service.url, clients("names")) as client,
    ):
        await client.send("40")
        await client.text()
        for name in names:
            await client.send("42" + json.dumps([name]))
        await trace.until(lambda events: len(events_in(events)) == len(names))
    shown = [each.data["event"] for each in events_in(trace.events)]
    assert shown == [name if len(name) <= 128 else name[:128] + "…" for name in names]


async def test_a_frame_that_is_no_packet_ends_the_client_and_is_told(service: MoorageProcess) -> None:
    async with (
        AppServer(service, "bad"),
        TraceStream(service, sample=1, hub="bad") as trace,
        await WebSocket.session(service.url, clients("bad")) as client,
    ):
        await client.send("4999")
        closed = await trace.until(lambda events: any(each.data.get("reason") for each in events))
    assert closed[-1].data["reason"] == "bad-socketio-packet"
