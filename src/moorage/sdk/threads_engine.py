"""What stands in for Engine.IO under a synchronous `socketio.Server`: its clients are connected elsewhere.

It is an `engineio.Server` by every name that python-socketio, Flask-SocketIO and their users reach
for (`sockets`, `send`, `get_session`, `disconnect`, `start_background_task`, ...), with all settings
of the one it replaces. Only where packets come from and go to is different.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import engineio

from moorage.sdk.environ import Environ
from moorage.sdk.payload import RS, binary
from moorage.sdk.threads_pool import Lane, Pool
from moorage.wire.tunnel import Close, FromApp, Opened, Packet, Refused

FRAME_BYTES: Final = 512
"""Charged for what a packet that waits for a thread costs besides its payload."""
_ATTACHMENTS: Final = re.compile(r"[56]([0-9]+)-")

CAUSES: Final = {
    "forced server close": engineio.Server.reason.SERVER_DISCONNECT,
    "ping timeout": engineio.Server.reason.PING_TIMEOUT,
    "transport close": engineio.Server.reason.TRANSPORT_CLOSE,
    "server shutting down": engineio.Server.reason.TRANSPORT_CLOSE,
}
"""Socket.IO's names of why a client went -> python-engineio's. All others are transport errors."""

_log = logging.getLogger("moorage.sdk")


class Client:
    """One client, with what python-engineio's own sockets are asked for. Packets of one client are
    handled one after another on its `lane`."""

    def __init__(self, server: Engine, number: int, sid: str, make_environ: Callable[[], Environ]) -> None:
        self.server = server
        self.number = number
        self.sid = sid
        self.lane = Lane(server.pool)
        self.session: dict[str, Any] = {}
        self.connected = True
        self.upgrading = False
        self.upgraded = False
        """Whether the client came by WebSocket; that it changes over later is not told."""
        self.closing = False
        self.closed = False
        self.make_environ = make_environ
        self.unfinished = 0
        """Frames given to the lane; less those done, what is still in it."""
        self.finished = 0

    @property
    def in_pieces(self) -> bool:
        """The lane may be in the middle of a packet and its attachments."""
        return self.unfinished != self.finished

    def send(self, packet: Any) -> None:
        """Send a python-engineio packet, at once or with the packet that it is an attachment of."""
        self.server.send_text(self, packet.encode(b64=True))

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the client's connection; its sockets' `disconnect` handlers run before this returns."""
        if self.end(reason or self.server.reason.SERVER_DISCONNECT):
            self.server.transmit(Close(self.number))

    def end(self, reason: str) -> bool:
        """Tell the application that the client is gone; False where it knew."""
        with self.server.lock:
            if self.closing:
                return False
            self.closing = True
        self.server.tell_end(self, reason)
        self.closed = True
        return True


