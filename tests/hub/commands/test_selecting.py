"""Selections and commands in steps: the same result as in one step, and changes between the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moorage.hub import rooms
from moorage.hub.commands import asking, execute, selecting
from moorage.hub.commands.deliver import PIECE
from moorage.hub.hub import NO_PEER, Client, Connection
from moorage.hub.ports import AppPeer
from moorage.hub.settings import Limits
from moorage.hub.turns import AT_ONCE, Job, finished
from moorage.wire.commands import (
    CloseConnections,
    Command,
    Exists,
    FetchSockets,
    Invoke,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    Outcome,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter, compile_filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import API_BAD_PAYLOAD, CLIENT_CLOSED
from moorage.wire.socketio import MAX_EMIT
from tests.hub.fakes import HUB, RecordingAnswers, RecordingPeer, World, heard

pytestmark = pytest.mark.repair(4)

ROOT = namespace_group("/")
ALL = Selection(group=ROOT)


def group(name: str) -> str:
    return room_group("/", name)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every selection as large; each step handles two connections."""
    make_steps_small(monkeypatch)


def make_steps_small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (execute, asking):
        monkeypatch.setattr(module, "FEW", 0)
        monkeypatch.setattr(module, "STEP", 2)
    monkeypatch.setattr(execute, "FEW_RECIPIENTS", 0)
    monkeypatch.setattr(execute, "PIECE", 1)
    monkeypatch.setattr(asking, "PART", 2)
    monkeypatch.setattr(selecting, "STEP", 2)
    monkeypatch.setattr(rooms, "STEP", 2)


def crowd(count: int = 10, **limits: Any) -> tuple[World, list[Connection]]:
    """Clients of one app server; every other one is in room `even`, client n in room `n`."""
    world = World(limits=Limits(**limits))
    world.server(peer=RecordingPeer())
    clients = [world.client("/", user_id="ada" if n == 3 else None) for n in range(count)]
    for n, client in enumerate(clients):
        world.execute(
            JoinGroups(
                HUB, Selection(connection=client.id), (group(str(n)), group("even" if n % 2 == 0 else "odd"))
            )
        )
    return world, clients


SELECTIONS: dict[str, Callable[[list[Connection]], Selection]] = {
    "everyone": lambda clients: Selection(),
    "namespace": lambda clients: ALL,
    "one": lambda clients: Selection(connection=clients[1].id),
    "user": lambda clients: Selection(user="ada"),
    "user and group": lambda clients: Selection(user="ada", group=group("even")),
    "excluded": lambda clients: Selection(group=ROOT, excluded=(clients[0].id,)),
    "rooms": lambda clients: Selection(filter=Filter(any_of=(group("1"), group("even"), group("2")))),
    "rooms of two namespaces": lambda clients: Selection(
        filter=Filter(any_of=(group("even"), room_group("/ns", "1")))
    ),
    "room": lambda clients: Selection(filter=Filter(any_of=(group("even"),))),
    "no rooms": lambda clients: Selection(filter=Filter(none_of=(group("1"), group("even")))),
    "rooms in group": lambda clients: Selection(group=ROOT, filter=Filter(any_of=(group("1"), group("4")))),
    "but": lambda clients: Selection(
        filter=Filter(any_of=(group("1"), group("even")), none_of=(group("2"), group("4")))
    ),
    "server": lambda clients: Selection(group=ROOT, server="nobody"),
    "predicate": lambda clients: Selection(
        filter=compile_filter("length(connectionId) gt 2 and userId eq 'ada'")
    ),
    "id": lambda clients: Selection(filter=compile_filter(f"connectionId eq '{clients[2].id}'")),
}


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("name", SELECTIONS)
def test_a_selection_in_steps_finds_the_same_connections(name: str) -> None:
    world, clients = crowd()
    to = SELECTIONS[name](clients)
    directory = world.hub().directory
    found = [c for part in selecting.parts(directory, to) for c in part]
    assert sorted(c.id for c in found) == sorted(c.id for c in directory.select(to))


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("name", SELECTIONS)
def test_an_emit_in_steps_reaches_each_once(name: str) -> None:
    world, clients = crowd()
    to = SELECTIONS[name](clients)
    expected = {c.id for c in world.hub().directory.select(to)}
    assert begun(world, Send(HUB, to, b'42["x"]')) == Outcome(reached=len(expected))
    world.settle()
    assert {c.id for c in clients if heard(c) == [b'42["x"]']} == expected
    assert {c.id for c in clients if heard(c)} == expected


