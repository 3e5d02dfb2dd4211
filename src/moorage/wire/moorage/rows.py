"""What frames of `moorage.v1` hold many of. Declarations only; see `tunnel`."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Every integer of the dialect: none is negative, and JavaScript's numbers hold all of them exactly."""


class Fields(msgspec.Struct, array_like=True, gc=False):
    """Values in their order on the wire."""


class Row(Fields):
    """One socket of `Sockets`. `server` counts in the frame's list; `opened` in milliseconds since
    1970. The private room is not listed. `shared`: the number of the frame's `Headers` that belong to
    its handshake as well; 0 for none."""

    id: str
    connection: str
    user: str | None
    server: Count
    opened: Count
    rooms: tuple[str, ...]
    handshake: bytes
    shared: Count = 0


class Headers(Fields):
    """JSON of headers that many clients have in common."""

    number: Count
    headers: bytes


class Chunk(Fields):
    """What an app server keeps of some sockets: a JSON array of `count` objects."""

    count: Count
    facts: bytes


class Server(Fields):
    """One app server of `Servers`."""

    id: str
    dialect: str
    up: bool
    clients: Count
