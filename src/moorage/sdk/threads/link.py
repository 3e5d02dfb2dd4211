"""A link on a thread of its own, with an asyncio loop and a queue into it. All threads' frames go through one
queue, so the frames of one thread leave in order. The loop is woken once for many frames, since waking it
costs more than queueing."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from moorage.sdk import errors
from moorage.sdk.aio.fleet import Fleet
from moorage.sdk.clients.members import Parting
from moorage.sdk.errors import MoorageError
from moorage.sdk.link.options import DEFAULTS, LinkOptions
from moorage.sdk.link.ports import FleetReceiver
from moorage.sdk.link.session import (
    CONGESTED_BYTES,
    Answers,
    End,
    TakesPart,
    Waiter,
)
from moorage.wire.connection_string import ConnectionString
from moorage.wire.moorage.v1 import Facts, FromApp, Save, ServiceHello

REQUEST_SECONDS: Final = 30.0
"""Seconds for which a call waits for the service while the link is up, and for the link while it is down."""
CONGESTED_SECONDS: Final = 30.0
"""Seconds for which an emit waits until earlier frames are sent. After that it is queued nevertheless."""
FRAME_BYTES: Final = 128
"""Estimated size of a frame without its payload and the names of its rooms."""


class Moving(Protocol):
    """A client that may move to another app server."""

    parting: Parting


T = TypeVar("T")
Make = Callable[[int], FromApp]
Item = FromApp | tuple[Make, Answers, float]
"""A frame, or what `Link.ask` takes."""
ANY_SESSION: Final = ""
"""For frames that hold no client number and no reference of the service: they are valid in every session."""

_log = logging.getLogger("moorage.sdk")


def size_of(frame: FromApp) -> int:
    """The approximate size of a frame: its long parts are counted, the rest is estimated."""
    size = FRAME_BYTES + len(getattr(frame, "payload", b""))
    to = getattr(frame, "to", None)
    if to is not None:
        size += sum(map(len, to.rooms)) + sum(map(len, to.excluded))
    if isinstance(frame, Facts):
        size += sum(len(chunk.facts) for chunk in frame.chunks)
    return size


class ThreadsWaiter(Waiter):
    """`Waiter` for another thread. That thread goes on when all of the batch has been handled: a `Moved`
    before the `Done` that it waited for must be in effect by then."""

    def __init__(self, loop: asyncio.AbstractEventLoop, future: Future[End], part: Any, ended: Any) -> None:
        super().__init__(future, part, ended)
        self._loop = loop

    def _resolve(self, frame: End) -> None:
        self._loop.call_soon(super()._resolve, frame)


class ThreadedLink:
    """Methods may be called from any thread but the link's own, which runs `receiver`."""

    def __init__(
        self,
        target: ConnectionString,
        hub: str,
        server_id: str,
        receiver: FleetReceiver,
        options: LinkOptions = DEFAULTS,
    ) -> None:
        self.hub = hub
        self.server_id = server_id
        self.max_queue_bytes = options.max_queue_bytes
        self.loop: asyncio.AbstractEventLoop
        """Set by `start`."""
        self._make: Callable[[], Fleet] = partial(Fleet, target, hub, server_id, receiver, options)
        self._link: Fleet | None = None
        self._queue: deque[tuple[Item, int, str]] = deque()
        """What to send, its estimated size, and the only session that may get it."""
        self._lock = threading.Lock()
        self._queued = 0
        """Bytes in `_queue`, by estimate."""
        self._awake = False
        self.failure: Exception | None = None
        """The error that has ended the link for good, if there is one."""
        self._dead = False
        """True in a forked child, which has no copy of the thread."""
        self._closing = threading.RLock()
        self._thread = threading.Thread(target=self._run, name="moorage-link", daemon=True)

    # -- start and end -------------------------------------------------------------------------------

    def start(self, *, wait: bool = False) -> None:
        """Open the link. Returns once it is up; `wait` and the errors are those of `Link.start`."""
        self.loop = asyncio.new_event_loop()
        self._thread.start()
        try:
            self._await(self._start(wait), None)
        except BaseException:
            self._stop()
            raise

    async def _start(self, wait: bool) -> None:
        self._link = self._make()
        await self._link.start(wait=wait)

    @property
    def hello(self) -> ServiceHello:
        """As `Link.hello`."""
        assert self._link is not None
        return self._link.hello

    @property
    def ended(self) -> bool:
        """True if nothing can be sent any more."""
        return self._link is None or self._dead or self._link.closed or self.loop.is_closed()

    def drain(self, seconds: float, empty: Callable[[], bool]) -> None:
        """As `Link.drain`."""
        with suppress(MoorageError, RuntimeError, CancelledError):
            self._await(self.link.drain(seconds, empty), seconds + REQUEST_SECONDS)

    def run(self, function: Callable[[], object]) -> None:
        """Run `function` on the link's thread, and wait until it has run. Does nothing if the link has
        ended."""

        async def on_the_loop() -> None:
            function()

        call = on_the_loop()
        with suppress(MoorageError, RuntimeError, CancelledError):
            self._await(call, REQUEST_SECONDS)
        call.close()

    def close(self) -> None:
        """As `Link.close`; the thread has ended when this returns. Idempotent."""
        # A second caller waits, and so does not stop the loop while the first still uses it.
        with self._closing:
            if self._link is None or self._dead or self.loop.is_closed():
                return
            with suppress(MoorageError, RuntimeError):
                self._await(self._link.close(), REQUEST_SECONDS)
            self._stop()

    @property
    def left_behind(self) -> bool:
        """True if the thread is in the process that this one was forked from."""
        return self._dead

    def forked(self) -> None:
        """Called in a forked child. It has no copy of the thread, so nothing may wait for it."""
        self.failure = errors.LinkClosed(
            "this process was forked after use_moorage_sync, without its threads: call that in the child"
        )
        self._dead = True

    def _stop(self) -> None:
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(REQUEST_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()
            self._abandon()

    @property
    def link(self) -> Fleet:
        """The link itself. Call its methods on its own thread only; properties may be read from any."""
        if self._link is None:
            raise errors.LinkClosed("the link was never opened")
        return self._link

    def session_of(self, number: int) -> str:
        """The session in which this number names a client or a question."""
        return self.link.session_of(number)

    def recovers(self, number: int) -> bool:
        """True if the client's node keeps sockets whose client may come back."""
        return self.link.recovers(number)

    @property
    def up(self) -> bool:
        """True while a WebSocket is open and both hellos were exchanged."""
        return self._link is not None and not self._dead and self._link.up

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes with a session."""
        return () if self._link is None else self._link.nodes

    @property
    def _congested(self) -> bool:
        link = self.link
        return self._queued + link.session.waiting >= CONGESTED_BYTES or (link.several and link.congested)

    @property
    def in_own_thread(self) -> bool:
        """True if the caller runs on the link's thread and must not wait for it."""
        return threading.current_thread() is self._thread

    @property
    def left(self) -> bool:
        """True if `close` has ended it."""
        return self._link is not None and self._link.left

    # -- to the service ------------------------------------------------------------------------------

    def send(self, frame: FromApp, session: str = ANY_SESSION) -> None:
        """Queue a frame. `session` is the session in which the frame's client number or reference is valid;
        the frame is dropped if that session has ended. Waits while a lot is waiting to leave a link that is
        up. After `close` the call does nothing. Raises `QueueFull`, `TooLarge`, and the error that ended the
        link otherwise."""
        self._enqueue_unless_left(frame, size_of(frame), session)
        self.wait_for_capacity()

    def send_unless_moving(self, client: Moving | None, frame: FromApp, session: str) -> bool:
        """As `send`, but False if the service has the client's state: this frame would follow it."""
        sent = self._enqueue_unless_left(frame, size_of(frame), session, client)
        self.wait_for_capacity()
        return sent

    def post(self, frame: FromApp, session: str = ANY_SESSION) -> None:
        """As `send`, without waiting: for a caller that holds a lock; it calls `wait_for_capacity` later."""
        self._enqueue_unless_left(frame, size_of(frame), session)

    def send_volatile(self, frame: FromApp) -> bool:
        """Send as `send` does, but return False instead if the link is down or congested."""
        if not self.link.up or self._congested:
            return False
        self.send(frame)
        return True

    def request(
        self,
        make: Make,
        *,
        seconds: float = REQUEST_SECONDS,
        session: str = ANY_SESSION,
        part: TakesPart | None = None,
        ended: Callable[[MoorageError | None], None] | None = None,
    ) -> End:
        """Send the frame that `make` builds around a number, and wait for the end of its answer. The link's
        thread calls `part` with the frames before the end, and `ended` at the end, before any later frame.
        `session` as for `send`. Raises `RequestFailed`, `RequestTimeout`, `SessionLost`, and the errors of
        `send`."""
        if self.in_own_thread:
            raise RuntimeError("the link's thread cannot wait for itself")
        future: Future[End] = Future()
        answered = ThreadsWaiter(self.loop, future, part, ended)
        self._enqueue((make, answered, seconds), size_of(make(0)), session)
        return future.result()

    def ask(self, make: Make, answers: Answers, seconds: float) -> None:
        """Send a request without waiting. `answers` gets the answer, on the link's thread."""
        self._enqueue_unless_left((make, answers, seconds), size_of(make(0)), ANY_SESSION)
        self.wait_for_capacity()

    def call_soon(self, function: Callable[[], object]) -> None:
        """Run `function` on the link's thread."""
        self.loop.call_soon_threadsafe(function)

    def _enqueue_unless_left(self, item: Item, size: int, session: str, client: Moving | None = None) -> bool:
        try:
            return self._enqueue(item, size, session, client)
        except errors.LinkClosed:
            if not self.left:
                raise
            return True

    def _enqueue(self, item: Item, size: int, session: str, client: Moving | None = None) -> bool:
        """False if the service has the client's state."""
        link = self.link
        if self._dead or link.closed or self.loop.is_closed():
            raise self.failure or errors.LinkClosed("the link was closed")
        home = link.session
        if home.hello_of_service is None:
            raise errors.LinkUnavailable("use_moorage_sync still waits for the service")
        if size - FRAME_BYTES > home.largest:
            raise home.too_large(size - FRAME_BYTES)
        with self._lock:
            # The state is queued after `parting` has changed, and so after every frame that is queued here.
            if client is not None and client.parting is Parting.SAID:
                return False
            waiting = self._queued + home.waiting
            if waiting + size > self.max_queue_bytes and (
                not link.several or self._queued + size > self.max_queue_bytes
            ):
                raise errors.QueueFull(
                    f"{waiting} bytes are waiting for the service, max_queue_bytes is "
                    f"{self.max_queue_bytes}: the service is away or does not keep up"
                )
            self._queue.append((item, size, session))
            self._queued += size
            if self._awake:
                return True
            self._awake = True
        try:
            self.loop.call_soon_threadsafe(self._pump)
        except RuntimeError:
            self._abandon()
            raise errors.LinkClosed("the link was closed") from None
        return True

    def _abandon(self) -> None:
        """The loop has ended: fail the queued requests, so that no thread waits for ever."""
        with self._lock:
            items, self._queue = self._queue, deque()
            self._awake = False
        for item, _, _ in items:
            if isinstance(item, tuple):
                item[1].failed(errors.LinkClosed("the link was closed"))

    def _pump(self) -> None:
        # From here on a thread that queues wakes the loop again, so no frame stays behind.
        self._awake = False
        while self._queue:
            # Under the lock, so that what is waiting is counted once at any time.
            with self._lock:
                item, size, session = self._queue.popleft()
                self._queued -= size
                error = self._hand_over(item, session)
            # Not under the lock: a handler of log records may want to emit them.
            if error is None:
                continue
            if isinstance(item, tuple):
                item[1].failed(error)
            else:
                _log.error("A %s is lost: %s", type(item).__name__, error)

    def _hand_over(self, item: Item, session: str) -> MoorageError | None:
        # The session changes on this thread only, so it cannot change between this look and the queue.
        known = not session or session == self.link.session.id or self.link.knows(session)
        if not known and type(item) is not Save:
            return (
                errors.SessionLost("the session ended before this left") if isinstance(item, tuple) else None
            )
        try:
            if isinstance(item, tuple):
                self.link.ask(*item)
            elif type(item) is Save:
                self.link.send_in(session, item)
            else:
                self.link.send(item)
        except MoorageError as error:
            return error
        except Exception as error:
            # Raised here, it would not reach the thread that waits for the answer.
            return errors.UsageError(f"what cannot be sent: {error}")
        return None

    def wait_for_capacity(self) -> None:
        """Wait while a lot is waiting to leave a link that is up."""
        if self.left or not self._congested or self.in_own_thread:
            return
        deadline = time.monotonic() + CONGESTED_SECONDS
        waiting = self.link.drained()  # at once while the link is down
        try:
            drained = asyncio.run_coroutine_threadsafe(waiting, self.loop)
        except RuntimeError:  # the loop has ended
            waiting.close()
            return
        while self.link.up and time.monotonic() < deadline:
            with suppress(TimeoutError):
                drained.result(0.5)
                return
        drained.cancel()

    def _await(self, coroutine: Coroutine[Any, Any, T], seconds: float | None) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        while True:
            try:
                return future.result(0.2)
            except TimeoutError:
                if future.done() or time.monotonic() > deadline:
                    raise
                if self.loop.is_closed():  # taken by a loop that was about to end
                    coroutine.close()
                    raise errors.LinkClosed("the link was closed") from None
