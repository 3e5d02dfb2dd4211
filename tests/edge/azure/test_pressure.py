"""Back pressure: how much may wait for one app server, and who is held back when it is slow."""

from __future__ import annotations

import pytest

from moorage.edge import resuming
from moorage.edge.azure.channel import MAX_GATHERED
from moorage.edge.azure.pressure import HELD_PER_CLIENT
from moorage.edge.settings import EdgeLimits, LinkSettings
from moorage.wire.reasons import APP_LOST
from tests.edge.azure.rig import Rig, contents
from tests.hub.fakes import sink_of


def test_waiting_bytes_for_an_app_server_are_bounded() -> None:
    rig = Rig(links=LinkSettings(max_waiting_bytes=200_000))
    transport = rig.open()
    clients = [rig.client(transport) for _ in range(4)]
    rig.lose(transport)
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
    transport = rig.open()
    client = rig.client(transport)
    rig.lose(transport)
    rig.say(client, "42[1]")
    assert sink_of(client).reading
    rig.say(client, f'42["{"x" * HELD_PER_CLIENT}"]')
    assert not sink_of(client).reading
    rig.open("t2")
    assert sink_of(client).reading


def test_an_app_server_that_does_not_read_slows_its_clients() -> None:
    rig = Rig()
    transport = rig.open()
    talker, silent = rig.client(transport), rig.client(transport)
    transport.tunnel.congested = True
    rig.say(talker, "42[1]")
    assert not sink_of(talker).reading
    assert sink_of(silent).reading
    transport.tunnel.congested = False
    rig.server.resume_clients()
    assert sink_of(talker).reading


def test_many_held_clients_are_read_a_few_in_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "READ_AT_ONCE", 1)
    rig = Rig()
    transport = rig.open()
    clients = [rig.client(transport) for _ in range(4)]
    sinks = [sink_of(client) for client in clients]
    transport.tunnel.congested = True
    for client in clients:
        rig.say(client, "42[1]")
    transport.tunnel.congested = False
    rig.server.resume_clients()
    assert [sink.reading for sink in sinks] == [False] * 4
    rig.world.node.disconnect(clients[1], APP_LOST, who="service")
    transport.tunnel.congested = True
    rig.say(clients[2], "42[2]")
    rig.settle()
    assert [sink.reading for sink in sinks] == [True, False, False, True]


def test_a_burst_of_large_packets_holds_all_clients_back_before_the_link_is_too_full() -> None:
    rig = Rig(limits=EdgeLimits(outbox_bytes_link=1_000_000))
    transport = rig.open()
    clients = [rig.client(transport) for _ in range(10)]
    transport.tunnel.congested = True
    packet = f'42["{"x" * 50_000}"]'
    for client in clients:
        if sink_of(client).reading:
            rig.say(client, packet)
    rig.settle()
    assert transport.closed == []
    assert not any(sink_of(client).reading for client in clients)
    transport.tunnel.congested = False
    transport.tunnel.flush()
    rig.server.resume_clients()
    assert all(sink_of(client).reading for client in clients)
    assert 5 <= len(contents(rig.sent(transport))) < 10


def test_much_in_one_tick_is_held_back_until_it_has_left() -> None:
    rig = Rig(limits=EdgeLimits(outbox_bytes_link=4 * MAX_GATHERED))
    transport = rig.open()
    talker, silent = rig.client(transport), rig.client(transport)
    packet = f'42["{"x" * 900_000}"]'
    for _ in range(6):
        rig.say(talker, packet)
    assert not sink_of(talker).reading
    assert not sink_of(silent).reading
    assert len(contents(rig.sent(transport))) == 6
    assert sink_of(talker).reading
    assert sink_of(silent).reading


def test_held_packets_stay_held_while_other_clients_continue() -> None:
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


def test_events_of_a_broken_tunnel_do_not_overrun_the_next_one() -> None:
    rig = Rig(limits=EdgeLimits(outbox_bytes_link=1_000_000))
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
    transport = rig.open()
    talker, other = rig.client(transport), rig.client(transport)
    events = []
    while sink_of(talker).reading:
        rig.say(talker, f'42["{"x" * 50_000}"]')
        events += rig.sent(transport)
    assert len(events) == 5
    assert not sink_of(talker).reading
    assert sink_of(other).reading
    rig.answer(transport, events[0])
    rig.answer(transport, events[1])
    rig.server.flush()
    assert sink_of(talker).reading
