"""What a node writes down, so that another one can give its clients their sockets back when it is lost
(docs/explanation/architecture.md, "A node is lost"). Declarations, and their bytes.

An *entry* is one thing that happened in the delivery log of a hub, which has the name `epoch`. Entries are
stored in the order in which the things happened, in *pages*. Times are those of the node's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from moorage.wire.commands import Selection
from moorage.wire.errors import PeerError
from moorage.wire.moorage.rows import Count, Fields
from moorage.wire.reasons import NODE_BAD_MESSAGE
from moorage.wire.recovery.moving import Segment


class Linked(Fields, tag=1):
    """An app server has a session at the node, or has none any more. Also names the hub of the log."""

    epoch: str
    hub: str
    instance: str
    up: bool


class Known(Fields, tag=2):
    """A socket that may be recovered: it has begun (`new`), has come back on a new connection (`back`), or is
    still there. The last one is repeated from time to time, so that old pages are not needed."""

    epoch: str
    position: Count
    now: float
    pid: str
    connection: str
    channel: Count
    """The client's number on the link of its app server; 0 if it has none."""
    namespace: str
    sid: str
    user: str | None
    server: str
    lasts: float
    since: Count
    live_since: float
    confirmed: float
    groups: tuple[str, ...]
    new: bool = False
    back: bool = False
    parked: bool = False
    data: bytes | None = None
    margin: float = 0.0


class Changed(Fields, tag=3):
    """The socket joins or leaves a group."""

    epoch: str
    position: Count
    now: float
    pid: str
    group: str
    joined: bool


class Away(Fields, tag=4):
    """The client of a connection is away, and its sockets are parked."""

    epoch: str
    now: float
    connection: str


class Saved(Fields, tag=5):
    """The app's data of a parked socket."""

    epoch: str
    pid: str
    data: bytes


class Ended(Fields, tag=6):
    """The socket cannot be recovered any more."""

    epoch: str
    pid: str


class Event(Fields, tag=7):
    """An event is sent. `keys` are its lanes, and `to` is None for an app server's packet to one socket."""

    epoch: str
    position: Count
    now: float
    namespace: str
    payload: bytes
    keys: tuple[str, ...]
    to: Selection | None = None
    source: str = ""
    number: Count = 0
    ack: Count = 0
    """Its ack id + 1, or 0."""


class Steps(Fields, tag=8):
    """The event at this position is delivered in steps from now on; `over`: the last one is done."""

    epoch: str
    position: Count
    to: Selection
    over: bool


class Taken(Fields, tag=9):
    """The frames of an app server's session are carried out: all batches before the one with this number,
    and the first `place` frames of that one."""

    epoch: str
    session: str
    batch: Count
    place: Count


class Moved(Fields, tag=10):
    """What a socket has brought along from other nodes (`wire.recovery.moving.Taken`). Its events have the
    positions after `base` and up to `end`."""

    epoch: str
    pid: str
    base: Count
    end: Count
    segments: tuple[Segment, ...]
    whole: bool
    executed: dict[str, Count]
    seen: tuple[tuple[str, Count], ...]


class Heard(Fields, tag=11):
    """What another node sent has been carried out, up to the messages with these numbers. They are those that
    come next, among the messages to all nodes and among those to this one (`cluster.streams`)."""

    node: str
    all: Count
    direct: Count


class Acked(Fields, tag=12):
    """The client of a socket has acknowledged an event."""

    epoch: str
    pid: str
    ack_id: Count


Entry = Linked | Known | Changed | Away | Saved | Ended | Event | Acked | Steps | Taken | Moved
Line = Entry | Heard
"""An entry, or what concerns no log."""


class Page(Fields):
    """Some entries. The numbers of pages have no gap, unless something is missing."""

    number: Count
    wall: float
    """When it was written, in seconds since 1970."""
    now: float
    """The same by the node's clock."""
    entries: tuple[msgspec.Raw, ...]


_encode: Final = msgspec.msgpack.Encoder().encode
_entry: Final[Callable[[msgspec.Raw | bytes], Line]] = msgspec.msgpack.Decoder(Line).decode
_page: Final = msgspec.msgpack.Decoder(Page).decode


def encode(entry: Line) -> bytes:
    """The bytes of one entry."""
    return _encode(entry)


def encode_page(number: int, wall: float, now: float, entries: Iterable[bytes]) -> bytes:
    """The bytes of a page with these encoded entries."""
    return _encode(Page(number, wall, now, tuple([msgspec.Raw(entry) for entry in entries])))


def decode(raw: msgspec.Raw | bytes) -> Line:
    """Raises `PeerError` (node-bad-message)."""
    try:
        return _entry(raw)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise PeerError(NODE_BAD_MESSAGE, str(error)[:200]) from None


def decode_page(data: bytes) -> Page:
    """Raises `PeerError` (node-bad-message)."""
    try:
        return _page(data)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise PeerError(NODE_BAD_MESSAGE, str(error)[:200]) from None
