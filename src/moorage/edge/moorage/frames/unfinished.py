"""The frames by which an app server hands over what it had sent to a node that is lost, so that this node,
its heir, carries it out for the lost node's sockets (`hub.journal.heirs`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from moorage.edge.moorage.coverage import Submit
from moorage.edge.moorage.frames.rooms import groups_of
from moorage.edge.moorage.server import MoorageServer
from moorage.hub.journal.heirs import Heirs
from moorage.hub.journal.latecomers import Latecomers
from moorage.hub.turns import Job
from moorage.wire.commands import CloseConnections, JoinGroups, LeaveGroups, Selection
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.reasons import LINK_BAD_REQUEST

NOTICE_SECONDS: Final = 5.0
"""Maximum seconds to wait until this node has noticed the loss, too. The app server may notice it first."""

Through = Callable[[Submit, Any], Job[None]]
"""Handles a frame, with another `submit` for its command."""


class UnfinishedFrames:
    """Handles these frames for one session."""

    def __init__(self, server: MoorageServer, through: Through, proceed: Callable[[], object]) -> None:
        self._server = server
        self._hub = server.hub.name
        self._through = through
        self._proceed = proceed
        """Makes the session's waiting frames go on."""

    def unfinished(self, frame: v1.Unfinished) -> Job[None]:
        """A frame that the lost node may not have carried out."""
        heirs = self._heirs()
        yield from self._once_read(heirs, frame.node)
        late = heirs.latecomers(frame.node, self._hub)
        if late is not None:
            yield from self._late(late, frame)
            return
        estate = heirs.estate(frame.node, self._hub)
        if estate is None or not estate.is_news(frame.session, frame.batch, frame.place):
            return
        inner = frame.frame
        if isinstance(inner, v1.Emit | v1.Join | v1.Leave | v1.Disconnect):

            def submit(command: Any, *_about: object) -> None:
                # Nobody waits for an answer: the session to which the frame belonged is over.
                heirs.hand_over(frame.node, self._hub, command)

            yield from self._through(submit, inner)
            return
        for connection in {track.id for track in estate.sockets(inner.client)}:
            self._for_client(heirs, frame.node, connection, inner)

    def _for_client(
        self, heirs: Heirs, node: str, connection: str, inner: v1.Packet | v1.Close | v1.Enter | v1.Exit
    ) -> None:
        to = Selection(connection=connection)
        if isinstance(inner, v1.Packet):
            heirs.packet(node, self._hub, connection, inner.payload)
        elif isinstance(inner, v1.Close):
            heirs.hand_over(node, self._hub, CloseConnections(self._hub, to))
        else:
            make = JoinGroups if isinstance(inner, v1.Enter) else LeaveGroups
            groups = groups_of(inner.namespace, inner.rooms)
            heirs.hand_over(node, self._hub, make(self._hub, to, groups, quiet=True))

    def _late(self, late: Latecomers, frame: v1.Unfinished) -> Job[None]:
        if not late.is_news(frame.session, frame.batch, frame.place):
            return
        inner = frame.frame
        if isinstance(inner, v1.Emit | v1.Join | v1.Leave | v1.Disconnect):

            def submit(command: Any, *_about: object) -> None:
                late.command(command)

            yield from self._through(submit, inner)
        else:
            late.client(inner.client)

    def settled(self, frame: v1.Settled) -> Job[None]:
        """The app server has sent all these frames."""
        heirs = self._heirs()
        yield from self._once_read(heirs, frame.node)
        heirs.handed_over(frame.node, self._hub, self._server.app.instance, frame.number)

    def _once_read(self, heirs: Heirs, node: str) -> Job[None]:
        """Wait until the lost node's sockets are known here, because the frames that follow need them."""
        until = self._server.node.clock() + NOTICE_SECONDS
        while heirs.is_reading(node) or (heirs.is_alive(node) and self._server.node.clock() < until):
            heirs.once_known(node, self._proceed)
            yield True

    def _heirs(self) -> Heirs:
        keeping = self._server.node.keeping
        if keeping is None:
            raise PeerError(LINK_BAD_REQUEST, "nodes keep no journals here")
        return keeping.heirs
