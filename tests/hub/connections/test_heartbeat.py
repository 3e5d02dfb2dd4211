"""The service's heartbeat: pings in time, and ping timeouts."""

from __future__ import annotations

from itertools import pairwise

import pytest

from moorage.engine.upgrade import State
from moorage.hub.connections.heartbeat import GRAIN_MS, LOOK_SECONDS
from moorage.hub.hub import LINK, Connection
from moorage.hub.outbox import SLICE
from moorage.hub.turns import AT_ONCE, Intake, Job
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import TRANSPORT_LOST
from tests.hub.fakes import PollingSink, RecordingOpening, RecordingPeer, World, heard, sink_of
from tests.hub.observer import RecordingObserver

GRAIN = GRAIN_MS / 1000
FINE = 0.001
STEP = 0.25
"""Interval of the service's ticks, besides the alarm of the wheel."""
LATE = 0.02
"""Maximum delay of a ping or a timeout."""


class Stage(World):
    """A world whose app server leaves the heartbeat to the service."""

    def __init__(self, interval: float = 25.0, timeout: float = 20.0) -> None:
        super().__init__()
        terms = OpenInfo(round(interval * 1000), round(timeout * 1000))
        self.app, self.link = self.server(peer=RecordingPeer(), terms=terms)

    def after(self, seconds: float) -> None:
        """Advance the time as in a running service."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + STEP, self.wake if self.wake > self.now else end)
            self.node.tick(self.now)
            self.settle()

    def until_ping(self, connection: Connection, most: float = 1000.0) -> float:
        """Advance to the next ping, which is not answered yet. Returns the seconds until it."""
        began, before = self.now, len(heard(connection))
        while len(heard(connection)) == before:
            self.after(max(FINE, min(STEP, self.wake - self.now)))
            assert self.now - began < most
        assert heard(connection)[before:] == [b"2"]
        return self.now - began

    def ends(self) -> list[str]:
        """The reasons for which clients were closed."""
        return [reason for _, reason, *_ in self.logged]


def test_a_ping_comes_once_an_interval() -> None:
    stage = Stage()
    client = stage.client("/")
    for _ in range(4):
        assert 25.0 <= stage.until_ping(client) <= 25.0 + LATE
        stage.node.receive(client, b"3")
    assert stage.ends() == []
    assert stage.link.packets(client) == [b"40"], "pongs are not the app server's business"


def test_the_first_ping_comes_after_an_interval() -> None:
    stage = Stage(interval=1.0)
    client = stage.client("/")
    stage.after(0.999)
    assert heard(client) == []
    assert stage.until_ping(client) <= LATE


def test_no_pong_in_time() -> None:
    stage = Stage()
    client, other = stage.client("/"), stage.client("/")
    stage.until_ping(client)
    stage.node.receive(other, b"3")
    stage.after(19.999)
    assert stage.ends() == []
    stage.after(LATE)
    assert stage.ends() == ["ping-timeout"]
    assert client.session.state == State.CLOSED
    assert other.session.state != State.CLOSED
    assert [reason.name for _, reason in stage.link.ended] == ["ping-timeout"]


def test_a_pong_just_before_the_deadline_counts() -> None:
    stage = Stage()
    client = stage.client("/")
    stage.until_ping(client)
    stage.after(19.5)
    stage.node.receive(client, b"3")
    # 25 s after the last ping, as if the pong had arrived at once.
    assert stage.until_ping(client) <= 5.5 + LATE
    assert stage.ends() == []


@pytest.mark.parametrize("lag", [0.1, 1.5, 5.0, 19.0])
def test_an_interval_shorter_than_the_timeout(lag: float) -> None:
    """The client gives up `interval + timeout` after the last ping, so the next must not wait for
    the deadline of the last."""
    stage = Stage(interval=1.0, timeout=20.0)
    client = stage.client("/")
    for _ in range(3):
        stage.until_ping(client)
        stage.after(lag)
        stage.node.receive(client, b"3")
        assert stage.until_ping(client) <= 1.0 + LATE
        stage.node.receive(client, b"3")
    stage.until_ping(client)
    stage.after(20.0 + LATE)
    assert stage.ends() == ["ping-timeout"]


@pytest.mark.parametrize("pause", [3.0, 30.0, 300.0])
def test_after_a_pause_of_the_service_pongs_are_read_first(pause: float) -> None:
    stage = Stage()
    client, dead = stage.client("/"), stage.client("/")
    stage.until_ping(client)
    stage.after(19.0)
    # The machine slept, or a long call blocked the loop.
    stage.now += pause
    stage.node.tick(stage.now)
    assert stage.ends() == []
    stage.node.receive(client, b"3")
    stage.after(20.0 + LATE)
    assert [reason.name for sid, reason in stage.link.ended] == ["ping-timeout"]
    assert dead.session.state == State.CLOSED


def test_a_paused_client_is_not_timed_out() -> None:
    stage = Stage()
    client = stage.client("/")
    stage.until_ping(client)
    client.held = True
    stage.after(100.0)
    assert stage.ends() == []
    client.held = False
    stage.after(40.0 + LATE)
    assert stage.ends() == ["ping-timeout"]


@pytest.mark.parametrize("step", range(0, 24))
def test_a_resumed_client_is_read_before_it_is_timed_out(step: int) -> None:
    """Its deadline may pass at this moment, while its pong is still in the socket buffer."""
    stage = Stage(interval=2.0, timeout=3.0)
    client = stage.client("/")
    stage.until_ping(client)
    client.held = True
    stage.after(10.0 + STEP * step)
    client.held = False
    stage.node.heartbeats.read_on(client, stage.now)
    stage.node.tick(stage.now + GRAIN)
    assert stage.ends() == []


def test_a_polling_client_fetches_its_ping() -> None:
    stage = Stage()
    client = stage.client("/", framed=False)
    sink = sink_of(client)
    assert isinstance(sink, PollingSink)
    stage.until_ping(client)
    stage.after(10.0)
    sink.poll()
    stage.node.receive(client, b"3")
    assert stage.until_ping(client) <= 15.0 + LATE
    # Without a poll the ping waits, and its timeout does not start.
    stage.after(20.0 + LATE)
    assert stage.ends() == ["ping-timeout"]


def test_in_the_azure_dialect_the_app_server_runs_the_heartbeat() -> None:
    world = World()
    _, link = world.server()
    client = world.client("/")
    assert client.heartbeat is None
    world.node.tick(world.now + 1000.0)
    world.settle()
    assert heard(client) == []
    world.node.receive(client, b"3")
    assert link.packets(client)[-1] == b"3"


def test_an_unexpected_pong_is_ignored() -> None:
    stage = Stage()

    class Eager(RecordingOpening):
        """A client that sends while the service writes to it."""

        def accepted(self, connection: Connection, info: OpenInfo) -> None:
            super().accepted(connection, info)
            stage.node.receive(connection, b"3")

    client = stage.open(Eager())
    assert stage.link.packets(client) == []


def test_many_clients_are_pinged_in_slices() -> None:
    stage = Stage(interval=5.0)
    crowd = [stage.client("/") for _ in range(2 * SLICE + 10)]
    sent = stage.node.flusher.sent_websocket
    due = stage.now + 5.0 + GRAIN
    while stage.now < due and not stage.scheduled:
        stage.now += STEP
        stage.node.tick(stage.now)
    stage.tick()
    assert sum(bool(heard(client)) for client in crowd) == SLICE
    stage.settle()
    assert all(heard(client) == [b"2"] for client in crowd)
    assert stage.node.flusher.sent_websocket == sent + len(crowd)


@pytest.mark.repair(11)
def test_pings_leave_in_the_turn_in_which_they_are_due_while_others_are_busy() -> None:
    """5,000 idle clients, work that needs many turns, and a broadcast that is written in slices: a ping that
    is due waits for none of it."""
    stage = Stage(interval=25.0)
    one = stage.client("/")
    stage.now += 10.0
    idle = [stage.client() for _ in range(5_000)]

    def working() -> Job[None]:
        while True:
            stage.node.flusher.spread(b"42[1]", b"42[1]", idle[:SLICE], len(idle), 1)
            yield False

    stage.node.turns._clock = Counting(stage.now)
    Intake(stage.node.turns).add(working())
    for _ in range(3):
        stage.tick()
    assert stage.turns
    assert heard(one) == []
    stage.now += 15.0 + LATE
    assert stage.wake <= stage.now, "the wheel is called in time"
    stage.node.tick(stage.now)
    stage.tick()
    assert stage.turns, "work is left"
    assert heard(one) == [b"2"]


class Counting:
    """A clock of which each look takes a millisecond."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def test_closed_clients_are_soon_released() -> None:
    stage = Stage(interval=1e6, timeout=1e6)
    for _ in range(20):
        stage.node.receive(stage.client("/"), b"1")
    stays = stage.client("/")
    stage.after(LOOK_SECONDS + LATE)
    kept = [heartbeat.owner for slot in stage.node.heartbeats._slots.values() for heartbeat in slot]
    assert kept == [stays]
    assert heard(stays) == []