class Engine(engineio.Server):  # type: ignore[misc]  # python-engineio is not annotated
    """Takes the place of `original`, its settings and handlers included."""

    def __init__(
        self, original: Any, *, transmit: Callable[[FromApp], None], pool: Pool, elsewhere: str
    ) -> None:
        # Not super().__init__: the handlers are registered, the settings read and the async mode
        # chosen, and whoever changes them later changes them here.
        self.__dict__.update(vars(original))
        self.transmit = transmit
        self.pool = pool
        self.lock = threading.Lock()
        self.event_handler: Callable[..., object] | None = None
        """python-socketio's method that runs one event's handler; its jobs go to the pool."""
        self.ending = threading.local()
        """`client`: whose end this thread is telling to the application."""
        self.pending = 0
        """Bytes of packets whose handlers no thread has begun."""
        self._elsewhere = elsewhere
        self._numbers: dict[int, Client] = {}
        self._thread = threading.local()
        """Of each thread: `packet`, sent in part; `size`, bytes of the frame being delivered."""

    # -- from the service, on the link's thread ------------------------------------------------------

    def open(self, client: Client) -> None:
        """A client asks for a session."""
        self._numbers[client.number] = client
        self.sockets[client.sid] = client
        client.lane.add(partial(self._admit, client))

    def receive(self, number: int, payload: bytes, *, at_once: bool) -> None:
        """Packets of a client. `at_once`: no user's code will run in this thread."""
        client = self._numbers.get(number)
        if client is None:
            return
        if at_once and not client.in_pieces:
            self._deliver(client, payload)
            return
        client.unfinished += 1
        self._add_pending(len(payload) + FRAME_BYTES)
        client.lane.add(partial(self._deliver_in_lane, client, payload))

    def closed(self, number: int, cause: str) -> None:
        """A client is gone."""
        client = self._numbers.pop(number, None)
        if client is not None:
            reason = CAUSES.get(cause, self.reason.TRANSPORT_ERROR)
            client.lane.add(partial(self._remove, client, reason))

    def all_closed(self) -> None:
        """The service has forgotten all clients, or we have taken our leave."""
        for number in list(self._numbers):
            self.closed(number, "transport close")

    def client(self, number: int) -> Client | None:
        """By its number in the link's frames."""
        return self._numbers.get(number)

    # -- in a client's lane --------------------------------------------------------------------------

    def _admit(self, client: Client) -> None:
        environ = client.make_environ()
        client.upgraded = "transport=websocket" in environ["QUERY_STRING"]
        verdict = self._trigger_event("connect", client.sid, environ, run_async=False)
        if verdict is None or verdict is True:
            interval = (self.ping_interval + self.ping_interval_grace_period) * 1000
            timeout = self.ping_timeout * 1000
            limit = self.max_http_buffer_size
            self.transmit(Opened(client.number, int(interval), int(timeout), int(limit)))
            return
        self.sockets.pop(client.sid, None)
        self._numbers.pop(client.number, None)
        client.closed = client.closing = True
        text = verdict if isinstance(verdict, str) else "Unauthorized"
        self.transmit(Refused(client.number, 401, text))

    def _deliver_in_lane(self, client: Client, payload: bytes) -> None:
        self._add_pending(-len(payload) - FRAME_BYTES)
        try:
            self._deliver(client, payload)
        finally:
            client.finished += 1

    def _deliver(self, client: Client, payload: bytes) -> None:
        if client.closed:
            return
        self._thread.size = len(payload) + FRAME_BYTES
        for part in payload.split(RS):
            try:
                data = binary(part) if part[:1] == b"b" else part[1:].decode()
            except ValueError:
                _log.warning("A packet of client %s cannot be read; dropped", client.sid)
                return
            if data[:1] == "1":  # DISCONNECT
                with self.telling_end(client):
                    self._trigger_event("message", client.sid, data, run_async=False)
            else:
                self._trigger_event("message", client.sid, data, run_async=False)

    def _remove(self, client: Client, reason: str) -> None:
        client.end(reason)
        self.sockets.pop(client.sid, None)

    def tell_end(self, client: Client, reason: str) -> None:
        """Run the application's handlers of a client's end, in this thread."""
        with self.telling_end(client):
            self._trigger_event("disconnect", client.sid, reason, run_async=False)

    def telling_end(self, client: Client) -> _Telling:
        """While it lasts, this thread is the one that says `client` is gone."""
        return _Telling(self.ending, client)

    # -- to the service ------------------------------------------------------------------------------

    def send_text(self, client: Client, text: str) -> None:
        """One Engine.IO packet in its text form. A Socket.IO packet that announces attachments waits
        for them: python-socketio hands over piece after piece, and another thread's packet must not
        get in between."""
        half = getattr(self._thread, "packet", None)
        if half is not None:
            parts, missing = half
            parts.append(text)
            self._thread.packet = (parts, missing - 1) if missing > 1 else None
            if missing > 1:
                return
            text = "\x1e".join(parts)
        elif (found := _ATTACHMENTS.match(text, 1)) and int(found[1]):
            self._thread.packet = ([text], int(found[1]))
            return
        self.transmit(Packet(client.number, text.encode()))

    def start_background_task(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        """As python-engineio's, a thread of its own, except for events: these have the pool's."""
        # Bound methods are equal when object and function are.
        if target != self.event_handler:
            return super().start_background_task(target, *args, **kwargs)
        size = self._thread.size
        self._add_pending(size)
        self.pool.submit(partial(self._run_event, size, target, args))
        return None

    def _run_event(self, size: int, target: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._add_pending(-size)
        target(*args)

    def _add_pending(self, size: int) -> None:
        with self.lock:
            self.pending += size

    def handle_request(self, environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        """Refuses clients that come here and not to the service, and says where to go."""
        body = json.dumps({"code": 4, "message": self._elsewhere}).encode()
        headers = [("Content-Type", "application/json"), *self._cors_headers(environ)]
        start_response("403 FORBIDDEN", headers)
        return [body]

    def shutdown(self) -> None:
        """There is no service thread of python-engineio to stop."""


class _Telling:
    """See `Engine.telling_end`. May be nested: a `disconnect` handler may disconnect others."""

    __slots__ = ("_before", "_client", "_ending")

    def __init__(self, ending: threading.local, client: Client) -> None:
        self._ending = ending
        self._client = client
        self._before: Client | None = None

    def __enter__(self) -> None:
        self._before = getattr(self._ending, "client", None)
        self._ending.client = self._client

    def __exit__(self, *_error: object) -> None:
        self._ending.client = self._before
