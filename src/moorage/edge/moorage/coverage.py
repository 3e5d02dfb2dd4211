"""One session of an app server that has sessions at several nodes (section 5 of
docs/reference/link-protocol.md).

Each session carries its commands out at its own node. One of them is the app server's home: it forwards the
commands to the nodes where the app server has no session.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, Protocol

from moorage.edge.moorage.server import MoorageServer
from moorage.hub.hub import AppServer, Hub
from moorage.hub.journal.unfinished import Unfinished
from moorage.hub.ports import Answers, Reach, Reply
from moorage.hub.turns import AT_ONCE, Job
from moorage.wire.commands import Ask, Cast, Command, Outcome, Write
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.moorage.coverage import NodeRow
from moorage.wire.reasons import APP_LOST, LINK_BAD_REQUEST, LINK_SESSION_OVER

FENCE_SECONDS: Final = 3.0
"""Longest time that a session waits for the mark of the app server's home."""
COVER_SECONDS: Final = 1.0
"""An app server with a session at another node tells within this time which one is its home."""

Submit = Callable[..., Job[None] | None]
"""`Node.submit`."""


class Beyond(Reach, Protocol):
    """The nodes that an app server does not cover."""

    number: int
    """The app server's number of the command that is being forwarded."""


class Heir(Protocol):
    """The heir of a lost node, if the app server does not cover it: gets what the lost node had not carried
    out."""

    def unfinished(self, found: Unfinished) -> None:
        """A command that the lost node may not have carried out."""

    def settled(self, instance: str, number: int) -> None:
        """That was all of this app server."""

    def saved(self, server: str, namespace: str, sid: str, data: bytes) -> None:
        """The data of a socket that the lost node had."""


class HeirsElsewhere(Protocol):
    """Finds the heirs of lost nodes among the other nodes."""

    def find(
        self, lost: str, hub: str, covered: Collection[str], done: Callable[[Heir | None], object]
    ) -> None:
        """Call `done` with the heir of a lost node, once that knows its sockets; with None if the heir is
        this node or one of `covered`, or if it is not known."""


class Carried(Protocol):
    """How far an app server's commands have been carried out at this node."""

    number: int
    """The highest number."""

    def begin(self, session: Coverage, *, fence: bool) -> bool:
        """A session begins to cover this node. True if it need not wait for a mark."""

    def end(self, session: Coverage) -> None:
        """The session is over."""


class Homes(Protocol):
    """The other nodes, for app servers that cover several."""

    @property
    def heirs(self) -> HeirsElsewhere | None:
        """None without journals."""

    def nodes(self, app: AppServer, hub: Hub, covered: Collection[str]) -> tuple[NodeRow, ...]:
        """All live nodes, this one included, and which of them this app server should cover. It covers
        `covered` now."""

    def instance(self, instance: str) -> Carried:
        """The highest number that this node has carried out for an instance of an app server."""

    def beyond(self, instance: str, term: int, nodes: Collection[str] | None) -> Beyond:
        """Reaches the nodes outside `nodes`; None: no other node, but a join still waits until all nodes
        know of it."""

    def changed(
        self, instance: str, term: int, added: Collection[str], removed: Collection[str] | None
    ) -> None:
        """The home tells nodes that they are covered from now on, or not any more. A new home tells all nodes
        (`removed` is None): what the last one has forwarded must not come behind what this one sends."""

    def mark(self, hub: str, instance: str, term: int) -> None:
        """The session that waits for the mark of this term is the home now, so the mark comes from this node
        itself: once everything that the other nodes had sent before is carried out here. It does not come if
        one of them does not answer."""


