"""One hub: its app servers and its clients' connections. They refer to each other, so they share this file. A
hub is an isolation space: nothing in it ever reaches the clients or app servers of another hub."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, SupportsBytes

from moorage.engine.session import EngineSession
from moorage.hub.invokes import Questions
from moorage.hub.outbox import Flusher, Outbox
from moorage.hub.ports import AppLink, AppMover, AppPeer, Members, Owner, Returns
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.recovery.sockets.track import Track
from moorage.hub.rooms import Directory
from moorage.hub.settings import HubSettings, Limits
from moorage.hub.tallies import Tally
from moorage.wire.commands import Found


def _nothing() -> None:
    """Nobody needs to know."""


LINK: Final = 1
BURST: Final = 2
MOVE: Final = 4
"""Why a client is not read: its app server's link is full; it sent too many packets at once; it changes its
app server."""

ANSWERED: Final = 0
WAITING: Final = 1
"""A ping was sent and its pong has not arrived."""
DOUBTED: Final = 2
"""The pong is overdue. The loop reads its sockets once more before the connection is closed."""


class Heartbeat:
    """The heartbeat of one connection. Times are in seconds."""

    __slots__ = ("deadline", "interval", "next", "owner", "state", "timeout")

    def __init__(self, owner: Connection, interval: float, timeout: float, now: float) -> None:
        self.owner: Connection | None = owner
        """None after the connection's end, so that the wheel keeps nothing of it alive."""
        self.interval = interval
        self.timeout = timeout
        self.next = now + interval
        """When the next ping is due."""
        self.state = ANSWERED
        self.deadline = 0.0
        """When the pong is overdue."""

    def pong(self) -> None:
        """The client answered."""
        self.state = ANSWERED


class Client(ABC):
    """A client, as its app server's link knows it."""

    __slots__ = (
        "__weakref__",
        "channel",
        "handshake",
        "heartbeat",
        "held",
        "hub",
        "id",
        "server",
        "user_id",
    )

    def __init__(self, connection_id: str, hub: Hub, *, user_id: str | None, server: AppServer) -> None:
        self.id = connection_id
        self.hub = hub
        self.user_id = user_id
        self.server = server
        self.handshake: SupportsBytes = b"{}"
        """JSON, as the app server got it, with at least `headers`, `query` and `claims`."""
        self.heartbeat: Heartbeat | None = None
        """Set if this node keeps the heartbeat."""
        self.held = 0
        """Why it is not read (`LINK`, `BURST`, `MOVE`); 0 if it is read."""
        self.channel: object | None = None
        """State of this client that belongs to the link dialect; a `Move` while it changes its app server."""

    @abstractmethod
    def hold(self, why: int) -> bool:
        """Stop reading it. False if that is not possible yet."""

    @abstractmethod
    def release(self, why: int) -> None:
        """Remove one reason. Read the client if none is left."""


class Guest(Client):
    """A client of another node, the `node` with this incarnation, whose app server has its link here."""

    __slots__ = ("node", "open", "owner")

    def __init__(
        self,
        connection_id: str,
        hub: Hub,
        *,
        user_id: str | None,
        server: AppServer,
        node: str,
        owner: Owner[Guest],
    ) -> None:
        super().__init__(connection_id, hub, user_id=user_id, server=server)
        self.node = node
        self.owner = owner
        self.open = False
        """True once the app server has accepted it."""

    def hold(self, why: int) -> bool:
        """Ask its node not to read it."""
        if not self.held:
            self.owner.read(self, on=False)
        self.held |= why
        return True

    def release(self, why: int) -> None:
        """Ask its node to read it, if no reason is left."""
        was, self.held = self.held, self.held & ~why
        if was and not self.held:
            self.owner.read(self, on=True)


class Connection(Client):
    """A client of this node. It has slots because the memory of idle connections is the largest cost of the
    service; a `__dict__` would be added for this object and each of its parts."""

    __slots__ = ("groups", "listed", "note", "opened_at", "outbox", "session", "tracks")

    def __init__(
        self,
        connection_id: str,
        hub: Hub,
        *,
        user_id: str | None,
        server: AppServer,
        limits: Limits,
        flusher: Flusher[Connection],
        now: float,
    ) -> None:
        super().__init__(connection_id, hub, user_id=user_id, server=server)
        self.session = EngineSession(limits.max_payload, limits.max_attachments, limits.max_namespaces)
        self.outbox = Outbox(self, flusher)
        self.groups: set[str] = set()
        self.note = ""
        """What explains its end, for operators."""
        self.opened_at = now
        self.listed: Found | None = None
        """The socket that was fetched last. Cleared when the connection's groups change."""
        self.tracks: dict[str, Track[Connection]] | None = None
        """Its sockets that may be recovered, by the group of their namespace. None if it has had none."""

    def on_websocket(self) -> None:
        """The outbox writes to a WebSocket from now on."""
        self.hub.websockets += 1

    def hold(self, why: int) -> bool:
        """Stop reading it, on this transport and the next one (`Outbox.attach`). False if it has none yet."""
        sink = self.outbox.sink
        if sink is None:
            return False
        self.held |= why
        sink.pause_reading()
        return True

    def release(self, why: int) -> None:
        """Remove one reason. Read the client if none is left."""
        self.held &= ~why
        sink = self.outbox.sink
        if not self.held and sink is not None:
            sink.resume_reading()


