"""The app servers of another node, and this node's clients that they serve through it. This is the owner's
side of forwarding; `host` is the host's side."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final

from moorage import logs
from moorage.cluster.forwarding.announced import capabilities
from moorage.hub.hub import LINK, AppServer, Client, Hub
from moorage.hub.node import Node
from moorage.hub.ports import Drained, Recovered, Who
from moorage.wire import reasons
from moorage.wire.cluster import forwarding as wire
from moorage.wire.cluster.messages import Body
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake, OpenInfo, handshake_json
from moorage.wire.reasons import CATALOGUE, Reason

WHO: Final[dict[str, Who]] = {"client": "client", "app": "app", "service": "service", "api": "api"}
log: Final = logs.get("cluster")


class OwnerSide:
    """All app servers of one other node, the one with the incarnation `name`. `send` sends to that node, and
    `forward` a packet of the client with this connection id."""

    def __init__(
        self,
        node: Node,
        name: str,
        send: Callable[[Body], object],
        forward: Callable[[str, bytes], object],
        *,
        near: bool,
        connect_timeout: float,
        wall_clock: Callable[[], float],
    ) -> None:
        self.node = node
        self.name = name
        self.send = send
        self.forward = forward
        self.near = near
        """True if that node is in this node's region."""
        self.wall_clock = wall_clock
        self.forwarded = 0
        """Number of packets sent to that node."""
        self.clients: dict[str, Client] = {}
        """This node's clients whose app server is there, by id, from their offer on."""
        self.openings: dict[str, float] = {}
        """When each client began to wait for the decision."""
        self.syncs: dict[str, dict[int, Drained]] = {}
        """Callbacks that wait for `Synced`, by client and number."""
        self.numbers = count(1)
        self._connect_timeout = connect_timeout
        self._servers: dict[int, RemoteServer] = {}
        self.is_told = False
        """True once the other node has told which app servers it has."""
        self.rows: tuple[wire.AppServerRow, ...] = ()
        """The other node's app servers, as it announced them last."""
        self.handlers: dict[type, Callable[[Any], object]] = {
            wire.AppServers: self._update,
            wire.Accepted: self._accepted,
            wire.Declined: self._declined,
            wire.Close: self._close,
            wire.Read: self._read,
            wire.Synced: self._synced,
            wire.Data: self._data,
            wire.Unknown: self._unknown,
            wire.Saved: self._saved,
        }

    def serves(self, hub: Hub, server_id: str) -> bool:
        """True if an app server has clients through its session there."""
        servers = self._servers.values()
        return any(each.app.id == server_id and each.hub is hub and each.app.load for each in servers)

    def end(self) -> None:
        """The other node is gone, or has forgotten this one: its app servers are lost."""
        self.rows = ()
        for number in tuple(self._servers):
            self._drop(number)

    def tick(self, now: float) -> None:
        """Refuse the clients that have waited too long."""
        overdue = now - self._connect_timeout
        for connection_id in [each for each, since in self.openings.items() if since <= overdue]:
            client = self.clients[connection_id]
            self.node.refuse(client, reasons.CONNECT_TIMEOUT)
            self.forget(client, reasons.CONNECT_TIMEOUT)

    def forget(self, client: Client, reason: Reason) -> None:
        """A client is gone: tell its app server's node, unless that told this one."""
        if self._take(client.id) is not None:
            self.send(wire.Gone(client.id, reason.name))

    def _take(self, connection_id: str) -> Client | None:
        self.openings.pop(connection_id, None)
        self.syncs.pop(connection_id, None)
        return self.clients.pop(connection_id, None)

    # -- the list ---------------------------------------------------------------------------------

    def _update(self, body: wire.AppServers) -> None:
        self.is_told = True
        self.rows = body.rows
        rows = {row.number: row for row in body.rows}
        for number in self._servers.keys() - rows.keys():
            self._drop(number)
        for number, row in rows.items():
            server = self._servers.get(number)
            if server is None:
                try:
                    hub = self.node.ensure_hub(row.hub)
                except PeerError:
                    # The hub is not listed in this node's configuration.
                    continue
                server = self._servers[number] = RemoteServer(self, hub, row)
                hub.servers.elsewhere.add(server.app)
            server.update(row)

    def _drop(self, number: int) -> None:
        server = self._servers.pop(number)
        waiting: list[Drained] = []
        for client in server.app.clients:
            waiting += self.syncs.get(client.id, {}).values()
            self._take(client.id)
        for done in waiting:
            done()
        server.app.up = False
        self.node.drop_server(server.hub, server.app)

    # -- about one client -------------------------------------------------------------------------

    def _accepted(self, body: wire.Accepted) -> None:
        client = self.clients.get(body.connection)
        if client is None:
            self.send(wire.Gone(body.connection, reasons.TRANSPORT_LOST.name))
        elif self.openings.pop(body.connection, None) is not None:
            self.node.accept(client, OpenInfo(body.ping_interval, body.ping_timeout, body.max_payload))

    def _declined(self, body: wire.Declined) -> None:
        client = self._take(body.connection)
        if client is not None:
            reason = CATALOGUE.get(body.reason, reasons.APP_ERROR)
            reason = reason._replace(http=body.http, text=body.text, eio=body.eio)
            self.node.refuse(client, reason, body.detail)

    def _close(self, body: wire.Close) -> None:
        client = self._take(body.connection)
        if client is not None:
            reason = CATALOGUE.get(body.reason, reasons.APP_LOST)
            self.node.disconnect(client, reason, who=WHO.get(body.who, "service"), detail=body.detail)

    def _unknown(self, body: wire.Unknown) -> None:
        client = self._take(body.connection)
        if client is not None:
            self.node.disconnect(client, reasons.APP_FORGOT, who="service", detail="at another node")

    def _read(self, body: wire.Read) -> None:
        client = self.clients.get(body.connection)
        if client is None:
            return
        if body.on:
            self.node.heartbeats.read_on(client, self.node.clock())
            client.release(LINK)
        else:
            client.hold(LINK)

    def _synced(self, body: wire.Synced) -> None:
        done = self.syncs.get(body.connection, {}).pop(body.number, None)
        if done is not None:
            done()

    def _saved(self, body: wire.Saved) -> None:
        server = self._servers.get(body.server)
        if server is not None:
            self.node.claims.save(server.hub, server.app, body.namespace, body.sid, body.data)

    def _data(self, body: wire.Data) -> None:
        server = self._servers.get(body.server)
        if server is not None and not server.hub.queries.answered(body.number, server.app, body.chunks):
            self.node.late_answers += 1


