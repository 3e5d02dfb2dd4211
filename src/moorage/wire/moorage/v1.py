"""The `moorage.v1` dialect: frames and batches between an app server and a service.

A WebSocket message is one *batch*: a MessagePack array `[number, ack, frames]`. A frame is an array whose
first element is its type. A receiver ignores unknown fields at the end of a frame, so a new field needs no
new version; a new frame type does. The specification is docs/reference/link-protocol.md. `stream` handles
order and loss."""

from __future__ import annotations

from typing import Annotated, Final, Generic, NamedTuple, TypeVar

import msgspec

from moorage.wire.errors import PeerError
from moorage.wire.moorage.coverage import Cover as Cover  # noqa: PLC0414
from moorage.wire.moorage.coverage import Nodes as Nodes  # noqa: PLC0414
from moorage.wire.moorage.handover import Adopt as Adopt  # noqa: PLC0414
from moorage.wire.moorage.handover import Arriving as Arriving  # noqa: PLC0414
from moorage.wire.moorage.handover import Freeze as Freeze  # noqa: PLC0414
from moorage.wire.moorage.handover import HandOver as HandOver  # noqa: PLC0414
from moorage.wire.moorage.handover import Leaving as Leaving  # noqa: PLC0414
from moorage.wire.moorage.handover import Released as Released  # noqa: PLC0414
from moorage.wire.moorage.handover import Resume as Resume  # noqa: PLC0414
from moorage.wire.moorage.handover import State as State  # noqa: PLC0414
from moorage.wire.moorage.hello import AppHello as AppHello  # noqa: PLC0414
from moorage.wire.moorage.hello import ServiceHello as ServiceHello  # noqa: PLC0414
from moorage.wire.moorage.listing import array_head
from moorage.wire.moorage.recovery import Back as Back  # noqa: PLC0414
from moorage.wire.moorage.recovery import Parked as Parked  # noqa: PLC0414
from moorage.wire.moorage.recovery import Recover as Recover  # noqa: PLC0414
from moorage.wire.moorage.recovery import Save as Save  # noqa: PLC0414
from moorage.wire.moorage.recovery import Settled as Settled  # noqa: PLC0414
from moorage.wire.moorage.rows import Chunk as Chunk  # noqa: PLC0414
from moorage.wire.moorage.rows import Count, Fields
from moorage.wire.moorage.rows import Headers as Headers  # noqa: PLC0414
from moorage.wire.moorage.rows import Row as Row  # noqa: PLC0414
from moorage.wire.moorage.rows import Server as Server  # noqa: PLC0414
from moorage.wire.moorage.server_events import List as List  # noqa: PLC0414
from moorage.wire.moorage.server_events import Reply as Reply  # noqa: PLC0414
from moorage.wire.moorage.server_events import Servers as Servers  # noqa: PLC0414
from moorage.wire.moorage.server_events import Tell as Tell  # noqa: PLC0414
from moorage.wire.moorage.server_events import Told as Told  # noqa: PLC0414
from moorage.wire.moorage.tracing import Trace as Trace  # noqa: PLC0414
from moorage.wire.moorage.tracing import Traced as Traced  # noqa: PLC0414
from moorage.wire.reasons import LINK_BAD_FRAME

SUBPROTOCOL: Final = "moorage.v1"
REVISION: Final = 6
"""Counts additions within version 1. Each side sends its own revision; the lower one applies."""

VOLATILE: Final = 1
"""Flag of emits: skip sockets that cannot take the packet at once."""
LOCAL: Final = 2
"""Flag of emits: only clients of the app server that emits."""

Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=2.0**31)]
"""Infinity and NaN cannot reach a timer."""


class To(Fields):
    """Selects sockets of a namespace: in any of `rooms` (empty: all sockets) and in none of `excluded`. A
    socket's own id is a room."""

    namespace: str
    rooms: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


# --- both ways ---------------------------------------------------------------------------------


class Packet(Fields, tag=4):
    """Engine.IO packets from or for one client, joined by 0x1e."""

    client: Count
    payload: bytes


