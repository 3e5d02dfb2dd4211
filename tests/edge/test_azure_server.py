"""One app server: its clients' events, in order, over tunnels that come and go."""

from __future__ import annotations

import pytest

from moorage.edge.azure_lane import MAX_GATHERED
from moorage.edge.azure_server import HELD_PER_CLIENT, MAX_BATCH
from moorage.hub.settings import Limits, LinkSettings
from moorage.wire import azure_tunnel
from moorage.wire.errors import PeerError
from moorage.wire.reasons import CLIENT_CLOSED
from tests.edge.azure_rig import TERMS, Rig, Sent
from tests.hub.fakes import sink_of


def contents(frames: list[Sent]) -> list[str]:
    """Of messages."""
    return [frame.content.decode() for frame in frames if frame.name == "message"]


# -- connect --------------------------------------------------------------------------------------------


def test_the_greeting_is_the_first_frame() -> None:
    rig = Rig()
    wire = rig.open()
    rig.ask()
    rig.settle()
    assert [frame.name for frame in wire.frames()] == ["greeting", "connect"]


def test_the_app_server_takes_a_client() -> None:
    rig = Rig()
    wire = rig.open()
    connection, opening = rig.ask()
    (event,) = rig.sent(wire)
    assert (event.name, event.connection) == ("connect", connection.id)
    assert not opening.accepts
    rig.answer(wire, event, content=TERMS)
    assert [accepted for accepted, _ in opening.accepts] == [connection]


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (400, b"no", "app-refused"),
        (401, b"", "app-refused"),
        (500, b"oh", "app-error"),
        (204, b"", "app-error"),
        (200, b"", "app-error"),
        (200, b'{"socketio":[]}', "app-error"),
        (200, b"\xff", "app-error"),
    ],
)
def test_it_does_not(status: int, content: bytes, reason: str) -> None:
    rig = Rig()
    wire = rig.open()
    _, opening = rig.ask()
    (event,) = rig.sent(wire)
    rig.answer(wire, event, status, content)
    assert [refused.name for refused, _ in opening.refusals] == [reason]
    assert rig.sent(wire) == [], "there is no session to end"
    assert not wire.tunnel.lanes, "nothing of it is kept"


def test_it_does_not_answer() -> None:
    rig = Rig(links=LinkSettings(connect_timeout=35.0))
    wire = rig.open()
    _, opening = rig.ask()
    (event,) = rig.sent(wire)
    rig.after(34.9)
    assert not opening.refusals
    rig.after(0.2)
    assert [refused.name for refused, _ in opening.refusals] == ["connect-timeout"]
    assert [frame.name for frame in rig.sent(wire)] == ["disconnected"], "should it have taken the client"
    rig.answer(wire, event, content=TERMS)
    assert not opening.accepts


def test_a_client_that_did_not_wait() -> None:
    rig = Rig()
    wire = rig.open()
    connection, _ = rig.ask()
    (event,) = rig.sent(wire)
    rig.world.node.abandon(connection)
    assert rig.sent(wire) == []
    rig.answer(wire, event, content=TERMS)
    assert [(f.name, f.connection) for f in rig.sent(wire)] == [("disconnected", connection.id)]


# -- messages -------------------------------------------------------------------------------------------


def test_packets_of_a_tick_are_one_event_of_each_client() -> None:
    rig = Rig()
    wire = rig.open()
    first, second = rig.client(wire), rig.client(wire)
    rig.say(first, "42[1]", "42[2]")
    rig.say(second, "42[3]")
    rig.say(first, "42[4]")
    frames = rig.sent(wire)
    assert [(frame.connection, frame.content) for frame in frames] == [
        (first.id, b"42[1]\x1e42[2]\x1e42[4]"),
        (second.id, b"42[3]"),
    ]
    assert len({frame.ack_id for frame in frames}) == 2


def test_large_packets_are_not_joined() -> None:
    rig = Rig()
    wire = rig.open()
    client = rig.client(wire)
    packet = f'42["{"x" * (MAX_BATCH // 2)}"]'
    rig.say(client, packet, packet)
    assert contents(rig.sent(wire)) == [packet, packet]


