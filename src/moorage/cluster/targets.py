"""To which of the other nodes a command goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final

from moorage.cluster.directory import Directory
from moorage.wire.cluster.messages import Acknowledged, Delta, Envelope, Snapshot, WantGroups
from moorage.wire.commands import Command, DrainNode, Inspect, ListGroup, Selection, SendToConnection
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group
from moorage.wire.ids import incarnation_of
from moorage.wire.socketio import parse_header

EXPECT_SECONDS: Final = 5.0
"""Seconds for which a node counts as one with a member of a namespace after the answer to a CONNECT went
there."""
_CONNECT: Final = b"40"
"""First bytes of the answer to a CONNECT."""


class Targets:
    """Chooses among `peers`, the other nodes by their incarnation. `own` is this node's."""

    def __init__(
        self, own: str, peers: Mapping[str, object], directory: Directory, clock: Callable[[], float]
    ) -> None:
        self._own = own
        self._peers = peers
        self._directory = directory
        self._clock = clock
        self._expected: deque[tuple[float, Callable[[], None]]] = deque()
        """Nodes that are about to have a member of a namespace: the time of the end, and the call that ends
        it."""

    def of(self, command: Command) -> Collection[str]:
        """The nodes that a command is for. What is for one connection is only for the node that the
        connection's id names, and what is for groups for the nodes that may have members of them."""
        if isinstance(command, Inspect | DrainNode) and command.node:
            return (command.node,) if command.node in self._peers else ()
        connection, groups = _aim(command)
        if connection is not None:
            node = incarnation_of(connection)
            if node == self._own:
                return ()
            if node in self._peers:
                return (node,)
        elif groups is not None:
            found = self._directory.nodes_with(command.hub, groups)
            if found is not None:
                return [node for node in found if node in self._peers]
        return tuple(self._peers)

    def passes(self, node: str, body: object) -> None:
        """A message to a node passes. With the answer to a CONNECT, the namespace gets a member there. An
        emit that follows must go there, even before the node has told of it."""
        if isinstance(body, SendToConnection) and body.payload.startswith(_CONNECT):
            try:
                namespace = parse_header(body.payload).namespace
            except PeerError:
                return
            over = self._directory.expect(body.hub, (namespace_group(namespace),), (node,))
            self._expected.append((self._clock() + EXPECT_SECONDS, over))

    def tick(self, now: float) -> None:
        """Time passes."""
        while self._expected and self._expected[0][0] <= now:
            self._expected.popleft()[1]()

    def take(self, envelope: Envelope) -> None:
        """A message about groups arrived."""
        directory, body = self._directory, envelope.body
        if isinstance(body, Delta):
            directory.delta(envelope.origin, body)
        elif isinstance(body, Snapshot):
            directory.snapshot(envelope.origin, body)
        elif isinstance(body, Acknowledged):
            directory.acknowledged(envelope.origin, body.number)
        else:
            assert isinstance(body, WantGroups)
            directory.wanted(envelope.origin)


def _aim(command: Command) -> tuple[str | None, tuple[str, ...] | None]:
    """The connection that a command is for, or the groups. Both are None for any other command."""
    if isinstance(command, SendToConnection):
        return command.connection, None
    if isinstance(command, ListGroup):
        return None, (command.group,)
    to: Selection | None = getattr(command, "to", None)
    if to is None:
        return None, None
    if to.connection is not None:
        return to.connection, None
    if to.group is not None:
        return None, (to.group,)
    return None, None if to.filter is None else to.filter.any_of
