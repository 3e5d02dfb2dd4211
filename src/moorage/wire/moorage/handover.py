"""The frames by which a client moves from one app server to another. Revision 5 of `moorage.v1`."""

from __future__ import annotations

from moorage.wire.moorage.rows import Count, Fields


class Leaving(Fields):
    """One socket of `State`, as its app server leaves it."""

    namespace: str
    sid: str
    data: bytes
    """JSON, in the form of `Facts`; empty if there is nothing to tell."""
    acks: Count
    """The highest ack id that the app server has used for it."""
    pending: tuple[Count, ...] = ()
    """Ack ids whose answers the app server still waits for."""


class Arriving(Fields):
    """One socket of `Adopt`, as its new app server must make it."""

    namespace: str
    sid: str
    rooms: tuple[str, ...]
    """Without the private room."""
    data: bytes
    acks: Count
    """The new app server uses higher ack ids."""


# --- from the app server -------------------------------------------------------------------------


class HandOver(Fields, tag=70):
    """Give all clients of the sender to other app servers. Answered by `Done`: `count` clients have left the
    sender, and those in `missing` (their connection ids) could not."""

    ref: Count


class State(Fields, tag=71):
    """The answer to `Freeze`: the last word about this client."""

    client: Count
    sockets: tuple[Leaving, ...]


# --- from the service ----------------------------------------------------------------------------


class Freeze(Fields, tag=72):
    """Finish this client's running handlers, then answer with `State`."""

    client: Count


class Adopt(Fields, tag=73):
    """A client whose sockets exist already. Answered by `Opened` or `Refused`, as an `Open`."""

    client: Count
    id: str
    user: str | None
    handshake: bytes
    transport: str
    """Its transport now; the handshake tells the first one."""
    sockets: tuple[Arriving, ...]


class Released(Fields, tag=74):
    """Another app server serves this client now. Forget it without an event."""

    client: Count


class Resume(Fields, tag=75):
    """No other app server took this client. Go on with it."""

    client: Count
