"""What an app server of the moorage dialect says: each frame becomes a command or an answer.

A frame that cannot be carried out is answered with `Failed` and harms nothing else: the link, its
other frames and all clients go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

from moorage import logs
from moorage.edge.moorage_server import MoorageServer
from moorage.hub.connection import Connection
from moorage.hub.deliver import deliver
from moorage.wire import tunnel
from moorage.wire.commands import (
    FetchSockets,
    Invoke,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    Outcome,
    Selection,
    Send,
    TellServers,
)
from moorage.wire.engineio import check_text
from moorage.wire.errors import PeerError
from moorage.wire.filters import Filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.handshake import OpenInfo
from moorage.wire.listing import Shared, sockets_frame
from moorage.wire.reasons import (
    APP_CLOSED,
    APP_ERROR,
    APP_REFUSED,
    INTERNAL,
    LINK_BAD_REQUEST,
    LINK_OVERFLOW,
)
from moorage.wire.socketio import ACK, BINARY_ACK, MAX_NAMESPACE, parse_header

MAX_ROOM: Final = 2_048
"""Characters of a room's name."""
MAX_ROOMS: Final = 100_000
"""Rooms in one frame. Each costs about a microsecond, in which nobody else is served."""
MAX_BACKLOG: Final = 1_000_000
"""Sockets in answers to `Fetch` that an app server has not taken yet."""
MAX_OPEN: Final = 10_000
"""Questions of one app server that wait for answers."""
ROWS: Final = 1_000
ROW_BYTES: Final = 128 * 1024
"""Sockets in one frame of the answer to `Fetch`, and their bytes: one frame with all of
them would hold up everything behind it."""
AT_ONCE: Final = 50
"""Up to so many sockets are queued without waiting for the app server to take them."""
_LARGEST: Final = 2**53 - 1
MAX_MESSAGE: Final = 1_000
"""Characters of an app's own words that a client is told."""
_FORBIDDEN: Final = 4
"""Engine.IO's code for it."""
_STATUSES: Final = frozenset(status.value for status in HTTPStatus if status.value >= 400)

Maker = Callable[[int, str, Any], tunnel.FromService]
"""Builds the frame of an answer from ref, sender and answer."""

log: Final = logs.get("link")


