"""The link of one app server: dials, says hello, keeps alive, reconnects, and writes once per tick.

How to use it (everything on one event loop; nothing here is thread-safe):

    link = Link(parse(connection_string), hub, server_id, receiver)
    await link.start()                       # raises LinkRefused, LinkUnavailable
    link.send(Packet(client, payload))       # one frame, in order; raises QueueFull, TooLarge, LinkClosed
    await link.drained()                     # back-pressure; raises what ended the link, if it ends
    done = await link.request(lambda ref: Enter(ref, client, "/", ("room",)), timeout=10)
    link.hold(True)                          # stop acknowledging: the service stops when its credit is used
    await link.close(drain=0)

While the link is down frames queue up to `max_queue_bytes`, and requests wait. A session that was down for
longer than the service's grace time is given up. Closed is for good."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from moorage import __version__
from moorage.sdk.aio.dial import CONNECT_SECONDS, dial
from moorage.sdk.aio.websocket import LinkSocket
from moorage.sdk.errors import LinkClosed, LinkError, LinkRefused, LinkUnavailable, MoorageError, QueueFull
from moorage.sdk.link.backoff import Backoff
from moorage.sdk.link.keepalive import KeepAlive
from moorage.sdk.link.options import DEFAULTS, LinkOptions
from moorage.sdk.link.ports import Owner, Receiver
from moorage.sdk.link.session import Answers, Counts, End, Greeting, Session, TakesPart, Waiter, WrongNode
from moorage.wire.connection_string import ConnectionString
from moorage.wire.errors import PeerError
from moorage.wire.moorage.v1 import Drain, FromApp, ServiceHello
from moorage.wire.reasons import LINK_BAD_FRAME, LINK_CLOSED, LINK_SERVER_TAKEN, LINK_SILENT

INSTANCE_BYTES: Final = 12
TICK_SECONDS: Final = 0.5
"""Seconds between two looks at acknowledgements that no batch has carried, keep-alive, silence and deadlines.
None of these needs to be exact."""
MAX_SECONDS: Final = 2.0**31
"""Longest timeout, in seconds, that a frame's integer field can hold."""
LEAVE_SECONDS: Final = 2.0
"""Seconds for which `close` lets queued frames leave."""
GRACE_EXTRA: Final = 1.0
"""Seconds by which this side gives a session up later than the service: the service may have noticed the cut
later."""

_log = logging.getLogger("moorage.sdk")


