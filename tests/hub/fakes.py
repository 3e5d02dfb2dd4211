"""Small real implementations of the hub's ports, and a node with them, whose time is `World.now`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from moorage.edge.settings import LinkSettings
from moorage.engine.upgrade import Step
from moorage.hub.hub import NO_PEER, AppServer, Capabilities, Client, Connection, Hub
from moorage.hub.node import Node
from moorage.hub.ports import Answers, AppPeer, Drained, Members, Opening, Reach, Reply
from moorage.hub.settings import HubSettings, Limits
from moorage.hub.turns import finished
from moorage.metrics.metrics import Metrics
from moorage.wire.commands import (
    Command,
    JoinGroups,
    Outcome,
    Selection,
    Send,
    SendToConnection,
    merged,
)
from moorage.wire.engineio import encode_binary
from moorage.wire.groups import room_group
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import Reason
from tests.hub.observer import RecordingObserver

HUB = "app"
LEAST = Capabilities(keeps_heartbeat=True)
"""Capabilities of Azure's SDK."""
MOST = Capabilities(
    wants_room_changes=True, told_of_expelled=True, answers_queries=True, takes_server_events=True
)
"""Capabilities of our SDKs."""


def unframe(data: bytes) -> list[bytes]:
    """The packets in concatenated WebSocket frames, in text form."""
    reader = StreamReader()
    reader.feed_data(data)
    packets: list[bytes] = []

    def frames() -> Generator[None, None, None]:
        while True:
            frame = yield from Frame.parse(reader.read_exact, mask=False)
            content = bytes(frame.data)
            packets.append(encode_binary(content) if frame.opcode is Opcode.BINARY else content)

    next(frames())
    assert not reader.buffer
    return packets


class RecordingSink:
    """`ports.ClientSink` that keeps what it is given. `takes` = how many writes it takes before it
    is full (a polling client's: one per poll)."""

    def __init__(self, *, framed: bool = True) -> None:
        self.framed = framed
        self.packs = False
        self.transport = "websocket" if framed else "polling"
        self.descriptor = -1
        self.writes: list[bytes] = []
        self.closed: list[tuple[Reason, bytes]] = []
        self.reading = True
        self.max_packets = 16
        self.taken = 0
        """Increased by a test whose client reads."""

    def write(self, data: bytes) -> None:
        assert not self.closed, "a write after the end"
        self.writes.append(data)

    def close(self, reason: Reason, rest: list[bytes]) -> None:
        self.closed.append((reason, (b"" if self.framed else b"\x1e").join(rest)))

    def progress(self) -> int:
        return self.taken

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def packets(self) -> list[bytes]:
        """All packets so far, in text form, including those of the close."""
        data = [*self.writes, *(rest for _, rest in self.closed if rest)]
        if self.framed:
            return unframe(b"".join(data))
        return [packet for payload in data for packet in payload.split(b"\x1e")]