def begun(world: World, command: Command, between: Callable[[int], object] = lambda step: None) -> Outcome:
    """Execute a command step by step; `between` is called after each step."""
    outcome = world.node.carry_out(command, RecordingAnswers())
    if isinstance(outcome, Outcome):
        return outcome
    return _finish(outcome, between)


def _finish(job: Job[Outcome], between: Callable[[int], object]) -> Outcome:
    step = 0
    while True:
        try:
            next(job)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        step += 1
        between(step)


COMMANDS: dict[str, Callable[[], Command]] = {
    "join": lambda: JoinGroups(HUB, ALL, (group("new"), group("other"))),
    "join quietly": lambda: JoinGroups(HUB, ALL, (group("new"), group("other")), quiet=True),
    "join nobody": lambda: JoinGroups(HUB, Selection(connection="nobody"), (group("new"),)),
    "leave nobody": lambda: LeaveGroups(HUB, Selection(connection="nobody"), (group("even"),)),
    "leave": lambda: LeaveGroups(HUB, ALL, (group("even"), group("1"))),
    "leave all": lambda: LeaveGroups(HUB, ALL, None),
    "close": lambda: CloseConnections(HUB, Selection(group=group("even"))),
    "expel": lambda: LeaveNamespace(HUB, Selection(group=group("odd")), "/"),
    "expel and close": lambda: LeaveNamespace(HUB, Selection(group=group("odd")), "/", close=True),
    "exists": lambda: Exists(HUB, Selection(filter=Filter(any_of=(group("9"), group("x"))))),
    "nobody": lambda: Exists(HUB, Selection(filter=Filter(any_of=(group("x"), group("y"))))),
    "list": lambda: ListGroup(HUB, ROOT, 3, "c0002"),
    "close nobody": lambda: CloseConnections(HUB, Selection(user="nobody")),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_in_steps_has_the_same_effect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world, clients = crowd()
    one_go = world.execute(COMMANDS[name]())
    expected = [(c.session.state, sorted(c.groups)) for c in clients]
    make_steps_small(monkeypatch)
    world, clients = crowd()
    assert begun(world, COMMANDS[name]()) == one_go
    assert [(c.session.state, sorted(c.groups)) for c in clients] == expected


@pytest.mark.usefixtures("small_steps")
def test_a_join_that_is_refused_has_no_effect() -> None:
    world, clients = crowd(max_groups=5)
    world.join(clients[7], "more")
    with pytest.raises(PeerError):
        begun(world, JoinGroups(HUB, ALL, (group("new"),)))
    assert not any(group("new") in c.groups for c in clients)


@pytest.mark.usefixtures("small_steps")
def test_the_memory_of_an_emit_to_a_user_does_not_depend_on_other_clients() -> None:
    world, _ = crowd(200)
    clients = [world.client("/", user_id="bob") for _ in range(4)]
    for client in clients:
        client.outbox.ready = False
    payload = b'42["%b"]' % (b"x" * 1_000_000)
    begun(world, Send(HUB, Selection(user="bob"), payload))
    assert world.node.flusher.backlog.total >= len(payload)


@pytest.mark.usefixtures("small_steps")
def test_clients_that_connect_or_disconnect_during_an_emit() -> None:
    """A client that is connected all the time gets it, one that leaves before its turn does not, and
    one that comes later need not."""
    world, clients = crowd(20)
    gone: list[Connection] = []

    def between(step: int) -> None:
        if step == 3:
            closed, left = [client for client in clients if not client.outbox.size][:2]
            gone.extend((closed, left))
            world.execute(CloseConnections(HUB, Selection(connection=closed.id)))
            world.execute(LeaveNamespace(HUB, Selection(connection=left.id), "/"))
            world.client("/")

    begun(world, Send(HUB, ALL, b'42["x"]'), between)
    world.settle()
    closed, left = gone
    assert closed.outbox.sink is None
    assert heard(left) == [b"41"]
    for client in clients:
        if client not in (closed, left):
            assert heard(client) == [b'42["x"]']


@pytest.mark.usefixtures("small_steps")
def test_a_client_that_ends_during_a_join_is_in_no_room_afterwards() -> None:
    world, clients = crowd(8)

    def between(step: int) -> None:
        if step == 6:
            world.execute(CloseConnections(HUB, Selection(connection=clients[-1].id)))
            world.execute(CloseConnections(HUB, Selection(connection=clients[0].id)))

    begun(world, JoinGroups(HUB, ALL, (group("a"), group("b"), group("c"))), between)
    members = world.hub().directory.rooms.members(group("c"))
    assert {c.id for c in members} == {c.id for c in clients[1:-1]}
    assert not clients[0].groups
    assert not clients[-1].groups


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("dialect", ["azure", "moorage.v1"])
@pytest.mark.parametrize("close", [False, True])
def test_a_client_that_ends_before_its_turn_is_not_expelled(
    close: bool, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "CLOSE_WORK", 1)
    monkeypatch.setattr(selecting, "STEP", 4)
    world = World()
    peer: AppPeer[Client] = RecordingPeer() if dialect == "moorage.v1" else NO_PEER
    _, link = world.server(peer=peer)
    clients = [world.client("/") for _ in range(4)]

    def between(step: int) -> None:
        """Two of the four have been expelled."""
        if step == 1:
            for client in clients:
                world.execute(CloseConnections(HUB, Selection(connection=client.id)))

    assert begun(world, LeaveNamespace(HUB, ALL, "/", close), between).reached == 2
    assert world.node.connections == world.sockets == 0
    assert len(link.ended) == 4
    assert not isinstance(peer, RecordingPeer) or len(peer.lefts) == 2


@pytest.mark.usefixtures("small_steps")
def test_the_app_server_is_not_notified_of_a_client_that_ended_before_its_turn() -> None:
    world = World()
    peer = RecordingPeer()
    world.server(peer=peer)
    clients = [world.client("/") for _ in range(4)]
    for client in clients:
        world.join(client, "a")
    peer.moves.clear()

    def between(step: int) -> None:
        if step == 2:
            for client in clients:
                world.execute(CloseConnections(HUB, Selection(connection=client.id)))

    begun(world, LeaveGroups(HUB, ALL, (group("a"),)), between)
    assert peer.moves == []


@pytest.mark.usefixtures("small_steps")
def test_a_client_that_leaves_during_the_selection_is_not_asked() -> None:
    world, clients = crowd(6)

    def between(step: int) -> None:
        if step == 1:
            world.execute(LeaveNamespace(HUB, Selection(connection=clients[0].id), "/"))

    gone = next(iter(world.hub().directory.rooms.members(ROOT)))
    clients.remove(gone)
    clients.insert(0, gone)
    begun(world, Invoke(HUB, ALL, b'42["q"]', 5.0), between)
    world.settle()
    assert heard(gone) == [b"41"]
    assert all(len(heard(client)) == 1 for client in clients)


@pytest.mark.usefixtures("small_steps")
def test_answers_may_come_before_the_last_is_asked() -> None:
    world, clients = crowd(6)
    answers = RecordingAnswers()
    job = world.node.carry_out(Invoke(HUB, ALL, b'42["q"]', 5.0), answers)
    assert not isinstance(job, Outcome)
    answered: set[str] = set()

    def between(_step: int) -> None:
        world.settle()
        for client in clients:
            if heard(client) and client.id not in answered:
                answered.add(client.id)
                world.node.receive(client, heard(client)[0].replace(b"42", b"43").replace(b'["q"]', b"[1]"))

    outcome = _finish(job, between)
    between(0)
    assert outcome.asked == 6
    assert len(answers.payloads) == 6
    assert answers.finished == 1
    assert answers.missing == ()


def test_the_number_of_awaited_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FEW_ASKED", 3)
    monkeypatch.setattr(asking, "MAX_ASKED", 10)
    world, clients = crowd(6)
    ask = Invoke(HUB, ALL, b'42["q"]', 5.0)
    assert begun(world, ask).asked == 6
    with pytest.raises(PeerError) as refused:
        begun(world, ask)
    assert refused.value.reason.name == "link-overflow"
    assert begun(world, Invoke(HUB, Selection(group=group("even")), b'42["q"]', 5.0)).asked == 3
    assert [len(heard(client)) for client in clients] == [0] * 6
    world.settle()
    assert [len(heard(client)) for client in clients] == [2, 1] * 3
    world.now += 6.0
    world.node.tick(world.now)
    assert begun(world, ask).asked == 6


@pytest.mark.usefixtures("small_steps")
def test_a_fetch_in_steps_asks_each_app_server_in_parts() -> None:
    world, clients = crowd(7)
    peer = RecordingPeer()
    other, _ = world.server("s2", peer=peer)
    command = FetchSockets(HUB, ALL, "/", 5.0, 0, "s2")
    answers = RecordingAnswers()
    job = world.node.carry_out(command, answers)
    assert not isinstance(job, Outcome)
    outcome = _finish(job, lambda step: None)
    assert outcome.reached == 7
    assert sum(len(rows) for some in outcome.sockets.values() for rows in some) == 7
    assert outcome.asked == 1
    assert outcome.rooms == sum(len(c.groups) for c in clients)
    assert other.up


@pytest.mark.usefixtures("small_steps")
def test_a_fetch_does_not_wait_for_an_app_server_that_was_lost() -> None:
    world, clients = crowd(AT_ONCE + 10)
    lost = clients[0].server
    world.server("s2", peer=RecordingPeer())
    answers = RecordingAnswers()
    job = world.node.carry_out(FetchSockets(HUB, ALL, "/", 5.0, 0, "s2"), answers)
    assert not isinstance(job, Outcome)

    def between(_step: int) -> None:
        peer = lost.peer
        assert isinstance(peer, RecordingPeer)
        if peer.queries and lost.up:
            world.node.drop_server(world.hub(), lost)

    _finish(job, between)
    assert not lost.up
    assert answers.finished == 1
    assert answers.missing == ("s1",)


@pytest.mark.parametrize("name", ["namespace", "room", "everyone"])
def test_an_emit_to_one_room_runs_at_once_for_any_form_of_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "FEW", 3)
    world, clients = crowd()
    outcome = world.node.carry_out(Send(HUB, SELECTIONS[name](clients), b'42["x"]'))
    assert isinstance(outcome, Outcome)
    assert outcome.reached == (5 if name == "room" else 10)


