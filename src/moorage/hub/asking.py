"""The commands that many answer: clients an emit with acks, app servers each other's questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from moorage.hub.deliver import deliver
from moorage.hub.hub import Hub
from moorage.hub.ports import Answers
from moorage.wire import engineio, socketio
from moorage.wire.commands import FetchSockets, Invoke, Outcome, TellServers
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group, room_of
from moorage.wire.listing import Listed, listed
from moorage.wire.reasons import API_BAD_PAYLOAD, LINK_BAD_REQUEST
from moorage.wire.tunnel import Chunk, Row

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
    found = _found(hub, command)
    asked = {server: server.id for server in found if server.peer is not None and server.id != command.asker}
    number = hub.queries.begin()
    deadline = now + min(command.timeout, node.links.invoke_timeout)
    sizes = {server: len(found[server]) for server in asked}
    hub.queries.ask(number, asked, answers, deadline, partial(_one_each, sizes))
    for server in asked:
        assert server.peer is not None
        server.peer.query(number, command.namespace, tuple(found[server].values()))
    rows = {server.id: _rows(server.id, sockets, command, now) for server, sockets in found.items()}
    return Outcome(reached=sum(map(len, found.values())), sockets=rows, asked=len(asked))


def _one_each(sizes: dict[AppServer, int], server: AppServer, chunks: tuple[Chunk, ...]) -> None:
    """Whoever gets them counts them off against the rows. Raises `PeerError`."""
    told = sum(chunk.count for chunk in chunks)
    if told != sizes[server]:
        raise PeerError(LINK_BAD_REQUEST, f"facts of {told} sockets, {sizes[server]} were asked for")


def _found(hub: Hub, command: FetchSockets) -> dict[AppServer, dict[Connection, str]]:
    """Socket ids by app server and connection."""
    namespace = command.namespace
    left_out = command.asker if command.others else None
    found: dict[AppServer, dict[Connection, str]] = {}
    for connection in hub.directory.select(command.to):
        server = connection.server
        if server.id == left_out:
            continue
        known = connection.listed
        if known is not None and known.namespace == namespace:
            sid = known.id
        else:
            sid = connection.session.peer.namespaces.get(namespace, "")
        if sid:
            of_one = found.get(server)
            if of_one is None:
                found[server] = {connection: sid}
            else:
                of_one[connection] = sid
    return found


def _rows(
    server: str, sockets: dict[Connection, str], command: FetchSockets, now: float
) -> Iterator[tuple[bytes, bytes]]:
    # Most of a row's bytes are its handshake, and the asker was told of its own clients when they came.
    handshake = b"{}" if server == command.asker else None
    for connection, sid in sockets.items():
        known = connection.listed
        if handshake is not None:
            yield _listed(connection, sid, command, now, len(handshake)).row, handshake
            continue
        if known is None or known.id != sid:
            known = connection.listed = _listed(connection, sid, command, now, len(connection.handshake))
        yield known.row, connection.handshake


def _listed(
    connection: Connection, sid: str, command: FetchSockets, now: float, handshake_bytes: int
) -> Listed:
    opened = command.now - int((now - connection.opened_at) * 1000)
    # Two groups: its namespace and its private room, as for most sockets of a large hub.
    rooms = _rooms(connection, command.namespace, sid) if len(connection.groups) != 2 else ()
    row = Row(sid, connection.id, connection.user_id, 0, opened, rooms, b"")
    return listed(command.namespace, row, handshake_bytes)


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
