"""App servers of the moorage dialect without a socket: time is a number, and a link's transport is a list.

The sessions and the handling of WebSocket frames are the service's own; `Line` stands for
the transport alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from moorage.edge.moorage.link import MoorageSocket
from moorage.edge.moorage.server import MoorageServer
from moorage.edge.moorage.sessions import Sessions
from moorage.edge.settings import EdgeLimits, LinkSettings
from moorage.hub.hub import Connection, Hub
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage import v1
from moorage.wire.moorage.stream import Incoming, Outgoing
from moorage.wire.reasons import LINK_LOST, Reason
from tests.edge.azure.rig import messages
from tests.hub.fakes import HUB, RecordingOpening, World, heard, sink_of

TERMS = (25_000, 20_000, 1_000_000)
STEP = 0.25


class Line(MoorageSocket):
    """A link's WebSocket: what the service writes to it, how it ends, whether it takes data."""

    def __init__(self, sessions: Sessions, hub: str, server_id: str) -> None:
        super().__init__(sessions, hub, server_id)
        self.writes: list[bytes] = []
        self.closed: list[Reason] = []
        self.takes: int | None = None
        """How many more writes until it is congested; None: no end."""
        self._heard = True

    def write(self, *parts: bytes) -> None:
        assert not self.closed, "a write after the end"
        self.writes += messages(b"".join(parts))
        if self.takes is not None:
            self.takes -= 1
            if self.takes <= 0:
                self.pause_writing()

    def heard(self) -> bool:
        heard, self._heard = self._heard, False
        return heard

    def close(self, reason: Reason) -> None:
        self.closed.append(reason)
        super().close(reason)

    def feed(self, data: bytes, kind: WSMsgType = WSMsgType.BINARY) -> None:
        """One message of the app server."""
        self._heard = True
        self.on_ws_frame(None, _make_test_ws_frame(kind, data, True, False))  # type: ignore[arg-type]

    def lose(self) -> None:
        """The connection breaks."""
        self._end(LINK_LOST)
        self._lost()
        self._greeter.sweep.forget(self)


class App:
    """One app server: its end of the stream, over one link after another."""

    def __init__(self, rig: Rig, server_id: str, window: int = 1 << 22) -> None:
        self.rig = rig
        self.id = server_id
        self.instance = ""
        self.recovery = 0
        self.quiet = False
        self.traces = False
        self.out = Outgoing(1 << 22)
        self.inc = Incoming(window)
        self.line: Line
        self.hello: v1.ServiceHello
        self.frames: list[v1.FromService] = []
        """What came and no `heard` has shown yet."""
        self.ref = 0

    def dial(self, session: str = "", *, received: int | None = None, revision: int = v1.REVISION) -> App:
        """Open a link and greet. Without an answer `line.closed` says why."""
        self.line = Line(self.rig.sessions, self.rig.hub_name, self.id)
        self.rig.sessions.sweep.watch(self.line, 10.0)
        last = self.inc.received if received is None else received
        hello = v1.AppHello(
            revision,
            "test",
            session,
            last,
            self.inc.window,
            instance=self.instance,
            recovery=self.recovery,
            quiet=self.quiet,
            traces=self.traces,
        )
        self.line.feed(v1.encode_batch(0, 0, [v1.encode_frame(hello)]))
        if self.line.closed:
            return self
        answer = v1.decode_from_service(self.line.writes.pop(0)).frames[0]
        assert isinstance(answer, v1.ServiceHello)
        self.hello = answer
        if answer.resumed:
            for batch in self.out.resume(answer.received):
                self.line.feed(batch)
            self.say()
        else:
            self.out, self.inc = Outgoing(answer.window), Incoming(self.inc.window)
        return self

    def back(self) -> App:
        """Resume."""
        return self.dial(self.hello.session)

    def cut(self) -> None:
        """The link breaks; what was on its way to the app server is lost."""
        self.line.writes.clear()
        self.line.lose()

    @property
    def server(self) -> MoorageServer:
        """The service's side."""
        return self.rig.sessions._sessions[self.rig.hub.name, self.id][0]

    def say(self, *frames: v1.FromApp) -> None:
        """Frames, in a batch of their own."""
        for frame in frames:
            self.out.queue(v1.encode_frame(frame))
        while (batch := self.out.take(self.inc.told())) is not None:
            self.line.feed(batch)

    def queue(self, frame: v1.FromApp, *, now: bool) -> None:
        """One frame, to leave now or after the next resume."""
        if now:
            self.say(frame)
        else:
            self.out.queue(v1.encode_frame(frame))

    def ack(self) -> None:
        """Nothing but an acknowledgement."""
        self.line.feed(v1.encode_batch(0, self.inc.told(), []))

    def read(self, *, take: bool = True) -> None:
        """Take what has come."""
        writes, self.line.writes = self.line.writes, []
        for data in writes:
            batch = v1.decode_from_service(data)
            self.out.taken(batch.ack)
            if batch.number and self.inc.arrived(batch.number, len(data)):
                self.frames += batch.frames
        if take:
            self.inc.take_all()

    def heard(self, *kinds: type[Any]) -> list[Any]:
        """What came since the last look, at the end of this tick; all else is dropped."""
        self.rig.settle()
        self.read()
        frames, self.frames = self.frames, []
        return [frame for frame in frames if not kinds or isinstance(frame, kinds)]

    def ask(self, make: Callable[[int], v1.FromApp]) -> list[Any]:
        """A request, and all that came in answer to it so far."""
        self.ref += 1
        self.heard()
        self.say(make(self.ref))
        return [frame for frame in self.heard() if getattr(frame, "ref", None) == self.ref]

    def client(self, *namespaces: str, framed: bool = True, **handshake: Any) -> tuple[int, Connection]:
        """A client that this app server has taken, connected to `namespaces`; its number."""
        number, connection, _ = self.opening(framed=framed, **handshake)
        self.say(v1.Opened(number, *TERMS))
        for namespace in namespaces:
            self.connect(number, connection, namespace)
        self.heard()
        self.rig.world.settle()
        return number, connection

    def opening(self, *, framed: bool = True, **handshake: Any) -> tuple[int, Connection, RecordingOpening]:
        """A client that asks for this app server's word."""
        for server in self.rig.hub.servers.all():
            server.draining = server.id != self.id
        opening = RecordingOpening(framed=framed)
        connection = self.rig.world.open(opening, **handshake)
        asked = self.heard(v1.Open)[-1]
        assert asked.id == connection.id
        return asked.client, connection, opening

    def connect(self, number: int, connection: Connection, namespace: str = "/") -> str:
        """A socket; its id."""
        comma = "" if namespace == "/" else f"{namespace},"
        sid = f"s{number}{'' if namespace == '/' else namespace}"
        self.rig.world.node.receive(connection, f"40{comma}".encode())
        self.say(v1.Packet(number, f'40{comma}{{"sid":"{sid}"}}'.encode()))
        return sid


