"""A session of an app server that covers several nodes."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import pytest

from moorage.edge.moorage.coverage import COVER_SECONDS, FENCE_SECONDS, Coverage, HeirsElsewhere
from moorage.hub.hub import AppServer, Guest, Hub
from moorage.hub.ports import Answers, Reply
from moorage.hub.turns import AT_ONCE
from moorage.wire.commands import Ask, Cast, Outcome, TellServers, Write
from moorage.wire.handshake import Handshake
from moorage.wire.moorage import v1
from moorage.wire.moorage.coverage import NodeRow
from moorage.wire.reasons import APP_LOST, LINK_SESSION_OVER
from tests.edge.moorage.rig import App, Rig
from tests.hub.connections.test_guests import RecordingOwner
from tests.hub.fakes import HUB, LEAST, RecordingAnswers, RecordingCluster, RecordingLink, heard


class Elsewhere:
    """`Beyond`: remembers what is forwarded."""

    def __init__(self, nodes: Collection[str] | None) -> None:
        self.nodes = None if nodes is None else set(nodes)
        self.number = 0
        self.sent: list[tuple[str, int]] = []

    def _note(self, command: object) -> None:
        self.sent.append((type(command).__name__, self.number))

    def cast(self, command: Cast, here: Outcome) -> None:
        self._note(command)

    def write(self, command: Write, here: Outcome, reply: Reply, about: Any) -> None:
        self._note(command)
        reply(about, here)

    def ask(
        self, command: Ask, reply: Reply, about: Any, answers: Answers[Any] | None
    ) -> tuple[Reply, Any, Answers[Any] | None]:
        self._note(command)
        return reply, about, answers


class Cluster:
    """`Homes`."""

    def __init__(self) -> None:
        self.rows: tuple[NodeRow, ...] = (
            NodeRow("n0", "one", "", "", True),
            NodeRow("n1", "two", "http://h:1", "", True),
        )
        self.number = 0
        self.heirs: HeirsElsewhere | None = None
        self.waits = False
        self.began: list[tuple[int, bool]] = []
        self.ended = 0
        self.session: Coverage | None = None
        self.reached: list[Elsewhere] = []
        self.changes: list[tuple[int, set[str], set[str] | None]] = []
        self.own_marks: list[tuple[str, int]] = []
        self.instances: set[str] = set()
        """Those of all calls."""

    def nodes(self, app: AppServer, hub: Hub, covered: Collection[str]) -> tuple[NodeRow, ...]:
        return self.rows

    def instance(self, instance: str) -> Cluster:
        self.instances.add(instance)
        return self

    def begin(self, session: Coverage, *, fence: bool) -> bool:
        self.session = session
        self.began.append((session.term, fence))
        return not self.waits

    def end(self, session: Coverage) -> None:
        self.ended += 1

    def beyond(self, instance: str, term: int, nodes: Collection[str] | None) -> Elsewhere:
        self.instances.add(instance)
        self.reached.append(Elsewhere(nodes))
        return self.reached[-1]

    def changed(
        self, instance: str, term: int, added: Collection[str], removed: Collection[str] | None
    ) -> None:
        self.instances.add(instance)
        self.changes.append((term, set(added), None if removed is None else set(removed)))

    def mark(self, hub: str, instance: str, term: int) -> None:
        self.instances.add(instance)
        self.own_marks.append((hub, term))


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def app(cluster: Cluster) -> App:
    return joined(cluster)


def joined(cluster: Cluster, *, instance: str = "i", revision: int = v1.REVISION, hub: str = HUB) -> App:
    """An app server at a node of this cluster."""
    rig = Rig(hub=hub)
    rig.sessions.homes = cluster
    app = App(rig, "s")
    app.instance = instance
    return app.dial(revision=revision)


def cover(term: int, *nodes: str, home: bool = False, fence: bool = False) -> v1.Cover:
    return v1.Cover(term, home, fence, nodes)


EMIT = v1.Emit(0, v1.To("/"), 0, b'42["x"]', 9)


def test_the_nodes_are_listed_after_the_hello_and_after_each_change(app: App, cluster: Cluster) -> None:
    assert app.heard(v1.Nodes) == [v1.Nodes(1, cluster.rows)]
    app.rig.after(1.0)
    assert app.heard(v1.Nodes) == []
    cluster.rows = cluster.rows[:1]
    app.rig.after(1.0)
    assert app.heard(v1.Nodes) == [v1.Nodes(2, cluster.rows)]


def test_an_older_app_server_is_told_nothing(cluster: Cluster) -> None:
    app = joined(cluster, revision=3)
    app.rig.after(1.0)
    assert app.heard(v1.Nodes) == []


@pytest.mark.parametrize(
    ("instance", "home", "up", "told"),
    [("i", True, True, 0), ("i", False, True, 1), ("i", True, False, 1), ("j", True, True, 1)],
)
def test_an_app_server_with_a_home_is_told_of_events_there_alone(
    instance: str, home: bool, up: bool, told: int, cluster: Cluster
) -> None:
    rig = Rig()
    rig.sessions.homes = cluster
    there = AppServer("s", RecordingLink(), "moorage", LEAST)
    there.instance, there.home, there.up = instance, home, up
    rig.world.node.ensure_hub(HUB).servers.elsewhere.add(there)
    app = App(rig, "s")
    app.instance = "i"
    if instance == "j":
        there.id = "t"
    app.dial()
    tell = TellServers(HUB, "/", b'42["x"]', "another")
    rig.world.submit(tell, RecordingAnswers())
    rig.world.tick()
    assert len(app.heard(v1.Told)) == told
    rig.after(COVER_SECONDS)
    rig.world.submit(tell, RecordingAnswers())
    rig.world.tick()
    assert len(app.heard(v1.Told)) == 1  # it has said of no other session that it is the home


def test_without_a_cluster_cover_is_refused() -> None:
    app = Rig().app("s")
    app.say(cover(1, "n0", home=True), v1.Again(EMIT))
    assert [frame.reason for frame in app.heard(v1.Failed)] == ["link-bad-request"] * 2


def test_before_its_first_cover_a_session_is_the_home_and_covers_its_node_alone(
    app: App, cluster: Cluster
) -> None:
    app.say(EMIT)
    assert cluster.reached[-1].sent == [], "there is no other node"
    app.rig.world.node.cluster = RecordingCluster()
    app.say(v1.Emit(0, v1.To("/"), 0, b'42["x"]', 10))
    assert (cluster.reached[-1].nodes, cluster.reached[-1].sent) == (set(), [("Send", 10)])
    app.say(v1.Emit(0, v1.To("/", ("room",)), 0, b'42["x"]', 11))
    assert cluster.reached[-1].sent[1:] == [("Send", 11)], "to a room that has members elsewhere alone"
    assert (cluster.began, cluster.number) == ([(0, False)], 11)
    app.say(cover(1, "n0", "n1", home=True))
    assert cluster.began == [(0, False)]
    assert cluster.session is not None
    assert cluster.session.term == 1


def test_a_frame_that_this_node_has_carried_out_is_only_forwarded(app: App, cluster: Cluster) -> None:
    """In another session, which was lost: an emit that was not sent there waits for the next session."""
    _number, client = app.client("/")
    cluster.number = 9
    app.say(cover(1, "n0", home=True), EMIT, v1.Emit(0, v1.To("/"), 0, b'42["y"]', 10))
    assert cluster.reached[-1].sent == [("Send", 9), ("Send", 10)]
    app.rig.settle()
    assert heard(client)[1:] == [b'42["y"]']


def test_a_session_that_is_not_the_home_answers_such_a_frame_and_does_nothing(
    app: App, cluster: Cluster
) -> None:
    app.client("/")
    cluster.number = 9
    app.say(
        cover(1, "n0", "n1"), v1.Join(1, v1.To("/"), ("r",), 8), v1.Ask(2, v1.To("/"), 0, 100, b'42["x"]', 9)
    )
    assert app.heard(v1.Done, v1.Asked) == [v1.Done(1, 0), v1.Asked(2, 0), v1.Done(2, 0)]


def test_an_app_server_without_an_instance_is_not_counted(cluster: Cluster) -> None:
    app = joined(cluster, instance="")
    app.rig.world.node.cluster = everywhere = RecordingCluster()
    app.say(EMIT)
    assert (len(everywhere.casts), cluster.began) == (1, [])


def test_commands_of_the_home_are_forwarded_and_others_are_not(app: App, cluster: Cluster) -> None:
    app.say(cover(1, "n0", home=True), EMIT, v1.Join(1, v1.To("/"), ("r",), 10))
    assert cluster.reached[-1].nodes == {"n0"}
    assert cluster.reached[-1].sent == [("Send", 9), ("JoinGroups", 10)]
    assert cluster.number == 10
    app.say(cover(2, "n0", "n1"), v1.Emit(0, v1.To("/"), 0, b'42["x"]', 11))
    assert [reach.nodes for reach in cluster.reached] == [{"n0"}, None]
    assert len(cluster.reached[0].sent) == 2
    assert cluster.number == 11


def test_a_fetch_is_forwarded_without_its_number(app: App, cluster: Cluster) -> None:
    """Later frames may have overtaken it, and nodes ignore lower numbers."""
    app.client("/")
    app.say(cover(1, "n0", home=True), v1.Fetch(1, v1.To("/"), 0, False, 8), EMIT)
    app.say(v1.Fetch(2, v1.To("/"), 0, False, 10), v1.Ask(3, v1.To("/", ("r",)), 0, 100, b'42["x"]', 11))
    assert cluster.reached[-1].sent == [
        ("FetchSockets", 0), ("Send", 9), ("FetchSockets", 0), ("Invoke", 11),
    ]  # fmt: skip
    assert cluster.number == 11


def test_only_the_home_looks_at_an_emit_to_a_room_without_members_here(app: App, cluster: Cluster) -> None:
    """It also refuses what cannot be carried out. Other nodes spend no time on it."""
    number, client = app.client("/")
    bad = [v1.Emit(0, v1.To("/", ("r",)), 0, b"41", place) for place in (7, 8, 9)]
    app.say(cover(1, "n0", "n1"), bad[0])
    assert (app.heard(v1.Failed), cluster.number) == ([], 7)
    app.say(cover(2, "n0", "n1", home=True), bad[1])
    assert [frame.reason for frame in app.heard(v1.Failed)] == ["api-bad-payload"]
    app.say(cover(3, "n0", "n1"), v1.Enter(1, number, "/", ("r",)), bad[2])
    assert len(app.heard(v1.Failed)) == 1
    app.say(
        v1.Emit(0, v1.To("/", ("r",)), 0, b'42["x"]', 10), v1.Emit(2, v1.To("/", ("s",)), 0, b'42["x"]', 11)
    )
    assert (heard(client)[-1], app.heard(v1.Done)[-1]) == (b'42["x"]', v1.Done(2, 0))


def test_the_home_marks_what_is_new_and_lets_go_of_what_is_not_covered(app: App, cluster: Cluster) -> None:
    app.say(cover(1, "n0", home=True), cover(2, "n0", "n1", home=True), cover(3, "n1", home=True))
    assert cluster.changes == [(1, {"n0"}, None), (2, {"n1"}, set()), (3, set(), {"n0"})]


def test_a_new_home_tells_all(app: App, cluster: Cluster) -> None:
    app.say(cover(1, "n0", "n1"), cover(2, "n0", home=True))
    assert cluster.changes == [(2, {"n0"}, None)]


def test_a_home_that_was_the_only_session_tells_all(app: App, cluster: Cluster) -> None:
    """An earlier session may have been lost before this one began."""
    app.say(EMIT, cover(1, "n0", home=True))
    assert cluster.changes == [(1, {"n0"}, None)]


def guests(app: App, count: int) -> RecordingOwner:
    """Clients of another node come to this app server."""
    server, owner = app.server, RecordingOwner()
    for number in range(count):
        guest = Guest(f"n9-c{number}", server.hub, user_id=None, server=server.app, node="n9", owner=owner)
        app.rig.world.node.guests.welcome(guest, Handshake(query={}, headers={}))
    return owner


@pytest.mark.parametrize("waits", [False, True])
def test_clients_of_other_nodes_that_came_here_end_if_another_node_is_the_home(
    app: App, cluster: Cluster, waits: bool
) -> None:
    owner = guests(app, 1)
    cluster.waits = waits
    app.say(cover(1, "n0", "n1", fence=True), v1.List(7))
    app.rig.settle()
    assert owner.calls == [("refused", "n9-c0", APP_LOST, "its home is another node")]
    assert app.server.app.guests == set()
    assert len(app.heard(v1.Servers)) == (0 if waits else 1), "frames behind it wait for the mark, too"


def test_many_clients_of_other_nodes_end_a_few_at_a_time(app: App, cluster: Cluster) -> None:
    owner = guests(app, 3 * AT_ONCE)
    _, job = Coverage(app.server, cluster, "i").covers(cover(1, "n0", "n1"))
    assert job is not None
    ended = [0]
    for _ in job:
        ended.append(len(owner.calls))
    ended.append(len(owner.calls))
    assert ended[-1] == 3 * AT_ONCE
    assert max(after - before for before, after in pairwise(ended)) <= AT_ONCE


def test_frames_behind_a_fence_wait_for_the_mark(app: App, cluster: Cluster) -> None:
    cluster.waits = True
    app.say(cover(4, "n0", "n1", fence=True), v1.List(7))
    assert app.heard(v1.Servers) == []
    assert cluster.session is not None
    cluster.session.marked(4)
    app.rig.settle()
    assert [frame.ref for frame in app.heard(v1.Servers)] == [7]


def test_a_mark_that_does_not_come_ends_the_session(app: App, cluster: Cluster) -> None:
    cluster.waits = True
    app.say(cover(4, "n0", "n1", fence=True), v1.List(7))
    app.rig.after(FENCE_SECONDS + 1)
    assert not app.rig.sessions.knows(app.rig.hub_name, "s")
    assert cluster.ended == 1
    assert app.line.closed == [LINK_SESSION_OVER]


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_a_held_session_that_becomes_the_home_gets_its_mark_from_its_own_node(
    app: App, cluster: Cluster, together: bool
) -> None:
    """The former home is lost, and marks nothing."""
    cluster.waits = True
    held, home = cover(4, "n0", "n1", fence=True), cover(5, "n0", home=True)
    if together:
        app.say(held, v1.List(7), home)
    else:
        app.say(held)
        app.say(v1.List(7), home)
    app.say(v1.List(8), cover(6, "n0", "n1", home=True))
    assert cluster.own_marks == [(app.rig.hub_name, 4)], "asked for once"
    assert app.heard(v1.Servers) == []
    assert cluster.session is not None
    cluster.session.marked(4)
    app.rig.settle()
    assert [frame.ref for frame in app.heard(v1.Servers)] == [7, 8]
    assert cluster.changes == [(5, {"n0"}, None), (6, {"n1"}, set())]


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_a_held_session_that_does_not_become_the_home_waits_on(
    app: App, cluster: Cluster, together: bool
) -> None:
    cluster.waits = True
    held, later = cover(4, "n0", "n1", fence=True), cover(5, "n0", "n1", "n2")
    if together:
        app.say(held, later, v1.List(7))
    else:
        app.say(held)
        app.say(later, v1.List(7))
    assert app.line.closed == []
    assert cluster.session is not None
    cluster.session.marked(4)
    app.rig.settle()
    assert [frame.ref for frame in app.heard(v1.Servers)] == [7]


def test_a_session_that_is_not_covered_any_more_ends(app: App, cluster: Cluster) -> None:
    app.say(cover(1, "n0", "n1"))
    assert cluster.session is not None
    cluster.session.uncovered()
    assert cluster.ended == 1
    assert app.line.closed == [LINK_SESSION_OVER]


def test_what_a_lost_home_may_not_have_forwarded_is_forwarded_only(app: App, cluster: Cluster) -> None:
    app.say(cover(1, "n0", "n1", home=True), v1.Again(EMIT), v1.Again(v1.Leave(3, v1.To("/"), ("r",), 5)))
    assert [name for name, _ in cluster.reached[-1].sent] == ["Send", "LeaveGroups"]
    assert [(frame.ref, frame.count) for frame in app.heard(v1.Done)] == [(3, 0)]
    app.say(cover(2, "n0", "n1"), v1.Again(EMIT))
    assert [frame.reason for frame in app.heard(v1.Failed)] == ["link-bad-request"]


@pytest.mark.parametrize("frames", [[cover(0, "n0")], [cover(2, "n0"), cover(2, "n0")]])
def test_a_term_that_does_not_grow_is_refused(app: App, frames: list[v1.Cover]) -> None:
    app.say(*frames)
    assert [frame.reason for frame in app.heard(v1.Failed)] == ["link-bad-request"]


def test_an_app_server_without_an_instance_cannot_cover(cluster: Cluster) -> None:
    app = joined(cluster, instance="")
    app.say(cover(1, "n0", home=True))
    assert [frame.reason for frame in app.heard(v1.Failed)] == ["link-bad-request"]


def test_app_servers_of_two_hubs_with_the_same_instance_are_two(cluster: Cluster) -> None:
    for hub in ("Chat", "chat", "game"):
        app = joined(cluster, hub=hub)
        app.say(cover(1, "n1", home=True))
        assert app.heard(v1.Failed) == []
    assert len(cluster.instances) == 2
