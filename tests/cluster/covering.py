"""App servers with sessions at several nodes, over a network that does only what it is told. The nodes are
the service's own: hub, router, directory, forwarding, `Coverage` and sessions. The app servers are driven by
the SDK's planner (`sdk.link.fleet`) and its sessions. Each link between the two is a pair of queues."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from random import Random

from picows import WSMsgType

from moorage.cluster.coverage import Coverage
from moorage.cluster.membership import Member
from moorage.cluster.memory import MemoryNetwork
from moorage.cluster.router import Router
from moorage.edge.moorage.sessions import Sessions
from moorage.edge.settings import EdgeLimits, LinkSettings
from moorage.hub.hub import Connection
from moorage.hub.ports import RefusedError
from moorage.sdk.aio.fleet import again
from moorage.sdk.link.fleet import Aim, Fleet, Order, Seat, aim_of
from moorage.sdk.link.session import Counts, End, Part, Session, WrongNode
from moorage.wire.cluster import VERSION, Alive
from moorage.wire.moorage import v1
from tests.cluster.nodes import NodeWorld
from tests.edge.moorage.rig import TERMS, Line
from tests.hub.fakes import HUB, RecordingOpening, RecordingSink

GRACE = 2.0
STEP = 0.25
_NORMAL = struct.pack("!H", 1000)


class ServiceNode:
    """One node."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.name = name
        self.alive = True
        self.world = NodeWorld(links=LinkSettings(grace=GRACE))
        self.world.incarnation = name
        self.world.now = cluster.now
        self.router = Router(self.world.node, cluster.network.broker(name), name)
        self.flushes: list[Callable[[], object]] = []
        self.sessions = Sessions(
            self.world.node,
            self.world.metrics,
            self.world.links,
            EdgeLimits().outbox_bytes_link,
            node_id=name,
            clock=lambda: self.world.now,
            wall_clock=lambda: self.world.now,
            later=self.flushes.append,
        )
        self.coverage = Coverage(
            self.world.node,
            self.router,
            Member(name, name, "", "", VERSION),
            lambda node: node.incarnation in cluster.reachable,
            most=cluster.most,
        )
        self.sessions.homes = self.coverage
        self.router.start()
        self.router.join(Alive(name))

    @property
    def is_busy(self) -> bool:
        world = self.world
        return bool(self.flushes or world.scheduled or world.turns or world.callbacks)

    def settle(self) -> None:
        """The end of the loop tick."""
        while self.is_busy:
            flushes, self.flushes = self.flushes, []
            for flush in flushes:
                flush()
            self.world.settle()
        assert not self.world.faults, self.world.faults

    def tick(self, now: float) -> None:
        self.world.now = now
        self.sessions.tick(now)
        self.world.node.tick(now)
        self.router.tick(now)
        self.settle()

    def die(self, network: MemoryNetwork) -> None:
        self.alive = False
        network.attach(self.name, None)


class Berth:
    """One link of an app server, and its session."""

    def __init__(self, app: App, seat: Seat) -> None:
        self.app = app
        self.seat = seat
        self.session = Session(sdk="test", instance=app.instance, counts=app.counts)
        self.session.heard_nodes = lambda frame: app.listed(self, frame)
        self.line: Line | None = None
        self.node: ServiceNode
        self.to_node: deque[bytes] = deque()
        self.down_since = app.cluster.now

    def flush(self) -> None:
        if self.line is not None:
            self.to_node.extend(self.session.batches())


class _Answers:
    """`sdk.link.session.Answers` of a request in several sessions."""

    def __init__(self, owed: int, done: Callable[[], object]) -> None:
        self._owed = owed
        self._done = done

    def part(self, frame: Part, source: int = 0, /) -> None:
        """Part of the answer."""

    def end(self, frame: End) -> None:
        assert isinstance(frame, v1.Done)
        self._owed -= 1
        if not self._owed:
            self._done()

    def failed(self, error: Exception) -> None:
        """A session is lost, and with it the answer."""


