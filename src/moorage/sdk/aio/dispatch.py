"""From a client's packets to the handlers of a `socketio` server, in order.

The order of one client's packets is kept where it can be seen: `connect` and `disconnect` handlers, and
all handlers of a server with `async_handlers=False`, run one after another, and what comes meanwhile
waits its turn. Other events start at once, in order, as python-socketio does. ACKs wait for nothing:
handlers may be waiting for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from moorage.sdk.aio.engine import Client, Engine
from moorage.sdk.aio.events import Events
from moorage.sdk.aio.manager import Manager
from moorage.sdk.environ import environ_of
from moorage.sdk.errors import MoorageError
from moorage.sdk.idle import IdleCheck
from moorage.sdk.members import Stage
from moorage.sdk.payload import RS, Codec, header_of
from moorage.wire.engineio import SEPARATOR
from moorage.wire.errors import PeerError
from moorage.wire.moorage.v1 import Close, Closed, Left, Moved, Open, Upgraded
from moorage.wire.socketio import (
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    DISCONNECT,
    EVENT,
    Header,
    disconnect_packet,
)

CLIENT_QUEUE: Final = 4 * 1024 * 1024
"""Bytes that may wait their turn for one client. One client's slow handler must not hold up the others, so
beyond this the client is closed, and the link is not."""

Turn = Callable[[], Awaitable[object] | None]

_log = logging.getLogger("moorage.sdk")


class Dispatcher:
    """Takes the frames that are about clients. Runs on the link's loop."""

    def __init__(self, sio: Any, engine: Engine, manager: Manager, codec: Codec, events: Events) -> None:
        self._sio = sio
        self._engine = engine
        self._manager = manager
        self._codec = codec
        self._idle = IdleCheck(sio)
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._workers: set[asyncio.Task[None]] = set()
        self._causes: Final = {
            "ping timeout": sio.reason.PING_TIMEOUT,
            "transport close": sio.reason.TRANSPORT_CLOSE,
            "server shutting down": sio.reason.TRANSPORT_CLOSE,
            "forced server close": sio.reason.SERVER_DISCONNECT,
        }

    # -- a client's life --------------------------------------------------------------------------------

    def opened(self, frame: Open) -> None:
        """A new client: taken."""
        client = Client(self._engine, frame.client, frame.id, environ_of(frame))
        self._engine.add(client)
        self._idle.client()
        self._queue(client, lambda: self._engine.handlers["connect"](client.sid, client.environ))

    def closed(self, frame: Closed) -> None:
        """Its connection has ended. What it sent before is handled first."""
        client = self._engine.by_number.pop(frame.client, None)
        if client is not None:
            client.gone = True
            self._gone(client, self._causes.get(frame.cause, self._sio.reason.TRANSPORT_ERROR))

    def all_gone(self) -> None:
        """The session is over, and all its clients with it."""
        for client in self._engine.forget_all():
            self._gone(client, self._sio.reason.TRANSPORT_CLOSE)

    def left(self, frame: Left) -> None:
        """Another app server, or the REST API, has disconnected one of its sockets."""
        client = self._engine.by_number.get(frame.client)
        if client is not None:
            reason = self._sio.reason.SERVER_DISCONNECT
            self._queue(client, partial(self._end_socket, client, frame.namespace, reason))

    def upgraded(self, frame: Upgraded) -> None:
        """The client has changed its transport."""
        client = self._engine.by_number.get(frame.client)
        if client is not None:
            client.upgraded = frame.transport == "websocket"

    def moved(self, frame: Moved) -> None:
        """Somebody else has changed a socket's rooms."""
        client = self._engine.by_number.get(frame.client)
        member = client.members.get(frame.namespace) if client is not None else None
        if member is not None:
            self._manager.members.moved(member, frame.joined, frame.rooms)

    async def settled(self) -> None:
        """Until no handler that order depends on runs any more, but for one that asks this."""
        asker = asyncio.current_task()
        while others := {worker for worker in self._workers if worker is not asker}:
            await asyncio.wait(others)

    # -- its packets ------------------------------------------------------------------------------------

    def packet(self, number: int, payload: bytes) -> None:
        """Engine.IO packets of a client."""
        client = self._engine.by_number.get(number)
        if client is None or client.closing:
            return
        if SEPARATOR in payload or client.incoming or payload[:1] == b"b":
            self._pieces(client, payload)
        else:
            self._whole(client, payload)

    def _pieces(self, client: Client, payload: bytes) -> None:
        """Several packets, or one in pieces: an event goes on once its attachments are here."""
        for piece in payload.split(RS):
            parts = client.incoming
            if (piece[:1] == b"b") != bool(parts):
                self._bad(client, "an attachment where none was due, or none where one was")
                return
            parts.append(piece)
            try:
                missing = header_of(parts[0]).attachments + 1 - len(parts)
            except PeerError as error:
                self._bad(client, error.message)
                return
            if not missing:
                client.incoming = []
                self._whole(client, RS.join(parts))

    def _whole(self, client: Client, packet: bytes) -> None:
        """One packet with its attachments."""
        if packet[:2] in (b"43", b"46"):
            self._ack(client, packet)
        elif client.work is not None:
            self._queue(client, partial(self._turn, client, packet), len(packet))
        else:
            call = self._turn(client, packet)
            if call is not None:
                self._queue(client, lambda: call)

    def _ack(self, client: Client, packet: bytes) -> None:
        try:
            header = header_of(packet)
            arguments = self._data(packet, header)
        except (PeerError, ValueError) as error:
            self._bad(client, str(error))
            return
        member = client.members.get(header.namespace)
        if member is not None:
            self._manager.answered(member, header.id, arguments)

    def _turn(self, client: Client, packet: bytes) -> Awaitable[object] | None:
        """What to do with a packet that is its client's next. An awaitable goes before what follows."""
        if client.closing:
            return None
        try:
            header = _plain_event(packet) or header_of(packet)
            if header.type in (EVENT, BINARY_EVENT):
                return self._event(client, packet, header)
        except (PeerError, ValueError) as error:
            self._bad(client, str(error))
            return None
        if header.type == CONNECT:
            return self._connect(client, packet, header)
        if header.type == DISCONNECT:
            return self._end_socket(client, header.namespace, self._sio.reason.CLIENT_DISCONNECT)
        self._bad(client, f"a packet of type {header.type}")
        return None

    def _event(self, client: Client, packet: bytes, header: Header) -> Awaitable[object] | None:
        member = client.members.get(header.namespace)
        if member is None or member.stage is not Stage.CONNECTED:
            return None  # sent before its disconnect was known there
        data = self._data(packet, header)
        return self._events.start(member, data, header.id, len(packet))

    def _data(self, packet: bytes, header: Header) -> list[Any]:
        """Raises `ValueError`."""
        if header.type in (BINARY_EVENT, BINARY_ACK):
            return self._codec.arguments(packet)
        data = self._codec.loads(memoryview(packet)[header.body :])
        if not isinstance(data, list):
            raise ValueError("no list of arguments")
        return data

    async def _connect(self, client: Client, packet: bytes, header: Header) -> None:
        namespace = header.namespace
        key = (client.sid, namespace)
        try:
            body = memoryview(packet)[header.body :]
            self._manager.auth[key] = self._codec.loads(body) if body else None
            await self._sio._handle_eio_message(client.sid, packet[1:].decode())
        except Exception as error:
            if isinstance(error, ValueError) and namespace not in client.members:
                self._bad(client, str(error))
                return
            # python-socketio would leave the client waiting for an answer.
            _log.exception("the connect handler of %s failed", namespace)
            self._take_back(client, namespace)
        finally:
            self._manager.auth.pop(key, None)
            self._refuse(client, namespace)

    def _take_back(self, client: Client, namespace: str) -> None:
        """With `always_connect` the answer came before the handler: it is refused as by one that returns
        False."""
        member = client.members.get(namespace)
        if self._sio.always_connect and member is not None and member.stage is Stage.CONNECTED:
            self._manager.remove(member)
            client.send_message(disconnect_packet(namespace)[1:].decode())

    def _refuse(self, client: Client, namespace: str) -> None:
        """A socket that is still connecting when its handler is done."""
        member = client.members.get(namespace)
        if member is None or member.stage is not Stage.CONNECTING:
            return
        self._manager.remove(member)
        head = "" if namespace == "/" else f"{namespace},"
        try:
            client.send_message(f'4{head}{{"message":"Unable to connect"}}')
        except MoorageError as error:
            # Closed, it comes back; without an answer it would wait for ever.
            self._bad(client, f"its CONNECT cannot be answered: {error}")

    async def _end_socket(self, client: Client, namespace: str, reason: str) -> None:
        """Run the disconnect handler, and be rid of the socket whatever it does."""
        member = client.members.get(namespace)
        if member is None or member.stage is Stage.LEAVING:
            return
        try:
            await self._sio._handle_disconnect(client.sid, namespace, reason)
        except Exception:
            _log.exception("the disconnect handler of %s failed", namespace)
        finally:
            self._manager.remove(member)

    def _gone(self, client: Client, reason: str) -> None:
        self._queue(client, partial(self._end_client, client, reason))

    async def _end_client(self, client: Client, reason: str) -> None:
        for namespace in list(client.members):
            await self._end_socket(client, namespace, reason)
        for member in list(client.members.values()):
            self._manager.remove(member)  # whose handler runs for `sio.disconnect`, or did and raised
        try:
            await self._engine.handlers["disconnect"](client.sid, reason)
        finally:
            self._engine.remove(client)

    def _bad(self, client: Client, why: str) -> None:
        """It broke the protocol: as with Socket.IO's own server, that is its end."""
        _log.info("client %s is closed: %s", client.sid, why)
        client.incoming = []
        if not client.closing and not client.gone:  # in the next session another client has its number
            self._engine.link.send(Close(client.number))
        client.closing = True

    # -- turns ------------------------------------------------------------------------------------------

    def _queue(self, client: Client, turn: Turn, size: int = 0) -> None:
        """`turn` comes after all before it; what it returns is awaited before the next. Packets, which
        have a size, are bounded; what becomes of the client is not."""
        if client.work is None:
            client.work = deque((partial(self._sized, client, turn, 0),))
            task = self._loop.create_task(self._work(client))
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)
            return
        if size and client.queued + size > CLIENT_QUEUE:
            self._bad(client, "it sends faster than its handlers take it")
            return
        client.queued += size
        self._events.begin(size)
        client.work.append(partial(self._sized, client, turn, size))

    def _sized(self, client: Client, turn: Turn, size: int) -> Awaitable[object] | None:
        if size:
            client.queued -= size
            self._events.finish(size)
        return turn()

    async def _work(self, client: Client) -> None:
        assert client.work is not None
        task = asyncio.current_task()
        while client.work:
            try:
                call = client.work.popleft()()
                if call is not None:
                    await call
            except asyncio.CancelledError:
                if task is None or task.cancelling():
                    raise
                _log.exception("a handler of client %s was cancelled", client.sid)
            except Exception:
                _log.exception("handling a packet of client %s failed", client.sid)
        client.work = None


def _plain_event(packet: bytes) -> Header | None:
    """The header of an event in the namespace `/`, the usual packet, without the machinery for all
    others."""
    if packet[:2] != b"42":
        return None
    body = packet.find(b"[", 2, 20)
    if body == 2:
        return Header(EVENT, 0, "/", None, 2, 2)
    number = packet[2:body]
    if body < 0 or not number.isdigit():
        return None
    return Header(EVENT, 0, "/", int(number), 2, body)