class Desk:
    """Handles the frames of one session, in order."""

    def __init__(self, server: MoorageServer, wall_clock: Callable[[], float]) -> None:
        self._server = server
        self._node = server.node
        self._hub = server.hub.name
        self._wall_clock = wall_clock
        self._open: set[Stream] = set()
        self._complaints: set[tuple[str, str]] = set()
        self._backlog = 0
        """Sockets in answers that have not left."""
        self._handlers: dict[type, Callable[[Any], None]] = {
            tunnel.Packet: self._packet,
            tunnel.Emit: self._emit,
            tunnel.Enter: self._enter,
            tunnel.Exit: self._exit,
            tunnel.Opened: self._opened,
            tunnel.Refused: self._refused,
            tunnel.Close: self._close,
            tunnel.Ask: self._ask,
            tunnel.Join: self._join,
            tunnel.Leave: self._leave,
            tunnel.Disconnect: self._disconnect,
            tunnel.Fetch: self._fetch,
            tunnel.Facts: self._facts,
            tunnel.Tell: self._tell,
            tunnel.Reply: self._reply,
            tunnel.List: self._list,
            tunnel.Drain: self._drain,
            tunnel.AppHello: self._hello_again,
        }

    def handle(self, frame: tunnel.FromApp) -> None:
        """One frame. Never raises."""
        try:
            self._handlers[type(frame)](frame)
        except PeerError as error:
            self._node.metrics.refusals["link", error.reason.name] += 1
            self._complain(type(frame).__name__, error)
            self._failed(frame, error)
        except Exception:
            # A defect of ours must not end the link, and the asker must not wait for ever.
            log.error("frame failed", frame=type(frame).__name__, exc_info=True)
            self._failed(frame, PeerError(INTERNAL))

    def _complain(self, frame: str, error: PeerError) -> None:
        """One line for each thing that an app server gets wrong: it hears of every time, and a loop
        that gets it wrong must not fill the log."""
        if (frame, error.reason.name) not in self._complaints:
            self._complaints.add((frame, error.reason.name))
            log.info(
                "frame refused",
                frame=frame,
                reason=error.reason.name,
                detail=error.message[:200],
                hub=self._hub,
                server=self._server.app.id,
            )

    def _failed(self, frame: tunnel.FromApp, error: PeerError) -> None:
        ref = getattr(frame, "ref", 0)
        reason = error.reason
        self._server.queue(tunnel.Failed(ref, reason.number, reason.name, error.message))

    def end(self) -> None:
        """The session is over: nobody waits for its questions any more."""
        streams, self._open = self._open, set()
        hub = self._server.hub
        for questions in (hub.invocations, hub.queries, hub.questions):
            questions.cancel(*streams)

    def stream_ended(self, stream: Stream) -> None:
        """Its `Done` is queued."""
        self._open.discard(stream)

    # -- clients --------------------------------------------------------------------------------

    def _opened(self, frame: tunnel.Opened) -> None:
        opening = self._opening(frame.client)
        if opening is None:
            return
        connection, since = opening
        terms = (frame.ping_interval, frame.ping_timeout, frame.max_payload)
        if not all(0 < number <= _LARGEST for number in terms):
            del self._server.clients[frame.client]
            self._node.refuse(connection, APP_ERROR, "its terms are out of range")
            raise PeerError(LINK_BAD_REQUEST, "terms from 1 on")
        self._node.metrics.upstream_seconds["connect"].observe(self._node.clock() - since)
        self._node.accept(connection, OpenInfo(*terms))

    def _refused(self, frame: tunnel.Refused) -> None:
        opening = self._opening(frame.client)
        if opening is not None:
            del self._server.clients[frame.client]
            reason = APP_REFUSED if 400 <= frame.status < 500 else APP_ERROR
            if frame.status in _STATUSES:
                # Client libraries show the answer to the developer: what the app chose, as natively.
                text = "" if frame.message else reason.text
                code = _FORBIDDEN if frame.status == HTTPStatus.FORBIDDEN else reason.eio
                reason = reason._replace(http=frame.status, text=text, eio=code)
            self._node.refuse(opening[0], reason, frame.message[:MAX_MESSAGE])

    def _opening(self, number: int) -> tuple[Connection, float] | None:
        """The client that waits for this answer, and since when. None where the answer comes too
        late: the app server has been told already. Raises `PeerError` for one that nobody waits for."""
        server = self._server
        since = server.openings.pop(number, None)
        if since is not None:
            return server.clients[number], since
        if number in server.clients or not server.asked(number):
            raise PeerError(LINK_BAD_REQUEST, "no Open of this client is unanswered")
        return None

    def _close(self, frame: tunnel.Close) -> None:
        connection = self._server.clients.get(frame.client)
        if connection is None:
            return
        if self._server.openings.pop(frame.client, None) is None:
            self._node.disconnect(connection, APP_CLOSED, who="app")
        else:
            self._node.refuse(connection, APP_REFUSED)
            self._server.closed(connection, APP_CLOSED)

    def _packet(self, frame: tunnel.Packet) -> None:
        connection = self._server.clients.get(frame.client)
        # One that has gone: its `Closed` is on the way, and this crossed it.
        if connection is not None:
            # Not as a command: this client is here, on this node, and looked up already. With `uncork`
            # the service's CPU of a round trip is 9 % less (16.8 us became 15.2, two paired runs).
            deliver(self._node, (connection,), frame.payload)

    # -- rooms ----------------------------------------------------------------------------------

    def _enter(self, frame: tunnel.Enter) -> None:
        connection = self._server.clients.get(frame.client)
        if connection is not None:
            to, groups = _own(connection, frame.namespace, frame.rooms)
            self._node.execute(JoinGroups(self._hub, to, groups, quiet=True))
        self._done(frame.ref, 0 if connection is None else 1)

    def _exit(self, frame: tunnel.Exit) -> None:
        connection = self._server.clients.get(frame.client)
        if connection is not None:
            to, groups = _own(connection, frame.namespace, frame.rooms)
            self._node.execute(LeaveGroups(self._hub, to, groups, quiet=True))
        self._done(frame.ref, 0 if connection is None else 1)

    def _join(self, frame: tunnel.Join) -> None:
        groups = _groups(frame.to.namespace, frame.rooms)
        self._done(
            frame.ref, self._node.execute(JoinGroups(self._hub, self._select(frame.to), groups)).reached
        )

    def _leave(self, frame: tunnel.Leave) -> None:
        groups = _groups(frame.to.namespace, frame.rooms)
        self._done(
            frame.ref, self._node.execute(LeaveGroups(self._hub, self._select(frame.to), groups)).reached
        )

    def _disconnect(self, frame: tunnel.Disconnect) -> None:
        command = LeaveNamespace(self._hub, self._select(frame.to), frame.to.namespace, frame.close)
        self._done(frame.ref, self._node.execute(command).reached)

    def _select(self, to: tunnel.To, flags: int = 0) -> Selection:
        server = self._server.app.id if flags & tunnel.LOCAL else None
        excluded = Filter("", none_of=_groups(to.namespace, to.excluded)) if to.excluded else None
        if not to.rooms:
            return Selection(group=_namespace(to.namespace), filter=excluded, server=server)
        groups = _groups(to.namespace, to.rooms)
        if len(groups) == 1:
            return Selection(group=groups[0], filter=excluded, server=server)
        none_of = excluded.none_of if excluded is not None else ()
        return Selection(filter=Filter("", any_of=groups, none_of=none_of), server=server)

    # -- emits and questions --------------------------------------------------------------------

    def _emit(self, frame: tunnel.Emit) -> None:
        to = self._select(frame.to, frame.flags)
        volatile = bool(frame.flags & tunnel.VOLATILE)
        outcome = self._node.execute(Send(self._hub, to, frame.payload, volatile))
        self._done(frame.ref, outcome.reached)

    def _ask(self, frame: tunnel.Ask) -> None:
        to = self._select(frame.to, frame.flags)
        volatile = bool(frame.flags & tunnel.VOLATILE)
        command = Invoke(self._hub, to, frame.payload, frame.timeout / 1000, volatile)
        self._stream(frame.ref, tunnel.Answer, command)

    def _fetch(self, frame: tunnel.Fetch) -> None:
        to = self._select(frame.to)
        timeout, now = frame.timeout / 1000, int(self._wall_clock() * 1000)
        asker = self._server.app.id
        command = FetchSockets(self._hub, to, frame.to.namespace, timeout, now, asker, frame.others)
        if self._backlog > MAX_BACKLOG:
            raise PeerError(LINK_OVERFLOW, "earlier answers have not left yet")
        self._stream(frame.ref, tunnel.Data, command)

    def _tell(self, frame: tunnel.Tell) -> None:
        _namespace(frame.namespace)
        timeout = frame.timeout / 1000
        command = TellServers(self._hub, frame.namespace, frame.payload, self._server.app.id, timeout)
        if timeout > 0:
            self._stream(frame.ref, tunnel.Answer, command)
        else:
            self._node.execute(command, Stream(self, frame.ref, tunnel.Answer))

    def _stream(
        self,
        ref: int,
        make: Callable[[int, str, Any], tunnel.FromService],
        command: Invoke | FetchSockets | TellServers,
    ) -> None:
        if ref == 0 or len(self._open) >= MAX_OPEN:
            raise PeerError(LINK_BAD_REQUEST, f"a ref is needed, and at most {MAX_OPEN} questions at once")
        stream = Stream(self, ref, make)
        self._open.add(stream)
        try:
            outcome = self._node.execute(command, stream)
        except Exception:
            self._open.discard(stream)
            raise
        if not outcome.sockets or outcome.reached <= AT_ONCE:
            for _, frame in _frames(ref, outcome):
                self._server.queue_encoded(frame)
            stream.begin(outcome.asked)
        else:
            self._backlog += outcome.reached
            self._server.queue_slowly(self._slowly(ref, stream, outcome))

    def _slowly(self, ref: int, stream: Stream, outcome: Outcome) -> Iterator[bytes]:
        for rows, frame in _frames(ref, outcome):
            yield frame
            self._backlog -= rows
        stream.begin(outcome.asked)

    def queue(self, frame: tunnel.FromService) -> None:
        """For the streams."""
        self._server.queue(frame)

    def _facts(self, frame: tunnel.Facts) -> None:
        if not self._server.hub.queries.answered(frame.ref, self._server.app, frame.chunks):
            self._node.metrics.late_answers += 1

    def _reply(self, frame: tunnel.Reply) -> None:
        questions, app = self._server.hub.questions, self._server.app
        if not frame.payload:
            # It does not have the namespace: natively it would not have been asked.
            known = questions.excused(frame.ref, app)
        else:
            header = parse_header(check_text(frame.payload))
            if header.type not in (ACK, BINARY_ACK):
                raise PeerError(LINK_BAD_REQUEST, "an ack is expected")
            known = questions.answered(frame.ref, app, frame.payload)
        if not known:
            self._node.metrics.late_answers += 1

    def _list(self, frame: tunnel.List) -> None:
        servers = self._server.hub.servers.all()
        rows = tuple(tunnel.Server(s.id, s.dialect, s.up, len(s.clients)) for s in servers)
        self._server.queue(tunnel.Servers(frame.ref, rows))

    def _drain(self, _frame: tunnel.Drain) -> None:
        self._server.app.draining = True

    @staticmethod
    def _hello_again(_frame: tunnel.AppHello) -> None:
        raise PeerError(LINK_BAD_REQUEST, "a second hello")

    def _done(self, ref: int, count: int) -> None:
        if ref:
            self._server.queue(tunnel.Done(ref, count))