class PollingSink(RecordingSink):
    """A sink that takes a single write per `poll`, like HTTP long-polling."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(framed=False)
        self._connection = connection

    def write(self, data: bytes) -> None:
        super().write(data)
        self._connection.outbox.block()

    def poll(self) -> None:
        """Simulate a GET."""
        self._connection.outbox.unblock()


class RecordingLink:
    """`ports.AppLink` that records its calls and runs `on_open` at each `open`."""

    def __init__(self) -> None:
        self.opened: list[tuple[Any, Handshake]] = []
        self.forwarded: list[tuple[str, bytes]] = []
        self.ended: list[tuple[str, Reason]] = []
        self.waiting: list[tuple[Client, Drained]] = []
        """Called when the app server has taken packets."""
        self.on_open: Callable[[Any], object] = lambda connection: None

    def open(self, connection: Client, handshake: Handshake) -> None:
        self.opened.append((connection, handshake))
        self.on_open(connection)

    def forward(self, connection: Client, packet: bytes) -> None:
        assert connection.id not in {gone for gone, _ in self.ended}, "a packet after the end"
        self.forwarded.append((connection.id, packet))

    def closed(self, connection: Client, reason: Reason) -> None:
        self.ended.append((connection.id, reason))

    def drained(self, connection: Client, done: Drained) -> None:
        done()

    def taken(self, connection: Client, done: Drained) -> None:
        self.waiting.append((connection, done))

    def take(self) -> None:
        """Make the app server take all packets."""
        waiting, self.waiting = self.waiting, []
        for _, done in waiting:
            done()

    def packets(self, connection: Client) -> list[bytes]:
        """The packets of one client."""
        return [packet for client, packet in self.forwarded if client == connection.id]


class RecordingPeer:
    """`ports.AppPeer` that records its notifications."""

    def __init__(self) -> None:
        self.moves: list[tuple[str, str, tuple[str, ...], bool]] = []
        """Connection, namespace, rooms, joined."""
        self.lefts: list[tuple[str, str]] = []
        self.upgrades: list[str] = []
        self.queries: list[tuple[int, str, tuple[str, ...]]] = []
        self.tellings: list[tuple[int | None, str, str, bytes]] = []

    def moved(self, connection: Client, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        self.moves.append((connection.id, namespace, rooms, joined))

    def left(self, connection: Client, namespace: str) -> None:
        self.lefts.append((connection.id, namespace))

    def upgraded(self, connection: Client) -> None:
        self.upgrades.append(connection.id)

    def query(self, number: int, namespace: str, sockets: tuple[str, ...]) -> None:
        self.queries.append((number, namespace, sockets))

    def told(self, number: int | None, sender: str, namespace: str, payload: bytes) -> None:
        self.tellings.append((number, sender, namespace, payload))


class RecordingOpening:
    """`ports.Opening` that attaches a sink on acceptance, like the real transports."""

    def __init__(self, *, framed: bool = True) -> None:
        self.framed = framed
        self.transport = "websocket" if framed else "polling"
        self.accepts: list[tuple[Connection, OpenInfo]] = []
        self.refusals: list[tuple[Reason, str]] = []

    def accepted(self, connection: Connection, info: OpenInfo) -> None:
        self.accepts.append((connection, info))
        if self.framed:
            connection.session.step(Step.OPENED_WEBSOCKET)
            connection.outbox.attach(RecordingSink(), ready=True)
        else:
            connection.session.step(Step.OPENED_POLLING)
            connection.outbox.attach(PollingSink(connection), ready=False)

    def refused(self, reason: Reason, detail: str) -> None:
        self.refusals.append((reason, detail))


class RecordingAnswers:
    """`ports.Answers` that records them."""

    def __init__(self) -> None:
        self.payloads: list[Any] = []
        self.senders: list[str] = []
        self.missing: tuple[str, ...] = ()
        self.finished = 0

    def answer(self, sender: str, payload: Any) -> None:
        assert not self.finished, "an answer after the end"
        self.senders.append(sender)
        self.payloads.append(payload)

    def finish(self, missing: tuple[str, ...]) -> None:
        self.finished += 1
        self.missing = missing


class RecordingCluster:
    """`ports.Reach` and `ports.Members` that records the messages that leave the node."""

    def __init__(self) -> None:
        self.casts: list[tuple[Command, Outcome]] = []
        self.writes: list[tuple[Command, Outcome]] = []
        self.asks: list[Command] = []
        self.groups: list[tuple[str, str]] = []
        """`first` or `last`, and the group."""
        self.replies: list[Callable[[Outcome | Exception], None]] = []
        """Call them to reply to the writes."""
        self.own: list[Outcome | Exception] = []
        """This node's own replies to asks."""

    def cast(self, command: Command, here: Outcome) -> None:
        self.casts.append((command, here))

    def write(self, command: Command, here: Outcome, reply: Reply, about: Any) -> None:
        self.writes.append((command, here))
        self.replies.append(partial(reply, about))

    def ask(
        self, command: Command, reply: Reply, about: Any, answers: Answers[Any] | None
    ) -> tuple[Reply, Any, Answers[Any] | None]:
        self.asks.append(command)

        def own(_: object, outcome: Outcome | Exception) -> None:
            self.own.append(outcome)
            if isinstance(outcome, Outcome):
                outcome = merged([outcome, Outcome(found=False, missing=("n2",))])
            reply(about, outcome)

        return own, None, answers

    def first(self, hub: str, group: str) -> None:
        self.groups.append(("first", group))

    def last(self, hub: str, group: str) -> None:
        self.groups.append(("last", group))

    def is_pending(self, hub: str, groups: Iterable[str]) -> bool:
        """No other node is waited for."""
        return False

    def when_visible(self, hub: str, groups: Iterable[str], call: Callable[[], object]) -> None:
        """No other node is waited for."""
        call()