def test_each_client_has_one_entry_in_the_wheel() -> None:
    """For any order of pongs, every connection is in the wheel exactly once."""
    stage = Stage(interval=1.0, timeout=3.0)
    clients = [stage.client("/") for _ in range(5)]
    for step in range(200):
        for number, client in enumerate(clients):
            if step % (number + 1) == 0:
                stage.node.receive(client, b"3")
        stage.after(STEP)
        kept = [
            heartbeat.owner.id
            for slot in stage.node.heartbeats._slots.values()
            for heartbeat in slot
            if heartbeat.owner
        ]
        assert sorted(kept) == sorted(c.id for c in clients)
    assert stage.ends() == []


@pytest.mark.repair(11)
@pytest.mark.parametrize(
    ("interval", "timeout"), [(0.3, 0.2), (1.0, 0.2), (0.025, 0.02), (25.0, 20.0), (60.0, 0.2), (0.3, 20.0)]
)
def test_pings_are_sent_on_time_and_no_client_is_closed_early(interval: float, timeout: float) -> None:
    """Clients connect at odd times. One answers at the last moment, one never does."""
    for offset in range(7):
        stage = Stage(interval, timeout)
        stage.now += offset * 0.001_37
        alive, dead = stage.client("/"), stage.client("/")
        for _ in range(3):
            assert interval - FINE <= stage.until_ping(alive) <= interval + LATE
            stage.node.receive(alive, b"3")
            if dead.session.state != State.CLOSED:
                stage.node.receive(dead, b"3")
        stage.until_ping(alive)
        asked = stage.now
        wait = min(timeout, interval) - GRAIN
        stage.after(wait - 0.001)
        assert stage.ends() == []
        stage.node.receive(alive, b"3")
        stage.after(asked + timeout - 0.001 - GRAIN - stage.now)
        assert stage.ends() == []
        stage.after(LATE + GRAIN)
        assert dead.session.state == State.CLOSED
        assert alive.session.state != State.CLOSED


