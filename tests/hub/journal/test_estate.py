"""A delivery log that is written once more from a journal has the same sockets, groups and events."""

from __future__ import annotations

import pytest

from moorage.hub.commands import execute
from moorage.hub.journal import scribe
from moorage.hub.journal.pages import Pages
from moorage.hub.journal.scribe import REPEAT_SECONDS
from moorage.hub.recovery.causes import DROPPED, OFFSET
from moorage.hub.recovery.moves import SEEN_SECONDS, Expected, Gifts, Given
from moorage.hub.turns import finished
from moorage.wire.commands import Invoke, LeaveGroups, Selection, Send
from moorage.wire.groups import room_group
from moorage.wire.recovery.journal import Away, Changed, Entry, Linked, encode, encode_page
from moorage.wire.recovery.moving import Asked, Denied, Offered, Take, Taken
from tests.hub.fakes import HUB, RecordingAnswers
from tests.hub.journal.loss import INSTANCE, Keeper, emit, moves
from tests.hub.recovery.stage import ROOT, refused, room


@pytest.fixture
def lost() -> Keeper:
    return Keeper()


@pytest.fixture
def heir() -> Keeper:
    return Keeper()


def test_a_socket_whose_client_was_away(lost: Keeper, heir: Keeper) -> None:
    client = lost.client("/", "/b")
    lost.world.join(client.connection, "a")
    client.lose(save=b'{"name":"Ann"}')
    lost.emit(room("a"), b'42["a",1]')
    to = Selection(connection=client.connection.id)
    lost.world.execute(LeaveGroups(HUB, to, (room_group("/", "a"),)))
    lost.emit(room("a"), b'42["a",2]')
    lost.emit(ROOT, b'42["a",3]')
    heir.inherit(lost)
    moves(client, heir)
    (_, socket) = heir.returns.sockets[0]
    assert (socket.rooms, socket.data) == ((), b'{"name":"Ann"}')
    assert [event[2] for event in client.events] == [1, 3]