class Drain(Fields, tag=50):
    """The sender is about to stop. An app server sends it to get no new clients. The service sends it
    before it closes the link, in `seconds`."""

    seconds: Seconds = 0.0


# --- from the app server -------------------------------------------------------------------------


class Opened(Fields, tag=2):
    """Accepts a client with these terms: times in milliseconds, `max_payload` in bytes of one message."""

    client: Count
    ping_interval: Count
    ping_timeout: Count
    max_payload: Count


class Refused(Fields, tag=3):
    """Refuses a client. A status from 400 to 499 means a fault of the client, any other of the app server."""

    client: Count
    status: Count
    message: str


class Close(Fields, tag=6):
    """Closes a client's connection. After a `Drain` of the app server the client may reconnect."""

    client: Count


class Emit(Fields, tag=10):
    """Delivers `payload` to all of `to`. With `ref` 0 only a failure is answered."""

    ref: Count
    to: To
    flags: Count
    payload: bytes
    number: Count = 0
    """See `COUNTED`."""


class Ask(Fields, tag=11):
    """Delivers an event and collects an ack from each recipient: `Asked`, `Answer`s, `Done`."""

    ref: Count
    to: To
    flags: Count
    timeout: Count
    """Milliseconds."""
    payload: bytes
    number: Count = 0


class Enter(Fields, tag=20):
    """One of the app server's own sockets joins rooms."""

    ref: Count
    client: Count
    namespace: str
    rooms: tuple[str, ...]


class Exit(Fields, tag=21):
    """One of the app server's own sockets leaves rooms."""

    ref: Count
    client: Count
    namespace: str
    rooms: tuple[str, ...]


class Join(Fields, tag=22):
    """All of `to`, on any app server, join `rooms`; the app servers that serve them get `Moved`."""

    ref: Count
    to: To
    rooms: tuple[str, ...]
    number: Count = 0


class Leave(Fields, tag=23):
    """All of `to` leave `rooms`."""

    ref: Count
    to: To
    rooms: tuple[str, ...]
    number: Count = 0


class Disconnect(Fields, tag=24):
    """All of `to` leave their namespace; `close` ends their connections as well."""

    ref: Count
    to: To
    close: bool
    number: Count = 0


class Fetch(Fields, tag=30):
    """Lists the sockets in `to`: `Sockets`, then `Data` from each app server that is asked, then `Done`."""

    ref: Count
    to: To
    timeout: Count
    others: bool = False
    """Exclude the sender's own sockets."""
    number: Count = 0


class Facts(Fields, tag=33):
    """The answer to `Query`: an object for each of its sockets, in the same order."""

    ref: Count
    chunks: tuple[Chunk, ...]


Counted = Emit | Ask | Join | Leave | Disconnect | Fetch | Tell
"""Frames that an app server numbers with one counter, which never goes back while it runs. Revision 3; the
number is 0 if the app server does not count."""


class Again(Fields, tag=53):
    """A frame of a lost home session that may not have been forwarded: to be forwarded only. Revision 4."""

    frame: Counted


class Unfinished(Fields, tag=64):
    """A frame of a session at `node`, which is lost: the one at `place` (from 0) of a batch. Revision 5."""

    node: str
    session: str
    batch: Count
    place: Count
    frame: Emit | Join | Leave | Disconnect | Packet | Enter | Exit | Close


# --- from the service ----------------------------------------------------------------------------


class Open(Fields, tag=1):
    """A client requests a session. `handshake` is JSON."""

    client: Count
    id: str
    user: str | None
    handshake: bytes


class Closed(Fields, tag=5):
    """A client is gone. `cause` is Socket.IO's disconnect reason; `reason` and `number` are ours."""

    client: Count
    number: Count
    reason: str
    cause: str


class Left(Fields, tag=7):
    """Another app server or the API disconnected this socket from its namespace and notified the client."""

    client: Count
    namespace: str


class Upgraded(Fields, tag=9):
    """The client has changed its transport. Revision 2."""

    client: Count
    transport: str


class Moved(Fields, tag=8):
    """Another app server or the API changed this socket's rooms."""

    client: Count
    namespace: str
    joined: bool
    rooms: tuple[str, ...]


