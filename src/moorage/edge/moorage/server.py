"""One app server that speaks the moorage dialect: `hub.ports.AppLink` and `AppPeer` over its link. The
session outlives the link: what is queued for the app server waits in the stream while no link is up, and a
link that comes back within the grace time goes on where the last one stopped."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Final

from moorage import logs
from moorage.edge.moorage.acks import Acks
from moorage.edge.moorage.causes import cause_of
from moorage.edge.moorage.mover import REVISION as MOVING
from moorage.edge.moorage.mover import Mover
from moorage.edge.moorage.numbered import Numbered
from moorage.edge.moorage.ports import Transport
from moorage.edge.moorage.pressure import Pressure
from moorage.edge.settings import LinkSettings
from moorage.hub.handover.move import Move
from moorage.hub.hub import AppServer, Capabilities, Client, Hub
from moorage.hub.node import Node
from moorage.hub.ports import Drained
from moorage.hub.turns import Intake, Job
from moorage.metrics.metrics import Metrics
from moorage.wire import reasons
from moorage.wire.engineio import binary_frame, binary_header
from moorage.wire.handshake import Handshake, handshake_json
from moorage.wire.moorage import v1
from moorage.wire.moorage.stream import BATCH_BYTES, Incoming, Outgoing
from moorage.wire.reasons import Reason

SESSION_BYTES: Final = 12
COPIED: Final = 16 * 1024
"""Size up to which a batch is copied behind its header and written in one piece. Copying a larger one costs
more than a second piece: 0.1 ms for 240 kB."""
GATHERED: Final = 4 * 1024 * 1024
"""Bytes of clients' packets in one loop tick above which their senders are held back."""
CAPABILITIES: Final = Capabilities(
    wants_room_changes=True, told_of_expelled=True, answers_queries=True, takes_server_events=True
)
log: Final = logs.get("link")


