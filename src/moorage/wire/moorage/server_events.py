"""The frames by which app servers of a hub exchange events with each other."""

from __future__ import annotations

from moorage.wire.moorage.rows import Count, Fields, Server

# --- from the app server -------------------------------------------------------------------------


class Tell(Fields, tag=40):
    """An event for all other app servers. `timeout` in milliseconds; 0 = no answers wanted."""

    ref: Count
    namespace: str
    timeout: Count
    payload: bytes
    number: Count = 0


class Reply(Fields, tag=42):
    """The answer to `Told`."""

    ref: Count
    payload: bytes


class List(Fields, tag=43):
    """Lists the app servers of the hub."""

    ref: Count


# --- from the service ----------------------------------------------------------------------------


class Told(Fields, tag=41):
    """An event from another app server. With `ref` 0 it expects no answer."""

    ref: Count
    sender: str
    namespace: str
    payload: bytes


class Servers(Fields, tag=44):
    """The answer to `List`."""

    ref: Count
    rows: tuple[Server, ...]