def test_answers_settle_events_once() -> None:
    rig = Rig()
    wire = rig.open()
    client = rig.client(wire)
    rig.say(client, "42[1]")
    (event,) = rig.sent(wire)
    told: list[str] = []
    rig.server.drained(client, lambda: told.append("a"))
    rig.server.drained(client, lambda: told.append("b"))
    assert told == []
    rig.server.received(wire.tunnel, azure_tunnel.response(event.ack_id, 200, more=True), rig.world.now)
    assert told == [], "not complete"
    rig.answer(wire, event)
    rig.answer(wire, event)
    rig.answer(wire, event._replace(ack_id=99_999))
    assert told == ["a", "b"]
    rig.server.drained(client, lambda: told.append("c"))
    assert told == ["a", "b", "c"]


@pytest.mark.parametrize("status", [400, 500])
def test_an_app_server_that_forgot_a_client_loses_it(status: int) -> None:
    rig = Rig()
    wire = rig.open()
    client = rig.client(wire)
    rig.say(client, "42[1]")
    (event,) = rig.sent(wire)
    rig.answer(wire, event, status, b"EIO server cannot find ConnectionId")
    assert [(row[1], row[2]) for row in rig.world.logged] == [("app-forgot", "app")]


def test_a_frame_that_is_none_is_the_links_fault() -> None:
    rig = Rig()
    wire = rig.open()
    with pytest.raises(PeerError) as found:
        rig.server.received(wire.tunnel, b"garbage", 0.0)
    assert found.value.reason.name == "link-bad-frame"
    rig.server.received(wire.tunnel, azure_tunnel.encode(99, b"{}"), 0.0)


# -- the end of a client ----------------------------------------------------------------------------------


def test_the_end_waits_for_the_last_answers() -> None:
    rig = Rig()
    wire = rig.open()
    client = rig.client(wire)
    rig.say(client, "42[1]", "42[2]")
    rig.world.node.disconnect(client, CLIENT_CLOSED, who="client")
    (event,) = rig.sent(wire)
    assert event.content == b"42[1]\x1e42[2]"
    rig.after(4.9)
    assert rig.sent(wire) == []
    rig.answer(wire, event)
    assert [frame.name for frame in rig.sent(wire)] == ["disconnected"]
    rig.after(10)
    assert rig.sent(wire) == [], "once"


def test_the_end_does_not_wait_for_ever() -> None:
    rig = Rig()
    wire = rig.open()
    client = rig.client(wire)
    rig.say(client, "42[1]")
    rig.world.node.disconnect(client, CLIENT_CLOSED, who="client")
    rig.sent(wire)
    rig.after(5.1)
    assert [frame.name for frame in rig.sent(wire)] == ["disconnected"]


# -- tunnels come and go ----------------------------------------------------------------------------------


def test_clients_spread_over_tunnels_and_stay_there() -> None:
    rig = Rig()
    first, second = rig.open("t1"), rig.open("t2")
    connection, _ = rig.ask()
    (event,) = rig.sent(first)
    rig.answer(second, event, content=TERMS)
    other, _ = rig.ask()
    (event,) = rig.sent(second)
    rig.answer(second, event, content=TERMS)
    for client, wire in ((connection, first), (other, second)) * 2:
        rig.say(client, "42[1]")
        assert [frame.connection for frame in rig.sent(wire)] == [client.id]


def test_unanswered_events_move_to_another_tunnel_after_a_while() -> None:
    rig = Rig()
    first = rig.open("t1")
    client = rig.client(first)
    second = rig.open("t2")
    rig.say(client, "42[1]")
    (lost,) = rig.sent(first)
    rig.say(client, "42[2]")
    rig.lose(first)
    rig.say(client, "42[3]")
    assert contents(rig.sent(second)) == [], "its answer may still come, over another tunnel"
    rig.after(1.6)
    frames = rig.sent(second)
    assert contents(frames) == ["42[1]", "42[2]\x1e42[3]"], "the oldest first"
    assert lost.ack_id not in {frame.ack_id for frame in frames}
    assert rig.world.metrics.events_resent == 1


def test_a_late_answer_keeps_an_event_from_coming_twice() -> None:
    rig = Rig()
    first = rig.open("t1")
    client = rig.client(first)
    second = rig.open("t2")
    rig.say(client, "42[1]")
    (event,) = rig.sent(first)
    rig.lose(first)
    rig.say(client, "42[2]")
    rig.answer(second, event)
    assert contents(rig.sent(second)) == ["42[2]"], "at once: nothing older is missing any more"
    rig.after(1.6)
    assert contents(rig.sent(second)) == []


