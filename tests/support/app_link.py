"""A small app server of the azure dialect, so that tests of the edge need no Node.js.

It does what `useAzureSocketIO` does, as far as a client can tell: takes connect events, answers
CONNECT, echoes events, acks those that want it, and calls the data plane through its tunnel.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import jwt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from moorage.wire import socketio
from moorage.wire.azure import tunnel_frames
from tests.support.rawhttp import TIMEOUT
from tests.support.service import MoorageProcess

RS = "\x1e"


class Event(NamedTuple):
    """One event from the service."""

    name: str
    """`connect`, `message` or `disconnected`."""
    connection: str
    user: str | None
    content: str
    ack_id: int

    def json(self) -> dict[str, Any]:
        """The content as a JSON object."""
        found = json.loads(self.content)
        assert isinstance(found, dict)
        return found


def tunnel_url(service: MoorageProcess, hub: str) -> str:
    """The URL for an app server of `hub`, without its token."""
    return f"{service.url.replace('http', 'ws', 1)}/server/tunnel?hub={quote(hub)}"


def tunnel_token(service: MoorageProcess, hub: str, server_id: str, **claims: object) -> str:
    """The token of a tunnel; `claims` overrides."""
    now = int(time.time())
    made = {"iat": now, "exp": now + 3600, "aud": tunnel_url(service, hub), "sub": server_id, **claims}
    return jwt.encode({name: value for name, value in made.items() if value is not None}, service.key)


class AppServer:
    """Use as an async context manager; it is connected inside.

    Hooks, to be set by a test: `on_connect` gives status and body of the answer to `connect`,
    `on_message` replaces the echo and gives the status of the answer; None = do not answer.
    """

    def __init__(self, service: MoorageProcess, hub: str, server_id: str = "", last_ack: int = 0) -> None:
        self.service = service
        self.hub = hub
        self.server_id = server_id or secrets.token_hex(8)
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        """All events, in order of arrival."""
        self.on_connect: Callable[[Event], tuple[int, bytes] | None] = self.accept
        self.on_message: Callable[[Event], int | None] = self._echo
        self.options: dict[str, object] = {}
        """Members of the open packet to override (`pingInterval`, `maxPayload`, ...)."""
        self.greeting = b""
        self.socket: ClientConnection
        self._calls: dict[int, asyncio.Queue[tuple[tunnel_frames.Response, bytes]]] = {}
        # All links of one app server count together.
        self._ack = last_ack
        self._partial: dict[str, list[str]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AppServer:
        await self.dial()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    async def dial(self) -> None:
        """Open the tunnel and wait for the service's greeting."""
        token = tunnel_token(self.service, self.hub, self.server_id)
        self.socket = await connect(
            f"{tunnel_url(self.service, self.hub)}&access_token={token}",
            max_size=None,
            ping_interval=None,
            open_timeout=TIMEOUT,
            close_timeout=1,
        )
        greeting = await self.socket.recv()
        assert isinstance(greeting, bytes)
        self.greeting = greeting
        self._reader = asyncio.create_task(self._read())

    async def hang_up(self) -> None:
        """Close the tunnel. Raises an error of a hook."""
        assert self._reader is not None
        if self._reader.done() and not self._reader.cancelled():
            self._reader.result()
        self._reader.cancel()
        await self.socket.close()

    # -- requests of the service -------------------------------------------------------------------

    async def event(self, name: str | None = None) -> Event:
        """The next event of this name; others before it are dropped."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                event = await self.events.get()
                if name in (None, event.name):
                    return event

    async def message(self, connection: str) -> str:
        """The next message of one client."""
        while True:
            event = await self.event("message")
            if event.connection == connection:
                return event.content

    async def _read(self) -> None:
        try:
            async for data in self.socket:
                assert isinstance(data, bytes)
                frame, content = tunnel_frames.decode(data)
                if isinstance(frame, tunnel_frames.Request):
                    await self._asked(frame, content)
                elif isinstance(frame, tunnel_frames.Response) and frame.ack_id in self._calls:
                    self._calls[frame.ack_id].put_nowait((frame, content))
        except ConnectionClosed:
            return

    async def _asked(self, request: tunnel_frames.Request, content: bytes) -> None:
        headers = {name.lower(): value[0] for name, value in (request.headers or {}).items()}
        event = Event(
            headers["ce-eventname"],
            headers["ce-connectionid"],
            headers.get("ce-userid"),
            content.decode(),
            request.ack_id,
        )
        self.events.put_nowait(event)
        if event.name == "connect":
            answer = self.on_connect(event)
            if answer is not None:
                await self.answer(event, *answer)
        elif event.name == "message":
            status = self.on_message(event)
            if status is not None:
                await self.answer(event, status)
        else:
            await self.answer(event, 200)

    async def answer(self, event: Event, status: int, content: bytes = b"") -> None:
        """Answer an event."""
        await self.socket.send(tunnel_frames.response(event.ack_id, status, content=content))

    def accept(self, event: Event) -> tuple[int, bytes]:
        """Accept the client with the set options."""
        info = {
            "sid": event.connection,
            "upgrades": [],
            "pingInterval": 25000,
            "pingTimeout": 20000,
            "maxPayload": 1000000,
            **self.options,
        }
        return 200, json.dumps({"socketio": info}).encode()

    def _echo(self, event: Event) -> int:
        for packet in event.content.split(RS):
            answer = self._answer_to(event.connection, packet)
            if answer:
                self._later(self.send(event.connection, answer))
        return 200

    def _answer_to(self, connection: str, packet: str) -> str:
        """Answer CONNECT, and echo an event, also as its ack if it requests one."""
        if packet[0] == "b":
            whole = self._partial.get(connection)
            if whole is None:
                return ""
            whole.append(packet)
            attachments = socketio.parse_header(whole[0].encode()).attachments
            if len(whole) <= attachments:
                return ""
            del self._partial[connection]
            return RS.join([self._reply(whole[0]), *whole[1:]])
        if packet[:2] == "45":
            self._partial[connection] = [packet]
            return ""
        return self._reply(packet) if packet[:2] in ("40", "42") else ""

    @staticmethod
    def _reply(packet: str) -> str:
        header = socketio.parse_header(packet.encode())
        namespace = "" if header.namespace == "/" else f"{header.namespace},"
        body = packet.encode()[header.body :].decode()
        if header.type == socketio.CONNECT:
            return f'40{namespace}{{"sid":"{secrets.token_urlsafe(15)}"}}'
        if header.id is None:
            return packet
        kind = "43" if header.type == socketio.EVENT else f"46{header.attachments}-"
        arguments = json.dumps(json.loads(body)[1:], separators=(",", ":"))
        return f"{kind}{namespace}{header.id}{arguments}"

    def _later(self, call: Any) -> None:
        task = asyncio.ensure_future(call)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    # -- calls to the service ---------------------------------------------------------------------

    async def start(self, method: str, path: str, content: bytes | None, content_type: str) -> int:
        """Send a call without waiting for its answer. Returns its AckId."""
        self._ack += 1
        self._calls[self._ack] = asyncio.Queue()
        text = json.dumps(
            {
                "Type": 1,
                "AckId": self._ack,
                "HttpMethod": method,
                "Url": f"https://host/api/hubs/{self.hub}/{path}",
                "Headers": {"Content-Type": [content_type]},
                "LocalRouting": True,
                "ChannelName": "",
            }
        ).encode()
        ack_id = self._ack
        await self.socket.send(tunnel_frames.encode(tunnel_frames.REQUEST, text, content))
        return ack_id

    async def part(self, ack_id: int) -> tuple[tunnel_frames.Response, bytes]:
        """The next part of a call's answer."""
        async with asyncio.timeout(TIMEOUT):
            return await self._calls[ack_id].get()

    async def call(
        self, method: str, path: str, content: bytes | None = None, content_type: str = "text/plain"
    ) -> int:
        """Make one call. Returns its status."""
        ack_id = await self.start(method, path, content, content_type)
        answer, _ = await self.part(ack_id)
        del self._calls[ack_id]
        return answer.status_code

    async def send(self, connection: str, payload: str) -> int:
        """Send a payload to one connection. Returns the status."""
        return await self.call("POST", f"connections/{connection}/:send?api-version=1", payload.encode())

    async def send_all(self, payload: str, condition: str = "") -> int:
        """Send a payload to all, or to those that a filter selects. Returns the status."""
        query = urlencode({"api-version": "1", **({"filter": condition} if condition else {})})
        return await self.call("POST", f":send?{query}", payload.encode())

    async def join(self, connection: str, *groups: str) -> int:
        """Add a connection to groups. Returns the status."""
        body = json.dumps({"groups": groups, "filter": f"connectionId eq '{connection}'"}).encode()
        return await self.call("POST", ":addToGroups?api-version=1", body, "application/json")

    async def invoke(self, payload: str, condition: str = "") -> list[str]:
        """Ask all for an ack. Returns the payloads of the answers at the end of the stream."""
        query = urlencode({"api-version": "1", **({"filter": condition} if condition else {})})
        ack_id = await self.start("POST", f":invoke?{query}", payload.encode(), "text/plain")
        lines = b""
        while True:
            answer, content = await self.part(ack_id)
            lines += content
            if not answer.not_completed:
                return [json.loads(line)["Payload"] for line in lines.splitlines()]