class RemoteServer:
    """One app server of another node, for this node's clients: `AppLink`, `AppPeer` and `Returns`."""

    def __init__(self, side: OwnerSide, hub: Hub, row: wire.AppServerRow) -> None:
        self._side = side
        self._send = side.send
        self._number = row.number
        self.hub = hub
        self.app = AppServer(
            row.id,
            self,
            row.dialect,
            capabilities(row.can),
            self,
            instance=row.instance,
            emit_only=row.emit_only,
            node=side.name,
            far=not side.near,
        )

    def update(self, row: wire.AppServerRow) -> None:
        """Take the values that its node has announced."""
        app = self.app
        app.up, app.draining, app.behind, app.home = row.up, row.draining, row.behind, row.home
        app.others = max(0, row.clients - len(app.clients))
        if row.recovery and app.returns is None:
            node = self._side.node
            node.claims.turn_on(
                self.hub,
                app,
                self,
                row.recovery,
                settings=node.hub_settings(self.hub.name),
                news=node.members,
                linked=False,
            )

    # -- hub.ports.AppLink --------------------------------------------------------------------------

    def open(self, connection: Client, handshake: Handshake) -> None:
        """`AppLink.open`."""
        side = self._side
        side.clients[connection.id] = connection
        side.openings[connection.id] = side.node.clock()
        url, address = handshake.origin()
        connection.handshake = handshake_json(handshake, int(side.wall_clock() * 1000))
        self._send(
            wire.Offer(
                self._number,
                connection.id,
                connection.user_id,
                {name: list(values) for name, values in handshake.query.items()},
                {name: list(values) for name, values in handshake.headers.items()},
                {name: list(values) for name, values in handshake.claims.items()},
                url,
                address,
                handshake.secure,
            )
        )

    def forward(self, connection: Client, packet: bytes) -> None:
        """`AppLink.forward`."""
        side = self._side
        side.forwarded += 1
        side.forward(connection.id, packet)

    def closed(self, connection: Client, reason: Reason) -> None:
        """`AppLink.closed`."""
        self._side.forget(connection, reason)

    def drained(self, connection: Client, done: Drained) -> None:
        """`AppLink.drained`."""
        self._sync(connection, done, taken=False)

    def taken(self, connection: Client, done: Drained) -> None:
        """`AppLink.taken`."""
        self._sync(connection, done, taken=True)

    def _sync(self, connection: Client, done: Drained, *, taken: bool) -> None:
        side = self._side
        if connection.id not in side.clients:
            done()
            return
        number = next(side.numbers)
        side.syncs.setdefault(connection.id, {})[number] = done
        self._send(wire.Sync(connection.id, number, taken))

    # -- hub.ports.AppPeer --------------------------------------------------------------------------

    def moved(self, connection: Client, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        """`AppPeer.moved`."""
        self._send(wire.Moved(connection.id, namespace, rooms, joined))

    def left(self, connection: Client, namespace: str) -> None:
        """`AppPeer.left`."""
        self._send(wire.Left(connection.id, namespace))

    def upgraded(self, connection: Client) -> None:
        """`AppPeer.upgraded`."""
        self._send(wire.Upgraded(connection.id))

    def query(self, number: int, namespace: str, sockets: tuple[str, ...]) -> None:
        """`AppPeer.query`."""
        self._send(wire.Query(self._number, number, namespace, sockets))

    # -- hub.ports.Returns ------------------------------------------------------------------------

    def recover(self, connection: Client, socket: Recovered) -> None:
        """`Returns.recover`."""
        packet, namespace, sid, rooms, data = socket
        self._send(wire.Returning(connection.id, packet, namespace, sid, rooms, data))

    def parked(self, connection: Client, reason: Reason) -> bool:
        """`Returns.parked`. Quiet recovery does not work over two nodes, so the app server is told of the
        end."""
        return False

    def back(self, connection: Client, namespace: str, sid: str, former: Client) -> None:
        """`Returns.back`. Never called, because no client goes away quietly."""

    def told(self, number: int | None, sender: str, namespace: str, payload: bytes) -> None:
        """`AppPeer.told`. Never called: the app server's own node tells it."""
