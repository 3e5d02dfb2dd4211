"""What the hub needs from outside. Each port belongs to the hub and has few methods, and all of them
only queue: none waits, none raises for a peer's sake."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moorage.wire.commands import Ask, Cast, Outcome, Write
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import Reason

if TYPE_CHECKING:
    from moorage.hub.connection import Connection

AnswerT_contra = TypeVar("AnswerT_contra", contravariant=True)


class ClientSink(Protocol):
    """A client's transport of the moment: a WebSocket, or the polls of a polling client."""

    framed: bool
    """Takes WebSocket frames (concatenated); else payloads (packets joined by 0x1e)."""
    transport: str
    """`websocket` or `polling`: the metrics label."""
    max_packets: int
    """Packets in one write, where the sink takes payloads."""

    @property
    def send(self) -> SendFrame | None:
        """A shorter way for one whole frame, if there is one."""

    def write(self, data: bytes) -> None:
        """Hand over what the outbox has gathered in this loop tick."""

    def close(self, reason: Reason, rest: list[bytes]) -> None:
        """Write `rest` (frames, or payloads), say goodbye in the transport's own way, end."""

    def progress(self) -> int:
        """A number, 0 or more, that changes when the client takes something of what was written."""

    def pause_reading(self) -> None:
        """Stop taking the client's data: what it would go to is full."""

    def resume_reading(self) -> None:
        """Take it again."""


class SendFrame(Protocol):
    """Writes one frame: its opcode, and a buffer in which the payload stands behind `FRAME_HEADROOM` bytes
    of room for the header. The buffer is shared by all who get the frame."""

    def __call__(self, opcode: int, buffer: bytearray, offset: int, /) -> None: ...


class Opening(Protocol):
    """Whoever asked for a session and waits for the app server's word."""

    def accepted(self, connection: Connection, info: OpenInfo) -> None:
        """The session is open: answer the client, attach a sink."""

    def refused(self, reason: Reason, detail: str) -> None:
        """It is not: tell the client and forget it."""


class AppLink(Protocol):
    """One app server, in whatever dialect it speaks."""

    def open(self, connection: Connection, handshake: Handshake) -> None:
        """Ask whether it takes this client; the answer comes as `Node.accept` or `Node.refuse`."""

    def forward(self, connection: Connection, packet: bytes) -> None:
        """Pass on one packet of the client, in order."""

    def closed(self, connection: Connection, reason: Reason) -> None:
        """The client is gone. Comes once for each accepted client, after its last packet."""

    def drained(self, connection: Connection, done: Drained) -> None:
        """Call `done` when the app server has taken all packets forwarded so far."""

    def taken(self, connection: Connection, done: Drained) -> None:
        """Call `done` when the app server has taken what this client has said, however fast it is."""


class Drained(Protocol):
    """A callback without arguments."""

    def __call__(self) -> object: ...


class AppPeer(Protocol):
    """An app server whose dialect says more than what clients send: what others do to its sockets,
    and how its clients come."""

    def moved(self, connection: Connection, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        """Somebody else put the client's socket into rooms, or took it out."""

    def left(self, connection: Connection, namespace: str) -> None:
        """Somebody else took the client's socket out of its namespace."""

    def upgraded(self, connection: Connection) -> None:
        """The client has changed from polling to WebSocket."""

    def query(self, number: int, namespace: str, sockets: tuple[str, ...]) -> None:
        """Another one wants to know what it keeps of these sockets: `Chunk`s."""

    def told(self, number: int | None, sender: str, namespace: str, payload: bytes) -> None:
        """An event from another one; with a number it is asked for an answer, an ACK packet."""


class Answers(Protocol[AnswerT_contra]):
    """Where the answers to a question go."""

    def answer(self, sender: str, payload: AnswerT_contra) -> None:
        """One complete answer: of a client (`sender` is its socket id) an Engine.IO payload."""

    def finish(self, missing: tuple[str, ...]) -> None:
        """All asked have answered, or the time is up and these have not."""


class Reply(Protocol):
    """Takes the result of a command, once. `about` is what the caller gave to `Node.submit`, so that no
    caller needs a closure for each packet. An exception is a `PeerError` if the command was refused, and
    anything else for a defect of the service."""

    def __call__(self, about: Any, outcome: Outcome | Exception, /) -> None: ...


class Members(Protocol):
    """Notified about the groups that have members on this node."""

    def first(self, hub: str, group: str) -> None:
        """A group has its first member on this node."""

    def last(self, hub: str, group: str) -> None:
        """A group has lost its last member on this node."""


class Cluster(Members, Protocol):
    """The other nodes. What they send in turn goes to `Node.carry_out`."""

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


class Later(Protocol):
    """Has a callback called in the next turn of the event loop."""

    def __call__(self, callback: Callable[[], object], /) -> object: ...


class Schedule(Protocol):
    """How the outboxes get their flush at the end of the loop tick."""

    def __call__(self) -> object: ...
