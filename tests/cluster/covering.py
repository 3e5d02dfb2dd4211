"""App servers with sessions at several nodes, over a network that does only what it is told. The nodes are
the service's own: hub, router, directory, forwarding, `Coverage` and sessions. The app servers are driven by
the SDK's planner (`sdk.link.planner`) and its sessions. Each link between the two is a pair of queues."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from random import Random

from picows import WSMsgType

from moorage.cluster.coverage.coverage import Coverage
from moorage.cluster.members.membership import Member
from moorage.cluster.memory import MemoryNetwork
from moorage.cluster.router import Router
from moorage.edge.moorage.sessions import Sessions
from moorage.edge.settings import EdgeLimits, LinkSettings
from moorage.hub.ports import RefusedError
from moorage.sdk.link.lost_nodes import again
from moorage.sdk.link.planner import Aim, NodeView, Order, Planner, aim_of
from moorage.sdk.link.session import Counts, Session, WrongNode
from moorage.wire.cluster.messages import VERSION, Alive
from moorage.wire.moorage import v1
from tests.cluster.nodes import NodeWorld
from tests.cluster.users import Done, Gathered, User
from tests.edge.moorage.rig import TERMS, Line
from tests.hub.fakes import HUB

GRACE = 2.0
STEP = 0.25
_NORMAL = struct.pack("!H", 1000)


class ServiceNode:
    """One node."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
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
        before = set(self.router.peers)
        self.router.tick(now)
        if before.difference(self.router.peers):
            self.cluster.parted()
        self.settle()

    def die(self, network: MemoryNetwork) -> None:
        self.alive = False
        network.attach(self.name, None)


class NodeLink:
    """One link of an app server, and its session."""

    def __init__(self, app: App, view: NodeView) -> None:
        self.app = app
        self.view = view
        self.session = Session(sdk="test", instance=app.instance, counts=app.counts)
        self.session.heard_nodes = lambda frame: app.listed(self, frame)
        self.line: Line | None = None
        self.node: ServiceNode
        self.to_node: deque[bytes] = deque()
        self.down_since = app.cluster.now

    def flush(self) -> None:
        if self.line is not None:
            self.to_node.extend(self.session.batches())