class MoorageServer:
    """All state of one session. `later` schedules `flush` at the end of the loop tick."""

    def __init__(
        self,
        node: Node,
        metrics: Metrics,
        settings: LinkSettings,
        max_waiting: int,
        hub: Hub,
        server_id: str,
        *,
        hello: v1.AppHello,
        numbers: Iterator[int],
        later: Callable[[Callable[[], object]], object],
        wall_clock: Callable[[], float],
    ) -> None:
        self.node = node
        self.metrics = metrics
        self.settings = settings
        self.hub = hub
        self.session = secrets.token_urlsafe(SESSION_BYTES)
        self.revision = min(hello.revision, v1.REVISION)
        self.app = AppServer(
            server_id, self, "moorage", CAPABILITIES, self, instance=hello.instance, emit_only=hello.emit_only
        )
        self.app.sdk, self.app.since = hello.sdk, node.clock()
        self._max_waiting = max_waiting
        """Bytes that may wait for the link. A link that waits for more is closed."""
        self.out = Outgoing(self.window_of(hello.window))
        self.inc = Incoming(settings.window)
        self.numbered = Numbered()
        self.openings: dict[int, float] = {}
        """Clients that wait for the app server's decision, with the times of their offers."""
        self._numbers = numbers
        self._last_client = 0  # the highest client number of this session so far
        self.transport: Transport | None = None
        """The current link."""
        self._later = later
        self._wall_clock = wall_clock
        self._scheduled = False
        self._gather_at_most = min(GATHERED, max_waiting // 4)
        # Clients alone can never fill the link to the limit at which it is given up.
        self._pressure = Pressure(node, self.app, min(settings.max_waiting_bytes, max_waiting // 2))
        if self.revision >= MOVING and not hello.emit_only:
            self.app.mover = Mover(self, self._pressure)
        self.acks = Acks(self.out)
        self._answers = Intake(node.turns)
        """Builds long answers, in steps."""
        self.busy: Callable[[], bool] = lambda: False
        """True while frames of the app server wait to be carried out."""
        # Seconds, summed up from the steps of `tick`; None until the first step. So a sleep of this process
        # does not count as silence of the app server.
        self._down: float | None = None
        self._silent: float | None = None
        self._idle = 0.0
        self.over = False
        """True once the session is given up: nothing more is queued or expected."""
        self.at_end: Callable[[], None] = lambda: None
        """Called when the session is given up, before its clients are closed."""

    # -- the link -------------------------------------------------------------------------------

    def window_of(self, asked: int) -> int:
        """How many unacknowledged bytes to allow on the link, given the window that the app server asked for.
        Unacknowledged batches are kept in memory, so the window is capped."""
        return min(asked, self._max_waiting)

    def attach(self, transport: Transport, hello: bytes, replay: list[bytes]) -> None:
        """A link is up: greet, send unacknowledged batches again, and continue."""
        self.transport = transport
        self._silent = None
        self.app.up = True
        self._send(hello)
        for batch in replay:
            self._send(batch)
        self.flush()

    def lost(self, transport: Transport) -> None:
        """A link is gone, whichever side ended it."""
        if self.transport is transport:
            self.transport = None
            self._down = None
            self.app.up = False

    def farewell(self) -> None:
        """The app server has left for good: its clients reconnect to another one without delay."""
        # As with native Socket.IO, an app server that leaves does not fail a `serverSideEmit` with acks.
        self.hub.questions.left(self.app)
        self.give_up("app server left", lost=False)

    def give_up(
        self, event: str = "app server lost", reason: Reason | None = None, *, lost: bool = True
    ) -> None:
        """Forget the session and close its clients. `reason` closes the link, too: what came over it later
        would still be carried out. `lost`: the app server has not left by itself."""
        if self.over:
            return
        self.over = True
        transport, self.transport = self.transport, None
        self.app.up = False
        self._answers.clear()
        log.warning(event, hub=self.hub.name, server=self.app.id, clients=len(self.app.clients))
        self._pressure.let_drain()
        self.acks.give_up()
        self.at_end()
        self.node.drop_server(self.hub, self.app, lost=lost)
        if transport is not None and reason is not None:
            transport.close(reason)

    @property
    def settled(self) -> bool:
        """True if the app server has acknowledged everything, or has no link."""
        out = self.out
        return self.transport is None or not (out.waiting or out.in_flight or self._pressure.held_bytes)

    def close_all(self) -> None:
        """The service stops."""
        transport = self.transport
        if transport is not None:
            self._flush_to(transport)
            self.lost(transport)
            transport.close(reasons.DRAINING)

    # -- to the app server: hub.ports.AppLink ---------------------------------------------------

    def queue(self, frame: v1.FromService) -> None:
        """Queue one frame for the end of the tick. An app server that does not read loses its session."""
        self.queue_encoded(v1.encode_frame(frame))

    def queue_encoded(self, frame: bytes) -> None:
        """Queue one encoded frame."""
        if self.over:
            return
        self.out.queue(frame)
        self.metrics.link_frames_sent += 1
        self.wake()

    def queue_slowly(self, frames: Iterator[bytes | None]) -> None:
        """Build and queue frames at the pace of the app server: a link may not keep a whole answer about
        100,000 sockets waiting. None means a step of work without a frame."""
        if not self.over:
            self._answers.add(self._make(frames))

    def _make(self, frames: Iterator[bytes | None]) -> Job[None]:
        while True:
            while self._is_full and not self.over:
                yield True
            frame = next(frames, b"")
            if frame:
                self.queue_encoded(frame)
                if self._is_full:
                    self.flush()
            elif frame is not None:
                return
            yield False

    @property
    def _is_full(self) -> bool:
        """True if no more of a long answer may be queued now."""
        return self.behind or self.out.waiting >= BATCH_BYTES

    def open(self, connection: Client, handshake: Handshake) -> None:
        """Offer the client. The answer becomes `Node.accept` or `Node.refuse`."""
        if self.out.waiting > self._pressure.at_most:
            # New clients must not use up the capacity that connected clients need.
            self.node.refuse(connection, reasons.LINK_OVERFLOW)
            return
        connection.channel = number = self.next_number()
        connection.handshake = sent = handshake_json(handshake, int(self._wall_clock() * 1000))
        self.numbered.add(number, connection)
        self.queue(v1.Open(number, connection.id, connection.user_id, sent))

    def next_number(self) -> int:
        """A new number, for a client that is offered now."""
        number = self._last_client = next(self._numbers)
        self.openings[number] = self.node.clock()
        return number

    def forward(self, connection: Client, packet: bytes) -> None:
        """Queue one packet of the client."""
        number = connection.channel
        if not isinstance(number, int):
            assert isinstance(number, Move)
            number.forward(packet)
            return
        out = self.out
        out.queue(v1.encode_frame(v1.Packet(number, packet)))
        self.metrics.link_frames_sent += 1
        if not self._scheduled:
            self.wake()
        transport = self.transport
        if transport is None or transport.congested or out.blocked or out.waiting > self._gather_at_most:
            self._pressure.hold_back(connection, len(packet))

    def closed(self, connection: Client, reason: Reason) -> None:
        """Queue the client's last frame."""
        number = connection.channel
        self._pressure.forget(connection)
        if isinstance(number, Move):
            number.closed(reason)
        elif isinstance(number, int):
            # Somebody holds the connection until the app server knows of the end if its sockets are parked.
            released = None if self.hub.recovery is None else self.numbered.release(number)
            if (released or self.numbered.pop(number)) is not None:
                self.openings.pop(number, None)
                self.tell_closed(number, reason)

    def parked(self, connection: Client) -> None:
        """The client is away. The app server still knows it."""
        self._pressure.forget(connection)

    def tell_closed(self, number: int, reason: Reason) -> None:
        """Tell the app server that client `number` is gone."""
        self.queue(v1.Closed(number, reason.number, reason.name, cause_of(reason)))

    def asked(self, number: int) -> bool:
        """True if the number may be that of a client that is gone, perhaps with an earlier session."""
        return 0 < number <= self._last_client

    def drained(self, connection: Client, done: Drained) -> None:
        """Call `done` at once, unless the app server is behind. A POST of a polling client waits for this."""
        if self.behind:
            # One callback per client is enough: it has one POST at a time, and an earlier one has timed out.
            self._pressure.drains[connection] = done
        else:
            done()

    def taken(self, _connection: Client, done: Drained) -> None:
        """Call `done` when the app server has acknowledged everything queued so far."""
        self.acks.wait(done)
        self.wake()

    # -- hub.ports.AppPeer ----------------------------------------------------------------------

    def moved(self, connection: Client, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        """`AppPeer.moved`."""
        number = connection.channel
        if isinstance(number, int):
            self.queue(v1.Moved(number, namespace, joined, rooms))
        elif isinstance(number, Move):
            number.moved(namespace, rooms, joined=joined)

    def left(self, connection: Client, namespace: str) -> None:
        """`AppPeer.left`."""
        number = connection.channel
        if isinstance(number, int):
            self.queue(v1.Left(number, namespace))
        elif isinstance(number, Move):
            number.expelled(namespace)

    def upgraded(self, connection: Client) -> None:
        """`AppPeer.upgraded`. Revision 1 of the protocol does not have this frame."""
        number = connection.channel
        if isinstance(number, Move):
            number.upgraded()
        elif self.revision >= 2 and isinstance(number, int):
            self.queue(v1.Upgraded(number, "websocket"))

    def query(self, number: int, namespace: str, sockets: tuple[str, ...]) -> None:
        """`AppPeer.query`. It is sent at once: the asker waits longest for this answer, and the service
        prepares its own part meanwhile."""
        self.queue(v1.Query(number, namespace, sockets))
        self.flush()

    def told(self, number: int | None, sender: str, namespace: str, payload: bytes) -> None:
        """`AppPeer.told`."""
        self.queue(v1.Told(number or 0, sender, namespace, payload))

    # -- pressure -------------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """True if the app server does not read its clients' packets, or has not acknowledged them."""
        transport = self.transport
        return transport is None or transport.congested or self.out.blocked

    # -- batches --------------------------------------------------------------------------------

    def wake(self) -> None:
        """Schedule `flush` for the end of this tick."""
        if not self._scheduled:
            self._scheduled = True
            self._later(self.flush)

    def cork(self) -> None:
        """Called by a caller that will call `uncork` itself in this tick."""
        self._scheduled = True

    def uncork(self) -> None:
        """`flush` if there is anything to do. Most frames from an app server have no answer."""
        self._scheduled = False
        held = self._pressure
        if self.out.waiting or self._answers.busy or held.held_bytes or held.drains or self.inc.is_due:
            self.flush()

    def flush(self) -> None:
        """End of the tick: send what is queued in one batch, within the credit."""
        self._scheduled = False
        transport, held = self.transport, self._pressure
        if transport is not None:
            self._flush_to(transport)
        if self.out.waiting > self._max_waiting:
            if transport is not None:
                transport.close(reasons.LINK_SLOW)
            self.give_up("app server too slow")
        elif (held.held_bytes or held.drains) and not self.behind:
            held.resume()
        if self._answers.busy and not self._is_full:
            self._answers.wake()

    def _flush_to(self, transport: Transport) -> None:
        out, inc = self.out, self.inc
        sent = False
        while not transport.congested:
            batch = out.take(inc.ack)
            if batch is None:
                break
            inc.told()
            self._send(batch)
            sent = True
            if not out.waiting:
                self.acks.sent()
                break
        if not sent and inc.is_due and not transport.congested:
            self._send_ack()

    def _send_ack(self) -> None:
        self._send(v1.encode_batch(0, self.inc.told(), []))

    def _send(self, batch: bytes) -> None:
        assert self.transport is not None
        self.metrics.link_bytes_sent += len(batch)
        self._idle = 0.0
        if len(batch) < COPIED:
            self.transport.write(binary_frame(batch))
        else:
            self.transport.write(binary_header(len(batch)), batch)

    # -- time -----------------------------------------------------------------------------------

    def tick(self, now: float, step: float) -> None:
        """Called a few times a second: the end of the grace time, time-outs, acks, keep-alive. `step` is the
        time since the last call, without a sleep of this process."""
        self._overdue(now - self.settings.connect_timeout)
        self.app.behind = self.behind
        transport = self.transport
        if transport is None:
            # Frames that came before the link broke are carried out first.
            if not self.busy():
                self._down = 0.0 if self._down is None else self._down + step
            elif self._down is None:
                self._down = 0.0
            if self._down >= self.settings.grace:
                self.give_up()
            return
        keepalive = self.settings.heartbeat
        self._silent = 0.0 if self._silent is None or transport.heard() else self._silent + step
        self._idle += step
        if self._silent >= 3 * keepalive:
            transport.close(reasons.LINK_SILENT)
            self.lost(transport)
        elif not transport.congested and (self.inc.has_news or self._idle >= keepalive):
            self._send_ack()

    def _overdue(self, deadline: float) -> None:
        if self.busy():
            # The answer may be among the frames that wait.
            return
        for number in [n for n, since in self.openings.items() if since <= deadline]:
            del self.openings[number]
            connection = self.numbered.pop(number)
            if connection is not None:
                self.node.refuse(connection, reasons.CONNECT_TIMEOUT)
            self.tell_closed(number, reasons.CONNECT_TIMEOUT)
