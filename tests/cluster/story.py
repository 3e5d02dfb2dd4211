"""What happens to a cluster and its app servers (`covering`), and what must hold meanwhile. All that is
random follows from a story's seed, whatever Python's hash seed is: a story that fails does so again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from moorage.edge.moorage.server import MoorageServer
from moorage.sdk.link.session import Part
from moorage.wire.commands import Selection, Send
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage import v1
from moorage.wire.reasons import LINK_SESSION_OVER
from tests.cluster.covering import App, Cluster, ServiceNode
from tests.cluster.users import User
from tests.hub.fakes import HUB

ROOMS = ("red", "blue")
MAX_NODES = 8

CALM = (
    *("emit", "emit", "emit", "direct", "room", "room", "call", "call", "join", "enter", "leave"),
    *("ask", "fetch"),
    *("user", "gone", "move", "move", "time", "bounce", "delay", "node"),
)
"""What happens all the time: nothing may be lost."""
COVERING = (
    *("cover", "cover", "node", "cut", "user", "user", "emit", "emit", "room", "call", "direct", "delay"),
    *("time", "ask", "fetch", "begin", "begin", "reach", "reach", "abandon", "abandon", "replace", "replace"),
)
"""Coverage changes all the time. The last ones are those of `moments`."""
FAULTS = ("die", "cut", "cover", "drop", "divide", "heal", "lose", "rest")


@dataclass
class Owed:
    """An emit that users have to get."""

    app: App | None
    """None for a REST caller."""
    users: set[User]
    forwarded: set[User]
    """Those to whose node the home had to forward it."""


class Story:
    """What happens to a cluster, and what must hold meanwhile."""

    def __init__(self, seed: int, nodes: int, apps: int, most: int) -> None:
        self.choose = Random(seed)
        self.cluster = cluster = Cluster(self.choose, most)
        cluster.session_lost = self._session_lost
        cluster.parted = self._parted
        self.calm = True
        self.owed: dict[tuple[str, int], Owed] = {}
        """Emits that users have to get: by app server and number."""
        self.numbers: Counter[str] = Counter()
        self.rooms: dict[str, set[User]] = {room: set() for room in ROOMS}
        """Users whose join has been answered, and whose leave has not begun."""
        self.leaves: Counter[str] = Counter()
        """Number of leaves of each room: a join that one of them may have overtaken counts for nothing."""
        self.to_rooms: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        """Emits to each room since its last leave."""
        self.leaving: Counter[str] = Counter()
        """Number of those that are not answered."""
        self.delays: list[tuple[str, str, float]] = []
        self.losses = 0
        """Number of sessions that were lost, and of times that a node thought that another one is dead."""
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
        frame.payload = self._event(app, to)
        app.send(frame, slot)

    def _event(self, app: App, to: set[User]) -> bytes:
        """The next event of an app server, which these users have to get."""
        self.numbers[app.id] += 1
        number = self.numbers[app.id]
        if self.calm and app.planner.home is not None:
            covered = {view.node for view in app.planner.alive}
            users = self._reached_by(app, to)
            self.owed[app.id, number] = Owed(
                app, users, {user for user in users if user.node.name not in covered}
            )
        return f'42["{app.id}",{number}]'.encode()

    def _reached_by(self, app: App, users: Iterable[User]) -> set[User]:
        nodes = self.cluster.known_to(app)
        return {user for user in users if user.is_open and user.node.name in nodes}

    def _emit(self) -> None:
        self._emit_from(self._app())

    def _emit_from(self, app: App) -> None:
        users = {user for user in self.cluster.users if user.is_open}
        self._send(app, users, v1.Emit(0, v1.To("/"), 0, b""))

    def _room(self) -> None:
        room = self.choose.choice(ROOMS)
        app = self._app()
        self._send(app, self.rooms[room], v1.Emit(0, v1.To("/", (room,)), 0, b""))
        self.to_rooms[room].append((app.id, self.numbers[app.id]))

    def _call(self) -> None:
        """A REST caller sends to a room or to all, through any node."""
        node, room = self._other(), self.choose.choice((*ROOMS, None))
        name = f"rest{node.name}"
        self.numbers[name] += 1
        number = self.numbers[name]
        if room is not None:
            # Of those that have just connected, other nodes may not know.
            users = {user for user in self.rooms[room] if user.is_open and self._is_known(node, user)}
            if self.calm:
                self.owed[name, number] = Owed(None, users, {user for user in users if user.node is not node})
            self.to_rooms[room].append((name, number))
        group = namespace_group("/") if room is None else room_group("/", room)
        emit = Send(HUB, Selection(group=group), f'42["{name}",{number}]'.encode())
        node.world.node.submit(emit, lambda *_outcome: None, None)

    @staticmethod
    def _is_known(node: ServiceNode, user: User) -> bool:
        return user.node is node or user.node.name in node.router.peers

    def _direct(self) -> None:
        self._direct_from(self._app())

    def _direct_from(self, app: App, node: ServiceNode | None = None) -> None:
        """An app server sends to one of its own clients, perhaps only to one at this node."""
        clients = [
            each for each in app.clients.items() if node is None or self.cluster.user_of(each[1]).node is node
        ]
        if clients:
            (slot, number), connection = self.choose.choice(clients)
            user = self.cluster.user_of(connection)
            self._send(app, {user} if user.is_open else set(), v1.Packet(number, b""), slot)

    def _join(self) -> None:
        room = self.choose.choice(ROOMS)
        users = {user for user in self.cluster.users if user.is_open}
        begun = self.calm, self.leaves[room], self.losses
        leaving = self.leaving[room]

        def done(*_answer: object) -> None:
            if (self.calm, self.leaves[room], self.losses) == begun and not leaving:
                self.rooms[room] |= users

        self._app().ask(lambda ref: v1.Join(ref, v1.To("/"), (room,)), done)

    def _enter(self) -> None:
        app = self._app()
        room = self.choose.choice(ROOMS)
        if app.clients:
            (slot, number), connection = self.choose.choice(list(app.clients.items()))
            user = self.cluster.user_of(connection)
            begun, leaving = self.leaves[room], self.leaving[room]

            def done(*_answer: object) -> None:
                if user.is_open and self.leaves[room] == begun and not leaving:
                    self.rooms[room].add(user)

            app.ask(lambda ref: v1.Enter(ref, number, "/", (room,)), done, slot)

    def _leave(self) -> None:
        room = self.choose.choice(ROOMS)
        self.leaves[room] += 1
        self.leaving[room] += 1
        self.rooms[room].clear()
        for key in self.to_rooms.pop(room, ()):
            # Another app server's emit may be overtaken.
            self.owed.pop(key, None)
        self._app().ask(
            lambda ref: v1.Leave(ref, v1.To("/"), (room,)),
            lambda *_answer: self.leaving.subtract((room,)),
        )

    def _ask(self) -> None:
        """An emit with acks. In calm everybody answers, and nobody twice."""
        app = self._app()
        users = self._reached_by(app, self.cluster.users)
        begun, payload = (self.calm, self.losses), self._event(app, users)

        def done(parts: list[Part], missing: list[str]) -> None:
            answered = [part.sender for part in parts if isinstance(part, v1.Answer)]
            self._check_asked(begun, users, answered, missing)

        app.ask(lambda ref: v1.Ask(ref, v1.To("/"), 0, 2_000, payload), done)

    def _fetch(self) -> None:
        """The list of all sockets. In calm it is complete, and no socket is listed twice."""
        app = self._app()
        users = self._reached_by(app, self.cluster.users)
        begun = self.calm, self.losses

        def done(parts: list[Part], missing: list[str]) -> None:
            rows = [row for part in parts if isinstance(part, v1.Sockets) for row in part.rows]
            self._check_asked(begun, users, [row.id for row in rows], missing)

        app.ask(lambda ref: v1.Fetch(ref, v1.To("/"), 500), done)

    def _check_asked(
        self, begun: tuple[bool, int], users: set[User], found: Sequence[str], missing: Sequence[str]
    ) -> None:
        """`missing` names nodes that did not answer in time."""
        assert len(set(found)) == len(found), f"twice in {found}"
        if begun == (True, self.losses) and self.calm:
            asked = [user for user in users if user.is_open and user.node.name not in missing]
            silent = {f"s-{user.connection.id}" for user in asked}.difference(found)
            assert not silent, f"{silent} not in {found}"

    def _user(self) -> None:
        self._user_at(self._other())

    def _user_at(self, node: ServiceNode) -> None:
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
        self.losses += 1
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
        """What is under way to the node is lost. If it was the home: also what it had to forward, because a
        new home's mark may overtake that."""
        self.losses += 1
        for owed in self.owed.values():
            if owed.app is app:
                owed.users -= {user for user in owed.users if user.node.name == node}
                if was_home:
                    owed.users -= owed.forwarded

    def _parted(self) -> None:
        """The network between two nodes was slow for too long. Nothing is forwarded from one to the other."""
        self.losses += 1
        for owed in self.owed.values():
            owed.users -= owed.forwarded

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
        self.leaving.clear()
        self.rooms = {room: set() for room in ROOMS}
        self.calm = True

    # -- what must hold -------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds at every moment."""
        for user in self.cluster.users:
            last: Counter[str] = Counter()
            for app, number in self._events(user):
                assert number > last[app], f"{app} {number} after {last[app]} at {user.connection.id}"
                last[app] = number

    def _events(self, user: User) -> list[tuple[str, int]]:
        """What a user got. Of what its own app server has sent, only what came before that one lost the user:
        the rest may be under way in the wrong order, until the user is closed."""
        lost = {
            app.id: app.lost_at[user.connection.id]
            for app in self.cluster.apps
            if user.connection.id in app.lost_at
        }
        return [event for at, event in enumerate(user.events) if at < lost.get(event[0], len(user.events))]

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
        for (name, number), owed in self.owed.items():
            for user in owed.users:
                if user.is_open:
                    assert (name, number) in user.events, (
                        f"{name} {number} is missing at {user.connection.id}"
                    )