def test_without_a_tunnel_events_wait_for_the_next() -> None:
    rig = Rig()
    wire = rig.open()
    client, other = rig.client(wire), rig.client(wire)
    rig.lose(wire)
    rig.say(client, "42[1]")
    rig.after(1.0)
    rig.say(client, "42[2]")
    rig.say(other, "42[3]")
    again = rig.open("t2")
    frames = rig.sent(again)
    assert sorted((frame.connection, frame.content) for frame in frames) == [
        (client.id, b"42[1]\x1e42[2]"),
        (other.id, b"42[3]"),
    ]


def test_the_end_of_a_client_is_told_to_the_next_tunnel() -> None:
    rig = Rig()
    wire = rig.open()
    client = rig.client(wire)
    rig.lose(wire)
    rig.say(client, "42[1]")
    rig.world.node.disconnect(client, CLIENT_CLOSED, who="client")
    rig.after(4.0)
    again = rig.open("t2")
    (event,) = rig.sent(again)
    assert event.content == b"42[1]"
    rig.answer(again, event)
    assert [frame.name for frame in rig.sent(again)] == ["disconnected"]


def test_a_client_that_was_opening_is_refused() -> None:
    rig = Rig()
    wire = rig.open()
    connection, opening = rig.ask()
    rig.sent(wire)
    rig.lose(wire)
    assert [refused.name for refused, _ in opening.refusals] == ["no-app-server"]
    again = rig.open("t2")
    assert [(f.name, f.connection) for f in rig.sent(again)] == [("disconnected", connection.id)]


def test_no_new_client_while_no_tunnel_is_up() -> None:
    rig = Rig()
    wire = rig.open()
    rig.lose(wire)
    with pytest.raises(PeerError) as found:
        rig.ask()
    assert found.value.reason.name == "no-app-server"


def test_the_grace_time_ends() -> None:
    rig = Rig(links=LinkSettings(grace=5.0))
    wire = rig.open()
    rig.client(wire)
    rig.lose(wire)
    rig.after(4.9)
    assert rig.world.logged == []
    rig.after(0.2)
    assert [row[1] for row in rig.world.logged] == ["app-lost"]
    assert rig.world.node.hubs == {}


def test_a_tunnel_in_time_keeps_the_clients() -> None:
    rig = Rig(links=LinkSettings(grace=5.0))
    wire = rig.open()
    rig.client(wire)
    rig.lose(wire)
    rig.lose(wire)
    rig.after(4.9)
    rig.open("t2")
    rig.after(60)
    assert rig.world.logged == []


def test_what_waits_for_an_app_server_is_bounded() -> None:
    rig = Rig(links=LinkSettings(max_waiting_bytes=200_000))
    wire = rig.open()
    clients = [rig.client(wire) for _ in range(4)]
    rig.lose(wire)
    for client in clients[:3]:
        rig.say(client, f'42["{"x" * 60_000}"]')
    rig.say(clients[3], "42[1]")
    assert rig.world.logged == []
    rig.say(clients[0], f'42["{"x" * 30_000}"]')
    assert [(row[0], row[1]) for row in rig.world.logged] == [(clients[0].id, "link-overflow")]
    rig.say(clients[3], f'42["{"x" * 60_000}"]')
    assert len(rig.world.logged) == 1, "what the closed client held is free again"
    again = rig.open("t2")
    assert {frame.connection for frame in rig.sent(again)} >= {client.id for client in clients[1:]}


def test_a_client_whose_events_wait_is_not_read_from() -> None:
    rig = Rig()
    wire = rig.open()
    client = rig.client(wire)
    rig.lose(wire)
    rig.say(client, "42[1]")
    assert sink_of(client).reading
    rig.say(client, f'42["{"x" * HELD_PER_CLIENT}"]')
    assert not sink_of(client).reading
    rig.open("t2")
    assert sink_of(client).reading


def test_an_app_server_that_does_not_read_slows_its_clients() -> None:
    rig = Rig()
    wire = rig.open()
    talker, silent = rig.client(wire), rig.client(wire)
    wire.tunnel.congested = True
    rig.say(talker, "42[1]")
    assert not sink_of(talker).reading
    assert sink_of(silent).reading
    wire.tunnel.congested = False
    rig.server.resume_clients()
    assert sink_of(talker).reading