class Link:
    """See the module's text."""

    def __init__(
        self,
        target: ConnectionString,
        hub: str,
        server_id: str,
        receiver: Receiver,
        options: LinkOptions = DEFAULTS,
        *,
        instance: str = "",
        counts: Counts | None = None,
        owner: Owner | None = None,
    ) -> None:
        self.target = target
        self.hub = hub
        self.server_id = server_id
        self.session = Session(
            sdk=f"moorage-python/{__version__}",
            max_queue_bytes=options.max_queue_bytes,
            emit_only=options.emit_only,
            instance=instance or secrets.token_urlsafe(INSTANCE_BYTES),
            counts=counts,
        )
        self.session.recovery = options.recovery
        self._owner = owner
        self.patient = False  # True if another link of this app server may have a session at the node
        self._wanted = ""  # the node that was dialled last; any if empty
        self._receiver = receiver
        self._ssl = options.ssl_context
        self._loop = asyncio.get_running_loop()
        self._socket: LinkSocket | None = None
        self._dialler: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._ended: Exception | None = None
        self.left = False
        """True if `close` has ended it."""
        self._down_since = self._up_since = 0.0
        self.backoff = Backoff()
        self._held = self._scheduled = False
        self._drained: list[asyncio.Future[None]] = []
        self._keepalive = KeepAlive()

    # -- state --------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """True while a WebSocket is open and both hellos were exchanged."""
        return self._socket is not None

    @property
    def closed(self) -> bool:
        """True if it has ended and will not be opened again."""
        return self._ended is not None

    @property
    def hello(self) -> ServiceHello:
        """The service's last hello. Only after `start`."""
        assert self.session.hello_of_service is not None
        return self.session.hello_of_service

    @property
    def congested(self) -> bool:
        """True if callers should wait for `drained` before they send more. Never true while the link is down:
        waiting does not help then, and `max_queue_bytes` bounds the queue."""
        return self._socket is not None and self.session.congested

    # -- start and end --------------------------------------------------------------------------------

    async def start(self, *, wait: bool = False) -> None:
        """Connect. Raises `LinkRefused`. If no service answers, raises `LinkUnavailable`, or tries again if
        `wait` is set."""
        while True:
            try:
                await self._connect()
                break
            except LinkUnavailable as error:
                if not wait:
                    self._end(error)
                    raise
                _log.warning("%s; trying again", error)
                await asyncio.sleep(self.backoff.pause())
            except BaseException as error:
                self._end(error if isinstance(error, MoorageError) else LinkClosed("never opened"))
                raise

    def begin(self) -> None:
        """Connect in the background, and try until a service answers."""
        self._down_since = self._loop.time()
        self._dialler = self._loop.create_task(self._reconnect())

    def restart(self, why: str) -> None:
        """Give the session up, and begin a new one."""
        socket = self._socket
        if socket is not None:
            socket.reason = why
            self._disconnected(socket)
            socket.break_off(LINK_CLOSED)
        self._give_up(why)

    def drop(self, why: str) -> None:
        """Give the session and the link up. Unlike `close` this waits for nothing."""
        socket = self._socket
        self._give_up(why)
        self.left = True
        self._end(LinkClosed(why))
        if socket is not None:
            socket.break_off(LINK_CLOSED)

    async def close(self, drain: float = 0.0, *, empty: Callable[[], bool] = lambda: False) -> None:
        """Leave. For `drain` seconds the app server gets no new clients and the present ones may leave by
        themselves; the time ends early when `empty` returns true. Then the service ends them, so that they
        come back to another app server. Idempotent."""
        if self._ended is not None:
            return
        if drain > 0:
            await self.drain(drain, empty)
        self._flush()
        # The service reads what was written before the farewell. Only frames that still wait could be lost.
        await self._wait(LEAVE_SECONDS, lambda: not self.up or not self.session.waiting)
        socket = self._socket
        self.left = True
        self._end(LinkClosed("the link was closed"))
        if socket is not None:
            await socket.farewell(LINK_CLOSED)

    async def drain(self, seconds: float, empty: Callable[[], bool]) -> None:
        """The first part of `close`, for callers that have work to do before the second."""
        with suppress(QueueFull):  # Without a link there are no new clients.
            self.send(Drain(min(seconds, MAX_SECONDS)))
        await self._wait(seconds, empty)

    async def _wait(self, seconds: float, over: Callable[[], bool]) -> None:
        deadline = self._loop.time() + seconds
        while not over() and self._loop.time() < deadline and self._ended is None:
            await asyncio.sleep(0.02)

    def _end(self, error: Exception) -> None:
        if self._ended is not None:
            return
        self._ended = error
        self._socket = None
        if self._ticker is not None:
            self._ticker.cancel()
        if self._dialler is not None and self._dialler is not asyncio.current_task():
            self._dialler.cancel()
        closed = error if isinstance(error, LinkError) else LinkClosed(str(error))
        self.session.fail_all(closed)
        for waiter in self._drained:
            if waiter.done():
                continue
            if self.left:
                waiter.set_result(None)
            else:
                waiter.set_exception(closed)
        self._drained.clear()

    # -- to the service -------------------------------------------------------------------------------

    def send(self, frame: FromApp) -> None:
        """Queue one frame; it leaves with all others of this tick. After `close` the call does nothing.
        Raises `QueueFull`, `TooLarge`, and the error that ended the link otherwise."""
        if self._ended is not None:
            if self.left:
                return
            # Each time with a traceback of its own: it would grow, and keep all that was to be sent.
            raise self._ended.with_traceback(None)
        self.session.queue(frame)
        if not self._scheduled:
            self._schedule()

    def ask(self, make: Callable[[int], FromApp], answers: Answers, timeout: float | None) -> int:
        """Queue a request. `timeout`: maximum seconds to wait for the service itself."""
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        ref = self.session.ask(make, answers, self._loop.time(), timeout)
        if not self._scheduled:
            self._schedule()
        return ref

    async def request(
        self,
        make: Callable[[int], FromApp],
        *,
        timeout: float | None,
        part: TakesPart | None = None,
    ) -> End:
        """Send a request, and wait for the end of its answer; `part` gets the frames before the end. Raises
        `RequestFailed`, `RequestTimeout`, `SessionLost`, and the errors of `send`."""
        future: asyncio.Future[End] = self._loop.create_future()
        ref = self.ask(make, Waiter(future, part), timeout)
        try:
            return await future
        finally:
            self.session.cancel(ref)

    async def drained(self) -> None:
        """Wait until the queue is short again, or the link down. Raises the error that ends the link, if it
        ends."""
        while self.congested:
            waiter = self._loop.create_future()
            self._drained.append(waiter)
            await waiter

    def hold(self, held: bool) -> None:
        """Hold back acknowledgements, or do not any more."""
        self._held = held
        if not held and self._socket is not None:
            self.session.take_all()
            self._schedule()

    def put(self, frame: bytes) -> None:
        """Queue an encoded frame."""
        self.session.put(frame)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        socket = self._socket
        if socket is None:
            return
        batches = self.session.batches()
        while not socket.full and (batch := next(batches, None)) is not None:
            socket.write(batch)
            self._keepalive.sent = True
        if self.session.ack_is_due:
            socket.write(self.session.empty_batch())
        if self._drained and not self.session.congested:
            self._wake()

    def _wake(self) -> None:
        waiters, self._drained = self._drained, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- from the service -----------------------------------------------------------------------------

    def _message(self, socket: LinkSocket, data: bytes) -> None:
        if socket is not self._socket:
            return
        self._keepalive.heard = True
        try:
            frames = self.session.received(data)
        except PeerError as error:
            _log.error("the service sent bytes that are not a batch (%s): a new session begins", error)
            socket.break_off(LINK_BAD_FRAME)
            self._give_up(str(error))
            return
        if frames:
            self._receiver.received(frames)
        if not self._held:
            self.session.take_all()
        # Handlers start in the next turn of the loop. Scheduled now, the flush comes right after
        # their first steps; scheduled by the first that sends, it would cost another turn.
        if self.session.waiting:
            self._flush()
        self._schedule()

    def _disconnected(self, socket: LinkSocket) -> None:
        if socket is not self._socket or self._ended is not None:
            return
        self._socket = None
        self._wake()
        self._down_since = self._loop.time()
        self.backoff.broke(self._down_since - self._up_since)
        why = f"the link to {self.target.endpoint} broke ({socket.reason or 'the connection was cut'})"
        _log.warning("%s; reconnecting", why)
        self._receiver.link_event("lost", LinkUnavailable(why))
        if socket.reason == LINK_BAD_FRAME.name:
            # Resumed, the session would repeat what the service could not read.
            self._give_up(why)
        self._dialler = self._loop.create_task(self._reconnect())

    def _give_up(self, why: str) -> None:
        if self.session.id:
            self.session.forget(why)
            self._receiver.session_lost(why)

    # -- connecting -------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """One attempt: dial, exchange hellos, and send again what the service has not got."""
        socket = LinkSocket(self._message, self._disconnected, self._flush)
        try:
            if self._owner is not None:
                self.target, self._wanted = self._owner.where()
            wanted = self._wanted
            await dial(
                self.target, self.hub, self.server_id, lambda: socket, node=wanted, ssl_context=self._ssl
            )
            greeting = await self._greet(socket)
        except BaseException as error:
            # A node that was not wanted must not wait for this app server to come back.
            socket.break_off(LINK_CLOSED if isinstance(error, WrongNode) else None)
            # Mark its exception as retrieved, because no caller needs it.
            if socket.first.done() and not socket.first.cancelled():
                socket.first.exception()
            raise
        self._up_since = self._loop.time()
        self._keepalive.restart()
        if greeting.lost:
            self._receiver.session_lost("the service no longer knows this app server's session")
        self._socket = socket
        for batch in greeting.again:
            socket.write(batch)
        if self._owner is not None:
            self._owner.greeted(self.hello, new=not greeting.resumed)
        if self._ticker is None:
            self._ticker = self._loop.call_later(TICK_SECONDS, self._tick)
        socket.release()
        self._schedule()

    async def _greet(self, socket: LinkSocket) -> Greeting:
        socket.write(self.session.hello())
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return self.session.greeted(await socket.first, self._wanted)
        except TimeoutError:
            raise LinkUnavailable(
                f"{self.target.endpoint} opened the link, but did not answer the hello"
            ) from None
        except PeerError as error:
            raise LinkRefused(f"{self.target.endpoint} does not speak moorage.v1 ({error})") from None

    async def _reconnect(self) -> None:
        said = ""
        while True:
            await asyncio.sleep(self.backoff.pause(in_grace=self._is_in_grace))
            try:
                await self._connect()
            except LinkError as error:
                if isinstance(error, LinkRefused) and self._is_final(error):
                    self._fail(error)
                    return
                # Refused by another server than Moorage, such as a proxy that restarts.
                if str(error) != said or self.backoff.attempts.bit_count() == 1:
                    said = str(error)
                    _log.warning("%s (attempt %d)", said, self.backoff.attempts)
            else:
                break
        _log.info("the link to %s is back", self.target.endpoint)
        self._receiver.link_event("restored", None)

    @property
    def _is_in_grace(self) -> bool:
        """True if the service still keeps the session."""
        down = self._loop.time() - self._down_since
        return bool(self.session.id) and down < self.hello.grace / 1000

    def _is_final(self, error: LinkRefused) -> bool:
        passes = self._wanted or (self.patient and error.reason == LINK_SERVER_TAKEN.name)
        return bool(error.number) and not passes

    def _fail(self, error: LinkRefused) -> None:
        _log.error("the link is given up: %s", error)
        self._end(error)
        self._give_up(str(error))
        self._receiver.link_event("failed", error)

    # -- time -------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Check deadlines and silence."""
        interval = self.hello.keepalive / 1000
        step = min(TICK_SECONDS, interval / 4)
        self._ticker = self._loop.call_later(step, self._tick)
        now = self._loop.time()
        self.session.expire(now)
        socket = self._socket
        if socket is None:
            late = now - self._down_since > self.hello.grace / 1000 + GRACE_EXTRA
            if late and not self.session.is_kept:
                self._give_up("the link was down for longer than the service's grace time")
            return
        if self._keepalive.is_lost(step, interval):
            socket.reason = LINK_SILENT.name
            socket.break_off()
            return
        is_due = self._keepalive.is_due(step, interval)
        if (is_due or self.session.ack_has_news) and not socket.full:
            socket.write(self.session.empty_batch())
            self._keepalive.acknowledged()
