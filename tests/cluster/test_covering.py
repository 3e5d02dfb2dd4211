"""Order, at most once, one disconnect per connect, and joins that are visible, while app servers begin and
cease to cover nodes, sessions are lost, nodes come and die, and the network delays, loses and divides."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.edge.moorage.server import MoorageServer
from moorage.wire.moorage import v1
from moorage.wire.reasons import LINK_SESSION_OVER
from tests.cluster.covering import App, Cluster, ServiceNode, User
from tests.support.examples import times

_EVENT = re.compile(rb'42\["(\w+)",(\d+)\]')
ROOMS = ("red", "blue")
MAX_NODES = 8

CALM = (
    *("emit", "emit", "emit", "direct", "room", "room", "join", "enter", "leave"),
    *("user", "gone", "move", "move", "time", "bounce", "delay", "node"),
)
"""What happens all the time: nothing may be lost."""
COVERING = (
    "cover",
    "cover",
    "node",
    "cut",
    "user",
    "user",
    "emit",
    "emit",
    "room",
    "direct",
    "delay",
    "time",
)
"""Coverage changes all the time."""
FAULTS = ("die", "cut", "cover", "drop", "divide", "heal", "lose", "rest")


class Story:
    """What happens to a cluster, and what must hold meanwhile."""

    def __init__(self, seed: int, nodes: int, apps: int, most: int) -> None:
        self.choose = Random(seed)
        self.cluster = cluster = Cluster(self.choose, most)
        cluster.session_lost = self._session_lost
        self.calm = True
        self.owed: dict[tuple[str, int], tuple[App, set[User]]] = {}
        """Emits that users have to get: by app server and number."""
        self.numbers: Counter[str] = Counter()
        self.rooms: dict[str, set[User]] = {room: set() for room in ROOMS}
        """Users whose join has been answered, and whose leave has not begun."""
        self.leaves: Counter[str] = Counter()
        """Number of leaves of each room: a join that one of them may have overtaken counts for nothing."""
        self.delays: list[tuple[str, str, float]] = []
        for _ in range(nodes):
            cluster.start_node(reachable=self.choose.random() < 0.8)
        cluster.rest(3)
        for number in range(apps):
            cluster.apps.append(App(cluster, f"app{number}"))
        cluster.rest(3)
        for _ in range(2 * nodes):
            self._user()
        cluster.rest(1)

    # -- what happens ---------------------------------------------------------------------------------

    def happen(self, what: str) -> None:
        """One of `CALM` or `FAULTS`."""
        getattr(self, f"_{what}")()
        self.cluster.run(self.choose.choice((0, 0, 2, 10, 50)))

    def _app(self) -> App:
        return self.choose.choice(self.cluster.apps)

    def _other(self) -> ServiceNode:
        return self.choose.choice(self.cluster.live)

    def _send(self, app: App, to: set[User], frame: v1.Emit | v1.Packet, slot: int = 0) -> None:
        self.numbers[app.id] += 1
        number = self.numbers[app.id]
        frame.payload = f'42["{app.id}",{number}]'.encode()
        if self.calm and app.planner.home is not None:
            self.owed[app.id, number] = app, {user for user in to if user.is_open}
        app.send(frame, slot)

    def _emit(self) -> None:
        users = {user for user in self.cluster.users if user.is_open}
        self._send(self._app(), users, v1.Emit(0, v1.To("/"), 0, b""))

    def _room(self) -> None:
        room = self.choose.choice(ROOMS)
        self._send(self._app(), self.rooms[room], v1.Emit(0, v1.To("/", (room,)), 0, b""))

    def _direct(self) -> None:
        app = self._app()
        if app.clients:
            (slot, number), connection = self.choose.choice(list(app.clients.items()))
            user = self._user_of(connection)
            self._send(app, {user} if user.is_open else set(), v1.Packet(number, b""), slot)

    def _user_of(self, connection: str) -> User:
        return next(user for user in self.cluster.users if user.connection.id == connection)

    def _join(self) -> None:
        room = self.choose.choice(ROOMS)
        users = {user for user in self.cluster.users if user.is_open}
        begun = self.calm, self.leaves[room]

        def done() -> None:
            if (self.calm, self.leaves[room]) == begun:
                self.rooms[room] |= users

        self._app().ask(lambda ref: v1.Join(ref, v1.To("/"), (room,)), done)

    def _enter(self) -> None:
        app = self._app()
        room = self.choose.choice(ROOMS)
        if app.clients:
            (slot, number), connection = self.choose.choice(list(app.clients.items()))
            user = self._user_of(connection)
            begun = self.leaves[room]

            def done() -> None:
                if user.is_open and self.leaves[room] == begun:
                    self.rooms[room].add(user)

            app.ask(lambda ref: v1.Enter(ref, number, "/", (room,)), done, slot)

    def _leave(self) -> None:
        room = self.choose.choice(ROOMS)
        self.leaves[room] += 1
        self.rooms[room].clear()
        self._app().ask(lambda ref: v1.Leave(ref, v1.To("/"), (room,)), bool)

    def _user(self) -> None:
        node = self._other()
        if node.coverage.is_covered(self.cluster.now):
            self.cluster.user(node)

    def _gone(self) -> None:
        users = [user for user in self.cluster.users if user.is_open]
        if users:
            user = self.choose.choice(users)
            user.node.world.node.receive(user.connection, b"1")

    def _move(self) -> None:
        self.cluster.run(100)

    def _time(self) -> None:
        self.cluster.later()
        for sender, receiver, until in tuple(self.delays):
            if until <= self.cluster.now:
                self.cluster.network.release(sender, receiver)
                self.delays.remove((sender, receiver, until))
        self.cluster.run(self.choose.choice((100, 1_000)))

    def _bounce(self) -> None:
        """A link breaks, and is resumed."""
        app = self._app()
        node_link = self.choose.choice(list(app.links.values()))
        app.cut(node_link)

    def _delay(self) -> None:
        one, other = self._other().name, self._other().name
        self.cluster.network.delay(one, other)
        self.delays.append((one, other, self.cluster.now + 0.5))

    def _node(self) -> None:
        if len(self.cluster.nodes) < MAX_NODES:
            self.cluster.start_node(reachable=self.choose.random() < 0.8)

    # -- faults ---------------------------------------------------------------------------------------

    def _fault(self) -> None:
        self.calm = False
        self.owed.clear()

    def _die(self) -> None:
        if len(self.cluster.live) > 2:
            self._fault()
            self._other().die(self.cluster.network)

    def _cut(self) -> None:
        """An app server gives a session up."""
        app = self._app()
        app.give_up(self.choose.choice(list(app.links.values())))

    def _cover(self) -> None:
        """A node can be reached, or cannot be reached any more."""
        self.cluster.reachable ^= {self._other().name}

    def _drop(self) -> None:
        """A node ends a session."""
        hubs = [hub for node in self.cluster.live for hub in node.world.node.hubs.values()]
        sessions = [app.link for hub in hubs for app in hub.servers.all()]
        if sessions:
            self._fault()
            server = self.choose.choice(sessions)
            assert isinstance(server, MoorageServer)
            server.give_up("test", LINK_SESSION_OVER)

    def _divide(self) -> None:
        self._fault()
        names = [node.name for node in self.cluster.nodes]
        side = set(self.choose.sample(names, self.choose.randint(1, len(names))))
        self.cluster.network.partition(side, set(names) - side)

    def _heal(self) -> None:
        self.cluster.network.heal()

    def _lose(self) -> None:
        self.cluster.network.lose(self._other().name, self._other().name, self.choose.randint(1, 3))

    def _session_lost(self, app: App, node: str, *, was_home: bool) -> None:
        """What is under way to the node is lost. If it was the home: also what it had not forwarded."""
        covered = {view.node for view in app.planner.alive} if was_home else set()
        for owner, users in self.owed.values():
            if owner is app:
                gone = {
                    user
                    for user in users
                    if user.node.name == node or (was_home and user.node.name not in covered)
                }
                users -= gone

    def _rest(self) -> None:
        """All faults end, and everything settles."""
        for sender, receiver, _ in self.delays:
            self.cluster.network.release(sender, receiver)
        self.delays.clear()
        self.cluster.network.heal()
        self.cluster.rest()
        self.check()
        self.check_rest()
        self.owed.clear()
        self.rooms = {room: set() for room in ROOMS}
        self.calm = True

    # -- what must hold -------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds at every moment."""
        for user in self.cluster.users:
            last: Counter[str] = Counter()
            for packet in user.packets:
                if found := _EVENT.fullmatch(packet):
                    app, number = found[1].decode(), int(found[2])
                    assert number > last[app], f"{app} {number} after {last[app]} at {user.connection.id}"
                    last[app] = number

    def check_rest(self) -> None:
        """What holds when all faults are over."""
        alive = {
            user.connection.id
            for user in self.cluster.users
            if user.node.alive and user.sink is not None and not user.sink.closed
        }
        served = [connection for app in self.cluster.apps for connection in app.clients.values()]
        assert sorted(served) == sorted(alive), "each client has one app server"
        for app in self.cluster.apps:
            assert not app.refused, app.refused
        for (name, number), (_, users) in self.owed.items():
            event = f'42["{name}",{number}]'.encode()
            for user in users:
                if user.is_open:
                    assert event in user.packets, f"{event!r} is missing at {user.connection.id}"


