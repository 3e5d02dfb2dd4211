"""Which clients of a hub move, who is asked, and how long anybody waits."""

from __future__ import annotations

from functools import partial

import pytest

from moorage.hub.handover import moves
from moorage.hub.handover.move import Move
from moorage.hub.handover.moves import IN_FLIGHT
from moorage.hub.handover.sockets import Left, Made
from moorage.hub.hub import Connection
from moorage.hub.settings import HubSettings
from moorage.wire.errors import PeerError
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import APP_ERROR, CLIENT_CLOSED, LINK_BAD_REQUEST
from tests.hub.fakes import HUB, RecordingOpening, sink_of
from tests.hub.handover.moving import Mobile, Moving, names

MOVE = {HUB: HubSettings(on_app_loss="move")}


def left(client: Connection) -> None:
    """The former app server's last word about a client without sockets."""
    move = client.channel
    assert isinstance(move, Move)
    move.left(())


def many(moving: Moving, count: int) -> list[Connection]:
    """More clients of the first app server, without sockets."""
    clients = []
    for server in (moving.two,):
        server.app.draining = True
        clients = [moving.world.client() for _ in range(count)]
        server.app.draining = False
    moving.one.take()
    return clients


def test_a_limited_number_of_clients_moves_at_a_time() -> None:
    moving = Moving()
    clients = [moving.client, *many(moving, 2 * IN_FLIGHT)]
    moving.hand_over()
    assert names(moving.one.take()) == ["freeze"] * IN_FLIGHT
    frozen = [client for client in clients if isinstance(client.channel, Move)]
    left(frozen[0])
    left(frozen[1])
    assert names(moving.one.take()) == []
    assert names(moving.two.take()) == ["adopt"] * 2
    moving.world.node.accept(frozen[0], OpenInfo())
    assert sorted(names(moving.one.take())) == ["freeze", "released"]


def test_slow_handlers_of_some_clients_do_not_keep_the_others_waiting() -> None:
    moving = Moving()
    many(moving, 2 * IN_FLIGHT)
    moving.hand_over()
    moving.one.take()
    moving.after(1.5)
    assert names(moving.one.take()) == ["freeze"] * IN_FLIGHT


def test_an_app_server_gets_no_new_clients_once_it_hands_over() -> None:
    moving = Moving()
    moving.move()
    assert moving.world.client().server is moving.two.app


def test_a_second_hand_over_at_the_same_time_is_refused() -> None:
    moving = Moving()
    moving.hand_over()
    with pytest.raises(PeerError) as refused:
        moving.hand_over()
    assert refused.value.reason is LINK_BAD_REQUEST


def test_an_app_server_without_clients_has_handed_over_at_once() -> None:
    moving = Moving()
    moving.hand_over(moving.two)
    assert moving.done == [(0, ())]


def test_the_app_server_with_the_fewest_clients_is_asked() -> None:
    moving = Moving()
    three = Mobile(moving.world, "three")
    moving.two.app.others = 1
    moving.hand_over()
    moving.leave()
    assert names(three.take()) == ["adopt"]


def test_clients_that_are_just_connecting_move_a_little_later() -> None:
    moving = Moving()
    moving.says(b"40/admin,")
    moving.hand_over()
    assert names(moving.one.take()) == ["packet"]
    moving.world.send(moving.client, b'40/admin,{"sid":"a"}')
    moving.after(0.5)
    assert names(moving.one.take()) == ["freeze"]


def test_a_client_whose_app_server_has_not_answered_moves_later() -> None:
    moving = Moving()
    moving.one.answers_at_once = False
    moving.two.app.draining = True
    client = moving.world.open(RecordingOpening())
    moving.two.app.draining = False
    moving.hand_over()
    assert names(moving.one.take()) == ["freeze"]
    moving.world.node.accept(client, OpenInfo())
    moving.after(0.5)
    assert names(moving.one.take()) == ["freeze"]


def test_a_client_that_is_never_ready_stays() -> None:
    moving = Moving()
    gone = many(moving, 1)[0]
    for client in (moving.client, gone):
        moving.world.node.receive(client, b"40/admin,")
    moving.hand_over()
    moving.world.node.disconnect(gone, CLIENT_CLOSED, who="client")
    moving.after(11)
    assert moving.done == [(0, (moving.client.id,))]


def test_a_client_that_is_gone_before_its_turn_is_left_out() -> None:
    moving = Moving()
    clients = many(moving, IN_FLIGHT)
    moving.hand_over()
    last = next(c for c in (moving.client, *clients) if not isinstance(c.channel, Move))
    moving.world.node.disconnect(last, CLIENT_CLOSED, who="client")
    for client in (moving.client, *clients):
        if client is not last:
            left(client)
    moving.one.run()
    for client in (moving.client, *clients):
        moving.world.node.accept(client, OpenInfo())
    moving.one.run()
    assert moving.done == [(IN_FLIGHT, ())]


def test_clients_of_other_nodes_do_not_move() -> None:
    moving = Moving()
    guest = type("AGuest", (), {"id": "elsewhere"})()
    moving.one.app.guests.add(guest)
    moving.move()
    assert moving.done == [(1, ("elsewhere",))]


