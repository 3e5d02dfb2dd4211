"""Which app server serves a client. A client belongs to one app server for life: the Socket.IO
state is in that process, so it can be given to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.hub.ports import AppLink, AppPeer

if TYPE_CHECKING:
    from moorage.hub.bursts import Bursts
    from moorage.hub.connection import Connection


class AppServer:
    """One app server of one hub, known by its server id, over however many links."""

    __slots__ = (
        "behind",
        "bursts",
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

    def __init__(self, server_id: str, link: AppLink, dialect: str, peer: AppPeer | None = None) -> None:
        self.id = server_id
        self.link = link
        self.peer = peer
        """Set where the dialect knows of other app servers. The service keeps the heartbeat of such
        an app server's clients; in the azure dialect the app server does."""
        self.dialect = dialect
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