class Capabilities(NamedTuple):
    """The features that an app server supports, which depend on its link dialect."""

    keeps_heartbeat: bool = False
    """Sends its clients' pings itself. Otherwise the service does."""
    wants_room_changes: bool = False
    """Is notified when others add its sockets to rooms or remove them."""
    told_of_expelled: bool = False
    """Is notified by `AppPeer.left` when others disconnect one of its sockets. Otherwise the service passes
    on a DISCONNECT packet, as if the client had sent it."""
    answers_queries: bool = False
    """Can be asked for the app's data of its sockets."""
    takes_server_events: bool = False
    """Takes events from other app servers."""


class _Unheard:
    """`AppPeer` of an app server without capabilities."""

    def moved(self, connection: Client, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        """Ignore it. All other methods do the same."""

    def left(self, connection: Client, namespace: str) -> None: ...

    def upgraded(self, connection: Client) -> None: ...

    def query(self, number: int, namespace: str, sockets: tuple[str, ...]) -> None: ...

    def told(self, number: int | None, sender: str, namespace: str, payload: bytes) -> None: ...


NO_PEER: Final = _Unheard()


class AppServer:
    """One app server of one hub, identified by its server id, with any number of links."""

    __slots__ = (
        "_up",
        "address",
        "behind",
        "can",
        "clients",
        "dialect",
        "draining",
        "emit_only",
        "far",
        "guests",
        "home",
        "id",
        "instance",
        "link",
        "mover",
        "node",
        "others",
        "peer",
        "quiet",
        "recovery",
        "returns",
        "sdk",
        "since",
        "when_changed",
    )

    def __init__(
        self,
        server_id: str,
        link: AppLink[Client],
        dialect: str,
        can: Capabilities,
        peer: AppPeer[Client] = NO_PEER,
        *,
        instance: str = "",
        emit_only: bool = False,
        node: str = "",
        far: bool = False,
    ) -> None:
        self.id = server_id
        self.link = link
        self.peer = peer
        self.mover: AppMover[Connection] | None = None
        """None if it cannot go on with another app server's client."""
        self.can = can
        self.dialect = dialect
        """Name of its link dialect, only for display. The hub uses `can`."""
        self.draining = False
        """True if it must not get new clients."""
        self.emit_only = emit_only
        """True if it never gets clients, because it has no handlers."""
        self.home = True
        """True if this node tells it of other app servers' events, and forwards other nodes' clients to it:
        only one node does."""
        self.far = far
        """True if it is linked to a node of another region."""
        self.behind = False
        """True if it was slow at the last check; others get new clients first."""
        self.when_changed: Callable[[], object] = _nothing
        """Called when it goes up or down."""
        self._up = False
        self.clients: set[Connection] = set()
        self.guests: set[Guest] = set()
        """Clients of other nodes that it serves through this one."""
        self.node = node
        """The incarnation of the node that it is linked to; "" for this node."""
        self.others = 0
        """Number of its other clients, if it is linked to another node."""
        self.instance = instance
        """Random name of one start of the app server; empty if its dialect has none."""
        self.sdk = ""
        """Name and version of its SDK, as it tells them."""
        self.address = ""
        """IP address of its latest link, or of a proxy before it."""
        self.since = 0.0
        """When its session here began."""
        self.returns: Returns[Client] | None = None
        """Set if its sockets may be recovered."""
        self.recovery = 0.0
        """Seconds that the client of such a socket may be away."""
        self.quiet = False
        """True if it is told nothing of such a client if that comes back in time."""

    @property
    def up(self) -> bool:
        """True while it has a link. Without one it keeps its clients for the grace time and gets no more."""
        return self._up

    @up.setter
    def up(self, up: bool) -> None:
        if up != self._up:
            self._up = up
            self.when_changed()

    @property
    def takes_clients(self) -> bool:
        """True if it may get a new client now."""
        return self._up and not self.draining and not self.emit_only

    @property
    def load(self) -> int:
        """The number of its clients."""
        return len(self.clients) + len(self.guests) + self.others


class AppServers:
    """The app servers of one hub. `when_changed` is called when one of this node's comes, goes, or its link
    opens or is lost."""

    def __init__(self, when_changed: Callable[[], object] = _nothing) -> None:
        self._when_changed = when_changed
        self._servers: dict[str, AppServer] = {}
        self.elsewhere: set[AppServer] = set()
        """App servers that are linked to other nodes. They serve clients of this node through those. Several
        may have the same id."""

    def __contains__(self, server: AppServer) -> bool:
        return self._servers.get(server.id) is server or server in self.elsewhere

    def __len__(self) -> int:
        return len(self._servers)

    def get(self, server_id: str) -> AppServer | None:
        """The app server of this node with this id, whether it is up or in its grace time."""
        return self._servers.get(server_id)

    def get_elsewhere(self, server_id: str) -> AppServer | None:
        """The app server of another node with this id. If several nodes have one, it is one that is up, if
        any; all nodes decide for the same one."""
        found = [server for server in self.elsewhere if server.id == server_id]
        return min(found, key=lambda server: (not server.up, server.node), default=None)

    def all(self) -> tuple[AppServer, ...]:
        """All app servers of this node, in order of their first link."""
        return tuple(self._servers.values())

    def serving(self) -> tuple[AppServer, ...]:
        """All app servers that may have clients of this node."""
        return (*self._servers.values(), *self.elsewhere)

    def add(self, server: AppServer) -> None:
        """Add an app server with a new id."""
        self._servers[server.id] = server
        server.when_changed = self._when_changed
        self._when_changed()

    def remove(self, server: AppServer) -> None:
        """Remove it after its grace time. A newer app server with the same id stays."""
        self.elsewhere.discard(server)
        if self._servers.get(server.id) is server:
            del self._servers[server.id]
            server.when_changed = _nothing
            self._when_changed()

    def choose(self) -> AppServer | None:
        """The available app server with the fewest clients, if possible one that is not slow; None without
        one. One that is linked to another node is the second choice, and in another region the last, unless
        it has a session here too, in its grace time: a client has one way to its app server."""
        own = self._servers
        if len(own) == 1 and (only := next(iter(own.values()))).takes_clients:
            return only
        return _least_loaded(own.values()) or _least_loaded(
            server for server in self.elsewhere if server.home and server.id not in own
        )


def _least_loaded(servers: Iterable[AppServer]) -> AppServer | None:
    return min(
        (server for server in servers if server.takes_clients),
        key=lambda server: (server.far, server.behind, server.load),
        default=None,
    )


class Hub:
    """It exists while it has an app server, a client, an open question, or a socket that may be recovered."""

    __slots__ = (
        "directory",
        "invocations",
        "key",
        "name",
        "queries",
        "questions",
        "recovery",
        "servers",
        "settings",
        "tally",
        "websockets",
    )

    def __init__(
        self,
        name: str,
        tally: Tally,
        news: Members | None = None,
        app_servers_changed: Callable[[], object] = _nothing,
    ) -> None:
        self.name = name
        self.key = name.casefold()
        """Names compare without case."""
        self.settings = HubSettings()
        """Set anew when the configuration is read again."""
        self.tally = tally
        self.directory: Directory[Connection] = Directory(name, news)
        self.servers = AppServers(app_servers_changed)
        self.invocations: Questions[Connection] = Questions()
        """Emits with acks. The number of a question is the ack id."""
        self.queries: Questions[AppServer] = Questions()
        """Questions about the data that app servers keep of their sockets. Apart from `questions`, so
        that an answer of the wrong kind matches no question: its asker could not read it."""
        self.questions: Questions[AppServer] = Questions()
        """Server-side emits with acks."""
        self.recovery: Recovery[Connection] | None = None
        """None while no app server has recovery."""
        self.websockets = 0
        """How many of the directory's connections are on a WebSocket. The others are on polling."""

    @property
    def is_empty(self) -> bool:
        """True if the hub may be deleted."""
        parked = self.recovery is not None and not self.recovery.is_empty
        others = len(self.servers) or self.servers.elsewhere
        return not (self.directory.connections or others or self.waits or parked)

    @property
    def waits(self) -> bool:
        """True if a question is open."""
        return bool(len(self.invocations) or len(self.queries) or len(self.questions))
