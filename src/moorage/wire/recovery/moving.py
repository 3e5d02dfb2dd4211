"""What two nodes tell each other so that a parked socket moves from one to the other (docs/explanation/
architecture.md, "A client returns at another node"). Declarations only.

The node where the client is now *asks* for the socket. The node that has it *offers* it, so that the other
one can record what is sent to it. Then it is *taken*: with what it has missed, up to a moment that both agree
on."""

from __future__ import annotations

from typing import Annotated

import msgspec

from moorage.wire.moorage.rows import Count, Fields

Causes = Annotated[str, msgspec.Meta(max_length=64)]


class Asked(Fields, tag=140):
    """Which socket a client comes back to. `whole`: no client has come back yet, and all is wanted that any
    client could lack."""

    number: Count
    """Number of the question, given by the node that asks."""
    hub: str
    pid: str
    namespace: str = ""
    user: str | None = None
    offset: str | None = None
    whole: bool = False
    lost: str = ""
    """A node that is lost and may have had the socket. Its heir answers when it knows the lost node's
    sockets."""


class Offered(Fields, tag=141):
    """A parked socket of the sender."""

    number: Count
    pid: str
    namespace: str
    sid: str
    connection: str
    """The id of its latest connection."""
    user: str | None
    server: str
    """The app server that served it last."""
    lasts: float
    """Seconds that its client may be away."""
    groups: tuple[str, ...]
    data: bytes
    events: Count
    """Maximum number of events that it may have missed."""


class Denied(Fields, tag=142):
    """The sender does not give the socket away: the name of the cause."""

    number: Count
    cause: Causes


class Take(Fields, tag=143):
    """The sender has joined the socket's `groups`. It has carried out the commands of each app server up to
    these numbers."""

    number: Count
    hub: str
    pid: str
    groups: tuple[str, ...]
    executed: dict[str, Count]


class More(Fields, tag=144):
    """The socket has other groups by now."""

    number: Count
    groups: tuple[str, ...]


class Missed(Fields):
    """One event. `ack` is its ack id + 1, or 0."""

    position: Count
    payload: bytes
    ack: Count = 0


class Segment(Fields):
    """The events that the log with the name `epoch` had for a socket, between two of its positions."""

    epoch: str
    first: Count
    last: Count
    events: tuple[Missed, ...]


class Taken(Fields, tag=145):
    """The socket belongs to the receiver from now on."""

    number: Count
    groups: tuple[str, ...]
    left: tuple[str, ...]
    """Groups of the offer in which it is not any more."""
    segments: tuple[Segment, ...]
    whole: bool
    """True if a client that has received no event lacks nothing but the segments."""
    executed: dict[str, Count]
    """The commands of each app server that had been carried out when it was taken."""
    seen: tuple[tuple[str, Count], ...]
    """Further emits that had been carried out, by their identity."""


class Pushed(Fields, tag=146):
    """The sender is about to end. The receiver should ask for this socket."""

    hub: str
    pid: str


class Awaited(Fields, tag=147):
    """Answer once the commands of each app server have been carried out up to these numbers, behind
    everything that was sent to this node."""

    number: Count
    executed: dict[str, Count]


class Reached(Fields, tag=148):
    """The answer to `Awaited`."""

    number: Count


class Kept(Fields, tag=149):
    """The sender has stored a socket that it has taken. The receiver need not keep it any more."""

    hub: str
    pid: str


Moving = Asked | Offered | Denied | Take | More | Taken | Pushed | Awaited | Reached | Kept
