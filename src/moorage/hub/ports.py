"""What the hub needs from outside. Each port belongs to the hub and has at most five methods. A method only
queues: it does not wait, and it does not raise because of a peer. `ClientT_contra` is `Connection`, which has
ports itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from moorage.hub.handover.sockets import Made
from moorage.wire.commands import Ask, Cast, Outcome, Write
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import Reason

AnswerT_contra = TypeVar("AnswerT_contra", contravariant=True)
ClientT_contra = TypeVar("ClientT_contra", contravariant=True)

SendNow = Callable[[int, bytes], int]
"""Gives bytes to the kernel for the socket with this descriptor, without waiting. Returns how many it took;
raises `OSError` if it took none."""
Drained = Callable[[], object]
Reply = Callable[[Any, Outcome | Exception], None]
"""Takes `about` and the result of a command, once. `about` is what the caller gave to `Node.submit`, so that
no caller needs a closure for each packet. An exception is a `PeerError` if the command was refused, and
anything else for a defect of the service."""
Later = Callable[[Callable[[], object]], object]
"""Makes the event loop call a callback in its next turn."""
Faults = Callable[[str, Exception], None]
"""Logs and counts, for a part, an exception that must not reach the caller: a defect of the service."""
Schedule = Callable[[], object]
"""Schedules a call at the end of this loop tick."""


class ClientSink(Protocol):
    """A client's current transport: a WebSocket, or the polls of a polling client."""

    framed: bool
    """True if it takes WebSocket frames (concatenated), False if payloads (packets joined by 0x1e)."""
    packs: bool
    """True if it takes compressed WebSocket frames."""
    transport: str
    """`websocket` or `polling`: the metrics label."""
    max_packets: int
    """Largest number of packets in one write, if the sink takes payloads."""

    @property
    def descriptor(self) -> int:
        """The socket to which `SendNow` may write while the sink takes data. The sink then buffers nothing
        itself. -1 if everything must go through `write`."""

    def write(self, data: bytes) -> None:
        """Write what the outbox has gathered in this loop tick."""

    def close(self, reason: Reason, rest: list[bytes]) -> None:
        """Write `rest` (frames or payloads), close in the transport's own way, and end."""

    def progress(self) -> int:
        """A number, 0 or more, that changes when the client takes some of what was written."""

    def pause_reading(self) -> None:
        """Stop reading from the client, because the destination of its data is full."""

    def resume_reading(self) -> None:
        """Read from the client again."""


Who = Literal["client", "app", "service", "api"]
"""Who ended a connection."""


class RefusedError(PeerError):
    """A client is refused, and the `Observer` has been told."""


