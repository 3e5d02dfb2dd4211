"""The `moorage.v1` dialect: frames and batches between an app server and a service.

A WebSocket message is one *batch*: a MessagePack array `[number, ack, frames]`. A frame is an array
too, its first element the type. Fields that a receiver does not know stand at the end of a frame
and are ignored, so a field may be added without a new version; a frame type may not.

The page docs/reference/link-protocol.md is the specification; order and loss are `stream`'s matter.
"""

from __future__ import annotations

from typing import Annotated, Final, Generic, NamedTuple, TypeVar

import msgspec

from moorage.wire.errors import PeerError
from moorage.wire.moorage.listing import array_head
from moorage.wire.moorage.rows import Chunk as Chunk  # noqa: PLC0414
from moorage.wire.moorage.rows import Count, Fields
from moorage.wire.moorage.rows import Headers as Headers  # noqa: PLC0414
from moorage.wire.moorage.rows import Row as Row  # noqa: PLC0414
from moorage.wire.moorage.rows import Server as Server  # noqa: PLC0414
from moorage.wire.reasons import LINK_BAD_FRAME

SUBPROTOCOL: Final = "moorage.v1"
REVISION: Final = 2
"""Counts additions within version 1. Each side names its own; the lower one holds."""

VOLATILE: Final = 1
"""Flag of emits: leave out who cannot take it at once."""
LOCAL: Final = 2
"""Flag of emits: only clients of the app server that emits."""

Size = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""With a window of 0 nothing would ever be sent. What a service accepts is its own matter."""
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=2.0**31)]
"""Bounds keep infinity and NaN out of timers."""


class _Frame(Fields):
    """A frame's fields, after its type."""


class To(_Frame):
    """Which sockets of a namespace: in any of `rooms` (none named: all), in none of `excluded`. A
    socket's own id is a room."""

    namespace: str
    rooms: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


# --- both ways ---------------------------------------------------------------------------------


class Packet(_Frame, tag=4):
    """Engine.IO packets of or for one client, joined by 0x1e."""

    client: Count
    payload: bytes


class Drain(_Frame, tag=50):
    """The sender is about to stop. To the service: give me no new clients. From it: expect to
    lose this link; `seconds` is how long it still waits."""

    seconds: Seconds = 0.0


# --- from the app server -------------------------------------------------------------------------


class AppHello(_Frame, tag=0):
    """The first frame. `session` and `received` name what to resume; "" and 0 for a new session."""

    revision: Count
    sdk: str
    session: str
    received: Count
    window: Size
    """Bytes that the app server takes unacknowledged."""
    emit_only: bool = False
    """It never gets clients."""


class Opened(_Frame, tag=2):
    """Takes a client, on these terms: milliseconds, and bytes of one message."""

    client: Count
    ping_interval: Count
    ping_timeout: Count
    max_payload: Count


class Refused(_Frame, tag=3):
    """Does not. A status from 400 to 499 blames the client, any other the app server."""

    client: Count
    status: Count
    message: str


class Close(_Frame, tag=6):
    """End a client's connection. After a `Drain` of the app server it may come back."""

    client: Count


class Emit(_Frame, tag=10):
    """Deliver `payload` to all of `to`. `ref` 0: nothing is answered unless it fails."""

    ref: Count
    to: To
    flags: Count
    payload: bytes


class Ask(_Frame, tag=11):
    """Deliver an event and collect an ack from each: `Asked`, `Answer`s, `Done`."""

    ref: Count
    to: To
    flags: Count
    timeout: Count
    """Milliseconds."""
    payload: bytes


class Enter(_Frame, tag=20):
    """One of the app server's own sockets joins rooms."""

    ref: Count
    client: Count
    namespace: str
    rooms: tuple[str, ...]


class Exit(_Frame, tag=21):
    """One of the app server's own sockets leaves rooms."""

    ref: Count
    client: Count
    namespace: str
    rooms: tuple[str, ...]


class Join(_Frame, tag=22):
    """All of `to`, whoever serves them, join `rooms`; the app servers that serve them hear `Moved`."""

    ref: Count
    to: To
    rooms: tuple[str, ...]


class Leave(_Frame, tag=23):
    """All of `to` leave `rooms`."""

    ref: Count
    to: To
    rooms: tuple[str, ...]


class Disconnect(_Frame, tag=24):
    """All of `to` leave their namespace; `close` ends their connections as well."""

    ref: Count
    to: To
    close: bool


class Fetch(_Frame, tag=30):
    """Who is in `to`: `Sockets`, then `Data` of each app server asked, then `Done`."""

    ref: Count
    to: To
    timeout: Count
    others: bool = False
    """Not the asker's own: it knows them."""


class Facts(_Frame, tag=33):
    """The answer to `Query`: an object for each of its sockets, in its order."""

    ref: Count
    chunks: tuple[Chunk, ...]


class Tell(_Frame, tag=40):
    """An event for all other app servers. `timeout` in milliseconds; 0 = no answers wanted."""

    ref: Count
    namespace: str
    timeout: Count
    payload: bytes


class Reply(_Frame, tag=42):
    """The answer to `Told`."""

    ref: Count
    payload: bytes


