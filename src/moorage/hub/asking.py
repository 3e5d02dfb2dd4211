"""The commands that many answer: clients an emit with acks, app servers each other's questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from moorage.hub.deliver import deliver
from moorage.hub.hub import Hub
from moorage.hub.ports import Answers
from moorage.wire import engineio, socketio
from moorage.wire.commands import FetchSockets, Invoke, Outcome, TellServers
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group, room_of
from moorage.wire.reasons import API_BAD_PAYLOAD
from moorage.wire.tunnel import Row

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.links import AppServer
    from moorage.hub.node import Node


def _invoke(node: Node, hub: Hub, command: Invoke, answers: Answers[Any]) -> Outcome:
    packets, header = _event(command.payload)
    namespace = header.namespace
    asked = {c: c.session.peer.namespaces.get(namespace, "") for c in hub.directory.select(command.to)}
    ack_id = hub.invocations.begin()
    packets[0] = socketio.with_ack_id(packets[0], header, ack_id)
    to = [c for c in asked if c.outbox.ready] if command.volatile else asked.keys()
    deliver(node, to, engineio.RS.join(packets))
    limit = node.links.invoke_timeout
    timeout = limit if command.timeout is None else min(limit, command.timeout)
    hub.invocations.ask(ack_id, asked, answers, node.clock() + timeout)
    return Outcome(reached=len(asked), asked=len(asked))


def _event(payload: bytes) -> tuple[list[bytes], socketio.Header]:
    """Its packets, and the first one's header. Raises `PeerError` for anything but one event."""
    packets = payload.split(engineio.RS)
    header = socketio.parse_header(packets[0])
    bare = header.body >= len(packets[0])
    if header.type not in (socketio.EVENT, socketio.BINARY_EVENT) or header.id is not None or bare:
        raise PeerError(API_BAD_PAYLOAD, "an event without ack id is expected")
    return packets, header


def _fetch(node: Node, hub: Hub, command: FetchSockets, answers: Answers[Any]) -> Outcome:
    """Ids, rooms and handshakes are here; only what the app keeps of a socket is asked of its app
    server, all of one in one question, which goes first: it works while the rows are made."""
    now = node.clock()
    found: list[tuple[Connection, str]] = []
    theirs: dict[AppServer, list[str]] = {}
    for connection in hub.directory.select(command.to):
        sid = connection.session.peer.namespaces.get(command.namespace)
        if sid:
            found.append((connection, sid))
            of_one = theirs.get(connection.server)
            if of_one is None:
                theirs[connection.server] = [sid]
            else:
                of_one.append(sid)
    asked = {server: server.id for server in theirs if server.peer is not None and server.id != command.asker}
    number = hub.queries.begin()
    hub.queries.ask(number, asked, answers, now + min(command.timeout, node.links.invoke_timeout))
    for server in asked:
        assert server.peer is not None
        server.peer.query(number, command.namespace, tuple(theirs[server]))
    servers = {server.id: index for index, server in enumerate(theirs)}
    rows = _rows(found, servers, command, now)
    return Outcome(reached=len(found), sockets=rows, servers=tuple(servers), asked=len(asked))


def _rows(
    found: list[tuple[Connection, str]], servers: dict[str, int], command: FetchSockets, now: float
) -> Iterator[Row]:
    namespace, asker = command.namespace, command.asker
    for connection, sid in found:
        server = connection.server.id
        # Two: its namespace and its private room, as for most sockets of a large hub.
        in_rooms = len(connection.groups) != 2
        yield Row(
            sid,
            connection.id,
            connection.user_id,
            servers[server],
            command.now - int((now - connection.opened_at) * 1000),
            _rooms(connection, namespace, sid) if in_rooms else (),
            # Most of a row's bytes, and the asker was told of its own clients when they came.
            b"{}" if server == asker else connection.handshake,
        )


def _rooms(connection: Connection, namespace: str, sid: str) -> tuple[str, ...]:
    """The socket's rooms but for its private one."""
    own = namespace_group(namespace)
    # Left out by name: decoding thousands of private rooms would push the others out of the cache.
    private = room_group(namespace, sid)
    return tuple(
        found[1]
        for group in connection.groups
        if group not in (own, private) and group.startswith(own) and (found := room_of(group)) is not None
    )


def _tell(node: Node, hub: Hub, command: TellServers, answers: Answers[Any]) -> Outcome:
    # As for clients: one app server's mistake must not become all others' trouble.
    _event(engineio.check_text(command.payload))
    others = [s for s in hub.servers.all() if s.peer is not None and s.id != command.sender]
    number = None
    if command.timeout:
        number = hub.questions.begin()
        deadline = node.clock() + min(command.timeout, node.links.invoke_timeout)
        hub.questions.ask(number, {server: server.id for server in others}, answers, deadline)
    for server in others:
        assert server.peer is not None
        server.peer.told(number, command.sender, command.namespace, command.payload)
    return Outcome(reached=len(others), asked=len(others))


HANDLERS: Final[dict[type, Callable[[Node, Hub, Any, Answers[Any]], Outcome]]] = {
    Invoke: _invoke,
    FetchSockets: _fetch,
    TellServers: _tell,
}