def tell(seed: int, nodes: int, apps: int, most: int, events: list[str]) -> Story:
    """A whole story."""
    story = Story(seed, nodes, apps, most)
    for event in events:
        story.happen(event)
        story.check()
    story.happen("rest")
    return story


SEEDS = st.integers(0, 2**32 - 1)
NODES = st.integers(1, 5)
APPS = st.integers(1, 2)
MOST = st.sampled_from([1, 2, 3, 8])


@settings(max_examples=times(0.4))
@given(SEEDS, NODES, APPS, MOST, st.lists(st.sampled_from(CALM), max_size=40))
def test_nothing_is_lost_without_a_fault(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


@settings(max_examples=times(0.4))
@given(SEEDS, NODES, st.just(2), MOST, st.lists(st.sampled_from(COVERING), max_size=40))
def test_nothing_is_out_of_order_while_coverage_changes(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


@settings(max_examples=times(0.4))
@given(SEEDS, NODES, APPS, MOST, st.lists(st.sampled_from(CALM + FAULTS), max_size=40))
def test_the_guarantees_hold_through_faults(
    seed: int, nodes: int, apps: int, most: int, events: list[str]
) -> None:
    tell(seed, nodes, apps, most, events)


def test_an_app_server_keeps_its_session_at_a_node_where_it_has_clients() -> None:
    cluster = Cluster(Random(1), 2)
    cluster.start_node()
    cluster.start_node()
    cluster.rest(3)
    for number in range(4):
        cluster.apps.append(App(cluster, f"app{number}"))
    cluster.rest(3)
    users = [cluster.user(node) for node in cluster.nodes for _ in range(4)]
    cluster.rest(1)
    for _ in range(6):
        cluster.start_node()
    cluster.rest(6)
    assert all(user is not None and user.is_open for user in users)