class List(_Frame, tag=43):
    """Which app servers does the hub have?"""

    ref: Count


# --- from the service ----------------------------------------------------------------------------


class ServiceHello(_Frame, tag=0):
    """The answer to `AppHello`; times in milliseconds."""

    revision: Count
    service: str
    session: str
    resumed: bool
    received: Count
    window: Size
    max_batch: Size
    """Bytes of one message that the service reads."""
    keepalive: Count
    grace: Count
    hub: str
    node: str
    max_payload: Count = 0
    """Bytes of one message that the service takes from a client; 0 if the service does not say."""


class Open(_Frame, tag=1):
    """A client asks for a session. `handshake` is JSON."""

    client: Count
    id: str
    user: str | None
    handshake: bytes


class Closed(_Frame, tag=5):
    """A client is gone. `cause` in Socket.IO's words, `reason` and `number` in ours."""

    client: Count
    number: Count
    reason: str
    cause: str


class Left(_Frame, tag=7):
    """Somebody else took this socket out of its namespace; the client has been told."""

    client: Count
    namespace: str


class Upgraded(_Frame, tag=9):
    """The client has changed its transport. Revision 2."""

    client: Count
    transport: str


class Moved(_Frame, tag=8):
    """Somebody else changed this socket's rooms."""

    client: Count
    namespace: str
    joined: bool
    rooms: tuple[str, ...]


class Asked(_Frame, tag=12):
    """How many an `Ask`, a `Tell` or a `Fetch` waits for now."""

    ref: Count
    count: Count


class Answer(_Frame, tag=13):
    """One answer: of a socket to an `Ask`, of an app server to a `Tell`; `sender` is its id."""

    ref: Count
    sender: str
    payload: bytes


class Done(_Frame, tag=14):
    """The end of what `ref` asked for. `missing`: who should have answered and did not."""

    ref: Count
    count: Count
    missing: tuple[str, ...] = ()


class Failed(_Frame, tag=15):
    """What `ref` asked for was not done (`ref` 0: something without a number)."""

    ref: Count
    number: Count
    reason: str
    message: str


class Sockets(_Frame, tag=31):
    """Part of the answer to `Fetch`."""

    ref: Count
    servers: tuple[str, ...]
    rows: tuple[Row, ...]
    headers: tuple[Headers, ...] = ()


class Query(_Frame, tag=32):
    """Another app server wants to know these sockets' data: answer with `Facts`."""

    ref: Count
    namespace: str
    sockets: tuple[str, ...]


class Data(_Frame, tag=34):
    """`Facts` of `server`, passed on: in the order of its rows in `Sockets`."""

    ref: Count
    server: str
    chunks: tuple[Chunk, ...]


class Told(_Frame, tag=41):
    """An event from another app server. `ref` 0: it wants no answer."""

    ref: Count
    sender: str
    namespace: str
    payload: bytes


class Servers(_Frame, tag=44):
    """The answer to `List`."""

    ref: Count
    rows: tuple[Server, ...]


FromApp = (
    AppHello
    | Opened
    | Refused
    | Packet
    | Close
    | Emit
    | Ask
    | Enter
    | Exit
    | Join
    | Leave
    | Disconnect
    | Fetch
    | Facts
    | Tell
    | Reply
    | List
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
    | Drain
)

FrameT = TypeVar("FrameT")


class Batch(NamedTuple, Generic[FrameT]):
    """`number` 0: outside the numbering, without meaning for order. `ack`: the highest number that
    the sender of this batch has taken."""

    number: int
    ack: int
    frames: list[FrameT]


MAX_FRAMES: Final = 131_072
"""Frames of one batch of an app server. An app server that gathers up to 256 KiB, as the protocol page says,
never has so many. Five million of the smallest would go into the largest message. The decoder looks at the
number before it makes anything of the frames."""

FewFrames = msgspec.Meta(max_length=MAX_FRAMES)
_encode = msgspec.msgpack.Encoder().encode
_from_app = msgspec.msgpack.Decoder(tuple[Count, Count, Annotated[list[FromApp], FewFrames]])
_from_service = msgspec.msgpack.Decoder(tuple[Count, Count, list[FromService]])


def encode_frame(frame: FromApp | FromService) -> bytes:
    """One frame's bytes, a part of a batch."""
    return _encode(frame)


def encode_batch(number: int, ack: int, frames: list[bytes]) -> bytes:
    """A batch of finished frames."""
    return b"".join((b"\x93", _encode(number), _encode(ack), array_head(len(frames)), *frames))


def decode_from_app(data: bytes) -> Batch[FromApp]:
    """A batch of an app server. Raises `PeerError` (link-bad-frame)."""
    return _decode(_from_app, data)


def decode_from_service(data: bytes) -> Batch[FromService]:
    """A batch of the service. Raises `PeerError` (link-bad-frame)."""
    return _decode(_from_service, data)


def _decode(decoder: msgspec.msgpack.Decoder[tuple[int, int, list[FrameT]]], data: bytes) -> Batch[FrameT]:
    try:
        return Batch(*decoder.decode(data))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError(LINK_BAD_FRAME, str(error)[:200]) from None