class App:
    """One app server. It follows `sdk.aio.fleet.Links`."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.id = name
        self.instance = f"instance-{name}"
        self.counts = Counts()
        self.fleet = Fleet()
        self.berths: dict[int, Berth] = {}
        self.clients: dict[tuple[int, int], str] = {}
        """Connections by slot and number, from `Open` to the disconnect."""
        self.ended: list[str] = []
        """Connections of which a disconnect was reported."""
        self.ref = 0
        self.refused: list[v1.Failed] = []
        self._berth(self.fleet.add())

    def _berth(self, seat: Seat) -> None:
        self.berths[seat.slot] = Berth(self, seat)

    # -- links --------------------------------------------------------------------------------------

    def dial(self, berth: Berth) -> None:
        """One attempt."""
        seat = berth.seat
        alone = len(self.berths) == 1 or (not self.fleet.up and seat is self.fleet.anchor)
        wanted = "" if alone else seat.node
        node = self.cluster.node_for(wanted)
        if node is None:
            return
        line = Line(node.sessions, HUB, self.id)
        node.sessions.sweep.watch(line, 10.0)
        line.feed(berth.session.hello())
        node.settle()
        if line.closed:
            return
        try:
            greeting = berth.session.greeted(line.writes.pop(0), wanted)
        except WrongNode:
            line.feed(_NORMAL, WSMsgType.CLOSE)
            return
        if greeting.lost:
            self.lost(berth)
        berth.line, berth.node = line, node
        berth.to_node.extend(greeting.again)
        twin = self.fleet.twin(seat, node.name)
        if twin is not None:
            self._drop(twin)
        berth.session.lost = None
        self._tell(self.fleet.greeted(seat, node.name, new=not greeting.resumed))
        self._settle()

    def cut(self, berth: Berth) -> None:
        """The link breaks, and with it what is under way."""
        line, berth.line = berth.line, None
        berth.to_node.clear()
        berth.down_since = self.cluster.now
        if line is not None:
            if berth.node.alive and not line.closed:
                line.lose()
            self.fleet.down(berth.seat)
            self._settle()

    def give_up(self, berth: Berth) -> None:
        """The app server does not wait for its session any longer."""
        self.cut(berth)
        if berth.session.id:
            berth.session.forget("lost")
            self.lost(berth)

    def lost(self, berth: Berth) -> None:
        """A session is over, and with it its clients."""
        slot = berth.seat.slot
        was_home = berth.seat is self.fleet.home
        self.cluster.session_lost(self, berth.seat.node, was_home=was_home)
        for key in [key for key in self.clients if key[0] == slot]:
            self._end(key)
        orders = self.fleet.lost(berth.seat)
        if orders:
            self._tell(orders)
            untaken = berth.session.untaken()
            for frame in untaken if was_home else ():
                made = again(frame)
                if made is not None:
                    self.berths[self.fleet.anchor.slot].session.put(v1.encode_frame(made))
            self._settle()

    def listed(self, berth: Berth, frame: v1.Nodes) -> None:
        self.fleet.listed(berth.seat, frame)
        self._settle()

    def _tell(self, orders: list[Order]) -> None:
        for seat, frame in orders:
            self.berths[seat.slot].session.put(v1.encode_frame(frame))

    def _settle(self) -> None:
        for seat in self.fleet.steps().drop:
            if seat.slot in self.berths:
                self._drop(seat)
        for row in self.fleet.steps().dial:
            self._berth(self.fleet.add(row))
        alive = self.fleet.alive
        for berth in self.berths.values():
            berth.session.alone = not any(seat is not berth.seat for seat in alive)
            berth.flush()

    def _drop(self, seat: Seat) -> None:
        berth = self.berths[seat.slot]
        self.fleet.remove(seat)
        if berth.session.id:
            berth.session.forget("dropped")
            self.lost(berth)
        line, berth.line = berth.line, None
        if line is not None and berth.node.alive and not line.closed:
            line.feed(_NORMAL, WSMsgType.CLOSE)
        self.berths.pop(seat.slot, None)

    def tick(self) -> None:
        for berth in tuple(self.berths.values()):
            if self.berths.get(berth.seat.slot) is not berth:
                continue
            line = berth.line
            if line is not None and (line.closed or not berth.node.alive):
                self.cut(berth)
            if berth.line is None:
                if berth.session.id and self.cluster.now - berth.down_since > GRACE + 1:
                    self.give_up(berth)
                if self.berths.get(berth.seat.slot) is berth:
                    self.dial(berth)
            else:
                berth.to_node.append(berth.session.empty_batch())

    # -- frames -------------------------------------------------------------------------------------

    def send(self, frame: v1.FromApp, slot: int = 0) -> list[int]:
        """Queue a frame where it belongs. Returns the slots of the sessions."""
        if aim_of(frame) is Aim.ALL:
            seats = self.fleet.alive or [self.fleet.anchor]
            berths = [self.berths[seat.slot] for seat in seats]
            if type(frame) in v1.COUNTED:
                self.counts.number += 1
                frame.number = self.counts.number  # type: ignore[union-attr]
        else:
            berths = [self.berths[slot]] if slot in self.berths else []
        for berth in berths:
            berth.session.put(v1.encode_frame(frame))
            berth.flush()
        return [berth.seat.slot for berth in berths]

    def ask(self, make: Callable[[int], v1.FromApp], done: Callable[[], object], slot: int = 0) -> None:
        """A request; `done` is called if all of its nodes have answered."""
        self.ref += 1
        ref = self.ref
        slots = self.send(make(ref), slot)
        answers = _Answers(len(slots), done)
        for each in slots:
            self.berths[each].session.expect(ref, answers, self.cluster.now, None)

    def take(self, berth: Berth, data: bytes) -> None:
        """One message of a node."""
        slot = berth.seat.slot
        session = berth.session
        for frame in session.received(data):
            self._take(slot, frame)
        session.take_all()
        berth.flush()

    def _take(self, slot: int, frame: v1.FromService) -> None:
        if isinstance(frame, v1.Open):
            assert frame.id not in self.clients.values(), "a client twice"
            self.clients[slot, frame.client] = frame.id
            self.send(v1.Opened(frame.client, *TERMS), slot)
        elif isinstance(frame, v1.Packet):
            if frame.payload == b"40":
                sid = self.clients[slot, frame.client]
                self.send(v1.Packet(frame.client, f'40{{"sid":"s-{sid}"}}'.encode()), slot)
        elif isinstance(frame, v1.Closed):
            self._end((slot, frame.client))
        elif isinstance(frame, v1.Failed):
            self.refused.append(frame)

    def _end(self, key: tuple[int, int]) -> None:
        connection = self.clients.pop(key)
        assert connection not in self.ended, "a second disconnect"
        self.ended.append(connection)


class User:
    """One client."""

    def __init__(self, node: ServiceNode) -> None:
        self.node = node
        self.opening = RecordingOpening()
        self.connection: Connection = node.world.open(self.opening)
        self.sink: RecordingSink | None = None

    def go_on(self) -> None:
        """Connect to the namespace as soon as the client is accepted."""
        if self.sink is None and self.opening.accepts and self.node.alive:
            sink = self.connection.outbox.sink
            if isinstance(sink, RecordingSink):
                self.sink = sink
                self.node.world.node.receive(self.connection, b"40")

    @property
    def packets(self) -> list[bytes]:
        return [] if self.sink is None else self.sink.packets

    @property
    def is_open(self) -> bool:
        """It has a socket, and its node has not closed it."""
        ready = self.sink is not None and not self.sink.closed and self.node.alive
        return ready and any(packet.startswith(b"40") for packet in self.packets)


class Cluster:
    """Everything. `choose` decides what happens first."""

    def __init__(self, choose: Random, most: int) -> None:
        self.choose = choose
        self.most = most
        self.now = 1_000.0
        self.network = MemoryNetwork()
        self.nodes: list[ServiceNode] = []
        self.apps: list[App] = []
        self.users: list[User] = []
        self.reachable: set[str] = set()
        self.session_lost: Callable[..., object] = lambda *_args, **_given: None

    def start_node(self, *, reachable: bool = True) -> ServiceNode:
        name = f"node{len(self.nodes):04}"
        if reachable:
            self.reachable.add(name)
        node = ServiceNode(self, name)
        self.nodes.append(node)
        return node

    @property
    def live(self) -> list[ServiceNode]:
        return [node for node in self.nodes if node.alive]

    def node_for(self, wanted: str) -> ServiceNode | None:
        """Where a dial ends: at the node that is wanted, or behind a load balancer."""
        live = self.live
        if wanted:
            return next((node for node in live if node.name == wanted), None)
        ready = [node for node in live if node.coverage.is_covered(self.now)]
        return self.choose.choice(ready or live) if live else None

    def user(self, node: ServiceNode) -> User | None:
        """A client connects. None if the node has no app server for it."""
        try:
            user = User(node)
        except RefusedError:
            return None
        self.users.append(user)
        return user

    # -- movement -----------------------------------------------------------------------------------

    def step(self) -> bool:
        """One message moves, at random; False if there is none."""
        ways: list[Callable[[], object]] = []
        for app in self.apps:
            for berth in app.berths.values():
                line = berth.line
                if line is not None and berth.node.alive:
                    if berth.to_node and not line.closed:
                        ways.append(lambda berth=berth: self._to_node(berth))  # type: ignore[misc]
                    if line.writes:
                        ways.append(lambda app=app, berth=berth: self._to_app(app, berth))  # type: ignore[misc]
        if ways and self.choose.random() < 0.5:
            self.choose.choice(ways)()
        elif not self.network.step():
            if not ways:
                return False
            self.choose.choice(ways)()
        for node in self.live:
            node.settle()
        for user in self.users:
            user.go_on()
        return True

    @staticmethod
    def _to_node(berth: Berth) -> None:
        assert berth.line is not None
        berth.line.feed(berth.to_node.popleft())

    @staticmethod
    def _to_app(app: App, berth: Berth) -> None:
        assert berth.line is not None
        app.take(berth, berth.line.writes.pop(0))

    def run(self, most: int = 100_000) -> None:
        """Messages move until none is left, or `most` have moved."""
        for node in self.live:
            node.settle()
        for _ in range(most):
            if not self.step():
                return

    def later(self, seconds: float = STEP) -> None:
        """Time passes, and nothing moves."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            for node in self.live:
                node.tick(self.now)
            for app in self.apps:
                app.tick()

    def rest(self, seconds: float = 12.0) -> None:
        """Time passes, and everything that can arrive does."""
        for _ in range(round(seconds / STEP)):
            self.later()
            self.run()
