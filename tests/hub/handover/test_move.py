"""One client that changes its app server: what each of them is told, in which order."""

from __future__ import annotations

from moorage.hub.handover.move import Move
from moorage.hub.handover.sockets import Left, Made
from moorage.hub.hub import Client, Connection
from moorage.hub.ports import Recovered
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.settings import Limits, RecoverySettings
from moorage.wire.commands import LeaveNamespace, Selection
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import APP_ERROR, CLIENT_CLOSED, LINK_OVERFLOW, TRANSPORT_LOST, Reason
from tests.hub.fakes import HUB, RecordingOpening, RecordingSink, heard, sink_of
from tests.hub.handover.moving import Mobile, Moving, names

EVENT = b'42["event"]'


def test_a_client_moves_with_its_rooms_and_data() -> None:
    moving = Moving()
    moving.world.join(moving.client, "a", "b")
    channel = moving.freeze(Left("/", moving.sid, b'{"data":1}', acks=7))
    assert names(moving.one.take()) == ["moved", "freeze"]
    moving.accept()
    assert moving.one.take() == [("released", moving.first)]
    assert (moving.client.server, moving.client.channel) == (moving.two.app, channel)
    assert (moving.one.app.load, moving.two.app.load) == (0, 1)
    assert moving.done == [(1, ())]
    moving.says(EVENT)
    assert (moving.one.take(), moving.two.take()) == ([], [("packet", channel, EVENT)])


def test_the_offer_names_the_sockets_that_the_former_app_server_has() -> None:
    moving = Moving()
    moving.world.join(moving.client, "a")
    moving.world.enter(moving.client, "/admin")
    moving.hand_over()
    others = Left("/other", "x"), Left("/", "not-its-id")
    moving.leave(Left("/", moving.sid, b"1", acks=7), *others)
    (offer,) = moving.two.take()
    assert offer[2] == (Made("/", moving.sid, ("a",), b"1", 7),)


def test_what_the_client_sends_meanwhile_comes_in_order() -> None:
    moving = Moving()
    moving.hand_over()
    moving.says(b"42[1]")
    moving.leave()
    moving.says(b"42[2]")
    ((_, channel, _),) = moving.two.take()
    moving.accept()
    moving.says(b"42[3]")
    packets = [("packet", channel, packet) for packet in (b"42[1]", b"42[2]", b"42[3]")]
    assert moving.two.take() == packets
    assert names(moving.one.take()) == ["freeze", "released"]


def test_acks_reach_handlers_that_are_still_running() -> None:
    moving = Moving()
    moving.hand_over()
    moving.says(EVENT, b"431[]", b"461-2[]")
    moving.world.node.receive_binary(moving.client, b"\x01")
    packets = [packet for name, _, *packet in moving.one.take() if name == "packet"]
    assert packets == [[b"431[]"], [b"461-2[]\x1ebAQ=="]]
    assert sink_of(moving.client).reading


def test_the_client_is_not_read_between_the_last_word_and_the_new_app_server() -> None:
    moving = Moving()
    moving.freeze()
    assert not sink_of(moving.client).reading
    moving.accept()
    assert sink_of(moving.client).reading


def test_a_client_that_sends_much_is_not_read_while_its_handlers_end() -> None:
    moving = Moving()
    moving.hand_over()
    moving.says(b"42" + b"1" * 70_000)
    assert not sink_of(moving.client).reading


def test_a_client_without_a_transport_is_not_read_on_the_next_one() -> None:
    moving = Moving()
    opening = RecordingOpening()
    opening.accepted = lambda *_: None  # type: ignore[method-assign]
    client = moving.world.open(opening)
    moving.hand_over(moving.one if client.server is moving.one.app else moving.two)
    move = client.channel
    assert isinstance(move, Move)
    move.left(())
    sink = RecordingSink()
    client.outbox.attach(sink, ready=True)
    assert not sink.reading


