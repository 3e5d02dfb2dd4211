"""How an app server hands over to the heir of a lost node if it has no session there: its home forwards what
the lost node had not carried out (docs/explanation/architecture.md, "A node is lost"). Declarations only."""

from __future__ import annotations

from moorage.wire.moorage.rows import Count, Fields


class HeirSought(Fields, tag=173):
    """Does the receiver go on with the sockets of a lost node in this hub? It answers when it knows."""

    lost: str
    hub: str


class HeirFound(Fields, tag=174):
    """The answer. If `is_heir`, what the sender needs to know of the sockets' groups came before it."""

    lost: str
    hub: str
    is_heir: bool


class Unfinished(Fields, tag=175):
    """A command of an app server that the lost node may not have carried out (`v1.Unfinished`)."""

    lost: str
    hub: str
    session: str
    batch: Count
    place: Count
    client: Count
    """The app server's number of the client that the command is for; 0 for a command that names groups."""
    message: bytes
    """A `wire.cluster.messages.Envelope` with the command. If there is a client, the command has no
    connection."""


class Settled(Fields, tag=176):
    """That was all (`v1.Settled`)."""

    lost: str
    hub: str
    instance: str
    number: Count


class Saved(Fields, tag=177):
    """The data of a socket that the lost node had (`v1.Save`)."""

    hub: str
    server: str
    """The id of the app server."""
    namespace: str
    sid: str
    data: bytes


Handing = HeirSought | HeirFound | Unfinished | Settled | Saved
