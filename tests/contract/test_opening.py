"""Contract of `hub.ports.Opening`, for both transports.

The transports are real ones, in front of a whole service in this process; the app server is a double
that answers when the test says so.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from moorage.app.service import Service
from moorage.config.model import Config, KeySettings
from moorage.edge.settings import ServerSettings
from moorage.engine.upgrade import State
from moorage.hub.hub import AppServer, Client, Connection
from moorage.hub.node import Node
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import APP_REFUSED, CONNECT_TIMEOUT, LINK_OVERFLOW, Reason
from tests.hub.fakes import LEAST, RecordingLink, RecordingOpening, World
from tests.support.rawhttp import HttpConnection, request_bytes
from tests.support.rawws import WebSocket

TERMS = OpenInfo(5_000, 4_000, 3_000)


class Asked(RecordingLink):
    """An app server whose connect events and notifications of ends can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()
        self.refuses: tuple[Node, Reason] | None = None
        """Refuse each client synchronously, within the request."""

    def open(self, connection: Client, handshake: Handshake) -> None:
        super().open(connection, handshake)
        self.changed.set()
        if self.refuses is not None:
            self.refuses[0].refuse(connection, self.refuses[1], "full")

    def closed(self, connection: Client, reason: Reason) -> None:
        super().closed(connection, reason)
        self.changed.set()


class Subject:
    """A client that requested a session, and the hub's side. `answer` gives status and JSON: of the open
    packet, or of the refusal."""

    def __init__(
        self, node: Node, link: Asked, answer: Callable[[], Awaitable[tuple[int, dict[str, object]]]]
    ) -> None:
        self.node = node
        self.link = link
        self.answer = answer
        self.leave: Callable[[], None] = lambda: None

    @property
    def connection(self) -> Connection:
        """The hub's end."""
        connection = self.link.opened[-1][0]
        assert isinstance(connection, Connection)
        return connection


Play = Callable[[Subject], Awaitable[None]]


@asynccontextmanager
async def service() -> AsyncIterator[tuple[str, Node, Asked]]:
    """A service that listens, with one app server."""
    running = Service(Config(server=ServerSettings(port=0), keys=KeySettings(primary="k" * 32)))
    link = Asked()
    server = AppServer("s1", link, "test", LEAST)
    server.up = True
    running.node.ensure_hub("app").servers.add(server)
    url = await running.port.start()
    yield url, running.node, link
    await running.port.stop()


async def double(play: Play, refuses: Reason | None) -> None:
    """The test double of the hub's tests."""
    world, link, opening = World(), Asked(), RecordingOpening()
    world.server()[0].link = link
    link.refuses = None if refuses is None else (world.node, refuses)

    async def answer() -> tuple[int, dict[str, object]]:
        for connection, info in opening.accepts:
            terms = (info.ping_interval, info.ping_timeout, info.max_payload)
            names = ("pingInterval", "pingTimeout", "maxPayload")
            return 200, {"sid": connection.id, **dict(zip(names, terms, strict=True))}
        ((reason, detail),) = opening.refusals
        return reason.http, {"reason": reason.name, "message": f"{reason.text}: {detail}"}

    subject = Subject(world.node, link, answer)
    connection = world.open(opening)
    subject.leave = lambda: world.node.abandon(connection)
    await play(subject)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def over_http(play: Play, refuses: Reason | None, transport: str) -> None:
    """A transport of the edge; the answer is that to the first request."""
    async with service() as (url, node, link), await HttpConnection.open(url) as http:
        link.refuses = None if refuses is None else (node, refuses)
        headers = UPGRADE if transport == "websocket" else None
        await http.send(request_bytes("GET", f"/socket.io/?EIO=4&transport={transport}", headers))

        async def answer() -> tuple[int, dict[str, object]]:
            reply = await http.reply()
            status, body = reply.status, reply.body
            if status == 101:
                status, body = 200, (await WebSocket(http).text()).encode()
            found: dict[str, object] = json.loads(body.removeprefix(b"0"))
            return status, found

        subject = Subject(node, link, answer)
        subject.leave = http.writer.transport.abort
        await link.changed.wait()
        await play(subject)


async def websocket(play: Play, refuses: Reason | None) -> None:
    """`edge.clients.websocket`: a 101 with the open packet, or a status."""
    await over_http(play, refuses, "websocket")


async def polling(play: Play, refuses: Reason | None) -> None:
    """`edge.clients.polling`."""
    await over_http(play, refuses, "polling")


KINDS = {"double": double, "websocket": websocket, "polling": polling}


def for_every_opening(
    *, refuses: Reason | None = None
) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Runs a coroutine of a `Subject` with each kind, on the service's event loop."""

    def wrap(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        def run(kind: str, **given: object) -> None:
            uvloop.run(KINDS[kind](lambda subject: test(subject, **given), refuses))

        first, *others = inspect.signature(test).parameters.values()
        run.__signature__ = inspect.Signature([first.replace(name="kind"), *others])  # type: ignore[attr-defined]
        return pytest.mark.parametrize("kind", KINDS)(run)

    return wrap


@for_every_opening()
async def test_a_client_is_accepted(subject: Subject) -> None:
    connection = subject.connection
    assert connection.session.state == State.OPENING
    subject.node.accept(connection, TERMS)
    status, info = await subject.answer()
    assert status == 200
    assert info["sid"] == connection.id
    assert (info["pingInterval"], info["pingTimeout"], info["maxPayload"]) == (5_000, 4_000, 3_000)
    assert connection.session.max_payload == 3_000


@pytest.mark.parametrize("reason", [APP_REFUSED, CONNECT_TIMEOUT])
@for_every_opening()
async def test_a_client_is_refused(subject: Subject, reason: Reason) -> None:
    subject.node.refuse(subject.connection, reason, "not today")
    status, body = await subject.answer()
    assert status == reason.http
    assert body["reason"] == reason.name
    assert "not today" in str(body["message"])
    assert (subject.node.connections, subject.link.ended) == (0, [])


@for_every_opening(refuses=LINK_OVERFLOW)
async def test_a_client_is_refused_during_the_request(subject: Subject) -> None:
    status, body = await subject.answer()
    assert (status, body["reason"]) == (503, "link-overflow")
    assert subject.node.connections == 0


@for_every_opening()
async def test_only_the_first_answer_counts(subject: Subject) -> None:
    connection = subject.connection
    subject.node.refuse(connection, APP_REFUSED)
    subject.node.accept(connection, TERMS)
    subject.node.refuse(connection, CONNECT_TIMEOUT)
    assert (await subject.answer())[0] == APP_REFUSED.http
    assert len(subject.link.ended) == 1, "it took one that was gone, and hears so"


@for_every_opening()
async def test_a_client_that_disconnects_while_waiting(subject: Subject) -> None:
    connection = subject.connection
    subject.leave()
    while subject.node.connections:
        # Wait until the service has seen it; the time limit of the test ends this loop otherwise.
        await asyncio.sleep(0)
    assert subject.link.ended == [], "it has not been taken yet"
    subject.node.accept(connection, TERMS)
    assert [client for client, _ in subject.link.ended] == [connection.id]
    assert not connection.hub.directory.connections
