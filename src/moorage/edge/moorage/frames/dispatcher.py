"""Turns each frame from an app server of the moorage dialect into a command or an answer. A frame that cannot
be carried out is answered with `Failed`. The link, its other frames and all clients go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from moorage import logs
from moorage.edge.moorage.coverage import Coverage, Submit
from moorage.edge.moorage.frames.answers import Maker, Stream, answer_frames, is_little
from moorage.edge.moorage.frames.clients import ClientFrames
from moorage.edge.moorage.frames.fetches import Fetches
from moorage.edge.moorage.frames.handover import HandOverFrames
from moorage.edge.moorage.frames.rooms import FEW_ROOMS, excluded_groups, groups_of, many_groups, namespace_of
from moorage.edge.moorage.frames.unfinished import UnfinishedFrames
from moorage.edge.moorage.server import MoorageServer
from moorage.edge.moorage.tracing import Traces
from moorage.hub.handover.move import Move
from moorage.hub.turns import Job
from moorage.wire import reasons
from moorage.wire.commands import (
    FetchSockets,
    Invoke,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListServers,
    Outcome,
    Selection,
    Send,
    TellServers,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter
from moorage.wire.moorage import v1
from moorage.wire.moorage.listing import SharedHeaders

MAX_BACKLOG: Final = 1_000_000
"""Maximum number of sockets in answers to `Fetch` that an app server has not taken yet."""
MAX_OPEN: Final = 10_000
"""Maximum number of questions of one app server that wait for answers."""

log: Final = logs.get("link")

Answered = v1.Enter | v1.Exit | v1.Join | v1.Leave | v1.Disconnect | v1.Emit
_FrameT = TypeVar("_FrameT", v1.Join, v1.Leave, v1.Disconnect, v1.Emit, v1.Ask, v1.Fetch)
_Then = Callable[[_FrameT, Selection, tuple[str, ...]], Job[None] | None]
_NOBODY: Final = Outcome(reached=0)


class Dispatcher:
    """Handles the frames of one session, in order."""

    def __init__(
        self,
        server: MoorageServer,
        wall_clock: Callable[[], float],
        headers: SharedHeaders,
        coverage: Coverage | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._server = server
        self._traces = traces
        self._node = server.node
        self.coverage = coverage
        """The session's relation to other nodes; None if there are none."""
        self._submit: Submit = server.node.submit if coverage is None else coverage.submit
        clients = ClientFrames(server)
        handover = HandOverFrames(server)
        self.proceed: Callable[[], object] = lambda: None
        """Makes the session's waiting frames go on."""
        unfinished = UnfinishedFrames(server, coverage, self._through, self._go_on)
        self._hub = server.hub.name
        self._wall_clock = wall_clock
        self._headers = headers
        self._open: set[Stream] = set()
        self._complaints: set[tuple[str, str]] = set()
        self._fetches = Fetches(server.node.turns, self._go_on)
        self._backlog = 0
        """Number of sockets in answers that are not sent yet."""
        self._handlers: dict[type, Callable[[Any], Job[None] | None]] = {
            v1.Packet: clients.packet,
            v1.Emit: self._emit,
            v1.Enter: self._enter,
            v1.Exit: self._exit,
            v1.Opened: clients.opened,
            v1.Refused: clients.refused,
            v1.Close: clients.close,
            v1.Ask: self._ask,
            v1.Join: self._join,
            v1.Leave: self._leave,
            v1.Disconnect: self._disconnect,
            v1.Fetch: self._fetch,
            v1.Facts: clients.facts,
            v1.Tell: self._tell,
            v1.Reply: clients.reply,
            v1.List: self._list,
            v1.Drain: self._drain,
            v1.Cover: self._cover,
            v1.Again: self._again,
            v1.Save: unfinished.save,
            v1.Unfinished: unfinished.unfinished,
            v1.Settled: unfinished.settled,
            v1.HandOver: handover.hand_over,
            v1.State: handover.state,
            v1.Traced: self._traced,
            v1.AppHello: self._hello_again,
        }
        self._uncounted = self._handlers.copy()
        """Handlers that leave numbers alone."""
        if coverage is not None:
            self._count(coverage)

    def _count(self, coverage: Coverage) -> None:
        """Count the frames that have numbers."""
        coverage.repeated = self._repeated
        # A `Tell` comes to the home alone: its number says nothing of what other nodes have carried out.
        for kind in v1.COUNTED - {v1.Tell}:
            self._handlers[kind] = partial(coverage.counted, self._handlers[kind])

    def _go_on(self) -> None:
        self.proceed()

    def handle(self, frame: v1.FromApp) -> Job[None] | None:
        """Handle one frame, at once or as the job that is returned. Neither raises."""
        try:
            job = self._handlers[type(frame)](frame)
        except Exception as error:
            self._refuse(frame, error)
            return None
        return None if job is None else self._guarded(frame, job)

    def _guarded(self, frame: v1.FromApp, job: Job[None]) -> Job[None]:
        try:
            yield from job
        except Exception as error:
            self._refuse(frame, error)

    def _refuse(self, frame: v1.FromApp, error: Exception) -> None:
        if isinstance(error, PeerError):
            self._server.metrics.refusals["link", error.reason.name] += 1
            self._complain(type(frame).__name__, error)
            self._failed(frame, error)
        else:
            # A defect of the service must not end the link or leave the asker waiting.
            log.error("frame failed", frame=type(frame).__name__, exc_info=error)
            self._failed(frame, PeerError(reasons.INTERNAL))

    def _complain(self, frame: str, error: PeerError) -> None:
        """Log each kind of fault once. The app server is told every time, and a faulty loop in the app must
        not fill the log."""
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

    def _failed(self, frame: v1.FromApp, error: PeerError) -> None:
        ref = getattr(frame, "ref", 0)
        reason = error.reason
        self._server.queue(v1.Failed(ref, reason.number, reason.name, error.message))

    def _traced(self, frame: v1.Traced) -> None:
        if self._traces is not None:
            self._traces.traced(frame)

    def end(self) -> None:
        """The session is over: give up its open questions."""
        if self._traces is not None:
            self._traces.end()
        streams, self._open = self._open, set()
        self._fetches.end()
        if self.coverage is not None:
            self.coverage.end()
        hub = self._server.hub
        for questions in (hub.invocations, hub.queries, hub.questions):
            questions.cancel(*streams)

    def stream_ended(self, stream: Stream) -> None:
        """`answers.Asker`."""
        self._open.discard(stream)

    # -- rooms ----------------------------------------------------------------------------------

    def _enter(self, frame: v1.Enter) -> Job[None] | None:
        return self._own_rooms(JoinGroups, frame)

    def _exit(self, frame: v1.Exit) -> Job[None] | None:
        return self._own_rooms(LeaveGroups, frame)

    def _own_rooms(self, make: type[JoinGroups | LeaveGroups], frame: v1.Enter | v1.Exit) -> Job[None] | None:
        if len(frame.rooms) > FEW_ROOMS:
            return self._own_many_rooms(make, frame)
        return self._change_rooms(make, frame, groups_of(frame.namespace, frame.rooms))

    def _own_many_rooms(self, make: type[JoinGroups | LeaveGroups], frame: v1.Enter | v1.Exit) -> Job[None]:
        groups = yield from many_groups(frame.namespace, frame.rooms)
        yield from self._change_rooms(make, frame, groups) or ()

    def _change_rooms(
        self, make: type[JoinGroups | LeaveGroups], frame: v1.Enter | v1.Exit, groups: tuple[str, ...]
    ) -> Job[None] | None:
        numbered = self._server.numbered
        connection = numbered.get(frame.client) or numbered.late.get(frame.client)
        if connection is not None and self._server.hub.recovery is not None:
            connection = self._node.claims.quiet.where(connection, frame.namespace)
        if connection is None:
            self._done(frame, _NOBODY)
            return None
        # If the client moves, or has moved, the next app server is told.
        moves = isinstance(connection.channel, Move) or connection.server is not self._server.app
        command = make(self._hub, Selection(connection=connection.id), groups, quiet=not moves)
        return self._node.submit(command, self._done, frame)

    def _join(self, frame: v1.Join) -> Job[None] | None:
        return self._selected(frame, self._join_selected, frame.rooms)

    def _join_selected(self, frame: v1.Join, to: Selection, groups: tuple[str, ...]) -> Job[None] | None:
        return self._submit(JoinGroups(self._hub, to, groups), self._done, frame)

    def _leave(self, frame: v1.Leave) -> Job[None] | None:
        return self._selected(frame, self._leave_selected, frame.rooms)

    def _leave_selected(self, frame: v1.Leave, to: Selection, groups: tuple[str, ...]) -> Job[None] | None:
        return self._submit(LeaveGroups(self._hub, to, groups), self._done, frame)

    def _disconnect(self, frame: v1.Disconnect) -> Job[None] | None:
        return self._selected(frame, self._disconnect_selected)

    def _disconnect_selected(
        self, frame: v1.Disconnect, to: Selection, _groups: tuple[str, ...]
    ) -> Job[None] | None:
        command = LeaveNamespace(self._hub, to, frame.to.namespace, frame.close)
        return self._submit(command, self._done, frame)

    def _selected(
        self, frame: _FrameT, then: _Then[_FrameT], rooms: tuple[str, ...] = (), flags: int = 0
    ) -> Job[None] | None:
        """Call `then` with the frame, its selection and the groups of `rooms`, at once or in steps."""
        to = frame.to
        if len(to.rooms) + len(to.excluded) + len(rooms) > FEW_ROOMS:
            return self._selected_by_many(frame, then, rooms, flags)
        groups = groups_of(to.namespace, rooms) if rooms else ()
        selection = self._selection(to, flags, groups_of(to.namespace, to.rooms), excluded_groups(to))
        return then(frame, selection, groups)

    def _selected_by_many(
        self, frame: _FrameT, then: _Then[_FrameT], rooms: tuple[str, ...], flags: int
    ) -> Job[None]:
        groups = yield from many_groups(frame.to.namespace, rooms)
        selection = yield from self._selecting(frame.to, flags)
        yield from then(frame, selection, groups) or ()

    def _done(self, frame: Answered, outcome: Outcome | Exception) -> None:
        """The reply to a frame that is answered with `Done`."""
        if isinstance(outcome, Exception):
            self._refuse(frame, outcome)
        elif frame.ref:
            self._server.queue(v1.Done(frame.ref, outcome.reached, outcome.missing))

    def _selecting(self, to: v1.To, flags: int) -> Job[Selection]:
        rooms = yield from many_groups(to.namespace, to.rooms)
        excluded = yield from many_groups(to.namespace, to.excluded)
        return self._selection(to, flags, rooms, excluded)

    def _selection(
        self, to: v1.To, flags: int, groups: tuple[str, ...], excluded: tuple[str, ...]
    ) -> Selection:
        server = self._server.app.id if flags & v1.LOCAL else None
        if len(groups) > 1:
            return Selection(filter=Filter(any_of=groups, none_of=excluded), server=server)
        group = groups[0] if groups else namespace_of(to.namespace)
        condition = Filter(none_of=excluded) if excluded else None
        return Selection(group=group, filter=condition, server=server)

    # -- emits and questions --------------------------------------------------------------------

    def _emit(self, frame: v1.Emit) -> Job[None] | None:
        return None if self._is_ignored(frame) else self._selected(frame, self._send, flags=frame.flags)

    def _is_ignored(self, emit: v1.Emit) -> bool:
        """True if an emit has no effect. Most nodes have no member of a small room, but get the emits to it
        all the same."""
        to, coverage = emit.to, self.coverage
        if coverage is None or coverage.forwards or len(to.rooms) != 1 or emit.ref:
            return False
        return self._node.ignores(self._server.hub, *groups_of(to.namespace, to.rooms))

    def _send(self, frame: v1.Emit, to: Selection, _groups: tuple[str, ...]) -> Job[None] | None:
        app, volatile = self._server.app, bool(frame.flags & v1.VOLATILE)
        command = Send(self._hub, to, frame.payload, volatile, source=app.instance, number=frame.number)
        return self._submit(command, self._done, frame)

    def _ask(self, frame: v1.Ask) -> Job[None] | None:
        return self._selected(frame, self._invoke, flags=frame.flags)

    def _invoke(self, frame: v1.Ask, to: Selection, _groups: tuple[str, ...]) -> Job[None] | None:
        volatile = bool(frame.flags & v1.VOLATILE)
        command = Invoke(self._hub, to, frame.payload, frame.timeout / 1000, volatile)
        return self._stream(frame, v1.Answer, command)

    def _fetch(self, frame: v1.Fetch) -> Job[None] | None:
        if self._backlog > MAX_BACKLOG:
            raise PeerError(reasons.LINK_OVERFLOW, "earlier answers have not left yet")
        return self._fetches.take(partial(self._start_fetch, frame))

    def _start_fetch(self, frame: v1.Fetch) -> Job[None] | None:
        try:
            job = self._selected(frame, self._fetch_selected)
        except Exception as error:
            self._refuse_fetch(frame, error)
            return None
        return None if job is None else self._fetching(frame, job)

    def _fetching(self, frame: v1.Fetch, job: Job[None]) -> Job[None]:
        try:
            yield from job
        except Exception as error:
            self._refuse_fetch(frame, error)

    def _refuse_fetch(self, frame: v1.Fetch, error: Exception) -> None:
        self._fetches.over()
        self._refuse(frame, error)

    def _fetch_selected(self, frame: v1.Fetch, to: Selection, _groups: tuple[str, ...]) -> Job[None] | None:
        timeout, now = frame.timeout / 1000, int(self._wall_clock() * 1000)
        asker = self._server.app.id
        command = FetchSockets(self._hub, to, frame.to.namespace, timeout, now, asker, frame.others)
        return self._stream(frame, v1.Data, command)

    def _tell(self, frame: v1.Tell) -> Job[None] | None:
        namespace_of(frame.namespace)
        timeout = frame.timeout / 1000
        command = TellServers(self._hub, frame.namespace, frame.payload, self._server.app.id, timeout)
        if timeout > 0:
            return self._stream(frame, v1.Answer, command)
        return self._node.submit(command, self._told, frame, Stream(self, frame.ref, v1.Answer))

    def _told(self, frame: v1.Tell, outcome: Outcome | Exception) -> None:
        """The reply to an event without acks: only a refusal is answered."""
        if isinstance(outcome, Exception):
            self._refuse(frame, outcome)

    def _stream(
        self, frame: v1.Ask | v1.Fetch | v1.Tell, make: Maker, command: Invoke | FetchSockets | TellServers
    ) -> Job[None] | None:
        if frame.ref == 0 or len(self._open) >= MAX_OPEN:
            raise PeerError(
                reasons.LINK_BAD_REQUEST, f"a question needs a ref; at most {MAX_OPEN} may be open"
            )
        stream = Stream(self, frame.ref, make)
        self._open.add(stream)
        # App servers are told by their homes, so an event for them goes to all nodes.
        submit = self._node.submit if type(frame) is v1.Tell else self._submit
        if type(frame) is v1.Fetch and self.coverage is not None:
            submit = partial(self.coverage.unnumbered, submit)
        return submit(command, self._asked, (frame, stream), stream)

    def _asked(self, about: tuple[v1.Ask | v1.Fetch | v1.Tell, Stream], outcome: Outcome | Exception) -> None:
        """The reply to a question: all peers have been asked, or the question is refused."""
        frame, stream = about
        if isinstance(outcome, Exception):
            self._open.discard(stream)
            self._refuse(frame, outcome)
        elif not outcome.sockets or is_little(outcome):
            for made in answer_frames(frame.ref, outcome, self._headers):
                if made is not None:
                    self._server.queue_encoded(made[1])
            stream.begin(outcome.asked)
        else:
            self._backlog += outcome.reached
            self._server.queue_slowly(self._slowly(frame.ref, stream, outcome))
            return
        if type(frame) is v1.Fetch:
            self._fetches.over()

    def _slowly(self, ref: int, stream: Stream, outcome: Outcome) -> Iterator[bytes | None]:
        for made in answer_frames(ref, outcome, self._headers):
            yield None if made is None else made[1]
            if made is not None:
                self._backlog -= made[0]
        stream.begin(outcome.asked)
        self._fetches.over()

    def queue(self, frame: v1.FromService) -> None:
        """`answers.Asker`."""
        self._server.queue(frame)

    def _list(self, frame: v1.List) -> Job[None] | None:
        return self._node.submit(ListServers(self._hub), self._listed, frame)

    def _listed(self, frame: v1.List, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            self._refuse(frame, outcome)
            return
        rows = tuple(v1.Server(row.id, row.dialect, row.up, row.clients) for row in outcome.servers)
        self._server.queue(v1.Servers(frame.ref, rows))

    def _drain(self, _frame: v1.Drain) -> None:
        self._server.app.draining = True

    def _covering(self) -> Coverage:
        if self.coverage is None:
            raise PeerError(reasons.LINK_BAD_REQUEST, "this node has no cluster")
        return self.coverage

    def _cover(self, frame: v1.Cover) -> Job[None] | None:
        self._submit, job = self._covering().covers(frame)
        return job

    def _again(self, frame: v1.Again) -> Job[None]:
        coverage = self._covering()
        coverage.forwarding(frame.frame)
        yield from self._through(coverage.only_forward, frame.frame)

    def _repeated(self, frame: v1.Counted) -> Job[None]:
        coverage = self._covering()
        coverage.forwarding(frame)
        yield from self._through(coverage.forward_if_home, frame)

    def _through(self, submit: Submit, frame: v1.FromApp) -> Job[None]:
        """Handle a frame, with another `submit` for its command."""
        usual, self._submit = self._submit, submit
        try:
            yield from self._uncounted[type(frame)](frame) or ()
        finally:
            self._submit = usual

    @staticmethod
    def _hello_again(_frame: v1.AppHello) -> None:
        raise PeerError(reasons.LINK_BAD_REQUEST, "a second hello")
