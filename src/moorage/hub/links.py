"""App servers, and the choice of one for each client. A client belongs to one app server for life, because
the Socket.IO state is in that process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from moorage.hub.ports import AppLink, AppPeer

if TYPE_CHECKING:
    from moorage.hub.bursts import Bursts
    from moorage.hub.connection import Connection


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

    def moved(self, connection: Connection, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        """Ignore it. All other methods do the same."""

    def left(self, connection: Connection, namespace: str) -> None: ...

    def upgraded(self, connection: Connection) -> None: ...

    def query(self, number: int, namespace: str, sockets: tuple[str, ...]) -> None: ...

    def told(self, number: int | None, sender: str, namespace: str, payload: bytes) -> None: ...


NO_PEER: Final = _Unheard()


class AppServer:
    """One app server of one hub, identified by its server id, with any number of links."""

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
        """Name of its link dialect, only for display. The hub uses `can`."""
        self.draining = False
        """True if it must not get new clients."""
        self.emit_only = False
        """True if it never gets clients, because it has no handlers."""
        self.behind = False
        """True if it was slow at the last check; others get new clients first."""
        self.up = False
        """True while it has a link. Without one it keeps its clients for the grace time and gets no more."""
        self.clients: set[Connection] = set()
        self.bursts: Bursts | None = None
        """The queue of its clients that flood, if there are any."""
        self.took_clients = False
        """True once it has accepted its first client, which defines its terms. Only in the azure dialect."""

    @property
    def takes_clients(self) -> bool:
        """True if it may get a new client now."""
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
        """All app servers, in order of their first link."""
        return tuple(self._servers.values())

    def add(self, server: AppServer) -> None:
        """Add an app server with a new id."""
        self._servers[server.id] = server

    def remove(self, server: AppServer) -> None:
        """Remove it after its grace time. A newer app server with the same id stays."""
        if self._servers.get(server.id) is server:
            del self._servers[server.id]

    def choose(self) -> AppServer | None:
        """The available app server with the fewest clients, if possible one that is not slow; None without
        one."""
        return min(
            (server for server in self._servers.values() if server.takes_clients),
            key=lambda server: (server.behind, len(server.clients)),
            default=None,
        )