# -- without an app server to go to ------------------------------------------------------------------------


def test_without_another_app_server_the_client_waits_for_one() -> None:
    moving = Moving(second=False)
    moving.hand_over()
    moving.leave(Left("/", moving.sid, b"1", acks=2))
    assert moving.done == [(1, ())]
    moving.one.lose(lost=False)
    moving.after(20)
    two = Mobile(moving.world, "two")
    ((_, channel, sockets),) = two.take()
    assert sockets == (Made("/", moving.sid, (), b"1", 2),)
    moving.accept()
    assert moving.client.channel == channel


def test_a_client_does_not_wait_longer_than_the_setting_says() -> None:
    moving = Moving(second=False)
    moving.world.node.handovers.hold = 5.0
    moving.hand_over()
    moving.leave()
    moving.after(6)
    assert moving.world.logged[0][1] == "no-app-server"
    assert names(moving.one.take()) == ["freeze", "released"]
    moving.after(1)
    assert moving.world.node.handovers.counts["gone"] == 1


@pytest.mark.repair(9)
def test_many_clients_that_have_waited_too_long_end_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "ENDED_AT_ONCE", 2)
    moving = Moving(second=False)
    world = moving.world
    world.node.handovers.hold = 5.0
    for _ in range(4):
        world.client()
    moving.hand_over()
    moving.one.take()
    for client in tuple(moving.one.app.clients):
        left(client)
    world.now += 6
    ended = []
    for _ in range(4):
        world.node.tick(world.now)
        ended.append(len(world.logged))
    assert ended == [2, 4, 5, 5]


def test_a_client_that_leaves_while_it_waits_leaves_the_app_server_that_comes() -> None:
    moving = Moving(second=False)
    Mobile(moving.world, "busy").app.draining = True
    moving.hand_over()
    moving.leave()
    moving.one.lose(lost=False)
    moving.world.node.disconnect(moving.client, CLIENT_CLOSED, who="client")
    two = Mobile(moving.world, "two")
    ((_, channel, _),) = two.take()
    moving.accept()
    assert two.take() == [("closed", channel, "client-closed")]


def test_a_client_that_leaves_while_it_waits_is_forgotten_if_nobody_comes() -> None:
    moving = Moving(second=False)
    moving.hand_over()
    moving.leave()
    moving.world.node.disconnect(moving.client, CLIENT_CLOSED, who="client")
    moving.after(31)
    assert moving.world.node.handovers.counts["gone"] == 1
    assert [reason for _, reason, *_ in moving.world.logged] == ["client-closed"]


def test_a_client_of_which_the_former_app_server_knows_nothing_any_more_is_not_given_back() -> None:
    moving = Moving(second=False)
    moving.hand_over()
    moving.leave()
    two = Mobile(moving.world, "two")
    assert names(two.take()) == ["adopt"]
    moving.refuse(APP_ERROR)
    assert names(moving.one.take()) == ["freeze", "released"]
    three = Mobile(moving.world, "three")
    assert names(three.take()) == ["adopt"]


def test_a_client_that_leaves_before_it_is_offered_is_not_offered() -> None:
    moving = Moving()
    moving.hand_over()
    left(moving.client)
    moving.world.node.disconnect(moving.client, CLIENT_CLOSED, who="client")
    assert moving.two.take() == []


def test_clients_stay_if_all_other_app_servers_are_too_old() -> None:
    moving = Moving(second=False)
    Mobile(moving.world, "old", mobile=False)
    moving.hand_over()
    assert moving.done == [(0, (moving.client.id,))]
    assert moving.one.take() == []


def test_an_app_server_that_is_too_old_is_not_asked() -> None:
    moving = Moving()
    old = Mobile(moving.world, "old", mobile=False)
    moving.two.app.others = 5
    moving.move()
    assert (old.take(), moving.client.server) == ([], moving.two.app)


def test_the_former_app_server_goes_on_when_its_link_is_back() -> None:
    moving = Moving()
    moving.freeze()
    moving.one.app.up = False
    moving.refuse(APP_ERROR)
    moving.one.take()
    moving.one.app.up = True
    assert names(moving.one.take()) == ["resume"]


def test_a_client_that_waits_for_its_former_app_servers_link_is_closed_in_the_end() -> None:
    moving = Moving()
    moving.freeze()
    moving.one.app.up = False
    moving.refuse(APP_ERROR)
    moving.after(31)
    assert moving.world.logged[0][1] == "no-app-server"


def test_a_client_that_leaves_while_others_are_offered_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.hub.handover.moves.IN_FLIGHT", 1)
    moving = Moving()
    (second,) = many(moving, 1)
    moving.hand_over()
    order = sorted((moving.client, second), key=lambda client: isinstance(client.channel, Move), reverse=True)
    left(order[0])
    moving.one.run()
    assert names(moving.two.take()) == ["adopt"]
    monkeypatch.setattr("moorage.hub.handover.moves.IN_FLIGHT", 2)
    moving.world.node.handovers.tick(moving.world.now)
    moving.one.run()
    monkeypatch.setattr("moorage.hub.handover.moves.IN_FLIGHT", 1)
    left(order[1])
    moving.world.node.disconnect(order[1], CLIENT_CLOSED, who="client")
    moving.world.node.handovers.tick(moving.world.now + 31)
    moving.one.run()
    assert "adopt" not in names(moving.two.take())
    assert moving.done == [(0, ())]


