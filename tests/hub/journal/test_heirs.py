"""A node is lost, and another one goes on with its sockets."""

from __future__ import annotations

import gc
import weakref

import pytest

from moorage.hub.journal.estate import HubEstate
from moorage.hub.journal.heirs import BACK_SECONDS, HAND_OVER_SECONDS, RETURN_SECONDS
from moorage.hub.journal.pages import Pages
from moorage.hub.recovery.causes import DROPPED, OFFSET
from moorage.hub.recovery.moves import Expected
from moorage.hub.turns import finished
from moorage.wire.commands import (
    CloseConnections,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    Selection,
)
from moorage.wire.groups import room_group
from moorage.wire.recovery.moving import Offered, Taken
from tests.hub.fakes import HUB, RecordingPeer
from tests.hub.journal.loss import INSTANCE, SESSION, Keeper, emit, moves
from tests.hub.recovery.stage import ROOT, Returning, refused, room


@pytest.fixture
def lost() -> Keeper:
    return Keeper()


@pytest.fixture
def heir() -> Keeper:
    return Keeper()


def test_a_client_gets_what_it_has_missed_once_and_in_order(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    lost.world.join(client.connection, "a")
    lost.emit(room("a"), b'42["seen",1]')
    client.read()
    lost.emit(room("a"), b'42["missed",2]')
    lost.emit(ROOT, b'42["all",3]')
    lost.world.send(client.connection, b'42["direct",4]')
    heir.inherit(lost, settle=False)
    heir.heirs.hand_over("lost", HUB, emit(room("a"), b'42["unfinished",5]', 4))
    heir.heirs.handed_over("lost", HUB, INSTANCE, 4)
    heir.emit(room("a"), b'42["later",6]', 5)
    client.stage = heir
    client.save(b'{"name":"Ann"}')
    client.come_back()
    (_, socket) = heir.returns.sockets[0]
    assert (socket.sid, socket.rooms, socket.data) == (client.sid["/"], ("a",), b'{"name":"Ann"}')
    assert [event[2] for event in client.events] == [2, 3, 4, 5, 6]
    assert heir.heirs.inherited == 1


def test_what_the_lost_node_has_carried_out_is_not_carried_out_again(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    lost.emit(ROOT, b'42["a",1]')
    lost.take(1)
    heir.inherit(lost, settle=False)
    estate = heir.heirs.estate("lost", HUB)
    assert estate is not None
    assert [estate.is_news(SESSION, *place) for place in ((1, 0), (1, 9), (2, 0))] == [False, False, True]
    assert estate.is_news("another", 1, 0)
    heir.heirs.hand_over("lost", HUB, emit(ROOT, b'42["a",1]', 1))
    # It was carried out here before the app server handed over.
    heir.emit(ROOT, b'42["b",2]', 2)
    heir.heirs.hand_over("lost", HUB, emit(ROOT, b'42["b",2]', 2))
    heir.heirs.handed_over("lost", HUB, INSTANCE, 2)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2]


def test_groups_change_by_what_is_handed_over(lost: Keeper, heir: Keeper) -> None:
    client, other, third = lost.client(), lost.client(), lost.client()
    for each in (client, other):
        lost.world.join(each.connection, "a")
    heir.inherit(lost, settle=False)
    to = Selection(connection=client.connection.id)
    a, b, c = (room_group("/", name) for name in "abc")
    for command in (
        JoinGroups(HUB, to, (b, c)),
        LeaveGroups(HUB, to, (c,)),
        LeaveGroups(HUB, Selection(connection=other.connection.id), None),
        CloseConnections(HUB, Selection(connection=third.connection.id)),
    ):
        heir.heirs.hand_over("lost", HUB, command)
    heir.heirs.handed_over("lost", HUB, INSTANCE, 9)
    heir.emit(room("b"), b'42["b",1]', 10)
    heir.emit(room("a"), b'42["a",2]', 11)
    for each in (client, other):
        each.stage = heir
        each.save(b"")
        each.come_back()
    assert [event[2] for event in client.events] == [1, 2]
    assert other.events == []
    moves(third, heir, answer=False)
    assert refused(heir) == {"unknown": 1}
    assert a in client.connection.groups


def test_a_socket_that_ends_by_what_is_handed_over(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    heir.inherit(lost, settle=False)
    to = Selection(connection=client.connection.id)
    elsewhere = Selection(connection="elsewhere")
    heir.heirs.hand_over("lost", HUB, LeaveNamespace(HUB, elsewhere, "/", close=False))
    assert heir.heirs.estate("lost", HUB).has(client.pid["/"])  # type: ignore[union-attr]
    heir.heirs.hand_over("lost", HUB, LeaveNamespace(HUB, to, "/", close=False))
    heir.heirs.handed_over("lost", HUB, INSTANCE, 0)
    moves(client, heir, answer=False)
    assert refused(heir) == {"unknown": 1}


def test_clients_wait_until_all_have_handed_over(lost: Keeper, heir: Keeper) -> None:
    lost.client()
    called: list[str] = []
    heir.heirs.expect("lost")
    heir.heirs.once_known("lost", lambda: called.append("known"))
    assert heir.heirs.is_reading("lost")
    assert heir.heirs.waits("lost")
    heir.heirs.when_open("lost", lambda: called.append("open"))
    finished(heir.heirs.read("lost", Pages(lost.pages)))
    assert called == ["known"]
    heir.heirs.dropped("somebody")
    assert heir.heirs.waits("lost")
    heir.heirs.dropped(INSTANCE)
    assert heir.heirs.waits("lost"), "it may have another session"
    heir.world.hub().servers.remove(heir.server)
    heir.heirs.dropped(INSTANCE)
    assert called == ["known", "open"]
    assert not heir.heirs.waits("lost")
    assert heir.heirs.estate("lost", HUB) is None


def test_an_app_server_that_hands_nothing_over_in_time(lost: Keeper, heir: Keeper) -> None:
    """It has sent something that is missing."""
    told: list[tuple[str, str, int]] = []
    heir.heirs.forsaken = lambda *what: told.append(what)
    client = lost.client()
    heir.inherit(lost, settle=False)
    heir.tick(HAND_OVER_SECONDS - 0.1)
    assert heir.heirs.waits("lost")
    heir.tick(0.2)
    assert not heir.heirs.waits("lost")
    assert told == [("lost", HUB, 1)]
    moves(client, heir, answer=False)
    assert refused(heir) == {"unknown": 1}


def test_an_app_server_begins_anew_before_it_has_handed_over(lost: Keeper, heir: Keeper) -> None:
    """What was on its way in its last session does not come again."""
    client = lost.client()
    heir.inherit(lost, settle=False)
    servers = heir.world.hub().servers
    servers.remove(heir.server)
    # At another node, and here again a moment later.
    servers.elsewhere.add(heir.server)
    heir.heirs.dropped(INSTANCE)
    assert heir.heirs.waits("lost")
    heir.tick(HAND_OVER_SECONDS + 0.1)
    assert not heir.heirs.waits("lost")
    moves(client, heir, answer=False)
    assert refused(heir) == {"unknown": 1}


def test_an_app_server_that_is_gone_too(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    heir.server.instance = "another"
    heir.inherit(lost, settle=False)
    heir.tick(HAND_OVER_SECONDS + 0.1)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert len(heir.returns.sockets) == 1


def test_a_journal_that_cannot_be_read(heir: Keeper) -> None:
    heir.heirs.expect("lost")
    heir.heirs.give_up("lost", unread=True)
    assert (heir.heirs.was_unread("lost"), heir.heirs.unread, heir.heirs.waits("lost")) == (True, 1, False)
    assert not heir.heirs.was_unread("another")
    assert not heir.heirs.is_alive("lost")
    heir.heirs.hand_over("lost", HUB, emit(ROOT, b'42["a"]', 1))
    heir.heirs.handed_over("another", HUB, INSTANCE, 1)


def test_a_node_that_was_restarted_waits_for_its_app_servers(lost: Keeper) -> None:
    client = lost.client()
    lost.emit(ROOT, b'42["a",1]')
    again = Keeper()
    hub = again.world.hub()
    hub.recovery = None
    again.heirs.expect("lost")
    finished(again.heirs.read("lost", Pages(lost.pages)))
    again.tick(HAND_OVER_SECONDS + 1)
    assert again.heirs.waits("lost")
    other, _ = again.world.server("s2", "other", peer=RecordingPeer())
    other.instance = "other"
    again.world.node.claims.turn_on(
        again.world.hub("other"),
        other,
        again.returns,
        60.0,
        settings=again.world.node.hub_settings("other"),
        news=None,
    )
    assert again.heirs.estate("lost", HUB) is None
    again.recoverable(again.server)
    again.heirs.handed_over("lost", HUB, INSTANCE, 1)
    client.stage = again
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [1]


def test_a_node_that_was_restarted_waits_for_the_second_app_server(lost: Keeper) -> None:
    """It may be waiting for its next attempt. The sockets would lack what it hands over."""
    lost.client()
    again = Keeper()
    again.world.hub().recovery = None
    again.heirs.expect("lost")
    finished(again.heirs.read("lost", Pages(lost.pages)))
    again.server.instance = "another"
    again.recoverable(again.server)
    again.tick(HAND_OVER_SECONDS + 1)
    assert again.heirs.waits("lost")
    again.tick(BACK_SECONDS)
    assert not again.heirs.waits("lost")


def test_a_node_that_was_restarted_without_app_servers(lost: Keeper) -> None:
    lost.client()
    again = Keeper()
    again.world.hub().recovery = None
    again.heirs.expect("lost")
    finished(again.heirs.read("lost", Pages(lost.pages)))
    again.tick(RETURN_SECONDS + 1)
    assert not again.heirs.waits("lost")


def test_a_node_that_was_held_for_lost_is_lost(lost: Keeper, heir: Keeper) -> None:
    """Its sockets are here twice; the latter ones count."""
    client = lost.client()
    heir.inherit(lost)
    lost.emit(ROOT, b'42["a",1]')
    client.read()
    lost.emit(ROOT, b'42["b",2]')
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [2]


def test_a_socket_comes_from_another_node_meanwhile(lost: Keeper, heir: Keeper) -> None:
    """What the lost node had is from before."""
    client, other = lost.client(), lost.client()
    heir.inherit(lost, settle=False)
    heir.heirs.make_room(HUB, client.pid["/"])
    heir.heirs.make_room(HUB, "unknown")
    heir.heirs.make_room("another", other.pid["/"])
    heir.heirs.handed_over("lost", HUB, INSTANCE, lost.number)
    assert heir.heirs.inherited == 1


def test_a_lost_nodes_log_is_released_with_its_last_socket(lost: Keeper, heir: Keeper) -> None:
    lost.client()
    lost.emit(ROOT, b'42["a",1]')
    heir.inherit(lost, settle=False)
    estate = weakref.ref(heir.heirs.estate("lost", HUB) or lost)
    heir.heirs.handed_over("lost", HUB, INSTANCE, lost.number)
    gc.collect()
    assert isinstance(estate(), HubEstate), "the client may come back"
    heir.tick(1_000.0)
    gc.collect()
    assert estate() is None


def test_events_with_acks_are_sent_again_unless_the_client_has_acknowledged_them(
    lost: Keeper, heir: Keeper
) -> None:
    client = lost.client()
    lost.world.node.send(client.connection, b'421["a",1]')
    lost.world.node.send(client.connection, b'422["b",2]')
    client.read()
    lost.world.node.receive(client.connection, b"431[]")
    lost.world.settle()
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[1] for event in client.events] == ["b"]
    number = client.packets[-1][2:].partition(b"[")[0]
    heir.world.node.receive(client.connection, b"43" + number + b"[]")
    client.lose()
    client.come_back()
    assert client.events == [], "it is acknowledged now"


@pytest.mark.parametrize("news", [False, True])
@pytest.mark.parametrize("heartbeats", [0, 6])
def test_a_lost_nodes_log_is_released_when_its_clients_are_back(
    lost: Keeper, heir: Keeper, news: bool, heartbeats: int
) -> None:
    """Their offsets still count, though they may be those of the lost node."""
    client = lost.client()
    lost.emit(ROOT, b'42["a",1]')
    heir.inherit(lost, settle=False)
    estate = weakref.ref(heir.heirs.estate("lost", HUB) or lost)
    heir.heirs.handed_over("lost", HUB, INSTANCE, lost.number)
    client.stage = heir
    client.save(b"")
    gc.collect()
    assert isinstance(estate(), HubEstate), "the client may come back"
    client.come_back()
    assert [event[2] for event in client.events] == [1]
    gc.collect()
    assert estate() is None
    heir.number = lost.number
    for _ in range(heartbeats):
        heir.tick(10.0)
        heir.world.node.receive(client.connection, b"3")
    if news:
        heir.emit(ROOT, b'42["b",2]')
        client.read()
    client.lose()
    heir.emit(ROOT, b'42["c",3]')
    client.come_back()
    assert [event[2] for event in client.events] == [3]


def test_many_lost_nodes(heir: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.hub.journal.heirs.REMEMBERED", 1)
    for node in ("a", "b"):
        heir.heirs.expect(node)
        heir.heirs.give_up(node, unread=True)
    assert (heir.heirs.was_unread("a"), heir.heirs.was_unread("b")) == (False, True)
    for node in ("c", "d", "e"):
        heir.heirs.expect(node)
    assert all(map(heir.heirs.waits, ("c", "d", "e"))), "their journals are on their way"
    assert not heir.heirs.was_unread("b")


@pytest.mark.parametrize("offset", ["other.1", "nonsense", "unsent"])
def test_an_offset_that_the_client_cannot_have(lost: Keeper, heir: Keeper, offset: str) -> None:
    client = lost.client()
    recovery = lost.world.hub().recovery
    assert recovery is not None
    heir.inherit(lost)
    offset = f"{recovery.log.epoch}.ff" if offset == "unsent" else offset
    moves(client, heir, offset=offset, answer=False)
    assert refused(heir) == {OFFSET: 1}


def test_too_much_was_missed(heir: Keeper) -> None:
    lost = Keeper(recovery_room_events=2)
    client = lost.client()
    lost.world.join(client.connection, "a")
    lost.emit(room("a"), b'42["a",0]')
    client.read()
    for number in range(5):
        lost.emit(room("a"), b'42["a",%d]' % number)
    small = Keeper(recovery_room_events=2)
    small.inherit(lost)
    moves(client, small, answer=False)
    assert refused(small) == {DROPPED: 1}


def test_recovery_begins_in_a_hub_that_the_lost_node_did_not_have(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    heir.inherit(lost)
    server, _ = heir.world.server(hub="another", peer=RecordingPeer())
    hub = heir.world.node.hub("another")
    assert hub is not None
    server.instance = "other"
    settings = heir.world.node.hub_settings("another")
    heir.world.node.claims.turn_on(hub, server, heir.returns, 60.0, settings=settings, news=None)
    moves(client, heir)
    assert heir.heirs.inherited == 1


def test_a_socket_that_is_coming_from_another_node_is_not_inherited(lost: Keeper, heir: Keeper) -> None:
    coming, came = lost.client(), lost.client()
    recovery = heir.world.hub().recovery
    assert recovery is not None
    expected = [Expected(recovery, _offered(each)) for each in (coming, came)]
    expected[1].take(Taken(1, (), (), (), True, {}, ()), {})
    heir.inherit(lost)
    assert heir.heirs.inherited == 0
    expected[0].take(Taken(1, (), (), (), True, {}, ()), {})
    assert recovery.find(coming.pid["/"]) is not None


def test_a_socket_arrives_while_the_one_of_a_lost_node_is_awaited(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    heir.inherit(lost, settle=False)
    recovery = heir.world.hub().recovery
    assert recovery is not None
    heir.heirs.make_room(HUB, client.pid["/"])
    expected = Expected(recovery, _offered(client))
    expected.take(Taken(1, (), (), (), True, {}, ()), {})
    heir.heirs.handed_over("lost", HUB, INSTANCE, lost.number)
    assert heir.heirs.inherited == 0
    assert recovery.find(client.pid["/"]) is not None


def _offered(client: Returning) -> Offered:
    return Offered(
        1, client.pid["/"], "/", client.sid["/"], client.connection.id, None, "s", 60.0, (), b"{}", 10
    )
