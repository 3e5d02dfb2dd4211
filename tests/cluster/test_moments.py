"""One test for each rule of coverage (docs/explanation/architecture.md): the moment in which it matters."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from moorage.edge.moorage.coverage import FENCE_SECONDS
from moorage.wire.moorage import v1
from tests.cluster.covering import App, Cluster, ServiceNode
from tests.cluster.repeatable import repeatable
from tests.cluster.users import User


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    with repeatable(1):
        yield


class Scene:
    """Nodes, and the app server `app0` with a session at the first one, its home. The app server `app1` is at
    the last node. Its clients there get what both send."""

    def __init__(self, nodes: int = 2) -> None:
        self.cluster = Cluster(Random(1), 8)
        self.nodes = [self.cluster.start_node(reachable=number == 0) for number in range(nodes)]
        self.cluster.rest(3)
        self.app = self._app("app0", self.nodes[0])
        self.other = self._app("app1", self.nodes[-1])
        self.number = 0

    def _app(self, name: str, node: ServiceNode) -> App:
        self.cluster.balancer = lambda: node
        self.cluster.apps.append(app := App(self.cluster, name))
        self.cluster.rest(3)
        return app

    def only(self, app: App, node: ServiceNode) -> None:
        """The node's next clients are for this app server."""
        for each in node.world.hub().servers.serving():
            each.draining = each.id != app.id

    def user(self, node: ServiceNode, app: App) -> User:
        """A client of this app server."""
        self.only(app, node)
        user = self.cluster.user(node)
        assert user is not None
        self.cluster.rest(1)
        assert user.is_open
        assert user.connection.id in app.clients.values()
        return user

    def emit(self) -> None:
        """`app0` sends the next event to all. Everything moves that can, and is acknowledged."""
        self.number += 1
        self.app.send(v1.Emit(0, v1.To("/"), 0, b'42["app0",%d]' % self.number))
        self.cluster.rest(0.5)

    def direct(self, user: User) -> None:
        """`app0` sends the next event to one of its clients."""
        self.number += 1
        ((slot, number),) = [key for key, each in self.app.clients.items() if each == user.connection.id]
        self.app.send(v1.Packet(number, b'42["app0",%d]' % self.number), slot)
        self.cluster.run()

    def cover(self, node: ServiceNode) -> None:
        """`app0` begins to cover a node."""
        self.cluster.reachable.add(node.name)
        self.cluster.rest(0.5)
        assert node.name in {view.node for view in self.app.planner.alive}

    def give_up(self, node: ServiceNode) -> None:
        """`app0` gives a session up. Its node does not know it."""
        self.cluster.reachable.discard(node.name)
        (link,) = [each for each in self.app.links.values() if each.view.node == node.name]
        self.app.give_up(link)

    def delay(self, one: ServiceNode, other: ServiceNode) -> None:
        """What one node sends to another is under way until `arrive`."""
        self.cluster.network.delay(one.name, other.name)

    def arrive(self, one: ServiceNode, other: ServiceNode) -> None:
        """Now it arrives."""
        self.cluster.network.release(one.name, other.name)
        self.cluster.run()


def events(user: User) -> list[int]:
    """Numbers of the events that a user got from `app0`."""
    return [number for app, number in user.events if app == "app0"]


def test_fence() -> None:
    """What the home has forwarded to a node arrives before what the new session there brings."""
    scene = Scene()
    home, node = scene.nodes
    user = scene.user(node, scene.other)
    scene.delay(home, node)
    scene.emit()
    scene.cover(node)
    scene.emit()
    assert events(user) == []
    scene.arrive(home, node)
    assert events(user) == [1, 2]


def test_number() -> None:
    """A new home forwards again what the lost one may not have forwarded. It arrives once."""
    scene = Scene(3)
    home, second, node = scene.nodes
    user = scene.user(node, scene.other)
    scene.cover(second)
    (link,) = [each for each in scene.app.links.values() if each.view is scene.app.planner.home]
    assert link.line is not None
    scene.number += 1
    scene.app.send(v1.Emit(0, v1.To("/"), 0, b'42["app0",1]'))
    while link.to_node:
        link.line.feed(link.to_node.popleft())
    home.settle()
    scene.cluster.network.run()
    node.settle()
    user.go_on()
    assert events(user) == [1], "and the app server has not heard that the home has taken it"
    scene.give_up(home)
    scene.cluster.run()
    scene.emit()
    assert events(user) == [1, 2]


