"""The byte form of what the nodes of a cluster send each other: MessagePack.

A message is one `Envelope`: the sender's name, and a body. The body is a command or a part of the answer to
one, as an array that begins with its tag (below 100 for commands). Fields that a receiver does not know stand
at the end and are ignored, so nodes of two versions can work together during an upgrade.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from moorage.wire.cluster.forwarding import Forwarding
from moorage.wire.commands import Command, Member, Outcome, Report, Selection, Server
from moorage.wire.errors import PeerError
from moorage.wire.moorage.rows import Chunk, Count, Fields
from moorage.wire.reasons import NODE_BAD_MESSAGE
from moorage.wire.recovery.handing import Handing
from moorage.wire.recovery.late import Lateness
from moorage.wire.recovery.losses import Loss
from moorage.wire.recovery.moving import Moving
from moorage.wire.trace.messages import Tracing


class Result(Fields, tag=100):
    """What a node has done with a command: its `Outcome`. Sockets are sent before it, as `Sockets`."""

    found: bool
    reached: Count
    members: tuple[Member, ...]
    more: bool
    rooms: Count
    asked: Count
    servers: tuple[Server, ...] = ()
    missing: tuple[str, ...] = ()
    reports: tuple[Report, ...] = ()

    @classmethod
    def of(cls, done: Outcome) -> Result:
        """The part for an outcome."""
        return cls(
            done.found,
            done.reached,
            done.members,
            done.more,
            done.rooms,
            done.asked,
            done.servers,
            done.missing,
            done.reports,
        )

    def outcome(self) -> Outcome:
        """The outcome, without its sockets."""
        return Outcome(
            found=self.found,
            reached=self.reached,
            members=self.members,
            more=self.more,
            rooms=self.rooms,
            asked=self.asked,
            servers=self.servers,
            missing=self.missing,
            reports=self.reports,
        )


class Refused(Fields, tag=101):
    """A node did not carry out a command, for the reason with this name."""

    reason: str
    detail: str


class Answer(Fields, tag=102):
    """One of many answers: an ack (`bytes`), or the data that an app server keeps of its sockets."""

    sender: str
    payload: bytes | tuple[Chunk, ...]


class Finished(Fields, tag=103):
    """All that this node asked have answered, or the time is up for these."""

    missing: tuple[str, ...]


class Socket(Fields):
    """One socket of `Sockets`. `opened` in milliseconds since 1970; `handshake` is JSON."""

    id: str
    connection: str
    user: str | None
    opened: Count
    rooms: tuple[str, ...]
    handshake: bytes


class Sockets(Fields, tag=104):
    """Some of the sockets that a `FetchSockets` found; `server` serves all of them."""

    server: str
    rows: tuple[Socket, ...]


VERSION: Final = (1, 5)
"""Version of this form. Nodes whose first numbers differ do not work together. The second number grows with
each addition that older nodes ignore."""
MAX_SILENT: Final = 100
"""Most nodes that a heartbeat names as silent."""


class Alive(Fields, tag=105):
    """A heartbeat of the node that sends it. `new` asks the others for theirs at once. All versions have
    these fields, so nodes of two versions can tell that they differ."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    new: bool = False
    version: tuple[Count, Count] = VERSION
    region: Annotated[str, msgspec.Meta(max_length=64)] = ""
    advertise: Annotated[str, msgspec.Meta(max_length=300)] = ""
    """The URL at which app servers and other nodes reach the node; empty if it has none of its own."""
    clients: Count = 0
    state: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """"ready", or why the node takes no new clients; empty from an older node."""
    release: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Version of the package."""
    clock: float = 0.0
    """The time of the node when it sent this, in seconds; 0 from an older node."""
    interval: Annotated[float, msgspec.Meta(ge=0, le=3)] = 0.0
    """Seconds until its next heartbeat, at most; 0 from an older node, which sends one each second."""
    silent: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=MAX_SILENT)
    ] = ()
    """Incarnations of nodes that it does not hear any more."""
    unstored: bool = False
    """True if it keeps a journal and cannot store anything: its heir must not use what it has stored."""


class Goodbye(Fields, tag=106):
    """The node that sends it ends."""


class Mark(Fields, tag=107):
    """The sender is the home of an app server that covers the receiver from now on. Everything that it has
    forwarded to the receiver came before this message, and nothing follows."""

    instance: str
    term: Count


class Uncovered(Fields, tag=108):
    """The sender is the home of an app server that does not cover the receiver any more. What it forwards to
    the receiver follows."""

    instance: str
    term: Count


class Packets(Fields, tag=109):
    """Payloads for clients of one hub, with the ids of their connections: several `SendToConnection`."""

    hub: str
    packets: tuple[tuple[str, bytes], ...]


Hashes = Annotated[bytes, msgspec.Meta(max_length=2**26)]
"""Groups, 8 bytes each (`cluster.directory`)."""


class Delta(Fields, tag=120):
    """The groups whose first member has come to the sender, and those whose last member is gone."""

    number: Count
    """Grows by one with each delta of the sender."""
    added: Hashes
    removed: Hashes


class Acknowledged(Fields, tag=121):
    """The sender knows all groups of the receiver up to the delta with this number."""

    number: Count


class Snapshot(Fields, tag=122):
    """A part of all groups with members at the sender, as of the delta with this number."""

    number: Count
    first: bool
    last: bool
    groups: Hashes


class WantGroups(Fields, tag=123):
    """The sender asks for a snapshot."""


Part = Result | Refused | Answer | Finished | Sockets
Beat = Alive | Goodbye
Fence = Mark | Uncovered
Groups = Delta | Acknowledged | Snapshot | WantGroups
Recovering = Moving | Loss | Lateness | Handing
Body = Command | Packets | Part | Beat | Fence | Groups | Forwarding | Recovering | Tracing


class Envelope(Fields):
    """One message. `instance` to `covered` belong to commands that an app server's home forwards for it."""

    origin: str
    """Incarnation of the node that sends it."""
    body: Body
    request: Count = 0
    """Number of the command that is answered, given by the node that asked; 0 where nothing is answered."""
    instance: str = ""
    """Hub and instance of the app server that the command comes from."""
    term: Count = 0
    """The `term` of the app server's last `Cover`."""
    number: Count = 0
    """The app server's own number of the command."""
    covered: tuple[str, ...] = ()
    """Nodes that got the command from the app server itself."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode


def encode(envelope: Envelope) -> bytes:
    """The message's bytes."""
    return _encode(envelope)


def decode(data: bytes) -> Envelope:
    """Raises `PeerError` (node-bad-message, api-bad-filter), whatever `data` is."""
    try:
        envelope = _decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError(NODE_BAD_MESSAGE, str(error)[:200]) from None
    to: Selection | None = getattr(envelope.body, "to", None)
    if to is not None and to.filter is not None:
        # A text that does not compile is refused here, not in the middle of a command.
        _ = to.filter.predicate
    return envelope