class Stream:
    """`hub.ports.Answers` of one question. What the service knows itself goes first, whenever the
    answers come."""

    def __init__(self, desk: Desk, ref: int, make: Maker) -> None:
        self._desk = desk
        self._ref = ref
        self._make = make
        self._answered: set[str] = set()
        self._early: list[tunnel.FromService] | None = []
        """What came before it was the time; None from then on."""
        self._missing: tuple[str, ...] | None = None

    def begin(self, asked: int) -> None:
        """The question is out, and all that the service knows itself."""
        early, self._early = self._early or [], None
        self._desk.queue(tunnel.Asked(self._ref, asked))
        for frame in early:
            self._desk.queue(frame)
        if self._missing is not None:
            self.finish(self._missing)

    def answer(self, sender: str, payload: object) -> None:
        """One of those asked."""
        self._answered.add(sender)
        frame = self._make(self._ref, sender, payload)
        if self._early is None:
            self._desk.queue(frame)
        else:
            self._early.append(frame)

    def finish(self, missing: tuple[str, ...]) -> None:
        """All have answered, or the time is up."""
        self._missing = missing
        if self._early is None:
            self._desk.queue(tunnel.Done(self._ref, len(self._answered.difference(missing)), missing))
            self._desk.stream_ended(self)


def _frames(ref: int, outcome: Outcome) -> Iterator[tuple[int, bytes]]:
    """How many rows, and the frame."""
    for server, rows in outcome.sockets.items():
        packed: list[bytes] = []
        shared: set[Shared | None] = set()
        size = 0
        for some in rows:
            more = [one.row for one in some]
            packed += more
            size += sum(map(len, more))
            shared.update([one.shared for one in some])
            if size >= ROW_BYTES or len(packed) >= ROWS:
                yield len(packed), sockets_frame(ref, server, packed, _all(shared))
                packed, shared, size = [], set(), 0
        if packed:
            yield len(packed), sockets_frame(ref, server, packed, _all(shared))


def _all(some: set[Shared | None]) -> list[Shared]:
    return [each for each in some if each is not None]


def _namespace(name: str) -> str:
    if not name.startswith("/") or len(name) > MAX_NAMESPACE:
        raise PeerError(
            LINK_BAD_REQUEST, f"a namespace begins with / and has at most {MAX_NAMESPACE} characters"
        )
    return namespace_group(name)


def _groups(namespace: str, rooms: tuple[str, ...]) -> tuple[str, ...]:
    _namespace(namespace)
    if len(rooms) > MAX_ROOMS:
        raise PeerError(LINK_BAD_REQUEST, f"at most {MAX_ROOMS} rooms at once")
    for room in rooms:
        # The group of a nameless room would be the whole namespace.
        if not room or len(room) > MAX_ROOM:
            raise PeerError(LINK_BAD_REQUEST, f"a room's name has 1 to {MAX_ROOM} characters")
    return tuple(dict.fromkeys(room_group(namespace, room) for room in rooms))


def _own(connection: Connection, namespace: str, rooms: tuple[str, ...]) -> tuple[Selection, tuple[str, ...]]:
    return Selection(connection=connection.id), _groups(namespace, rooms)