class App:
    """One app server. It follows `sdk.aio.fleet.Fleet`."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.id = name
        self.instance = f"instance-{name}"
        self.counts = Counts()
        self.planner = Planner()
        self.links: dict[int, NodeLink] = {}
        self.clients: dict[tuple[int, int], str] = {}
        """Connections by slot and number, from `Open` to the disconnect."""
        self.ended: list[str] = []
        """Connections of which a disconnect was reported."""
        self.lost_at: dict[str, int] = {}
        """How many events a client had got when its session was lost."""
        self.ref = 0
        self.refused: list[v1.Failed] = []
        self._add_link(self.planner.add())

    def _add_link(self, view: NodeView) -> None:
        self.links[view.slot] = NodeLink(self, view)

    # -- links --------------------------------------------------------------------------------------

    def dial(self, node_link: NodeLink) -> None:
        """One attempt."""
        view = node_link.view
        alone = len(self.links) == 1 or (not self.planner.up and view is self.planner.anchor)
        wanted = "" if alone else view.node
        node = self.cluster.node_for(wanted)
        if node is None:
            return
        line = Line(node.sessions, HUB, self.id)
        node.sessions.sweep.watch(line, 10.0)
        line.feed(node_link.session.hello())
        node.settle()
        if line.closed:
            return
        try:
            greeting = node_link.session.greeted(line.writes.pop(0), wanted)
        except WrongNode:
            line.feed(_NORMAL, WSMsgType.CLOSE)
            return
        if greeting.lost:
            self.lost(node_link)
        node_link.line, node_link.node = line, node
        node_link.to_node.extend(greeting.again)
        twin = self.planner.twin(view, node.name)
        if twin is not None:
            self._drop(twin)
        node_link.session.lost = None
        self._tell(self.planner.greeted(view, node.name, new=not greeting.resumed))
        self._settle()

    def cut(self, node_link: NodeLink) -> None:
        """The link breaks, and with it what is under way."""
        line, node_link.line = node_link.line, None
        node_link.to_node.clear()
        node_link.down_since = self.cluster.now
        if line is not None:
            if node_link.node.alive and not line.closed:
                line.lose()
            self.planner.down(node_link.view)
            self._settle()

    def give_up(self, node_link: NodeLink) -> None:
        """The app server does not wait for its session any longer."""
        self.cut(node_link)
        if node_link.session.id:
            node_link.session.forget("lost")
            self.lost(node_link)

    def lost(self, node_link: NodeLink) -> None:
        """A session is over, and with it its clients."""
        slot = node_link.view.slot
        was_home = node_link.view is self.planner.home
        self.cluster.session_lost(self, node_link.view.node, was_home=was_home)
        for key in [key for key in self.clients if key[0] == slot]:
            user = self.cluster.user_of(self.clients[key])
            self.lost_at[user.connection.id] = len(user.events)
            self._end(key)
        orders = self.planner.lost(node_link.view)
        if orders:
            self._tell(orders)
            untaken = node_link.session.untaken()
            for frame in untaken if was_home else ():
                made = again(frame)
                if made is not None:
                    self.links[self.planner.anchor.slot].session.put(v1.encode_frame(made))
            self._settle()

    def listed(self, node_link: NodeLink, frame: v1.Nodes) -> None:
        self.planner.listed(node_link.view, frame)
        self._settle()

    def _tell(self, orders: list[Order]) -> None:
        for view, frame in orders:
            self.links[view.slot].session.put(v1.encode_frame(frame))

    def _settle(self) -> None:
        for view in self.planner.steps().drop:
            if view.slot in self.links:
                self._drop(view)
        for row in self.planner.steps().dial:
            self._add_link(self.planner.add(row))
        alive = self.planner.alive
        for node_link in self.links.values():
            node_link.session.alone = not any(view is not node_link.view for view in alive)
            node_link.flush()

    def _drop(self, view: NodeView) -> None:
        node_link = self.links[view.slot]
        self.planner.remove(view)
        if node_link.session.id:
            node_link.session.forget("dropped")
            self.lost(node_link)
        line, node_link.line = node_link.line, None
        if line is not None and node_link.node.alive and not line.closed:
            line.feed(_NORMAL, WSMsgType.CLOSE)
        self.links.pop(view.slot, None)

    def tick(self) -> None:
        for node_link in tuple(self.links.values()):
            if self.links.get(node_link.view.slot) is not node_link:
                continue
            line = node_link.line
            if line is not None and (line.closed or not node_link.node.alive):
                self.cut(node_link)
            if node_link.line is None:
                if node_link.session.id and self.cluster.now - node_link.down_since > GRACE + 1:
                    self.give_up(node_link)
                if self.links.get(node_link.view.slot) is node_link:
                    self.dial(node_link)
            else:
                node_link.to_node.append(node_link.session.empty_batch())

    # -- frames -------------------------------------------------------------------------------------

    def send(self, frame: v1.FromApp, slot: int = 0) -> list[int]:
        """Queue a frame where it belongs. Returns the slots of the sessions."""
        if aim_of(frame) is Aim.ALL:
            views = self.planner.alive or [self.planner.anchor]
            links = [self.links[view.slot] for view in views]
            if type(frame) in v1.COUNTED:
                self.counts.number += 1
                frame.number = self.counts.number  # type: ignore[union-attr]
        else:
            links = [self.links[slot]] if slot in self.links else []
        for node_link in links:
            node_link.session.put(v1.encode_frame(frame))
            node_link.flush()
        return [node_link.view.slot for node_link in links]

    def ask(self, make: Callable[[int], v1.FromApp], done: Done, slot: int = 0) -> None:
        """A request; `done` is called if all of its nodes have answered."""
        self.ref += 1
        ref = self.ref
        slots = self.send(make(ref), slot)
        answers = Gathered(len(slots), done)
        for each in slots:
            self.links[each].session.expect(ref, answers, self.cluster.now, None)

    def take(self, node_link: NodeLink, data: bytes) -> None:
        """One message of a node."""
        slot = node_link.view.slot
        session = node_link.session
        for frame in session.received(data):
            self._take(slot, frame)
        session.take_all()
        node_link.flush()

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
        self.parted: Callable[[], object] = lambda: None
        """Called when a node thinks that another one is dead."""
        self.balancer: Callable[[], ServiceNode | None] = self._any
        """Which node gets a dial that names none."""

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
        if wanted:
            return next((node for node in self.live if node.name == wanted), None)
        return self.balancer()

    def _any(self) -> ServiceNode | None:
        live = self.live
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

    def user_of(self, connection: str) -> User:
        """The client with this connection."""
        return next(user for user in self.users if user.connection.id == connection)

    def known_to(self, app: App) -> set[str]:
        """The nodes that get what an app server sends: those with a session, and those that its home knows. A
        new node may become the home before it has heard of all others."""
        known = {view.node for view in app.planner.alive}
        home = app.planner.home
        for node in self.nodes:
            if home is not None and node.name == home.node and node.router.membership is not None:
                known |= node.router.membership.members.keys()
        return known

    # -- movement -----------------------------------------------------------------------------------

    def step(self) -> bool:
        """One message moves, at random; False if there is none."""
        ways: list[Callable[[], object]] = []
        for app in self.apps:
            for node_link in app.links.values():
                line = node_link.line
                if line is not None and node_link.node.alive:
                    if node_link.to_node and not line.closed:
                        ways.append(lambda node_link=node_link: self._to_node(node_link))  # type: ignore[misc]
                    if line.writes:
                        ways.append(lambda app=app, node_link=node_link: self._to_app(app, node_link))  # type: ignore[misc]
        # Messages of one node to another stay in order. All else overtakes each other.
        between = self.network.ways()
        if ways and (not between or self.choose.random() < 0.5):
            self.choose.choice(ways)()
        elif between:
            self.network.step_between(*self.choose.choice(between))
        else:
            return False
        for node in self.live:
            node.settle()
        for user in self.users:
            user.go_on()
        return True

    @staticmethod
    def _to_node(node_link: NodeLink) -> None:
        assert node_link.line is not None
        node_link.line.feed(node_link.to_node.popleft())

    @staticmethod
    def _to_app(app: App, node_link: NodeLink) -> None:
        assert node_link.line is not None
        app.take(node_link, node_link.line.writes.pop(0))

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
