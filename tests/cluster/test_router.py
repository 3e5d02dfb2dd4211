"""Every command between every pair of nodes: it acts on the clients of all nodes as on those of one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from moorage.hub.hub import Connection
from moorage.wire.commands import (
    EVERYONE,
    CloseConnections,
    Exists,
    FetchSockets,
    Invoke,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    ListServers,
    Selection,
    Send,
    SendToConnection,
    TellServers,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter, compile_filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage.rows import Chunk
from moorage.wire.reasons import TOO_MANY_GROUPS
from tests.cluster.nodes import Nodes, rows_of
from tests.hub.fakes import HUB, heard, sink_of

ROOM = room_group("/", "room")
OTHER = room_group("/", "other")
EVENT = b'42["e"]'


def every_pair(check: Callable[[int, int, int], None]) -> Callable[[int, int], None]:
    """Run the check with 2, 3 and 8 nodes, and with each pair of an asker and a target: of 8 nodes with a
    quarter of them, and in the slow suite with all."""

    @pytest.mark.parametrize(
        ("count", "step"),
        [(2, 1), (3, 1), (8, 4), pytest.param(8, 1, marks=pytest.mark.slow)],
        ids=["2", "3", "8", "8 all"],
    )
    def test(count: int, step: int) -> None:
        for asker in range(count):
            for target in range(asker % step, count, step):
                check(count, asker, target)

    return test


def private(client: Connection) -> str:
    """The private room of its socket."""
    return room_group("/", f"{client.id}/")


@every_pair
def test_a_room(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count, 2)
    member = nodes.clients[target][0]
    joined = nodes.done(asker, JoinGroups(HUB, Selection(group=private(member)), (ROOM,)))
    assert joined.reached == 1
    nodes.done(asker, Send(HUB, Selection(group=ROOM), EVENT))
    assert nodes.heard() == {member.id: [EVENT]}


@every_pair
def test_an_except(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count, 2)
    outsider = nodes.clients[target][1]
    to = Selection(group=namespace_group("/"), filter=Filter(none_of=(private(outsider),)))
    nodes.done(asker, Send(HUB, to, EVENT))
    assert nodes.heard() == {client.id: [EVENT] for client in nodes.everyone if client is not outsider}


@every_pair
def test_several_rooms_and_excluded_connections(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count, 2)
    first, second = nodes.clients[target]
    for client in (first, second):
        nodes.done(asker, JoinGroups(HUB, Selection(connection=client.id), (ROOM, OTHER)))
    nodes.done(asker, Send(HUB, Selection(filter=Filter(any_of=(ROOM, OTHER)), excluded=(second.id,)), EVENT))
    assert nodes.heard() == {first.id: [EVENT]}


@every_pair
def test_a_filter_that_is_no_index(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    to = Selection(filter=compile_filter(f"startswith(userId, 'u') and userId eq 'u{target}'"))
    nodes.done(asker, Send(HUB, to, EVENT))
    assert nodes.heard() == {nodes.clients[target][0].id: [EVENT]}


@every_pair
def test_one_connection(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count, 2)
    client = nodes.clients[target][1]
    assert nodes.done(asker, SendToConnection(HUB, client.id, EVENT)).found
    assert nodes.heard() == {client.id: [EVENT]}


def test_a_send_to_one_connection_goes_to_the_node_that_its_id_names() -> None:
    nodes = Nodes(3, prefix="node000")
    client = nodes.clients[2][0]
    nodes.submit(0, SendToConnection(HUB, client.id, EVENT))
    nodes.worlds[0].settle()
    assert nodes.network.step()
    assert not nodes.network.step()
    nodes.settle()
    assert nodes.heard() == {client.id: [EVENT]}


def test_a_send_to_a_connection_of_this_node_does_not_leave_it() -> None:
    nodes = Nodes(3)
    nodes.submit(0, SendToConnection(HUB, nodes.clients[0][0].id, EVENT))
    nodes.worlds[0].settle()
    assert not nodes.network.step()


@every_pair
def test_the_order_of_sends_of_every_kind(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    client = nodes.clients[target][0]
    packets = [f'42["{number}"]'.encode() for number in range(9)]
    for number, packet in enumerate(packets):
        if number % 3 == 0:
            nodes.submit(asker, Send(HUB, EVERYONE, packet))
        elif number % 3 == 1:
            nodes.submit(asker, SendToConnection(HUB, client.id, packet))
        else:
            nodes.submit(asker, JoinGroups(HUB, Selection(connection=client.id), (f"g{number}",)))
            nodes.submit(asker, Send(HUB, Selection(group=f"g{number}"), packet))
    nodes.settle()
    assert heard(client) == packets


@every_pair
def test_a_join_is_answered_when_the_next_emit_reaches_the_member(
    count: int, asker: int, target: int
) -> None:
    nodes = Nodes(count)
    member = nodes.clients[target][0]
    reply = nodes.submit(asker, JoinGroups(HUB, Selection(connection=member.id), (ROOM,)))
    while not reply.all:
        for world in nodes.worlds:
            world.settle()
        assert nodes.network.step(), "the reply never comes"
        assert not reply.all or ROOM in member.groups
    for other in range(count):
        nodes.submit(other, Send(HUB, Selection(group=ROOM), EVENT))
    nodes.settle()
    assert heard(member) == [EVENT] * count


@every_pair
def test_leaving_a_room(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    member = nodes.clients[target][0]
    nodes.done(asker, JoinGroups(HUB, EVERYONE, (ROOM,)))
    assert nodes.done(asker, LeaveGroups(HUB, Selection(user=f"u{target}"), (ROOM,))).reached == 1
    nodes.done(asker, Send(HUB, Selection(group=ROOM), EVENT))
    assert nodes.heard() == {client.id: [EVENT] for client in nodes.everyone if client is not member}


@every_pair
def test_the_app_server_learns_of_room_changes(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    member = nodes.clients[target][0]
    nodes.done(asker, JoinGroups(HUB, Selection(connection=member.id), (ROOM,)))
    assert nodes.peers[target].moves == [(member.id, "/", ("room",), True)]


@every_pair
def test_a_disconnect(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count, 2)
    member, other = nodes.clients[target]
    command = LeaveNamespace(HUB, Selection(group=private(member)), "/")
    assert nodes.done(asker, command).reached == 1
    assert heard(member) == [b"41"]
    assert nodes.peers[target].lefts == [(member.id, "/")]
    assert namespace_group("/") not in member.groups
    assert namespace_group("/") in other.groups


@every_pair
def test_a_close(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count, 2)
    named = nodes.clients[target]
    sinks = [sink_of(client) for client in named]
    for selection in (Selection(connection=named[0].id), Selection(user=f"u{target}")):
        done = nodes.done(asker, CloseConnections(HUB, selection, "because"))
        assert (done.found, done.reached) == (True, 1)
    assert [[reason.name for reason, _ in sink.closed] for sink in sinks] == [["api-closed"], ["api-closed"]]
    assert not nodes.done(asker, CloseConnections(HUB, Selection(connection=named[0].id))).found
    assert nodes.done(asker, Exists(HUB, EVERYONE)).found


@every_pair
def test_exists(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    client = nodes.clients[target][0]
    nodes.done(target, JoinGroups(HUB, Selection(connection=client.id), (ROOM,)))
    for selection in (Selection(connection=client.id), Selection(user=f"u{target}"), Selection(group=ROOM)):
        assert nodes.done(asker, Exists(HUB, selection)).found
    for selection in (Selection(connection="c"), Selection(user="u"), Selection(group=OTHER)):
        assert not nodes.done(asker, Exists(HUB, selection)).found


@pytest.mark.parametrize("count", [2, 3, 8])
def test_pages_of_a_group(count: int) -> None:
    nodes = Nodes(count, 3)
    nodes.done(0, JoinGroups(HUB, EVERYONE, (ROOM,)))
    found: list[tuple[str, str | None]] = []
    while True:
        page = nodes.done(count - 1, ListGroup(HUB, ROOM, 2, found[-1][0] if found else ""))
        found += [(row.connection_id, row.user_id) for row in page.members]
        assert page.reached == len(page.members) <= 2
        if not page.more:
            break
    assert found == sorted((client.id, client.user_id) for client in nodes.everyone)


@every_pair
def test_app_servers(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    servers = nodes.done(asker, ListServers(HUB)).servers
    assert sorted((row.id, row.up, row.clients) for row in servers) == [
        (f"s{at}", True, 1) for at in range(count)
    ]
    assert f"s{target}" in {row.id for row in servers}


@every_pair
def test_acks(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count, 2)
    asked = [client for at, clients in enumerate(nodes.clients) for client in clients[: 1 + (at == target)]]
    for client in asked:
        nodes.done(target, JoinGroups(HUB, Selection(connection=client.id), (ROOM,)))
    reply, answers = nodes.ask(asker, Invoke(HUB, Selection(group=ROOM), EVENT, 5.0))
    nodes.settle()
    assert (reply.outcome.asked, answers.finished) == (len(asked), 0)
    for client in asked:
        (packet,) = heard(client)
        number = packet[2:].split(b"[")[0]
        world = nodes.worlds[[client in clients for clients in nodes.clients].index(True)]
        world.node.receive(client, b'43%s["%s"]' % (number, client.id.encode()))
        nodes.settle()
        assert (answers.senders[-1], answers.payloads[-1][-12:]) == (
            f"{client.id}/",
            f'["{client.id}"]'.encode(),
        )
    assert len(answers.senders) == len(asked)
    assert (answers.finished, answers.missing) == (1, ())


@every_pair
def test_an_ack_that_does_not_come(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    silent = nodes.clients[target][0]
    reply, answers = nodes.ask(asker, Invoke(HUB, Selection(connection=silent.id), EVENT, 5.0))
    nodes.settle()
    nodes.later(5.0)
    nodes.settle()
    assert reply.outcome.missing == ()
    assert (answers.finished, answers.missing) == (1, (f"{silent.id}/",))


@every_pair
def test_server_side_emits(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    command = TellServers(HUB, "/", b'42["x"]', f"s{asker}")
    nodes.ask(asker, command)
    nodes.settle()
    heard_by = [(None, f"s{asker}", "/", b'42["x"]')]
    assert [peer.tellings for peer in nodes.peers] == [[] if at == asker else heard_by for at in range(count)]


@every_pair
def test_server_side_emits_with_acks(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count)
    reply, answers = nodes.ask(asker, TellServers(HUB, "/", b'42["x"]', f"s{asker}", 5.0))
    nodes.settle()
    assert reply.outcome.asked == count - 1
    for at in (at for at in range(count) if at != asker):
        ((number, *_),) = nodes.peers[at].tellings
        assert number is not None
        hub = nodes.worlds[at].hub()
        assert hub.questions.answered(number, hub.servers.all()[0], b"430[%d]" % at)
        nodes.settle()
    assert sorted(answers.senders) == [f"s{at}" for at in range(count) if at != asker]
    assert (answers.finished, answers.missing) == (1, ())


@every_pair
def test_fetch(count: int, asker: int, target: int) -> None:
    nodes = Nodes(count, 2)
    for client in nodes.clients[target]:
        nodes.done(target, JoinGroups(HUB, Selection(connection=client.id), (ROOM,)))
        client.handshake = json.dumps(
            {"headers": {"user-agent": "browser", "cookie": client.id}, "query": {}, "claims": {}}
        ).encode()
    reply, answers = nodes.ask(asker, FetchSockets(HUB, Selection(group=ROOM), "/", 5.0, 10**12, f"s{asker}"))
    nodes.settle()
    outcome = reply.outcome
    assert (outcome.reached, outcome.rooms, outcome.missing) == (2, 6, ())
    rows = rows_of(outcome.sockets)
    assert set(rows) == {f"s{target}"}
    assert sorted(row[:5] for row in rows[f"s{target}"]) == [
        (f"{client.id}/", client.id, f"u{target}", 10**12, ("room",)) for client in nodes.clients[target]
    ]
    if target == asker:
        assert (answers.finished, answers.senders) == (1, [])
        return
    for row in rows[f"s{target}"]:
        assert json.loads(row[5])["headers"] == {"user-agent": "browser", "cookie": row[1]}
    ((number, namespace, sids),) = nodes.peers[target].queries
    assert (namespace, sorted(sids)) == ("/", sorted(row[0] for row in rows[f"s{target}"]))
    hub = nodes.worlds[target].hub()
    hub.queries.answered(number, hub.servers.all()[0], (Chunk(2, b"[{},{}]"),))
    nodes.settle()
    assert (answers.senders, answers.payloads) == ([f"s{target}"], [(Chunk(2, b"[{},{}]"),)])
    assert (answers.finished, answers.missing) == (1, ())


@pytest.mark.parametrize("count", [2, 3, 8])
def test_work_in_steps_keeps_its_place(count: int) -> None:
    nodes = Nodes(count, 150)
    groups = tuple(room_group("/", str(number)) for number in range(20))
    reply = nodes.submit(0, JoinGroups(HUB, EVERYONE, groups))
    nodes.submit(0, Send(HUB, Selection(group=groups[-1]), EVENT))
    last, answers = nodes.ask(0, FetchSockets(HUB, EVERYONE, "/", 5.0, 10**12, "s0"))
    nodes.settle()
    assert reply.outcome.reached == count * 150
    assert nodes.heard() == {client.id: [EVENT] for client in nodes.everyone}
    assert last.outcome.reached == count * 150 == sum(map(len, rows_of(last.outcome.sockets).values()))
    assert not answers.finished


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_refusal_on_one_node_refuses_the_command(count: int) -> None:
    nodes = Nodes(count)
    full = nodes.clients[1][0]
    limit = nodes.worlds[1].limits.max_groups
    for number in range(limit - len(full.groups)):
        nodes.worlds[1].hub().directory.rooms.join(full, f"g{number}")
    reply = nodes.submit(0, JoinGroups(HUB, EVERYONE, (ROOM,)))
    nodes.settle()
    (error,) = reply.all
    assert isinstance(error, PeerError)
    assert error.reason is TOO_MANY_GROUPS


@pytest.mark.parametrize("count", [2, 3, 8])
def test_an_ask_that_is_refused_everywhere_is_refused_once(count: int) -> None:
    nodes = Nodes(count)
    reply, answers = nodes.ask(0, Invoke(HUB, EVERYONE, b"41", 5.0))
    nodes.settle()
    assert [type(each) for each in reply.all] == [PeerError]
    assert answers.finished == 0
    nodes.later(10.0)
    nodes.settle()
    assert len(reply.all) == 1