# -- app servers that are lost -----------------------------------------------------------------------------


def test_an_app_server_that_is_lost_during_the_offer_counts_as_refusal() -> None:
    moving = Moving()
    three = Mobile(moving.world, "three")
    moving.two.app.others = 1
    moving.hand_over()
    moving.leave()
    assert names(three.take()) == ["adopt"]
    three.lose()
    assert names(moving.two.take()) == ["adopt"]


def test_the_former_app_server_may_be_lost_after_its_last_word() -> None:
    moving = Moving()
    channel = moving.freeze()
    moving.one.lose()
    moving.accept()
    assert moving.client.channel == channel
    assert not moving.world.logged


def test_a_client_whose_app_server_is_lost_before_its_last_word_is_closed() -> None:
    moving = Moving()
    moving.hand_over()
    moving.one.lose()
    assert moving.world.logged[0][1] == "app-lost"
    assert moving.done == []


def test_or_moves_if_the_hub_says_so_without_data() -> None:
    moving = Moving(hubs=MOVE)
    moving.world.enter(moving.client, "/admin")
    moving.hand_over()
    moving.says(b"42[1]", b"41/admin,")
    moving.one.lose()
    ((_, channel, sockets),) = moving.two.take()
    assert [(one.namespace, one.sid, one.data) for one in sockets] == [
        ("/", moving.sid, b""),
        ("/admin", f"{moving.client.id}/admin", b""),
    ]
    moving.accept()
    assert [told[1:] for told in moving.two.take()] == [(channel, b"42[1]"), (channel, b"41/admin,")]


def test_clients_of_a_lost_app_server_move_without_a_hand_over_too() -> None:
    moving = Moving(hubs=MOVE)
    moving.world.join(moving.client, "a")
    moving.one.lose()
    ((_, channel, sockets),) = moving.two.take()
    assert sockets[0][:4] == ("/", moving.sid, ("a",), b"")
    assert sockets[0].acks >= 1 << 20
    moving.accept()
    assert (moving.client.channel, moving.world.logged) == (channel, [])


def test_clients_of_an_app_server_that_leaves_are_closed_all_the_same() -> None:
    moving = Moving(hubs=MOVE)
    moving.one.lose(lost=False)
    assert moving.world.logged[0][1] == "app-lost"


def test_the_loss_of_the_new_app_server_is_that_of_any() -> None:
    moving = Moving(hubs=MOVE)
    moving.move(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    moving.two.lose()
    moving.one.app.draining = False
    moving.world.node.handovers.app_servers_changed()
    assert "adopt" in names(moving.one.take())


def test_nobody_waits_for_acks_of_a_lost_app_server() -> None:
    moving = Moving()
    channel = moving.move(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    moving.one.lose()
    assert moving.client.channel == channel


# -- limits ------------------------------------------------------------------------------------------------


def test_what_moving_clients_send_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.hub.handover.moves.KEPT_BYTES", 1_000)
    moving = Moving()
    moving.freeze()
    moving.says(b"42" + b"1" * 500)
    assert not moving.world.logged
    moving.says(b"42" + b"1" * 500)
    assert moving.world.logged[0][1] == "link-overflow"


def test_a_burst_of_a_moving_client_is_kept_like_anything_else() -> None:
    moving = Moving()
    moving.hand_over()
    moving.world.node.burst(moving.client)
    assert sink_of(moving.client).reading


def test_a_client_whose_acks_are_due_moves_again_when_they_have_come() -> None:
    moving = Moving()
    moving.move(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    three = Mobile(moving.world, "three")
    moving.hand_over(moving.two)
    assert names(moving.two.take()) == []
    moving.says(b"433[]")
    moving.after(0.5)
    assert names(moving.two.take()) == ["freeze"]
    moving.leave()
    moving.accept()
    assert moving.client.server is three.app


def test_everything_is_forgotten_in_the_end() -> None:
    moving = Moving()
    moving.move()
    moving.after(1)
    counts = moving.world.node.handovers.counts
    assert counts == {"moved": 1, "resumed": 0, "gone": 0}
    later = partial(moving.hand_over, moving.two)
    later()
    assert moving.done[0] == (1, ())


def test_an_app_server_that_gives_its_clients_away_while_it_is_offered_one() -> None:
    moving = Moving()
    moving.freeze()
    done: list[tuple[int, tuple[str, ...]]] = []
    three = Mobile(moving.world, "three")
    moving.world.node.handovers.begin(
        moving.world.hub(), moving.two.app, lambda count, missing: done.append((count, missing))
    )
    moving.two.run()
    assert done == [], "one more client may come"
    moving.accept()
    assert names(moving.two.take())[-1:] == ["freeze"]
    moving.leave()
    assert "adopt" in names(three.take())
    moving.accept()
    assert done == [(1, ())]