def test_a_burst_of_large_packets_holds_all_clients_back_before_the_link_is_too_full() -> None:
    rig = Rig(limits=Limits(outbox_bytes_link=1_000_000))
    wire = rig.open()
    clients = [rig.client(wire) for _ in range(10)]
    wire.tunnel.congested = True
    packet = f'42["{"x" * 50_000}"]'
    for client in clients:
        if sink_of(client).reading:
            rig.say(client, packet)
    rig.settle()
    assert wire.closed == []
    assert not any(sink_of(client).reading for client in clients)
    wire.tunnel.congested = False
    wire.tunnel.flush()
    rig.server.resume_clients()
    assert all(sink_of(client).reading for client in clients)
    assert 5 <= len(contents(rig.sent(wire))) < 10


def test_much_in_one_tick_is_held_back_until_it_has_left() -> None:
    rig = Rig(limits=Limits(outbox_bytes_link=4 * MAX_GATHERED))
    wire = rig.open()
    talker, silent = rig.client(wire), rig.client(wire)
    packet = f'42["{"x" * 900_000}"]'
    for _ in range(6):
        rig.say(talker, packet)
    assert not sink_of(talker).reading
    assert not sink_of(silent).reading
    assert len(contents(rig.sent(wire))) == 6
    assert sink_of(talker).reading
    assert sink_of(silent).reading


def test_what_is_held_for_a_client_stays_held_while_others_go_on() -> None:
    rig = Rig()
    first = rig.open("t1")
    client = rig.client(first)
    second = rig.open("t2")
    other = rig.client(second)
    rig.say(client, "42[1]")
    rig.sent(first)
    rig.lose(first)
    rig.say(client, f'42["{"x" * HELD_PER_CLIENT}"]')
    rig.say(other, "42[2]")
    rig.sent(second)
    assert not sink_of(client).reading, "its older packet may have got lost"
    assert sink_of(other).reading
    rig.after(1.6)
    assert sink_of(client).reading


def test_a_tunnel_that_is_being_closed_gets_nothing_new() -> None:
    rig = Rig()
    first, second = rig.open("t1"), rig.open("t2")
    rig.sent(first)
    first.tunnel.open = False
    rig.ask()
    rig.ask()
    assert [frame.name for frame in rig.sent(second)] == ["connect", "connect"]
    assert rig.server.any_tunnel() is second.tunnel


def test_a_data_frame_keeps_an_idle_link_alive() -> None:
    rig = Rig(links=LinkSettings(keepalive=40.0))
    first, second = rig.open("t1"), rig.open("t2")
    rig.after(0)
    first.frames(), second.frames()
    for _ in range(3):
        rig.after(39.0)
        assert first.frames() == second.frames() == []
        rig.after(1.0)
        assert [f.name for f in first.frames()] == [f.name for f in second.frames()] == ["keepalive"]


def test_a_stop_closes_all_tunnels_after_their_last_frames() -> None:
    rig = Rig()
    wire = rig.open()
    client = rig.client(wire)
    rig.say(client, "42[1]")
    rig.server.close_all()
    assert contents(wire.frames()) == ["42[1]"]
    assert [reason.name for reason in wire.closed] == ["draining"]


def test_what_was_on_a_broken_tunnel_does_not_overrun_the_next() -> None:
    rig = Rig(limits=Limits(outbox_bytes_link=1_000_000))
    first = rig.open("t1")
    clients = [rig.client(first) for _ in range(8)]
    for client in clients:
        rig.say(client, f'42["{"x" * 300_000}"]')
        rig.sent(first)
    rig.lose(first)
    second = rig.open("t2")
    second.tunnel.congested = True
    rig.after(1.6)
    assert rig.sent(second) == [], "it takes nothing now"
    second.tunnel.congested = False
    rig.after(0.25)
    assert {frame.connection for frame in rig.sent(second)} == {client.id for client in clients}
    assert second.closed == []


def test_an_app_server_that_never_answers_gets_only_so_much() -> None:
    rig = Rig(links=LinkSettings(max_waiting_bytes=200_000))
    wire = rig.open()
    talker, other = rig.client(wire), rig.client(wire)
    events = []
    while sink_of(talker).reading:
        rig.say(talker, f'42["{"x" * 50_000}"]')
        events += rig.sent(wire)
    assert len(events) == 5
    assert not sink_of(talker).reading
    assert sink_of(other).reading
    rig.answer(wire, events[0])
    rig.answer(wire, events[1])
    rig.server.flush()
    assert sink_of(talker).reading