class Asked(Fields, tag=12):
    """The number of answers that an `Ask`, a `Tell` or a `Fetch` waits for."""

    ref: Count
    count: Count


class Answer(Fields, tag=13):
    """One answer: from a socket to an `Ask`, or from an app server to a `Tell`. `sender` is its id."""

    ref: Count
    sender: str
    payload: bytes


class Done(Fields, tag=14):
    """The end of request `ref`. `missing` lists the sockets or app servers that did not answer."""

    ref: Count
    count: Count
    missing: tuple[str, ...] = ()


class Failed(Fields, tag=15):
    """Request `ref` failed (0: a request without a number)."""

    ref: Count
    number: Count
    reason: str
    message: str


class Sockets(Fields, tag=31):
    """Part of the answer to `Fetch`."""

    ref: Count
    servers: tuple[str, ...]
    rows: tuple[Row, ...]
    headers: tuple[Headers, ...] = ()


class Query(Fields, tag=32):
    """Another app server requests the data of these sockets. The answer is `Facts`."""

    ref: Count
    namespace: str
    sockets: tuple[str, ...]


class Data(Fields, tag=34):
    """`Facts` of `server`, passed on, in the order of its rows in `Sockets`."""

    ref: Count
    server: str
    chunks: tuple[Chunk, ...]


FromApp = (
    Counted
    | AppHello
    | Opened
    | Refused
    | Packet
    | Close
    | Enter
    | Exit
    | Facts
    | Reply
    | List
    | Cover
    | Again
    | Save
    | Unfinished
    | Settled
    | HandOver
    | State
    | Traced
    | Drain
)
FromService = (
    ServiceHello
    | Open
    | Packet
    | Closed
    | Left
    | Upgraded
    | Moved
    | Asked
    | Answer
    | Done
    | Failed
    | Sockets
    | Query
    | Data
    | Told
    | Servers
    | Nodes
    | Recover
    | Parked
    | Back
    | Freeze
    | Adopt
    | Released
    | Resume
    | Trace
    | Drain
)

COUNTED: Final = frozenset((Emit, Ask, Join, Leave, Disconnect, Fetch, Tell))
"""The types of `Counted`."""

FrameT = TypeVar("FrameT")


class Batch(NamedTuple, Generic[FrameT]):
    """`number` 0 is outside the numbering and has no order. `ack`: the highest number that was taken."""

    number: int
    ack: int
    frames: list[FrameT]


MAX_FRAMES: Final = 131_072
"""Maximum frames of one batch of an app server. Batches of up to 256 KiB, as the specification requires,
never have more. The largest message could hold five million of the smallest frames. The decoder checks the
number before it decodes any frame."""

FewFrames = msgspec.Meta(max_length=MAX_FRAMES)
_encode = msgspec.msgpack.Encoder().encode
_from_app = msgspec.msgpack.Decoder(tuple[Count, Count, Annotated[list[FromApp], FewFrames]])
_from_service = msgspec.msgpack.Decoder(tuple[Count, Count, list[FromService]])


def encode_frame(frame: FromApp | FromService) -> bytes:
    """The bytes of one frame."""
    return _encode(frame)


def encode_batch(number: int, ack: int, frames: list[bytes]) -> bytes:
    """The bytes of a batch of encoded frames."""
    return b"".join((b"\x93", _encode(number), _encode(ack), array_head(len(frames)), *frames))


def decode_from_app(data: bytes) -> Batch[FromApp]:
    """Decode a batch of an app server. Raises `PeerError` (link-bad-frame)."""
    return _decode(_from_app, data)


def decode_from_service(data: bytes) -> Batch[FromService]:
    """Decode a batch of the service. Raises `PeerError` (link-bad-frame)."""
    return _decode(_from_service, data)


def _decode(decoder: msgspec.msgpack.Decoder[tuple[int, int, list[FrameT]]], data: bytes) -> Batch[FrameT]:
    try:
        return Batch(*decoder.decode(data))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError(LINK_BAD_FRAME, str(error)[:200]) from None
