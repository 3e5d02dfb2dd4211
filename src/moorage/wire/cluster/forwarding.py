"""What two nodes tell each other about forwarded clients: declarations only.

The *owner* is the node that has a client's connection. The *host* is the node to which the client's app
server is linked; for it, the client is a guest. A message about one client names the id of its connection. A
message about an app server names the number that its node gave it, which is never used again.
"""

from __future__ import annotations

from moorage.wire.moorage.rows import Chunk, Count, Fields


class Pair(Fields, tag=110):
    """Begins everything else between two nodes. `token` names what the sender knows of the receiver's clients
    and app servers; `heard` is the last token of the receiver, or empty. A new token ends what was before."""

    token: str
    heard: str
    ask: bool
    """True if the sender does not know that the receiver has heard its token."""


class AppServerRow(Fields):
    """One app server of `AppServers`. `can` is a set of bits, in the order of `hub.hub.Capabilities`."""

    number: Count
    hub: str
    id: str
    instance: str
    dialect: str
    can: Count
    up: bool
    draining: bool
    emit_only: bool
    behind: bool
    clients: Count
    home: bool
    """True if this node is the one that forwards for it."""
    recovery: float = 0.0
    """Seconds that clients may be away whose sockets are recovered; 0 for none."""


class AppServers(Fields, tag=111):
    """All app servers that are linked to the sender."""

    rows: tuple[AppServerRow, ...]


# From the owner to the host.


class Offer(Fields, tag=112):
    """A client asks for a session. The rest is its `Handshake`."""

    server: Count
    connection: str
    user: str | None
    query: dict[str, list[str]]
    headers: dict[str, list[str]]
    claims: dict[str, list[str]]
    url: str
    address: str
    secure: bool


class Forward(Fields, tag=113):
    """Packets of clients with the ids of their connections, in the order in which they came."""

    packets: tuple[tuple[str, bytes], ...]


class Gone(Fields, tag=114):
    """The client is gone, for the reason with this name."""

    connection: str
    reason: str


class Moved(Fields, tag=115):
    """Somebody put the client's socket into rooms, or took it out (`AppPeer.moved`)."""

    connection: str
    namespace: str
    rooms: tuple[str, ...]
    joined: bool


class Left(Fields, tag=116):
    """Somebody took the client's socket out of a namespace (`AppPeer.left`)."""

    connection: str
    namespace: str


class Upgraded(Fields, tag=117):
    """The client has changed from polling to WebSocket."""

    connection: str


class Query(Fields, tag=118):
    """Asks an app server for its data of these sockets. The answers are `Data`."""

    server: Count
    number: Count
    namespace: str
    sockets: tuple[str, ...]


class Sync(Fields, tag=119):
    """Asks for `Synced` when the app server has taken the packets of this client: those that wait for it
    (`AppLink.drained`), or really all (`taken`)."""

    connection: str
    number: Count
    taken: bool


class Returning(Fields, tag=137):
    """Instead of a CONNECT packet: an earlier socket goes on with the client (`Returns.recover`)."""

    connection: str
    packet: bytes
    namespace: str
    sid: str
    rooms: tuple[str, ...]
    data: bytes


# From the host to the owner. Packets for the client travel as `messages.Packets`.


class Accepted(Fields, tag=130):
    """The app server accepts the client, on these terms (`OpenInfo`)."""

    connection: str
    ping_interval: Count
    ping_timeout: Count
    max_payload: Count


class Declined(Fields, tag=131):
    """The client is refused. `reason` is a name; status, text and code may be the app's own."""

    connection: str
    reason: str
    http: Count
    text: str
    eio: Count
    detail: str


class Close(Fields, tag=132):
    """The client must be closed, for the reason with this name."""

    connection: str
    reason: str
    who: str
    detail: str


class Read(Fields, tag=133):
    """Read from the client, or do not: the app server is behind."""

    connection: str
    on: bool


class Synced(Fields, tag=134):
    """The answer to `Sync`."""

    connection: str
    number: Count


class Data(Fields, tag=135):
    """An answer to `Query`. A question about many sockets gets several."""

    server: Count
    number: Count
    chunks: tuple[Chunk, ...]


class Unknown(Fields, tag=136):
    """The host does not know this client."""

    connection: str


class Saved(Fields, tag=138):
    """The app server's data of a socket whose client is away."""

    server: Count
    namespace: str
    sid: str
    data: bytes


FromOwner = Offer | Forward | Gone | Moved | Left | Upgraded | Query | Sync | Returning
FromHost = Accepted | Declined | Close | Read | Synced | Data | Unknown | Saved
Forwarding = Pair | AppServers | FromOwner | FromHost
