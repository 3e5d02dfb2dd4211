"""The frames of connection state recovery. Revision 5 of `moorage.v1`."""

from __future__ import annotations

from moorage.wire.moorage.rows import Count, Fields


class Recover(Fields, tag=60):
    """Instead of a client's CONNECT packet: the socket `sid` of an earlier connection goes on with this
    client. The app server answers the CONNECT with this id."""

    client: Count
    namespace: str
    packet: bytes
    """The CONNECT packet as received."""
    sid: str
    rooms: tuple[str, ...]
    """Without the private room."""
    data: bytes
    """What `Save` brought; empty for nothing."""


class Parked(Fields, tag=61):
    """Quiet recovery: a client is away and may come back. Its sockets live on."""

    client: Count
    cause: str
    """Socket.IO's disconnect reason."""


class Back(Fields, tag=62):
    """Quiet recovery: the socket `sid` of the client `was` belongs to `client` from now on."""

    client: Count
    namespace: str
    sid: str
    was: Count


class Save(Fields, tag=63):
    """After `Closed`, for each socket that may be recovered: its data, as JSON."""

    namespace: str
    sid: str
    data: bytes


class Settled(Fields, tag=65):
    """From an app server: it had a session at `node`, which is lost, and has sent all that it had for it
    (`Unfinished`). `number` is that of its latest counted frame. Revision 5."""

    node: str
    number: Count
