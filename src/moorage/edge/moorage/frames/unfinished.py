"""The frames by which an app server hands over what it had sent to a node that is lost. The heir of that node
carries it out for the lost node's sockets (`hub.journal.heirs`). If the app server does not cover the heir,
its home forwards it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from moorage.edge.moorage.coverage import Coverage, Heir, Submit
from moorage.edge.moorage.frames.rooms import groups_of
from moorage.edge.moorage.returns import SessionReturns
from moorage.edge.moorage.server import MoorageServer
from moorage.hub.journal.heirs import Heirs
from moorage.hub.journal.unfinished import ForClient, Unfinished, carry_out
from moorage.hub.turns import Job
from moorage.wire.commands import CloseConnections, JoinGroups, LeaveGroups, Selection, SendToConnection
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.reasons import LINK_BAD_REQUEST

NOTICE_SECONDS: Final = 5.0
"""Maximum seconds to wait until this node has noticed the loss, too, and as many until the heir knows the
lost node's sockets. The app server may notice the loss first."""
REMEMBERED: Final = 100
"""Maximum number of lost nodes whose heirs one session remembers."""

Through = Callable[[Submit, Any], Job[None]]
"""Handles a frame, with another `submit` for its command."""
_FOR_CLIENT: Final = (v1.Packet, v1.Close, v1.Enter, v1.Exit)


class UnfinishedFrames:
    """Handles these frames for one session."""

    def __init__(
        self,
        server: MoorageServer,
        coverage: Coverage | None,
        through: Through,
        proceed: Callable[[], object],
    ) -> None:
        self._server = server
        self._coverage = coverage
        self._hub = server.hub.name
        self._through = through
        self._proceed = proceed
        """Makes the session's waiting frames go on."""
        self._returns = SessionReturns(server)
        self._lost = ""
        """The node for which the app server is handing over."""
        self._heir: Heir | None = None
        """Its heir, if the app server does not cover that."""
        self._elsewhere: dict[str, Heir] = {}
        """Such heirs of lost nodes, which get the data of sockets from here, the latest loss last."""

    def unfinished(self, frame: v1.Unfinished) -> Job[None]:
        """A frame that the lost node may not have carried out."""
        heirs = self._heirs()
        yield from self._once_known(heirs, frame.node)
        heir = self._heir
        if heir is None and not heirs.takes(frame.node, self._hub):
            return
        inner = frame.frame

        def submit(command: Any, *_about: object) -> None:
            # Nobody waits for an answer: the session to which the frame belonged is over.
            client = inner.client if isinstance(inner, _FOR_CLIENT) else 0
            found = Unfinished(frame.session, frame.batch, frame.place, client, command)
            if heir is None:
                carry_out(heirs, frame.node, self._hub, found)
            else:
                heir.unfinished(found)

        if isinstance(inner, _FOR_CLIENT):
            submit(self._command(inner))
        else:
            yield from self._through(submit, inner)

    def _command(self, inner: v1.Packet | v1.Close | v1.Enter | v1.Exit) -> ForClient:
        to = Selection(connection="")
        if isinstance(inner, v1.Packet):
            return SendToConnection(self._hub, "", inner.payload)
        if isinstance(inner, v1.Close):
            return CloseConnections(self._hub, to)
        make = JoinGroups if isinstance(inner, v1.Enter) else LeaveGroups
        return make(self._hub, to, groups_of(inner.namespace, inner.rooms), quiet=True)

    def settled(self, frame: v1.Settled) -> Job[None]:
        """The app server has sent all these frames."""
        heirs, instance = self._heirs(), self._server.app.instance
        yield from self._once_known(heirs, frame.node)
        self._lost, heir = "", self._heir
        if heir is None:
            heirs.handed_over(frame.node, self._hub, instance, frame.number)
            return
        heir.settled(instance, frame.number)
        self._elsewhere.pop(frame.node, None)
        self._elsewhere[frame.node] = heir
        if len(self._elsewhere) > REMEMBERED:
            del self._elsewhere[next(iter(self._elsewhere))]

    def save(self, frame: v1.Save) -> None:
        """The data of a socket whose client is away. A lost node may have had the socket."""
        self._returns.save(frame)
        for heir in self._elsewhere.values():
            heir.saved(self._server.app.id, frame.namespace, frame.sid, frame.data)

    def _once_known(self, heirs: Heirs, node: str) -> Job[None]:
        """Wait until the lost node's sockets are known here, or at the heir that the app server does not
        cover. The frames that follow need them."""
        if node == self._lost:
            return
        clock = self._server.node.clock
        until = clock() + NOTICE_SECONDS
        while heirs.is_reading(node) or (heirs.is_alive(node) and clock() < until):
            heirs.once_known(node, self._proceed)
            yield True
        self._heir = None
        if self._coverage is not None:
            yield from self._finding(self._coverage, node)
        self._lost = node

    def _finding(self, coverage: Coverage, node: str) -> Job[None]:
        found: list[Heir | None] = []

        def done(heir: Heir | None) -> None:
            found.append(heir)
            self._proceed()

        clock = self._server.node.clock
        until = clock() + NOTICE_SECONDS
        coverage.find_heir(node, done)
        while not found and clock() < until:
            yield True
        self._heir = found[0] if found else None

    def _heirs(self) -> Heirs:
        keeping = self._server.node.keeping
        if keeping is None:
            raise PeerError(LINK_BAD_REQUEST, "nodes keep no journals here")
        return keeping.heirs