def test_a_large_binary_packet_that_has_half_arrived_stays_whole() -> None:
    moving = Moving()
    moving.says(b'452-["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    moving.world.node.receive_binary(moving.client, b"\x01")
    channel = moving.move()
    moving.world.node.receive_binary(moving.client, b"\x02")
    (told,) = moving.two.take()
    assert told[:2] == ("packet", channel)
    assert told[2].endswith(b"\x1ebAQ==\x1ebAg==")


def test_acks_that_the_former_app_server_waits_for_still_reach_it() -> None:
    moving = Moving()
    channel = moving.move(Left("/", moving.sid, acks=3, pending=frozenset({2, 3})))
    moving.says(EVENT, b"431[]", b"432[]")
    assert [told[2] for told in moving.two.take()] == [EVENT, b"431[]"]
    assert [told[2] for told in moving.one.take() if told[0] == "packet"] == [b"432[]"]
    assert moving.done == []
    assert moving.client.channel != channel


def test_the_move_is_over_with_the_last_of_these_acks() -> None:
    moving = Moving()
    channel = moving.move(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    moving.says(b'433["a"]')
    assert (moving.done, moving.client.channel) == ([(1, ())], channel)


def test_acks_that_were_kept_reach_their_app_server() -> None:
    moving = Moving()
    moving.freeze(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    moving.says(b"433[]", b"434[]")
    moving.one.take()
    moving.accept()
    assert ("packet", moving.first, b"433[]") in moving.one.take()
    assert [told[2] for told in moving.two.take()] == [b"434[]"]


def test_the_rest_of_a_large_ack_goes_the_same_way() -> None:
    moving = Moving(limits=Limits(max_payload=8_000_000))
    channel = moving.move(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    moving.says(b'462-3[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    moving.world.node.receive_binary(moving.client, b"1" * 5_000_000)
    assert moving.done == []
    moving.world.node.receive_binary(moving.client, b"2")
    assert [len(told[2]) > 10 for told in moving.one.take() if told[0] == "packet"] == [True, False]
    moving.one.run()
    assert (moving.done, moving.client.channel) == ([(1, ())], channel)


def test_a_client_moves_only_after_a_large_packet_that_has_half_arrived() -> None:
    moving = Moving(limits=Limits(max_payload=8_000_000))
    moving.says(b'452-["f",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    moving.world.node.receive_binary(moving.client, b"1" * 5_000_000)
    moving.hand_over()
    assert names(moving.one.take()) == ["packet"]
    moving.world.node.receive_binary(moving.client, b"2")
    moving.after(0.5)
    assert names(moving.one.take()) == ["packet", "freeze"]


def test_acks_that_do_not_come_are_not_waited_for_long() -> None:
    moving = Moving()
    channel = moving.move(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    moving.after(6)
    assert (moving.done, moving.client.channel) == ([(1, ())], channel)


def test_the_end_of_a_socket_while_it_moves_reaches_the_new_app_server() -> None:
    moving = Moving()
    moving.hand_over()
    moving.says(EVENT, b"41")
    moving.leave()
    ((*_, sockets),) = moving.two.take()
    assert sockets == (Made("/", moving.sid, (), b"", 0),)
    moving.accept()
    assert [told[2] for told in moving.two.take()] == [EVENT, b"41"]


def test_an_end_that_both_sides_have_wanted_is_not_passed_on() -> None:
    moving = Moving()
    moving.hand_over()
    moving.says(b"41", b"40", b"41")
    moving.leave(Left("/", "another"))
    moving.accept()
    assert [told[2] for told in moving.two.take() if told[0] == "packet"] == [b"40", b"41"]


def test_others_may_change_rooms_and_end_sockets_meanwhile() -> None:
    moving = Moving()
    moving.hand_over()
    moving.world.join(moving.client, "a")
    moving.leave()
    ((_, channel, sockets),) = moving.two.take()
    assert sockets[0].rooms == ("a",)
    moving.world.node.upgraded(moving.client)
    moving.world.execute(LeaveNamespace(HUB, Selection(group=namespace_group("/")), "/", close=False))
    moving.accept()
    expected = [("moved", channel, "/", ("a",), True), ("upgraded", channel), ("left", channel, "/")]
    assert moving.two.take() == expected
    assert heard(moving.client)[-1] == b"41"


def test_others_change_rooms_while_only_acks_are_due() -> None:
    moving = Moving()
    channel = moving.move(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    moving.world.join(moving.client, "a")
    assert moving.two.take() == [("moved", channel, "/", ("a",), True)]


def test_a_refusal_makes_the_next_app_server_be_asked_and_then_the_former_one() -> None:
    moving = Moving()
    three = Mobile(moving.world, "three")
    moving.hand_over()
    moving.leave()
    moving.world.node.handovers.app_servers_changed()
    moving.says(EVENT)
    asked = []
    for _ in range(2):
        for server in (moving.two, three):
            if "adopt" in names(server.take()):
                asked.append(server.app.id)
                moving.refuse(APP_ERROR)
    assert sorted(asked) == ["three", "two"]
    assert moving.one.take() == [
        ("freeze", moving.first),
        ("resume", moving.first),
        ("packet", moving.first, EVENT),
    ]
    assert (moving.client.channel, moving.done) == (moving.first, [(0, (moving.client.id,))])
    assert sink_of(moving.client).reading


def test_what_others_did_meanwhile_reaches_the_former_app_server_that_goes_on() -> None:
    moving = Moving()
    moving.freeze()
    moving.world.join(moving.client, "a")
    moving.one.take()
    moving.refuse(APP_ERROR)
    assert moving.one.take() == [("resume", moving.first), ("moved", moving.first, "/", ("a",), True)]


def test_an_app_server_that_does_not_answer_is_not_waited_for_long() -> None:
    moving = Moving()
    channel = moving.freeze()
    moving.after(6)
    assert moving.two.take() == [("withdraw", channel)]
    assert names(moving.one.take()) == ["freeze", "resume"]
    moving.accept()
    moving.refuse(APP_ERROR)
    assert moving.client.channel == moving.first


def test_handlers_that_do_not_end_keep_their_client() -> None:
    moving = Moving()
    moving.hand_over()
    moving.says(EVENT)
    moving.after(11)
    assert names(moving.one.take()) == ["freeze", "resume", "packet"]
    assert moving.done == [(0, (moving.client.id,))]


def test_a_client_that_leaves_while_its_handlers_end_leaves_its_app_server() -> None:
    moving = Moving()
    moving.hand_over()
    moving.world.node.disconnect(moving.client, CLIENT_CLOSED, who="client")
    assert moving.one.take() == [("freeze", moving.first), ("closed", moving.first, "client-closed")]
    assert moving.done == [(0, ())]


def test_a_client_that_leaves_during_the_offer_leaves_its_app_server_of_that_moment() -> None:
    moving = Moving()
    channel = moving.freeze()
    moving.world.node.disconnect(moving.client, CLIENT_CLOSED, who="client")
    assert names(moving.one.take()) == ["freeze"]
    moving.accept()
    assert names(moving.one.take()) == ["released"]
    assert moving.two.take() == [("closed", channel, "client-closed")]


def test_a_client_that_leaves_before_a_refusal_leaves_its_former_app_server() -> None:
    moving = Moving()
    moving.freeze()
    moving.world.node.disconnect(moving.client, CLIENT_CLOSED, who="client")
    moving.refuse(APP_ERROR)
    assert names(moving.one.take()) == ["freeze", "closed"]
    assert moving.two.take() == []


def test_a_client_that_leaves_while_acks_are_due_leaves_its_new_app_server() -> None:
    moving = Moving()
    channel = moving.move(Left("/", moving.sid, acks=3, pending=frozenset({3})))
    moving.world.node.disconnect(moving.client, CLIENT_CLOSED, who="client")
    assert moving.two.take() == [("closed", channel, "client-closed")]
    assert moving.done == [(1, ())]


def test_a_client_that_ends_while_its_packets_are_passed_on_gets_no_more_of_them() -> None:
    for refused in (False, True):
        moving = Moving()
        moving.freeze()
        moving.says(b"42[1]", b"42[2]")
        server = moving.one if refused else moving.two

        def overflow(
            connection: object, packet: bytes, server: Mobile = server, moving: Moving = moving
        ) -> None:
            server.told.append(("packet", packet))
            moving.world.node.disconnect(moving.client, LINK_OVERFLOW, who="service")

        server.forward = overflow  # type: ignore[method-assign]
        if refused:
            moving.refuse(APP_ERROR)
        else:
            moving.accept()
        told = server.take()
        assert names(told).count("packet") == 1
        assert names(told)[-1] == "closed"


def test_an_answer_that_nobody_has_asked_for_changes_nothing() -> None:
    moving = Moving()
    moving.hand_over()
    moving.accept()
    moving.refuse(APP_ERROR)
    assert names(moving.one.take()) == ["freeze"]
    assert moving.client.server is moving.one.app


def test_a_last_word_that_comes_too_late_changes_nothing() -> None:
    moving = Moving()
    channel = moving.freeze()
    moving.leave(Left("/", moving.sid, b"late"))
    moving.accept()
    assert moving.client.channel == channel


def test_a_socket_that_its_former_app_server_ends_meanwhile_ends_at_the_new_one() -> None:
    moving = Moving()
    moving.freeze()
    moving.world.send(moving.client, b"41")
    moving.accept()
    assert names(moving.two.take()) == ["left"]


def recovering(moving: Moving) -> Recovery[Connection]:
    """The hub's sockets may be recovered."""
    hub = moving.world.hub()
    for server in (moving.one.app, moving.two.app):
        settings = RecoverySettings(recovery_max_disconnection=60.0)
        moving.world.node.claims.turn_on(hub, server, Nothing(), 60.0, settings=settings, news=None)
    assert hub.recovery is not None
    return hub.recovery


class Nothing:
    """Takes no returning clients."""

    def recover(self, connection: Client, socket: Recovered) -> None:
        raise AssertionError

    def parked(self, connection: Client, reason: Reason) -> bool:
        raise AssertionError

    def back(self, connection: Client, namespace: str, sid: str, former: Client) -> None:
        raise AssertionError


def test_the_data_of_a_client_that_is_away_comes_from_the_app_server_that_saw_its_end() -> None:
    moving = Moving()
    recovery = recovering(moving)
    sid = moving.world.enter(moving.client, "/admin")
    moving.freeze(Left("/admin", sid))
    moving.world.node.disconnect(moving.client, TRANSPORT_LOST, who="client")
    track = recovery.parked(room_group("/admin", sid))
    assert track is not None
    assert track.server is moving.one.app
    moving.accept()
    assert track.server is moving.two.app


def test_the_new_app_server_is_the_one_that_saves_the_sockets() -> None:
    moving = Moving()
    recovery = recovering(moving)
    sid = moving.world.enter(moving.client, "/admin")
    track = moving.client.tracks[namespace_group("/admin")] if moving.client.tracks else None
    assert track is not None
    moving.freeze(Left("/admin", sid))
    moving.accept()
    assert track.server is moving.two.app
    assert recovery.find(track.pid) is track


def test_a_client_that_moves_does_not_come_back_to_another_socket_meanwhile() -> None:
    moving = Moving()
    recovering(moving)
    moving.hand_over()
    moving.says(b'40/admin,{"pid":"x","offset":"y"}')
    moving.leave()
    moving.accept()
    assert [told[2] for told in moving.two.take() if told[0] == "packet"] == [
        b'40/admin,{"pid":"x","offset":"y"}'
    ]
