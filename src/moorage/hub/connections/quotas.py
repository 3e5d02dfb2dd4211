"""The number of connections that a hub and each of its users may have at this node, and of rooms."""

from __future__ import annotations

from collections.abc import Iterable

from moorage.hub.hub import Connection, Hub
from moorage.hub.rooms import Rooms
from moorage.wire.errors import PeerError
from moorage.wire.reasons import DRAINING, HUB_FULL, TOO_MANY_ROOMS, USER_FULL


def check_quotas(hub: Hub, user: str | None) -> None:
    """A client asks for a session. Raises `PeerError` (hub-full, user-full). Clients that wait for their app
    server count, too."""
    settings = hub.settings
    most = settings.max_connections
    if most and sum([len(server.clients) for server in hub.servers.serving()]) >= most:
        raise PeerError(HUB_FULL, f"hubs.NAME.max_connections: {most}")
    if settings.max_connections_per_user:
        _check_user(hub, settings.max_connections_per_user, user)


def check_rooms(rooms: Rooms[Connection], most: int, new: Iterable[str]) -> None:
    """Connections are to join groups of a hub that may have `most` rooms. Raises `PeerError` (too-many-rooms)
    if it has no place for those that do not exist yet."""
    missing = sum([not rooms.members(group) for group in new])
    # Namespaces and sockets' own rooms may exceed the limit: that is no reason to refuse an existing room.
    if missing and len(rooms) + missing > most:
        raise PeerError(TOO_MANY_ROOMS, f"hubs.NAME.max_rooms: {most}")


def unwelcome(hub: Hub, user: str | None, *, draining: bool) -> PeerError | None:
    """Why a client that its app server accepts is refused nevertheless; None if it is not. It may have been
    skipped when all clients were closed, and others of its user may have been accepted meanwhile."""
    most = hub.settings.max_connections_per_user
    if most:
        try:
            _check_user(hub, most, user)
        except PeerError as error:
            return error
    return PeerError(DRAINING) if draining else None


def _check_user(hub: Hub, most: int, user: str | None) -> None:
    if user is not None and len(hub.directory.of_user(user)) >= most:
        raise PeerError(USER_FULL, f"hubs.NAME.max_connections_per_user: {most}")