@pytest.mark.repair(11)
def test_a_pong_that_arrived_while_the_loop_was_busy_counts() -> None:
    stage = Stage(interval=0.3, timeout=0.2)
    client, dead = stage.client("/"), stage.client("/")
    stage.until_ping(client)
    # The loop is busy past the deadline and reads its sockets right after.
    stage.now += 0.9
    stage.node.tick(stage.now)
    assert stage.ends() == []
    stage.node.receive(client, b"3")
    stage.after(0.01)
    assert client.session.state != State.CLOSED
    assert dead.session.state == State.CLOSED


@pytest.mark.repair(11)
def test_the_wheel_does_not_wake_without_work() -> None:
    stage = Stage(interval=10.0, timeout=5.0)
    stage.after(60.0)
    assert stage.wakes == 0, "nobody is there"
    clients = [stage.client("/") for _ in range(3)]
    began = stage.wakes
    for _ in range(10):
        stage.until_ping(clients[0])
        for client in clients:
            stage.node.receive(client, b"3")
    assert stage.wakes - began <= 10 * (2 + 10.5 / STEP), "two looks a ping, and once per tick at most"
    for client in clients:
        stage.node.receive(client, b"1")
    stage.after(20.0)
    before = stage.wakes
    stage.after(60.0)
    assert stage.wakes == before, "all have gone"


@pytest.mark.repair(11)
def test_many_clients_share_wake_ups() -> None:
    """20,000 clients that connected one by one: the wheel wakes at most a hundred times a second, and a
    client costs two looks an interval."""
    stage = Stage(interval=25.0, timeout=20.0)
    for _ in range(2_000):
        stage.client("/")
        stage.now += 0.000_7
    before, pings = stage.wakes, stage.node.flusher.sent_websocket
    began = stage.now
    stage.after(26.5)
    assert stage.node.flusher.sent_websocket - pings == 2_000
    slots = 1.4 / GRAIN
    assert stage.wakes - before <= slots + (stage.now - began) / STEP + 2


def test_a_client_is_overdue_between_its_deadline_and_its_end() -> None:
    stage = Stage()
    client = stage.client("/")
    stage.until_ping(client)
    heartbeats = stage.node.heartbeats
    deadline = stage.now + 20.0
    assert [heartbeats.is_overdue(client, now) for now in (deadline - 1, deadline)] == [False, True]
    client.hold(LINK)
    assert not heartbeats.is_overdue(client, deadline), "its pong may not have been read"
    client.release(LINK)
    stage.node.receive(client, b"3")
    assert not heartbeats.is_overdue(client, deadline)


def test_a_client_without_a_heartbeat_is_never_overdue() -> None:
    world = World()
    world.server()
    client = world.client("/")
    heartbeats = world.node.heartbeats
    heartbeats.read_on(client, world.now)
    assert not heartbeats.is_overdue(client, world.now + 1_000)


def test_a_client_whose_end_failed_is_not_pinged() -> None:
    class Failing(RecordingObserver):
        def left(self, connection: Connection, namespace: str) -> None:
            raise RuntimeError("left")

    stage = Stage()
    client = stage.client("/")
    stage.node.observer = Failing()
    with pytest.raises(RuntimeError):
        stage.node.disconnect(client, TRANSPORT_LOST, who="client")
    stage.after(100.0)
    assert heard(client) == []
    assert stage.faults == []


@pytest.mark.repair(9)
def test_many_clients_that_are_lost_together_end_a_few_at_a_time() -> None:
    """A network that fails takes thousands of clients with it, whose deadlines may be the same."""
    stage = Stage(interval=1.0, timeout=0.5)
    for _ in range(3 * AT_ONCE):
        stage.client()
    ended = [0]
    while ended[-1] < 3 * AT_ONCE:
        stage.now = max(stage.now + FINE, min(stage.wake, stage.now + STEP))
        stage.node.tick(stage.now)
        ended.append(len(stage.ends()))
    steps = [after - before for before, after in pairwise(ended) if after > before]
    assert steps == [AT_ONCE] * 3
    assert set(stage.ends()) == {"ping-timeout"}
