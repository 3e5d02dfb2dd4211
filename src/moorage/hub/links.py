"""Which app server serves a client. A client belongs to one app server for life: the Socket.IO
state is in that process, so it can be given to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from moorage.hub.ports import AppLink, AppPeer

if TYPE_CHECKING:
    from moorage.hub.bursts import Bursts
    from moorage.hub.connection import Connection


class Capabilities(NamedTuple):
    """What an app server supports. Its link dialect decides."""

    keeps_heartbeat: bool = False
    """Sends its clients' pings itself. Otherwise the service does."""
    wants_room_changes: bool = False
    """Is told when others move its sockets into rooms or out of them."""
    told_of_expelled: bool = False
    """Is told by `AppPeer.left` when others disconnect one of its sockets. Otherwise the service passes on
    a DISCONNECT packet, as if the client had sent it."""
    answers_queries: bool = False
    """Can be asked for the data that the app keeps of its sockets."""
    takes_server_events: bool = False
    """Takes events from other app servers."""


class _Unheard:
    """`AppPeer` of an app server without capabilities."""

    def moved(self, connection: Connection, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        """Ignore it, like all the others."""

    def left(self, connection: Connection, namespace: str) -> None: ...

    def upgraded(self, connection: Connection) -> None: ...

    def query(self, number: int, namespace: str, sockets: tuple[str, ...]) -> None: ...

    def told(self, number: int | None, sender: str, namespace: str, payload: bytes) -> None: ...


NO_PEER: Final = _Unheard()


class AppServer:
    """One app server of one hub, known by its server id, over however many links."""

    __slots__ = (
        "behind",
        "bursts",
        "can",
        "clients",
        "dialect",
        "draining",
        "emit_only",
        "id",
        "link",
        "peer",
        "took_clients",
        "up",
    )

    def __init__(
        self, server_id: str, link: AppLink, dialect: str, can: Capabilities, peer: AppPeer = NO_PEER
    ) -> None:
        self.id = server_id
        self.link = link
        self.peer = peer
        self.can = can
        self.dialect = dialect
        """Name of its link dialect, for people. The hub goes by `can`."""
        self.draining = False
        """Wants no new clients."""
        self.emit_only = False
        """Never gets clients: it has no handlers for them."""
        self.behind = False
        """Did not keep up when last looked at: others get new clients first."""
        self.up = False
        """Has a link now. Without one it keeps its clients for the grace time, but gets no new."""
        self.clients: set[Connection] = set()
        self.bursts: Bursts | None = None
        """Its clients that said very much at once, if there are any."""
        self.took_clients = False
        """Has answered for its first client, which tells its terms. Set in the azure dialect only."""

    @property
    def takes_clients(self) -> bool:
        """May a new client be given to it now?"""
        return self.up and not self.draining and not self.emit_only


class AppServers:
    """The app servers of one hub."""

    def __init__(self) -> None:
        self._servers: dict[str, AppServer] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def get(self, server_id: str) -> AppServer | None:
        """The app server with this id, whether it is up or in its grace time."""
        return self._servers.get(server_id)

    def all(self) -> tuple[AppServer, ...]:
        """All of them, in the order they first came."""
        return tuple(self._servers.values())

    def add(self, server: AppServer) -> None:
        """A server id that was not known."""
        self._servers[server.id] = server

    def remove(self, server: AppServer) -> None:
        """Its grace time is over. Another one of the same id, come meanwhile, stays."""
        if self._servers.get(server.id) is server:
            del self._servers[server.id]

    def choose(self) -> AppServer | None:
        """The one that is up with the fewest clients, if possible one that keeps up; None if none takes
        any."""
        return min(
            (server for server in self._servers.values() if server.takes_clients),
            key=lambda server: (server.behind, len(server.clients)),
            default=None,
        )