class Rig:
    """All sessions of the dialect and the node behind them."""

    def __init__(
        self, *, links: LinkSettings | None = None, limits: EdgeLimits | None = None, hub: str = HUB
    ) -> None:
        limits = limits or EdgeLimits()
        given: dict[str, Any] = {"links": links, "limits": limits}
        self.world = World(**{name: value for name, value in given.items() if value is not None})
        self.hub_name = hub
        self.flushes: list[Callable[[], object]] = []
        self.sessions = Sessions(
            self.world.node,
            self.world.metrics,
            self.world.links,
            limits.outbox_bytes_link,
            node_id="n1",
            clock=lambda: self.world.now,
            wall_clock=lambda: 1_700_000_000.0 + self.world.now,
            later=self.flushes.append,
        )

    @property
    def hub(self) -> Hub:
        """The hub of all app servers here."""
        return self.world.hub(self.hub_name)

    def app(self, server_id: str = "s1", window: int = 1 << 22) -> App:
        """An app server with a new session."""
        return App(self, server_id, window).dial()

    def settle(self) -> None:
        """The end of the loop tick."""
        while self.flushes or self.world.scheduled or self.world.turns:
            while self.flushes:
                self.flushes.pop(0)()
            self.world.settle()

    def after(self, seconds: float) -> None:
        """Time passes as in a running service, in small steps."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.now = min(end, self.world.now + STEP)
            self.sessions.tick(self.world.now)
            self.world.node.tick(self.world.now)
            self.settle()


def say(rig: Rig, connection: Connection, *packets: bytes) -> None:
    """A client's packets."""
    for packet in packets:
        rig.world.node.receive(connection, packet)


def closed(app: App) -> list[tuple[int, str, str]]:
    """The ends that the app server has heard of."""
    return [(frame.client, frame.reason, frame.cause) for frame in app.heard(v1.Closed)]


def ends(rig: Rig) -> list[str]:
    """Why clients were closed."""
    return [reason for _, reason, *_ in rig.world.logged]


class Pair:
    """Two app servers with two clients each, all in `/`."""

    def __init__(self, **given: Any) -> None:
        self.rig = Rig(**given)
        self.one, self.two = self.rig.app("one"), self.rig.app("two")
        self.clients: dict[str, Connection] = {}
        """By socket id: the app server's name, then 1 or 2."""
        self.numbers: dict[str, int] = {}
        for app in (self.one, self.two):
            for place in (1, 2):
                number, connection, _opening = app.opening()
                app.say(v1.Opened(number, 25_000, 20_000, 1_000_000))
                sid = f"{app.id}{place}"
                self.rig.world.node.receive(connection, b"40")
                app.say(v1.Packet(number, f'40{{"sid":"{sid}"}}'.encode()))
                self.clients[sid] = connection
                self.numbers[sid] = number
        for app in (self.one, self.two):
            app.heard()
        self.forget()

    def forget(self) -> None:
        """What clients have heard so far."""
        self.rig.settle()
        for connection in self.clients.values():
            sink_of(connection).writes.clear()

    def got(self, payload: bytes) -> list[str]:
        """Which clients have heard this, each as often as it did."""
        self.rig.settle()
        clients = self.clients.items()
        return [sid for sid, client in clients for packet in heard(client) if packet == payload]

    def rooms(self, sid: str) -> list[str]:
        """Of a socket, but for its own."""
        connection = self.clients[sid]
        own = {namespace_group("/"), room_group("/", sid)}
        names = {room_group("/", name): name for name in ("a", "b", "c")}
        return sorted(names[group] for group in connection.groups - own)
