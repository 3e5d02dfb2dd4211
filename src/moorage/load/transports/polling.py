"""A client's packets over HTTP long-polling: one connection for the GETs, and one for the POSTs."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from moorage.load.client import Client, State
from moorage.load.packets import CLOSE, opened
from moorage.load.transports.http import NO_ANSWER, HttpChannel
from moorage.load.transports.target import Target
from moorage.wire.engineio import RS, split_payload
from moorage.wire.errors import PeerError

MAX_POSTED: Final = 16
"""Maximum packets of one POST. python-engineio refuses more."""
MAX_PACKETS: Final = 1_000_000


async def dial(target: Target, client: Client) -> None:
    """Open a session. Raises `OSError` with a text for people."""
    polling = _Polling(target, client)
    try:
        await polling.open()
    except BaseException:
        polling.abort()
        raise


class _Polling:
    def __init__(self, target: Target, client: Client) -> None:
        self._target = target
        self._client = client
        self._gets = HttpChannel(target)
        self._posts = HttpChannel(target)
        self._where = target.query(client.number, transport="polling")
        self._waiting: list[bytes] = []
        self._posting = False
        self._closing = False

    async def open(self) -> None:
        """The first GET. Its answer has the handshake."""
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

        def answered(status: int, body: bytes) -> None:
            if not answer.done():
                answer.set_result((status, body))

        self._gets.request("GET", self._where, None, answered)
        status, body = await answer
        if status != 200:
            raise ConnectionError(_fault(status, body))
        self._client.transport = self
        self._payload(body)
        if self._client.transport is self:
            if not self._client.sid and self._client.state is State.DIALING:
                raise ConnectionError(f"not an Engine.IO handshake: {body[:60]!r}")
            self._poll()

    def send(self, packet: bytes) -> None:
        """The packet goes out now, or with others that wait when the POST under way has been answered."""
        self._waiting.append(packet)
        if not self._posting:
            self._post()

    def close(self) -> None:
        """Tell the server, and end both connections when it has answered."""
        self._closing = True
        self.send(CLOSE)

    def abort(self) -> None:
        """Reset both connections."""
        self._closing = True
        self._gets.abort(reset=True)
        self._posts.abort(reset=True)

    def _poll(self) -> None:
        self._gets.request("GET", self._where, None, self._polled)

    def _polled(self, status: int, body: bytes) -> None:
        if status == 200:
            self._payload(body)
            if self._client.transport is self:
                self._poll()
        else:
            self._failed(status, body)

    def _post(self) -> None:
        body, self._waiting = RS.join(self._waiting[:MAX_POSTED]), self._waiting[MAX_POSTED:]
        self._posting = True
        self._posts.request("POST", self._where, body, self._posted)

    def _posted(self, status: int, body: bytes) -> None:
        self._posting = False
        if status != 200:
            self._failed(status, body)
        elif self._waiting:
            self._post()
        elif self._closing:
            self._gets.abort(reset=False)
            self._posts.abort(reset=False)

    def _payload(self, body: bytes) -> None:
        try:
            found = split_payload(body, MAX_PACKETS)
        except PeerError as error:
            self._failed(NO_ANSWER, str(error).encode())
            return
        if found[0].startswith(b"0") and self._client.state is State.DIALING:
            self._where += f"&sid={_sid(found[0])}"
        for packet in found:
            if self._client.transport is self:
                self._client.receive(packet)

    def _failed(self, status: int, body: bytes) -> None:
        mine = self._client.transport is self
        self.abort()
        if mine:
            self._client.ended(_fault(status, body))


def _sid(packet: bytes) -> str:
    try:
        return quote(opened(packet).sid, safe="")
    except ValueError:
        return ""


def _fault(status: int, body: bytes) -> str:
    text = body[:120].decode("utf-8", "replace").strip()
    return text if status == NO_ANSWER else f"HTTP {status} {text}".strip()
