"""Rare orders of events, at the hub."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.hub.recovery.claims import SAVE_SECONDS
from moorage.hub.recovery.counts import Counts
from moorage.hub.recovery.sockets.log import DeliveryLog, Entry
from moorage.hub.recovery.sockets.replay import missed_by
from moorage.hub.recovery.sockets.track import Track
from moorage.hub.settings import HubSettings, RecoverySettings
from moorage.wire.commands import EVERYONE, JoinGroups, LeaveNamespace, Selection
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import TRANSPORT_LOST
from tests.hub.fakes import HUB, RecordingCluster, RecordingPeer, World, sink_of
from tests.hub.recovery.stage import ROOT, Stage
from tests.hub.recovery.test_elsewhere import Others


@pytest.fixture
def stage() -> Stage:
    return Stage()


def recovery_of(stage: Stage) -> Any:
    return stage.world.hub().recovery


def test_groups_of_sockets_that_come_and_go_are_no_news() -> None:
    news = RecordingCluster()
    stage = Stage(World(members=news))
    client = stage.client()
    stage.world.join(client.connection, "room")
    news.groups.clear()
    client.lose()
    client.come_back()
    assert [group for group in news.groups if group[1] != room_group("/", client.sid["/"])] == []
    client.lose()
    stage.tick(121)
    assert ("last", room_group("/", "room")) in news.groups


def test_groups_without_a_namespace_belong_to_all_sockets(stage: Stage) -> None:
    world = stage.world
    client = stage.client("/", "/ns")
    world.execute(JoinGroups(HUB, Selection(connection=client.connection.id), ("plain",)))
    client.lose()
    world.emit(Selection(group="plain"), b'42["root"]\x1e42/ns,["ns"]')
    world.execute(JoinGroups(HUB, Selection(group="plain"), ("another",)))
    client.come_back("/", "/ns")
    assert client.events == [["/", "root"], ["/ns", "ns"]]
    assert {"plain", "another"} <= client.connection.groups


def test_nobody_is_selected(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    world.emit(Selection(user="nobody"), b'42["unheard"]')
    stage.server.returns = None
    plain = world.client("/")
    world.emit(Selection(connection=plain.id), b'42["not recorded"]')
    client.lose()
    recovery_of(stage).send(Selection(connection="nobody"), b'42["unheard"]')
    recovery_of(stage).send(Selection(connection=client.connection.id), b'42/ns,["unheard"]')
    assert recovery_of(stage).log.events == 0


def test_clients_that_cannot_be_recovered_get_what_is_sent_to_them(stage: Stage) -> None:
    world = stage.world
    stage.server.returns = None
    plain = stage.world.client("/")
    world.send(plain, b'451-["binary",{"_placeholder":true,"num":0}]\x1ebAA==')
    world.settle()
    assert sink_of(plain).packets == [b'451-["binary",{"_placeholder":true,"num":0}]', b"bAA=="]


def test_an_event_before_the_answer_waits_for_it(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    client.come_back(answer=False)
    stage.world.send(client.connection, b'42["early"]')
    stage.world.settle()
    assert sink_of(client.connection).packets == []
    client.answer()
    assert client.events == [["/", "early"]]


def test_an_app_server_sends_before_it_knows_of_the_end(stage: Stage) -> None:
    client = stage.client()
    former = client.connection
    client.lose()
    recovery_of(stage).crossed(former, b'42["crossed"]')
    client.come_back()
    assert client.events == [["/", "crossed"]]


def test_a_claim_outlives_the_time_of_its_socket(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    stage.tick(119)
    client.come_back(answer=False)
    stage.tick(10)
    client.answer()
    assert client.connection.tracks


def test_a_claim_that_was_left_is_not_waited_for(stage: Stage) -> None:
    client = stage.client()
    client.lose(save=None)
    client.come_back(answer=False)
    stage.world.node.disconnect(client.connection, TRANSPORT_LOST, who="client")
    stage.tick(SAVE_SECONDS + 1)
    assert stage.world.node.claims.counts.refused == {}


def test_a_second_answer_to_one_connect(stage: Stage) -> None:
    client = stage.client()
    pid = client.pid["/"]
    stage.world.send(client.connection, b'40{"sid":"second"}')
    client.read()
    assert client.sid["/"] == "second"
    assert client.pid["/"] != pid
    assert recovery_of(stage).find(pid) is None


def test_two_sockets_with_one_id(stage: Stage) -> None:
    one, two = stage.client(), stage.client()
    recovery = recovery_of(stage)
    stage.world.node.receive(two.connection, b"40/ns,")
    stage.world.node.receive(one.connection, b"40/ns,")
    for client in (one, two):
        stage.world.send(client.connection, b'40/ns,{"sid":"same"}')
        client.read()
    first = recovery.find(one.pid["/ns"])
    recovery.end(first)
    recovery.end(first)
    assert recovery.find(one.pid["/ns"]) is None
    two.lose()
    assert recovery.parked(room_group("/ns", "same")) is recovery.find(two.pid["/ns"])


def test_a_client_leaves_a_namespace_before_the_answer(stage: Stage) -> None:
    client = stage.client()
    stage.world.node.receive(client.connection, b"40/ns,")
    stage.world.node.receive(client.connection, b"41/ns,")
    client.lose()
    client.come_back()
    assert client.events == []


def test_a_disconnect_from_another_namespace(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    stage.world.execute(LeaveNamespace(HUB, ROOT, "/other"))
    client.come_back(answer=False)
    assert len(stage.returns.sockets) == 1


def test_a_flood_of_events_whose_acks_never_come() -> None:
    stage = Stage(World(hubs={HUB: HubSettings(recovery_session_events=2)}))
    client = stage.client()
    for number in range(5):
        stage.world.send(client.connection, b'42%d["event"]' % number)
    (track,) = client.connection.tracks.values()  # type: ignore[union-attr]
    assert list(track.unacked) == [3, 4]


def test_a_limit_of_parked_sockets_below_those_of_one_client() -> None:
    stage = Stage(World(hubs={HUB: HubSettings(recovery_max_parked=1)}), quiet=True)
    client = stage.client("/", "/ns", "/third")
    client.lose(save=None)
    assert len(recovery_of(stage).away) == 1
    client.come_back("/third", answer=False)
    client.read()
    assert len(stage.returns.backs) == 1


def test_a_quiet_client_comes_back_to_two_app_servers() -> None:
    stage = Stage(quiet=True)
    client = stage.client("/", "/ns")
    former = client.connection
    client.lose(save=None)
    client.come_back("/", answer=False)
    stage.world.node.disconnect(former, TRANSPORT_LOST, who="app")
    assert stage.link.ended == [], "the socket that is back keeps the former number for a while"
    client.read()
    again = stage.client("/", "/ns")
    former = again.connection
    again.lose(save=None)
    again.come_back("/", answer=False)
    recovery = recovery_of(stage)
    stage.world.node.claims.give(recovery.find(again.pid["/ns"]))
    assert [ended for ended, _ in stage.link.ended] == [former.id]
    stage.link.take()
    stage.world.node.claims.give(recovery.find(again.pid["/"]))
    assert stage.returns.away[-1][0] == again.connection.id


def test_where_a_socket_is() -> None:
    world = World()
    world.server(peer=RecordingPeer())
    plain = world.client("/")
    assert world.node.claims.quiet.where(plain, "/") is plain


def test_more_changes_of_groups_than_are_kept(stage: Stage) -> None:
    world = stage.world
    world.emit(ROOT, b'42["x"]')
    client = stage.client()
    (track,) = client.connection.tracks.values()  # type: ignore[union-attr]
    track.unknown, track.unknown_time = 5, world.now + 1
    client.lose(read=False)
    assert missed_by(recovery_of(stage).log, track, 4) is None
    assert missed_by(recovery_of(stage).log, track, 5) == []


def test_an_event_that_left_one_of_its_lanes_early() -> None:
    settings = RecoverySettings(recovery_room_events=2, recovery_hub_events=4)
    log = DeliveryLog("e", settings, Counts())
    for keys in (("a", "b"), ("a",), ("a",), ("c",), ("c",)):
        log.next()
        log.add(Entry(log.position, 0.0, "/", b"x", EVERYONE), keys)
    assert [entry.position for entry in log.since(("a", "b", "c"), 0)] == [2, 3, 4, 5]
    assert log.start(("a",), 0, 1.0) == 3


def test_a_socket_that_arrives_from_elsewhere_while_its_client_waits(stage: Stage) -> None:
    others = Others()
    stage.world.node.claims.elsewhere = others
    client = stage.client()
    client.lose()
    recovery = recovery_of(stage)
    client.pid["/"], client.offset["/"] = "elsewhere", recovery.log.offset.decode()
    client.come_back(answer=False)
    track: Track[Any] = Track("elsewhere", "/", "arrived", connection_id="x", user_id=None)
    track.lasts, track.server = 60.0, stage.server
    recovery.expect(track, [namespace_group("/"), track.private], 0)
    recovery.arrived(track)
    track.data = b"{}"
    others.asked[0][1]("")
    assert [socket.sid for _, socket in stage.returns.sockets] == ["arrived"]


def test_an_emit_to_several_rooms_with_exceptions(stage: Stage) -> None:
    world = stage.world
    client, other = stage.client(), stage.client()
    for each, rooms in ((client, ("a", "b")), (other, ("a", "c"))):
        world.join(each.connection, *rooms)
        each.lose()
    a, b, c = (room_group("/", name) for name in "abc")
    world.emit(Selection(filter=Filter(any_of=(a, b), none_of=(c,))), b'42["once"]')
    world.emit(Selection(filter=Filter(any_of=(room_group("/", "nobody"),))), b'42["nobody"]')
    client.come_back()
    other.come_back()
    assert (client.events, other.events) == ([["/", "once"]], [])