def test_the_work_of_a_selection_is_estimated_before_it_starts() -> None:
    world, clients = crowd()
    work = world.hub().directory.work
    assert work(Selection(connection=clients[0].id)) == 1
    assert work(ALL) == 10
    assert work(Selection(user="ada")) == 1
    assert work(Selection()) == 10
    assert work(Selection(filter=Filter(any_of=(group("even"), group("1"))))) == 8
    assert work(Selection(filter=Filter(any_of=tuple(group(str(n)) for n in range(5_000))))) == 5_000
    assert work(Selection(filter=compile_filter("userId ne 'x' and length(userId) gt 1"))) >= 10


@pytest.mark.parametrize("before", [0, 1, PIECE - 2, PIECE - 1, PIECE])
def test_no_packet_comes_between_a_binary_event_and_its_attachments(before: int) -> None:
    """A client treats text between them as a broken packet and closes the connection."""
    world = World()
    world.server()
    client = world.client("/")
    event = [b'452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', b"bYWI=", b"bY2Q="]
    packets = [b"42[1]"] * before + event + [b"42[2]"] * PIECE
    job = world.node.carry_out(SendToConnection(HUB, client.id, b"\x1e".join(packets)))
    assert not isinstance(job, Outcome)
    for _ in job:
        world.execute(SendToConnection(HUB, client.id, b'42["between"]'))
    world.settle()
    got = heard(client)
    at = got.index(event[0])
    assert got[at : at + 3] == event
    assert [packet for packet in got if packet != b'42["between"]'] == packets
    assert len(got) > len(packets)


def test_a_binary_event_with_too_many_attachments_for_one_client_is_refused() -> None:
    world, clients = crowd(1)
    count = MAX_EMIT + PIECE
    with pytest.raises(PeerError) as refused:
        world.send(clients[0], b'45%d-["x"]' % count + b"\x1eb" * count)
    assert refused.value.reason is API_BAD_PAYLOAD


def test_a_join_in_steps_skips_a_client_that_ends_meanwhile(small_steps: None) -> None:
    world, clients = crowd()
    command = JoinGroups(HUB, Selection(group=namespace_group("/")), (group("a"), group("b")))
    job = world.node.carry_out(command)
    assert not isinstance(job, Outcome)
    while not any(group("a") in client.groups for client in clients):
        next(job)
    left = [client for client in clients if group("a") not in client.groups]
    world.node.disconnect(left[-1], CLIENT_CLOSED, who="client")
    finished(job)
    assert [group("b") in client.groups for client in clients].count(True) == len(clients) - 1