class Coverage:
    """The relation of one session to the others of its app server."""

    def __init__(self, server: MoorageServer, homes: Homes, instance: str) -> None:
        self.proceed: Callable[[], object] = lambda: None
        """Makes the session's waiting frames go on."""
        self.settle: Callable[[Callable[[], object]], object] = lambda call: call()
        """Makes a call once the frames that wait are carried out."""
        self.repeated: Callable[[Any], Job[None] | None]
        """Handles a frame that this node has carried out already."""
        self.term = 0
        self._server = server
        self._submit = server.node.submit
        self._homes = homes
        # Two hubs may have an app server of the same instance. They are not the same.
        self._instance = f"{server.hub.name.casefold()}/{instance}" if instance else ""
        self._carried: Carried | None = None
        self._nodes: tuple[str, ...] = ()
        self._is_home = False
        self._beyond: Beyond | None = None
        self._held = self._marks_itself = False
        self._since: float | None = None
        self._begun = server.node.clock()
        others = [
            each
            for each in server.hub.servers.elsewhere
            if each.up and each.home and each.id == server.app.id
        ]
        # Two homes would both tell it of other app servers' events. `Cover` follows at once.
        server.app.home = not (instance and any(each.instance == instance for each in others))
        self._version = 0
        self._listed: tuple[NodeRow, ...] = ()

    @property
    def submit(self) -> Submit:
        """What submits the session's commands before the first `Cover`."""
        return self._submit_alone if self._instance else self._submit

    def _submit_alone(
        self, command: Command, reply: Reply, about: Any = None, answers: Answers[Any] | None = None
    ) -> Job[None] | None:
        """An app server with one session: its node is the home, and covers itself alone. What it forwards
        carries the instance, too. If the app server begins anew at a node where this has not arrived yet,
        that node must know it, or it would come behind what the new session sends."""
        if self._server.node.cluster is None:
            return self._submit(command, reply, about, answers)
        return self._submit(command, reply, about, answers, reach=self._beyond)

    def _begin_alone(self) -> None:
        self._carried = self._homes.instance(self._instance)
        self._carried.begin(self, fence=False)
        self._beyond = self._homes.beyond(self._instance, 0, ())

    def covers(self, frame: v1.Cover) -> tuple[Submit, Job[None] | None]:
        """What is covered has changed. Returns what submits the session's commands from now on, and a job
        that ends when they may be carried out. Raises `PeerError`."""
        if not self._instance:
            raise PeerError(LINK_BAD_REQUEST, "the hello had no instance")
        if frame.term <= self.term:
            raise PeerError(LINK_BAD_REQUEST, f"the term {frame.term} is not above {self.term}")
        self.term = frame.term
        job = self._first(frame) if self._carried is None else None
        self._server.app.home = frame.home
        if not frame.home and self._server.app.guests:
            job = self._end_guests(job)
        if frame.home:
            known = self._nodes if self._is_home else ()
            added = set(frame.nodes).difference(known)
            removed = set(known).difference(frame.nodes) if self._is_home else None
            self._homes.changed(self._instance, frame.term, added, removed)
        self._is_home, self._nodes = frame.home, frame.nodes
        covered = frame.nodes if frame.home else None
        self._beyond = self._homes.beyond(self._instance, frame.term, covered)
        return partial(self._submit, reach=self._beyond), job

    def _end_guests(self, then: Job[None] | None) -> Job[None]:
        """Clients of other nodes get their packets from the home, in order with what that forwards. Some came
        here before this node knew that it is not the home: they reconnect. A few end in each step, and no
        packet behind the `Cover` reaches the others meanwhile. `then` is what follows."""
        for place, guest in enumerate(tuple(self._server.app.guests)):
            if place % AT_ONCE == AT_ONCE - 1:
                yield False
            self._server.node.disconnect(guest, APP_LOST, who="service", detail="its home is another node")
        if then is not None:
            yield from then

    def _first(self, frame: v1.Cover) -> Job[None] | None:
        self._carried = self._homes.instance(self._instance)
        if self._carried.begin(self, fence=frame.fence):
            return None
        self._held, self._since = True, self._server.node.clock()
        return self._holding()

    def _holding(self) -> Job[None]:
        while self._held and not self._server.over:
            yield True

    def counted(self, handle: Callable[[Any], Job[None] | None], frame: v1.Counted) -> Job[None] | None:
        """Handle a frame that has a number. This node may have carried it out already: in another session,
        which was lost, or for a former home. Then it is only forwarded."""
        number = frame.number
        if self._carried is None and self._instance:
            self._begin_alone()
        carried = self._carried
        if carried is not None and number:
            if number <= carried.number:
                return self.repeated(frame)
            carried.number = number
        if self._beyond is not None:
            self._beyond.number = number
        return handle(frame)

    def unnumbered(
        self,
        submit: Submit,
        command: Command,
        reply: Reply,
        about: Any = None,
        answers: Answers[Any] | None = None,
    ) -> Job[None] | None:
        """Submit a question that later frames may have overtaken. Other nodes would take its number for an
        old one. Without a number they answer it, and no harm is done if they do so twice."""
        beyond = self._beyond
        if beyond is None:
            return submit(command, reply, about, answers)
        number, beyond.number = beyond.number, 0
        try:
            return submit(command, reply, about, answers)
        finally:
            beyond.number = number

    def forwarding(self, frame: object) -> None:
        """A frame is about to be forwarded that this node has carried out."""
        if self._beyond is not None:
            self._beyond.number = getattr(frame, "number", 0)

    @property
    def forwards(self) -> bool:
        """True if this session's commands may go to other nodes. Otherwise the home forwards them, and tells
        the app server if they cannot be carried out."""
        # Before its first `Cover` it is the only session.
        return self.term == 0 or self._is_home

    def find_heir(self, lost: str, done: Callable[[Heir | None], object]) -> None:
        """`HeirsElsewhere.find`. None if this session is not the home: it need not forward then."""
        heirs = self._homes.heirs
        if heirs is None or not self.forwards:
            done(None)
        else:
            heirs.find(lost, self._server.hub.name, self._nodes, done)

    def only_forward(
        self, command: Command, reply: Reply, about: Any = None, answers: Answers[Any] | None = None
    ) -> None:
        """Forward a command that this node has carried out already. Raises `PeerError` unless this is the
        home."""
        beyond = self._beyond
        if beyond is None or not self._is_home:
            raise PeerError(LINK_BAD_REQUEST, "only the home forwards")
        nothing = Outcome(found=False)
        if isinstance(command, Cast):
            beyond.cast(command, nothing)
            reply(about, nothing)
        elif isinstance(command, Write):
            beyond.write(command, nothing, reply, about)
        else:
            assert isinstance(command, Ask)
            own_reply, own_about, own = beyond.ask(command, reply, about, answers)
            own_reply(own_about, nothing)
            if own is not None:
                own.finish(())

    def forward_if_home(
        self, command: Command, reply: Reply, about: Any = None, answers: Answers[Any] | None = None
    ) -> None:
        """Forward a command that this node has carried out already, if this is the home."""
        if self._is_home:
            self.only_forward(command, reply, about, answers)
            return
        reply(about, Outcome(found=False))
        if answers is not None:
            answers.finish(())

    def marked(self, _term: int) -> None:
        """`cluster.coverage.homes.Session`: the home's mark has arrived."""
        self._held, self._since = False, None
        self.proceed()

    @property
    def held(self) -> bool:
        """True while it waits for the home's mark."""
        return self._held

    def unmarked(self) -> None:
        """The session is held, and a frame behind the fence makes it the home: the former home is lost, and
        no mark will come from it. If the session ended instead, the app server would begin another one, which
        would be held until this one is back, and so on for ever."""
        if not self._marks_itself:
            self._marks_itself = True
            self._homes.mark(self._server.hub.name, self._instance, self.term)

    def settled(self, call: Callable[[], object]) -> None:
        """`cluster.coverage.homes.Session`: make a call once all that has arrived so far is carried out."""
        self.settle(call)

    def uncovered(self) -> None:
        """`cluster.coverage.homes.Session`: the app server has given this session up."""
        self._server.give_up("app server does not cover this node any more", LINK_SESSION_OVER)

    def tick(self, now: float) -> None:
        """Time passes: the app server is told of new nodes. A mark that does not come ends the session, and
        the app server dials again."""
        if self.term == 0 and now - self._begun >= COVER_SECONDS:
            # It has no other session, so the other node has only not noticed yet.
            self._server.app.home = True
        rows = self._homes.nodes(self._server.app, self._server.hub, self._nodes)
        if rows != self._listed:
            self._listed = rows
            self._version += 1
            self._server.queue(v1.Nodes(self._version, rows))
        if self._since is not None and now - self._since >= FENCE_SECONDS:
            self._since = None
            self._server.give_up("no mark came from the app server's home", LINK_SESSION_OVER)

    def end(self) -> None:
        """The session is over."""
        if self._carried is not None:
            self._carried.end(self)
