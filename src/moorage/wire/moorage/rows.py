"""The parts that frames of `moorage.v1` repeat. Declarations only; `v1` has the frames."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Every integer of the dialect: not negative, and exact as a JavaScript number."""


class Fields(msgspec.Struct, array_like=True, gc=False):
    """Base of arrays: the values in their order on the wire."""


class Row(Fields):
    """One socket of `Sockets`. `server` is an index into the frame's list; `opened` is in milliseconds since
    1970. The private room is not listed. `shared` is the number of the frame's `Headers` that complete
    the handshake; 0 for none."""

    id: str
    connection: str
    user: str | None
    server: Count
    opened: Count
    rooms: tuple[str, ...]
    handshake: bytes
    shared: Count = 0


class Headers(Fields):
    """The JSON of headers that many clients share."""

    number: Count
    headers: bytes


class Chunk(Fields):
    """An app server's data of some sockets: a JSON array of `count` objects."""

    count: Count
    facts: bytes


class Server(Fields):
    """One app server of `Servers`."""

    id: str
    dialect: str
    up: bool
    clients: Count