class Observer(Protocol[ClientT_contra]):
    """Is told of every change of a client and its sockets, never of a packet. Each opened client is closed
    once, and each joined socket leaves once, before its client is closed."""

    def opened(self, connection: ClientT_contra, transport: str) -> None:
        """A client has a session now."""

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        """A client that asked for a session does not get one."""

    def joined(self, connection: ClientT_contra, namespace: str) -> None:
        """A client has a socket in a namespace now."""

    def left(self, connection: ClientT_contra, namespace: str) -> None:
        """It has none any more."""

    def closed(
        self, connection: ClientT_contra, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """The session has ended after `age` seconds; `queued` bytes had not been written."""


class Opening(Protocol[ClientT_contra]):
    """A client that has asked for a session and waits for the app server's decision."""

    transport: str
    """`websocket` or `polling`."""

    def accepted(self, connection: ClientT_contra, info: OpenInfo) -> None:
        """The session is open: answer the client and attach a sink."""

    def refused(self, reason: Reason, detail: str) -> None:
        """The session is refused: tell the client and forget it."""


class AppLink(Protocol[ClientT_contra]):
    """The way to one app server, in either dialect."""

    def open(self, connection: ClientT_contra, handshake: Handshake) -> None:
        """Ask the app server to take this client. It answers with `Node.accept` or `Node.refuse`."""

    def forward(self, connection: ClientT_contra, packet: bytes) -> None:
        """Forward one packet of the client, in order."""

    def closed(self, connection: ClientT_contra, reason: Reason) -> None:
        """The client is gone. Called once for each accepted client, after its last packet."""

    def drained(self, connection: ClientT_contra, done: Drained) -> None:
        """Call `done` when the app server has taken all packets forwarded so far."""

    def taken(self, connection: ClientT_contra, done: Drained) -> None:
        """Call `done` when the app server has taken everything this client has sent."""


class Recovered(NamedTuple):
    """A socket whose client has come back."""

    packet: bytes
    """The client's CONNECT packet."""
    namespace: str
    sid: str
    rooms: tuple[str, ...]
    """All but the private room."""
    data: bytes
    """What the app server saved, as JSON; empty for nothing."""


class AppPeer(Protocol[ClientT_contra]):
    """What an app server is told besides its clients' packets, if its dialect can express it."""

    def moved(
        self, connection: ClientT_contra, namespace: str, rooms: tuple[str, ...], *, joined: bool
    ) -> None:
        """Another app server or a REST caller put the client's socket into rooms, or took it out."""

    def left(self, connection: ClientT_contra, namespace: str) -> None:
        """Another app server or a REST caller took the client's socket out of its namespace."""

    def upgraded(self, connection: ClientT_contra) -> None:
        """The client has changed from polling to WebSocket."""

    def query(self, number: int, namespace: str, sockets: tuple[str, ...]) -> None:
        """Another app server asks for this one's data of these sockets. The answer is `Chunk`s."""

    def told(self, number: int | None, sender: str, namespace: str, payload: bytes) -> None:
        """An event from another app server. With a number, an answer is expected: an ACK packet."""


class AppMover(Protocol[ClientT_contra]):
    """An app server whose clients can move to another one. `channel` is what its link knows a client by."""

    def freeze(self, channel: object) -> None:
        """Finish the client's handlers. The answer is `Move.left`."""

    def adopt(self, connection: ClientT_contra, sockets: tuple[Made, ...]) -> object:
        """Offer a client that has these sockets; returns its channel. The answer is `Node.accept` or
        `Node.refuse`."""

    def withdraw(self, channel: object) -> None:
        """It has not answered. The client is not offered any more."""

    def released(self, channel: object) -> None:
        """Another app server serves the client."""

    def resume(self, channel: object) -> None:
        """Go on with the client. Called before the packets that it has sent meanwhile are forwarded."""


class Returns(Protocol[ClientT_contra]):
    """What an app server is told of clients that go away and come back, if its sockets may be recovered."""

    def recover(self, connection: ClientT_contra, socket: Recovered) -> None:
        """Instead of a CONNECT packet: an earlier socket goes on with this client."""

    def parked(self, connection: ClientT_contra, reason: Reason) -> bool:
        """Quiet recovery: a client has gone away and may come back. False if that cannot be told now."""

    def back(self, connection: ClientT_contra, namespace: str, sid: str, former: ClientT_contra) -> None:
        """Quiet recovery: a socket of the `former` connection belongs to this one now."""


class Wanted(NamedTuple):
    """A parked socket that a client comes back to."""

    hub: str
    pid: str
    namespace: str
    user: str | None
    offset: str | None


class Elsewhere(Protocol):
    """Parked sockets of other nodes."""

    def fetch(self, wanted: Wanted, done: Callable[[str], object]) -> None:
        """Let a socket come to this node. Calls `done` once, perhaps at once: with "" if it is here, or with
        the name of the cause (`hub.recovery.causes`) if it does not come."""


class Owner(Protocol[ClientT_contra]):
    """The node that has the connections of guests. Guests are clients whose app server is linked to this
    node."""

    def accepted(self, guest: ClientT_contra, info: OpenInfo) -> None:
        """The app server accepts the guest."""

    def refused(self, guest: ClientT_contra, reason: Reason, detail: str) -> None:
        """The app server refuses the guest, or cannot take it."""

    def send(self, guest: ClientT_contra, payload: bytes) -> None:
        """The app server sends the guest an Engine.IO payload."""

    def close(self, guest: ClientT_contra, reason: Reason, *, who: Who, detail: str) -> None:
        """The guest must be closed. It is no guest any more."""

    def read(self, guest: ClientT_contra, *, on: bool) -> None:
        """Read from the guest, or do not."""


class Answers(Protocol[AnswerT_contra]):
    """Receives the answers to a question."""

    def answer(self, sender: str, payload: AnswerT_contra) -> None:
        """One complete answer. A client's is an Engine.IO payload, and `sender` is its socket id."""

    def finish(self, missing: tuple[str, ...]) -> None:
        """All have answered, or the time is up and the `missing` have not."""


class Inspector(Protocol):
    """Shows operators this node."""

    def inspect(self, what: str, arguments: bytes) -> Generator[bool, None, bytes]:
        """A job (`hub.turns`) that answers a question (`wire.inspect.forms`) in JSON; empty for no answer. It
        raises `PeerError` for arguments that cannot be read."""

    def drain(self) -> object:
        """Let the node drain and end."""


class Interest(Protocol):
    """Notified about the groups that have members."""

    def first(self, hub: str, group: str) -> None:
        """A group has its first member."""

    def last(self, hub: str, group: str) -> None:
        """A group has lost its last member, or turns out to be the private room of a socket. Perhaps it was
        never announced."""


class Members(Interest, Protocol):
    """Notified about the groups that have members on this node."""

    def is_pending(self, hub: str, groups: Iterable[str]) -> bool:
        """True if another node does not know yet that one of these groups has members here."""

    def when_visible(self, hub: str, groups: Iterable[str], call: Callable[[], object]) -> None:
        """Call back once all nodes know that these groups have members here: at once, if they do."""


class Reach(Protocol):
    """Some or all of the other nodes. What they send in turn goes to `Node.carry_out`."""

    def cast(self, command: Cast, here: Outcome) -> None:
        """Send on a cast that this node has delivered to its own clients, with the result `here`."""

    def write(self, command: Write, here: Outcome, reply: Reply, about: Any) -> None:
        """Send on a write that this node has carried out with the result `here`. Reply with the merged
        outcome once the write is in effect everywhere."""

    def ask(
        self, command: Ask, reply: Reply, about: Any, answers: Answers[Any] | None
    ) -> tuple[Reply, Any, Answers[Any] | None]:
        """Send on an ask, before this node answers it. Returns what takes this node's own reply and
        answers; the caller's get those of all nodes, and the names of the nodes that are missing."""
