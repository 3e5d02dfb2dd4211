"""App servers that hand over when clients have been resumed without them. The frames come through
`tests/edge/moorage/frames/test_unfinished.py`."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from moorage.hub.journal import latecomers
from moorage.hub.journal.heirs import BACK_SECONDS, HAND_OVER_SECONDS
from moorage.hub.journal.latecomers import LATE_SECONDS, Latecomers
from moorage.hub.journal.pages import Pages
from moorage.hub.recovery.sockets.replay import EVERYONE
from moorage.hub.turns import finished
from moorage.wire.commands import JoinGroups, Send
from moorage.wire.groups import namespace_group, room_group
from tests.hub.fakes import HUB
from tests.hub.journal.loss import INSTANCE, SESSION, Keeper, emit
from tests.hub.recovery.stage import ROOT, Returning, room

CHANNEL = 7
ALL = namespace_group("/")


class Restarted(Keeper):
    """A node that goes on with the sockets of `lost`, without the app server that had sent to that one."""

    def __init__(self, lost: Keeper) -> None:
        super().__init__()
        self.missed: list[tuple[frozenset[str] | None, frozenset[str]]] = []
        self.heirs.missed = self._missed
        hub = self.world.hub()
        hub.recovery = None
        self.heirs.expect("lost")
        finished(self.heirs.read("lost", Pages(lost.pages)))
        self.server.instance = "another"
        super(Keeper, self).recoverable(self.server)

    def _missed(self, hub: str, pids: Collection[str] | None, lanes: Collection[str]) -> None:
        assert hub == HUB
        self.missed.append((None if pids is None else frozenset(pids), frozenset(lanes)))

    @property
    def late(self) -> Latecomers:
        found = self.heirs.latecomers("lost", HUB)
        assert found is not None
        return found

    def comes_back(self) -> None:
        """The app server has a session."""
        late, _ = self.world.server("late", HUB)
        late.instance = INSTANCE
        super(Keeper, self).recoverable(late)

    def settle(self) -> None:
        self.heirs.handed_over("lost", HUB, INSTANCE, 9)


@pytest.fixture
def lost() -> Keeper:
    return Keeper()


@pytest.fixture
def client(lost: Keeper) -> Returning:
    made = lost.client()
    made.connection.channel = CHANNEL
    lost.tick(31.0)
    lost.emit(ROOT, b'42["stored",1]')
    lost.take(4)
    return made


@pytest.fixture
def node(lost: Keeper, client: Returning) -> Restarted:
    made = Restarted(lost)
    made.tick(BACK_SECONDS + 0.1)
    return made


def test_nobody_is_late_before_clients_are_resumed(lost: Keeper, client: Returning) -> None:
    node = Restarted(lost)
    assert node.heirs.waits("lost")
    assert node.heirs.latecomers("lost", HUB) is None
    assert node.heirs.latecomers("another", HUB) is None
    node.heirs.handed_over("lost", HUB, INSTANCE, 9)
    assert not node.heirs.waits("lost")
    assert node.heirs.latecomers("lost", HUB) is None


def test_what_an_emit_was_for(node: Restarted, client: Returning) -> None:
    assert [node.late.is_news(SESSION, *place) for place in ((4, 9), (5, 0))] == [False, True]
    node.late.command(emit(ROOT, b'42["stored",1]', 1))
    node.late.command(Send(HUB, ROOT, b'42["volatile"]', volatile=True, source=INSTANCE, number=2))
    node.tick(1.0)
    assert node.missed == []
    node.late.command(emit(room("a"), b'42["late",3]', 3))
    node.late.command(JoinGroups(HUB, room("b"), (room_group("/", "c"),)))
    node.settle()
    pids = frozenset((client.pid["/"],))
    assert node.missed == [(pids, frozenset((room_group("/", "a"), room_group("/", "b"))))]
    assert node.heirs.latecomers("lost", HUB) is None


def test_packets_for_one_client(node: Restarted, client: Returning) -> None:
    node.late.client(CHANNEL)
    node.late.client(99)
    node.tick(1.0)
    (_, lanes) = node.missed.pop()
    assert lanes == {room_group("/", client.sid["/"])}
    node.tick(1.0)
    assert node.missed == [], "it is told once"


def test_what_is_carried_out_in_the_next_session_is_not_missing(node: Restarted) -> None:
    node.emit(ROOT, b'42["queued",5]', 5)
    node.late.command(emit(ROOT, b'42["queued",5]', 5))
    node.late.command(Send(HUB, ROOT, b'42["no number"]'))
    node.tick(1.0)
    assert [lanes for _, lanes in node.missed] == [{ALL}], "an emit without a number may be any"
    node.missed.clear()
    node.late.command(emit(ROOT, b'42["queued",5]', 5))
    node.settle()
    assert node.missed == []


def test_others_may_still_be_late(lost: Keeper, client: Returning) -> None:
    recovery = lost.world.hub().recovery
    assert recovery is not None
    assert recovery.scribe is not None
    recovery.scribe.linked("second")
    node = Restarted(lost)
    node.tick(BACK_SECONDS + 0.1)
    node.settle()
    node.late.command(emit(ROOT, b'42["late",3]', 3))
    node.heirs.handed_over("lost", HUB, "second", 0)
    assert len(node.missed) == 1
    assert node.heirs.latecomers("lost", HUB) is None


def test_very_many_emits(node: Restarted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latecomers, "MAX_MISSING", 2)
    for number in range(3, 6):
        node.late.command(emit(room(str(number)), b'42["late"]', number))
    node.settle()
    ((_, lanes),) = node.missed
    assert lanes == {room_group("/", "3"), EVERYONE}


def test_very_late(node: Restarted) -> None:
    node.tick(LATE_SECONDS)
    node.tick(1.0)
    node.late.client(CHANNEL)
    node.settle()
    assert node.missed == [(None, frozenset((EVERYONE,)))]


def test_the_hub_has_no_socket_any_more(node: Restarted) -> None:
    node.late.client(CHANNEL)
    node.world.hub().recovery = None
    node.settle()
    assert node.missed == []


def test_an_app_server_that_was_gone_comes_back(lost: Keeper, client: Returning) -> None:
    """Its session at the heir was over before it has handed over."""
    heir = Restarted(lost)
    heir.heirs.dropped(INSTANCE)
    assert not heir.heirs.waits("lost")
    heir.late.client(CHANNEL)
    heir.settle()
    assert len(heir.missed) == 1


def test_an_app_server_that_comes_back_in_the_last_moment(lost: Keeper, client: Returning) -> None:
    """It gets the time to hand over. Clients need no new sockets because of it."""
    node = Restarted(lost)
    node.tick(BACK_SECONDS - 1.0)
    node.comes_back()
    node.tick(HAND_OVER_SECONDS - 1.0)
    assert node.heirs.waits("lost")
    node.settle()
    assert not node.heirs.waits("lost")
    client.stage = node
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [1]


def test_an_app_server_that_comes_back_and_does_not_hand_over(lost: Keeper, client: Returning) -> None:
    """It has perhaps no room for it in its queue."""
    node = Restarted(lost)
    for _ in range(2):
        node.tick(BACK_SECONDS - 1.0)
        node.comes_back()
    assert node.heirs.inherited == 0
    assert node.heirs.latecomers("lost", HUB) is None


@pytest.mark.parametrize("hands_over", [True, False])
def test_one_that_comes_late_and_does_not_hand_over(node: Restarted, hands_over: bool) -> None:
    """Everything may be missing, and that is told once: a further session of it changes nothing."""
    node.comes_back()
    node.heirs.appeared(HUB, "one that had no session at the lost node")
    node.tick(HAND_OVER_SECONDS - 1.0)
    if hands_over:
        node.settle()
    node.tick(2.0)
    node.comes_back()
    node.tick(HAND_OVER_SECONDS)
    assert node.heirs.latecomers("lost", HUB) is None
    assert [lanes for _, lanes in node.missed] == ([] if hands_over else [{EVERYONE}])


def test_nothing_is_remembered_without_sockets(lost: Keeper, client: Returning) -> None:
    node = Restarted(lost)
    node.heirs.make_room(HUB, client.pid["/"])
    node.tick(BACK_SECONDS + HAND_OVER_SECONDS)
    assert node.heirs.latecomers("lost", HUB) is None