@dataclass
class World:
    """A node with short helper methods."""

    limits: Limits = field(default_factory=Limits)
    links: LinkSettings = field(default_factory=LinkSettings)
    hubs: Mapping[str, HubSettings] = field(default_factory=dict)
    allow_unlisted_hubs: bool = True
    cluster: Reach | None = None
    members: Members | None = None

    def __post_init__(self) -> None:
        self.now = 1_000.0
        self.scheduled = 0
        self.turns = 0
        """Number of requested turns."""
        self.callbacks: list[Callable[[], object]] = []
        """Other callbacks for the next turn of the loop."""
        self.wake = 0.0
        """Time of the last requested wake-up of the heartbeat."""
        self.wakes = 0
        self.observer = RecordingObserver()
        self.logged = self.observer.closes
        self.faults: list[tuple[str, Exception]] = []
        """Part, exception."""
        self._ids = 0
        self.metrics = Metrics("test")
        self.node = Node(
            new_id=self._new_id,
            clock=lambda: self.now,
            later=self._later,
            observer=self.observer,
            faults=lambda part, error: self.faults.append((part, error)),
            limits=self.limits,
            invoke_timeout=self.links.invoke_timeout,
            hubs=self.hubs,
            allow_unlisted_hubs=self.allow_unlisted_hubs,
        )
        self.node.cluster = self.cluster
        self.node.members = self.members
        self.node.heartbeats.wake_at = self._wake_at

    def _new_id(self) -> str:
        self._ids += 1
        return f"c{self._ids:04}"

    def _later(self, callback: Callable[[], object]) -> None:
        if callback == self.node.turns.run:
            self.turns += 1
        elif callback == self.node.flusher.run:
            self.scheduled += 1
        else:
            self.callbacks.append(callback)

    def _wake_at(self, when: float) -> None:
        self.wake = when
        self.wakes += 1

    def tick(self) -> None:
        """End one tick of the loop: a turn and a flush, if they were requested."""
        if self.turns:
            self.turns -= 1
            self.node.turns.run()
        if self.scheduled:
            self.scheduled -= 1
            self.node.flusher.run()

    def settle(self) -> None:
        """Run ticks until no more are requested."""
        while self.scheduled or self.turns:
            self.tick()

    @property
    def sockets(self) -> int:
        """Open sockets of all hubs."""
        return len(self.observer.sockets)

    def hub(self, name: str = HUB) -> Hub:
        """A hub that must exist."""
        found = self.node.hub(name)
        assert found is not None
        return found

    def server(
        self,
        server_id: str = "s1",
        hub: str = HUB,
        *,
        peer: AppPeer[Client] = NO_PEER,
        terms: OpenInfo | None = None,
    ) -> tuple[AppServer, RecordingLink]:
        """An app server that is up and accepts every client at once. With a `peer` it has all
        capabilities, and the service keeps its clients' heartbeat."""
        link = RecordingLink()
        info = OpenInfo() if terms is None else terms
        link.on_open = lambda connection: self.node.accept(connection, info)
        server = AppServer(server_id, link, "test", LEAST if peer is NO_PEER else MOST, peer)
        server.up = True
        self.node.ensure_hub(hub).servers.add(server)
        return server, link

    def open(self, opening: Opening[Connection], *, hub: str = HUB, **handshake: Any) -> Connection:
        """A client asks for a session."""
        return self.node.connect(hub, Handshake(query={}, headers={}, **handshake), opening)

    def client(self, *namespaces: str, framed: bool = True, **handshake: Any) -> Connection:
        """A client with a socket in each of `namespaces`; its packets so far are dropped."""
        connection = self.open(RecordingOpening(framed=framed), **handshake)
        for namespace in namespaces:
            self.enter(connection, namespace)
        self.settle()
        sink = sink_of(connection)
        if isinstance(sink, PollingSink):
            # One poll gets the answers to CONNECT, the next one waits.
            sink.poll()
            sink.poll()
        sink.writes.clear()
        return connection

    def enter(self, connection: Connection, namespace: str = "/", sid: str | None = None) -> str:
        """A socket's CONNECT and its answer; the socket id."""
        sid = sid or f"{connection.id}{namespace}"
        prefix = "" if namespace == "/" else f"{namespace},"
        self.node.receive(connection, f"40{prefix}".encode())
        self.send(connection, f'40{prefix}{{"sid":"{sid}"}}'.encode())
        return sid

    def join(self, connection: Connection, *rooms: str, namespace: str = "/") -> Outcome:
        """Join rooms like `socket.join`."""
        groups = tuple(room_group(namespace, room) for room in rooms)
        return self.execute(JoinGroups(HUB, Selection(connection=connection.id), groups))

    def send(self, connection: Connection, payload: bytes) -> Outcome:
        """Send to one connection."""
        return self.execute(SendToConnection(connection.hub.name, connection.id, payload))

    def emit(self, to: Selection, payload: bytes, *, hub: str = HUB, control: bool = False) -> Outcome:
        """Send to all selected connections."""
        return self.execute(Send(hub, to, payload, control=control))

    def execute(self, command: Command, answers: Answers[Any] | None = None) -> Outcome:
        """Execute any command in one step."""
        (outcome,) = self.submit(command, answers)
        return outcome

    def submit(self, command: Command, answers: Answers[Any] | None = None) -> list[Outcome]:
        """Submit any command. Returns the reply, which may come later; an immediate exception is raised."""
        replies: list[Outcome] = []
        asked = object()

        def reply(about: object, outcome: Outcome | Exception) -> None:
            assert about is asked
            if isinstance(outcome, Exception):
                raise outcome
            replies.append(outcome)

        job = self.node.submit(command, reply, asked, answers)
        if job is not None:
            finished(job)
        return replies


def sink_of(connection: Connection) -> RecordingSink:
    """The sink that a connection writes to."""
    sink = connection.outbox.sink
    assert isinstance(sink, RecordingSink)
    return sink


def heard(connection: Connection) -> list[bytes]:
    """The packets written to a client that is still connected."""
    return sink_of(connection).packets