def test_term() -> None:
    """What a lost home has forwarded does not come behind what the new one sends to a client."""
    scene = Scene(3)
    home, second, node = scene.nodes
    scene.user(node, scene.other)
    scene.cover(second)
    scene.delay(home, node)
    scene.emit()
    scene.give_up(home)
    scene.cluster.rest(0.5)
    user = scene.user(node, scene.app)
    scene.direct(user)
    scene.arrive(home, node)
    assert events(user) == [2]


def test_session() -> None:
    """What a lost home has forwarded does not come behind what the only session, at another node, brings."""
    scene = Scene()
    home, node = scene.nodes
    scene.user(node, scene.other)
    scene.delay(home, node)
    scene.emit()
    scene.cluster.balancer = lambda: node
    scene.give_up(home)
    scene.cluster.rest(0.5)
    user = scene.user(node, scene.app)
    scene.direct(user)
    scene.arrive(home, node)
    assert events(user) == [2]


def test_uncovering() -> None:
    """A node whose session was given up gets from the home what follows, though it has not noticed it."""
    scene = Scene()
    node = scene.nodes[1]
    user = scene.user(node, scene.other)
    scene.cover(node)
    scene.emit()
    scene.give_up(node)
    scene.emit()
    assert events(user) == [1, 2]


def test_two_sessions_do_not_wait_for_each_other() -> None:
    """The second one waits for the home's mark when the home is lost, and becomes the home. The next session
    at the first node then waits for the mark of a session that is held itself."""
    scene = Scene()
    home, node = scene.nodes
    user = scene.user(node, scene.other)
    scene.delay(home, node)
    scene.cover(node)
    (link,) = [each for each in scene.app.links.values() if each.view is scene.app.planner.home]
    scene.app.give_up(link)
    scene.cluster.rest(2)
    scene.cluster.network.release(home.name, node.name)
    scene.cluster.rest(2 * FENCE_SECONDS)
    assert len(scene.app.planner.alive) == 2
    scene.emit()
    assert events(user) == [1]


def test_an_emit_that_waited_for_a_lost_session_arrives_once() -> None:
    """It was carried out at one node, and waited for the link of the other. Then both sessions were lost, and
    a new one begins at the first of them."""
    scene = Scene()
    node = scene.nodes[1]
    user = scene.user(node, scene.other)
    scene.cover(node)
    scene.cluster.balancer = lambda: None
    (link,) = [each for each in scene.app.links.values() if each.view is scene.app.planner.home]
    scene.app.cut(link)
    scene.app.send(v1.Emit(0, v1.To("/"), 0, b'42["app0",1]'))
    scene.cluster.run()
    scene.give_up(node)
    scene.app.give_up(link)
    scene.cluster.balancer = lambda: node
    scene.cluster.rest(2)
    assert node.name in {view.node for view in scene.app.planner.alive}
    assert events(user) == [1]


def test_a_node_is_not_covered_while_it_forwards_clients_to_the_app_server() -> None:
    scene = Scene()
    node = scene.nodes[1]
    user = scene.user(node, scene.app)
    scene.cluster.reachable.add(node.name)
    scene.cluster.rest(2)
    assert [view.node for view in scene.app.planner.alive] == [scene.nodes[0].name]
    scene.direct(user)
    assert (user.is_open, events(user)) == (True, [1])


def test_a_client_that_is_forwarded_while_a_session_begins_ends() -> None:
    """It would get what its app server sends on two ways."""
    scene = Scene()
    home, node = scene.nodes
    scene.delay(node, home)
    scene.only(scene.app, node)
    user = scene.cluster.user(node)
    assert user is not None
    scene.cover(node)
    scene.arrive(node, home)
    assert user.opening.refusals
    assert user.connection.id not in scene.app.clients.values()


def test_no_client_is_forwarded_while_the_session_at_its_node_has_no_link() -> None:
    scene = Scene()
    node = scene.nodes[1]
    scene.cover(node)
    (link,) = [each for each in scene.app.links.values() if each.view.node == node.name]
    scene.app.cut(link)
    node.settle()
    scene.only(scene.app, node)
    assert scene.cluster.user(node) is None


def test_only_the_home_takes_clients_of_other_nodes() -> None:
    """A node hears of the new session before it hears that another one is the home."""
    scene = Scene(3)
    home, second, node = scene.nodes
    scene.delay(home, node)
    scene.cover(second)
    scene.only(scene.app, node)
    user = scene.cluster.user(node)
    assert user is not None
    assert user.connection.server.node == home.name
