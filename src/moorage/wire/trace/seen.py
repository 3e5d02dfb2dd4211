"""What a trace shows. Declarations only."""

from __future__ import annotations

from typing import Literal

from moorage.wire.moorage.rows import Count, Fields

Direction = Literal["in", "out"]
"""`in`: from the client to its app server; `out`: to the client."""


class Packet(Fields, tag=1, tag_field="kind"):
    """One Engine.IO packet, with its attachments. `time` in seconds since 1970."""

    time: float
    hub: str
    connection: str
    """Empty for an emit to a room, which is seen once for all its members."""
    user: str | None
    app_server: str
    direction: Direction
    type: str
    namespace: str = ""
    event: str | None = None
    """Name of the event, cut if it is long."""
    size: Count = 0
    """Bytes of the packet and its attachments, in the form that WebSockets carry."""
    attachments: Count = 0
    ack: int | None = None
    """The ack id: what an event expects, or what an ack answers."""
    ack_ms: float | None = None
    """For an ack: milliseconds since its event passed this node."""
    recipients: Count = 0
    """For an emit to a room: number of clients on this node that it was queued for."""
    payload: str | None = None
    """The beginning of the packet's JSON. Never that of a CONNECT, which holds credentials."""
    socket: str = ""
    """The socket's id, if it is known."""


class State(Fields, tag=2, tag_field="kind"):
    """A client, or one of its sockets, comes or goes. `time` in seconds since 1970."""

    time: float
    hub: str
    connection: str
    """Empty for a client that is refused."""
    user: str | None
    app_server: str
    state: str
    """`opened`, `upgraded`, `joined` (a namespace, or one of its rooms), `left`, `moved` (to another app
    server), `closed` or `refused`."""
    namespace: str = ""
    room: str = ""
    transport: str = ""
    reason: str = ""
    number: Count = 0
    who: str = ""
    detail: str = ""
    age: float | None = None
    """For `closed`: seconds since the session began."""
    queued: Count = 0
    """For `closed`: bytes that were not written."""
    claimed: bool = False
    """True if `user` comes from a token that was refused: anybody may have written it."""
    socket: str = ""
    """The socket's id, if the state is about one and the id is known."""


Seen = Packet | State