def test_a_socket_whose_client_has_come_back(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    client.lose()
    lost.emit(ROOT, b'42["a",1]')
    client.come_back()
    lost.world.join(client.connection, "a", "b")
    lost.world.execute(LeaveGroups(HUB, Selection(connection=client.connection.id), (room_group("/", "b"),)))
    lost.emit(room("b"), b'42["a",2]')
    lost.emit(room("a"), b'42["a",3]')
    lost.world.send(client.connection, b'42["a",4]')
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [3, 4]


def test_an_emit_with_acks_that_its_client_has_not_got(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    client.lose()
    lost.world.execute(Invoke(HUB, ROOT, b'42["ask",1]'), RecordingAnswers())
    heir.inherit(lost)
    moves(client, heir)
    assert [packet[-9:] for packet in client.packets[1:]] == [b'["ask",1]']


def test_sockets_that_have_ended(lost: Keeper, heir: Keeper) -> None:
    client, other = lost.client(), lost.client()
    lost.world.send(client.connection, b"41")
    lost.world.execute(Send(HUB, ROOT, b'42["a",1]'))
    heir.inherit(lost)
    moves(client, heir, answer=False)
    assert refused(heir) == {"unknown": 1}
    other.stage = heir
    other.save(b"")
    other.come_back()
    assert [event[2] for event in other.events] == [1], "an emit without an identity"


def test_old_pages_are_not_needed(lost: Keeper, heir: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "REPEAT_SECONDS", 1.0)
    recovery = lost.world.hub().recovery
    assert recovery is not None
    recovery.margin = 2.0
    client, away = lost.client(), lost.client()
    lost.world.join(client.connection, "a")
    lost.emit(room("a"), b'42["a",1]')
    client.read()
    away.lose()
    old = len(lost.pages)
    for _ in range(8):
        lost.tick(1.0)
    lost.emit(room("a"), b'42["a",2]')
    del lost.pages[:old]
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [2]
    # It has gone away before what is known begins.
    moves(away, heir, answer=False)
    assert refused(heir) == {DROPPED: 1}


def test_what_is_missing_is_noticed(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    lost.emit(ROOT, b'42["a",1]')
    client.read()
    lost.emit(ROOT, b'42["a",2]')
    old = len(lost.pages)
    lost.tick(REPEAT_SECONDS + 1)
    lost.emit(ROOT, b'42["a",3]')
    del lost.pages[:old]
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    client.come_back(answer=False)
    assert refused(heir) == {DROPPED: 1}


def test_entries_of_an_unknown_log_are_skipped(lost: Keeper, heir: Keeper) -> None:
    lost.client()
    lost.emit(ROOT, b'42["a",1]')
    pages = lost.pages[1:]
    heir.heirs.expect("lost")
    finished(heir.heirs.read("lost", Pages(pages)))
    assert heir.heirs.estate("lost", HUB) is None
    assert not heir.heirs.waits("lost")


def test_an_emit_in_steps_that_was_not_over(
    lost: Keeper, heir: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some clients had it, and others had later events instead."""
    monkeypatch.setattr(execute, "FEW", 0)
    monkeypatch.setattr(execute, "FEW_RECIPIENTS", 0)
    client = lost.client()
    job = lost.world.node.submit(
        Send(HUB, ROOT, b'42["large",1]', source=INSTANCE, number=1), lambda _about, _outcome: None
    )
    assert job is not None
    lost.world.send(client.connection, b'42["later",2]')
    client.read()
    assert [event[2] for event in client.events] == [2]
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    client.come_back(answer=False)
    assert refused(heir) == {DROPPED: 1}


def test_an_emit_in_steps_that_was_over(lost: Keeper, heir: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "FEW", 0)
    monkeypatch.setattr(execute, "FEW_RECIPIENTS", 0)
    client = lost.client()
    lost.emit(ROOT, b'42["large",1]')
    client.read()
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert len(heir.returns.sockets) == 1
    assert client.events == []


def test_packets_that_are_handed_over(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    client.connection.channel = 7
    lost.tick(REPEAT_SECONDS + 1)
    heir.inherit(lost, settle=False)
    estate = heir.heirs.estate("lost", HUB)
    assert estate is not None
    assert estate.since("nobody") == 0
    assert estate.after("nobody", None, whole=False) is None
    assert estate.missed("nobody", 0) is None
    estate.packet(client.connection.id, b'42["direct",1]')
    heir.heirs.handed_over("lost", HUB, INSTANCE, 0)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [1]


def test_events_with_acks_are_sent_again(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    lost.world.send(client.connection, b'423["ask",1]')
    lost.emit(ROOT, b'42["a",2]')
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2]


def test_entries_of_unknown_sockets_and_connections(heir: Keeper) -> None:
    entries: list[Entry] = [
        Linked("e", HUB, INSTANCE, up=True),
        Changed("e", 1, 1.0, "nobody", "group", joined=True),
        Away("e", 1.0, "nobody"),
    ]
    page = encode_page(5, 1e9, 2.0, [encode(entry) for entry in entries])
    heir.heirs.expect("lost")
    finished(heir.heirs.read("lost", Pages([page])))
    assert not heir.heirs.waits("lost")


def test_a_socket_that_had_come_from_a_third_node(lost: Keeper, heir: Keeper) -> None:
    third = Keeper()
    client = third.client()
    third.emit(ROOT, b'42["a",1]', 1)
    client.read()
    third.emit(ROOT, b'42["a",2]', 2)
    client.lose(read=False)
    node, recovery = third.world.node, lost.world.hub().recovery
    assert recovery is not None
    gifts = Gifts(node.hubs, node.clock, node.claims.give)
    answers: list[Offered | Denied] = []
    asked = Asked(1, HUB, client.pid["/"], namespace="/", offset=client.offset["/"])
    gifts.ask("lost", asked, answers.append)
    (offered,) = answers
    assert isinstance(offered, Offered)
    expected = Expected(recovery, offered)
    given = gifts.take("lost", Take(1, HUB, client.pid["/"], offered.groups, {}), {})
    assert isinstance(given, Given)
    taken = Taken(1, given.groups, given.left, given.segments, given.whole, {}, given.seen)
    expected.take(taken, {})
    lost.emit(ROOT, b'42["a",3]', 3)
    heir.inherit(lost)
    client.stage = heir
    client.come_back()
    assert [event[2] for event in client.events] == [2, 3]


def test_a_socket_that_lacks_something(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    recovery = lost.world.hub().recovery
    assert recovery is not None
    track = recovery.find(client.pid["/"])
    assert track is not None
    recovery.lacks(track)
    lost.tick(REPEAT_SECONDS + 1)
    heir.inherit(lost)
    moves(client, heir, answer=False)
    assert refused(heir) == {"unknown": 1}


def test_an_event_with_an_ack_for_a_socket_that_is_described_later(
    lost: Keeper, heir: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages that describe it before are not there, so its client may have missed something."""
    monkeypatch.setattr(scribe, "AT_ONCE", 1)
    client, other = lost.client(), lost.client()
    old = len(lost.pages)
    lost.tick(REPEAT_SECONDS + 1)
    lost.world.send(client.connection, b'421["ask",1]')
    lost.world.node.receive(client.connection, b"431[]")
    lost.world.settle()
    lost.tick(0.25)
    del lost.pages[:old]
    heir.inherit(lost)
    assert heir.heirs.inherited == 2
    moves(client, heir, answer=False)
    assert refused(heir) == {DROPPED: 1}
    other.stage = heir
    other.save(b"")
    other.come_back()
    assert [socket.sid for _, socket in heir.returns.sockets] == [other.sid["/"]]


@pytest.mark.parametrize(
    ("seconds", "events"), [(SEEN_SECONDS - 1, [1, 2]), (SEEN_SECONDS + 1, [1, 2, 1])], ids=["soon", "late"]
)
def test_how_long_an_emit_is_known_to_be_carried_out(
    lost: Keeper, heir: Keeper, seconds: float, events: list[int]
) -> None:
    """Its app server had no session at the lost node, so the order of its numbers says nothing."""
    client = lost.client()
    first = Send(HUB, ROOT, b'42["a",1]', source="other", number=1)
    lost.world.execute(first)
    lost.tick(seconds)
    lost.emit(ROOT, b'42["b",2]')
    heir.inherit(lost, settle=False)
    heir.heirs.late("lost", HUB, first, "other")
    heir.heirs.handed_over("lost", HUB, INSTANCE, lost.number)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == events


def test_an_offset_that_was_given_while_nothing_could_be_stored(lost: Keeper, heir: Keeper) -> None:
    """Positions of the lost node's log that its journal does not have are used again for what is handed
    over. A client must not be thought to have got that."""
    client, other = lost.client(), lost.client()
    lost.emit(ROOT, b'42["stored",1]')
    other.read()
    lost.world.store.works = False
    lost.emit(ROOT, b'42["taken, and not stored",2]')
    client.read()
    heir.inherit(lost, settle=False)
    heir.heirs.hand_over("lost", HUB, emit(ROOT, b'42["handed over",3]', 3))
    heir.heirs.handed_over("lost", HUB, INSTANCE, 3)
    client.stage = heir
    client.save(b"")
    client.come_back(answer=False)
    assert refused(heir) == {OFFSET: 1}
