"""Requests of app servers to the hub and to each other: fetch and server-side emits."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.hub.commands import asking
from moorage.hub.hub import NO_PEER, AppServer
from moorage.wire.commands import FetchSockets, Outcome, Selection, TellServers
from moorage.wire.errors import PeerError, UsageError
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage.listing import Shared, SharedHeaders, pack, sockets_frame
from moorage.wire.moorage.v1 import Chunk, Row, Sockets, decode_from_service, encode_batch
from tests.hub.fakes import HUB, RecordingAnswers, RecordingPeer, World

NOW_MS = 1_800_000_000_000
ONE = (Chunk(1, b"[{}]"),)
"""The listed row of one socket."""


HEADERS = SharedHeaders()


class Fleet(World):
    """Three app servers of the moorage dialect, and one (`az`) of the azure dialect."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.peers = {name: RecordingPeer() for name in ("a", "b", "c")}
        self.apps: dict[str, AppServer] = {}
        for name in ("a", "b", "c", "az"):
            self.apps[name] = self.server(name, peer=self.peers.get(name, NO_PEER))[0]

    def client_of(self, name: str, *namespaces: str, **given: Any) -> str:
        """Connect a client of this app server. Returns its socket id in the first namespace."""
        for server in self.apps.values():
            server.draining = server.id != name
        connection = self.client(*namespaces, **given)
        assert connection.server.id == name
        return connection.session.peer.namespaces[namespaces[0]]

    def fetch(
        self,
        namespace: str = "/",
        *rooms: str,
        asker: str = "a",
        timeout: float = 5.0,
        others: bool = False,
        **to: Any,
    ) -> tuple[Outcome, RecordingAnswers]:
        """Fetch the sockets."""
        answers = RecordingAnswers()
        group = room_group(namespace, rooms[0]) if rooms else namespace_group(namespace)
        command = FetchSockets(HUB, Selection(group=group, **to), namespace, timeout, NOW_MS, asker, others)
        return self.execute(command, answers), answers

    def number(self, name: str) -> int:
        """The ref of the last query that an app server got."""
        return self.peers[name].queries[-1][0]

    def answer(self, name: str, rows: object, number: int | None = None) -> bool:
        """Answer the last query of an app server."""
        return self.hub().queries.answered(
            self.number(name) if number is None else number, self.apps[name], rows
        )

    def tell(
        self, sender: str = "a", timeout: float = 0.0, payload: bytes = b'42["x"]'
    ) -> tuple[Outcome, RecordingAnswers]:
        """Send an event to the other app servers."""
        answers = RecordingAnswers()
        return self.execute(TellServers(HUB, "/", payload, sender, timeout), answers), answers


def rows_of(outcome: Outcome) -> list[tuple[str, Row]]:
    """App servers and rows, in order."""
    found: list[tuple[str, Row]] = []
    for server, rows in outcome.sockets.items():
        packed: list[bytes] = []
        shared: set[Shared] = set()
        for some in rows:
            packed += [one.packed or pack(one, HEADERS) for one in some]
            shared |= {one.shared for one in some if one.shared is not None}
        frame = sockets_frame(1, server, packed, shared)
        (sockets,) = decode_from_service(encode_batch(1, 0, [frame])).frames
        assert isinstance(sockets, Sockets)
        assert {row.shared for row in sockets.rows} - {0} == {each.number for each in sockets.headers}
        found += ((server, row) for row in sockets.rows)
    return found


# -- fetch ------------------------------------------------------------------------------------------------


def test_ids_rooms_and_handshakes_come_from_the_registry() -> None:
    fleet = Fleet()
    sid = fleet.client_of("b", "/", user_id="ada")
    (connection,) = fleet.apps["b"].clients
    connection.handshake = b'{"headers":{}}'
    fleet.join(connection, "r1", "r2")
    fleet.now += 7.0
    outcome, _ = fleet.fetch()
    ((server, row),) = rows_of(outcome)
    assert (server, row.id, row.connection, row.user) == ("b", sid, connection.id, "ada")
    assert sorted(row.rooms) == ["r1", "r2"], "not its private room, nor the namespace"
    assert (row.opened, row.handshake) == (NOW_MS - 7_000, b'{"headers":{}}')


def test_handshakes_of_own_clients_are_not_repeated() -> None:
    fleet = Fleet()
    for name in ("a", "b"):
        fleet.client_of(name, "/")
        for connection in fleet.apps[name].clients:
            connection.handshake = b'{"headers":{}}'
    outcome, _ = fleet.fetch()
    told = {server: row.handshake for server, row in rows_of(outcome)}
    assert told == {"a": b"{}", "b": b'{"headers":{}}'}


def test_each_app_server_is_asked_for_data_once() -> None:
    fleet = Fleet()
    sids = {name: [fleet.client_of(name, "/") for _ in range(3)] for name in fleet.apps}
    outcome, answers = fleet.fetch()
    assert (outcome.reached, len(rows_of(outcome)), outcome.asked) == (12, 12, 2)
    assert fleet.peers["a"].queries == [], "the asker knows its own"
    for name in ("b", "c"):
        ((number, namespace, asked),) = fleet.peers[name].queries
        assert (number, namespace, sorted(asked)) == (fleet.number("b"), "/", sorted(sids[name]))
    some, others = (Chunk(2, b"[{},{}]"), Chunk(1, b"[{}]")), (Chunk(3, b"[{},{},{}]"),)
    assert fleet.answer("c", some)
    assert answers.finished == 0
    assert fleet.answer("b", others)
    assert (answers.senders, answers.payloads) == (["c", "b"], [some, others])
    assert (answers.finished, answers.missing) == (1, ())


def test_an_answer_of_the_wrong_length_is_refused() -> None:
    """Rows and facts are matched by position, so one too many would shift all others."""
    fleet = Fleet()
    fleet.client_of("b", "/")
    fleet.client_of("b", "/")
    _, answers = fleet.fetch()
    for counts in ((), (0,), (1, 2), (3,)):
        with pytest.raises(PeerError, match=rf"facts of {sum(counts)} sockets, 2 are waited for"):
            fleet.answer("b", tuple(Chunk(count, b"[]") for count in counts))
    assert (answers.payloads, answers.finished) == ([], 0), "it is still waited for"
    assert fleet.answer("b", (Chunk(2, b"[]"),))
    assert (len(answers.payloads), answers.finished, answers.missing) == (1, 1, ())


def test_many_sockets_are_queried_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PART", 4)
    fleet = Fleet()
    for _ in range(10):
        fleet.client_of("b", "/")
    for _ in range(4):
        fleet.client_of("c", "/")
    outcome, answers = fleet.fetch()
    assert [len(sids) for _, _, sids in fleet.peers["b"].queries] == [4, 4, 2]
    assert [len(sids) for _, _, sids in fleet.peers["c"].queries] == [4]
    asked = [sid for _, _, sids in fleet.peers["b"].queries for sid in sids]
    assert asked == [row.id for server, row in rows_of(outcome) if server == "b"]
    assert len({number for peer in fleet.peers.values() for number, _, _ in peer.queries}) == 1
    for count in (4, 4):
        assert fleet.answer("b", (Chunk(count, b"[]"),))
    assert fleet.answer("c", (Chunk(4, b"[]"),))
    with pytest.raises(PeerError, match="facts of 3 sockets, 2 are waited for"):
        fleet.answer("b", (Chunk(3, b"[]"),))
    assert answers.finished == 0
    assert fleet.answer("b", (Chunk(2, b"[]"),))
    assert (answers.senders, answers.finished, answers.missing) == (["b", "b", "c", "b"], 1, ())


@pytest.mark.parametrize("others", [False, True])
def test_an_app_server_that_is_lost_during_the_query(monkeypatch: pytest.MonkeyPatch, others: bool) -> None:
    """The queue of its link is full, and its clients are closed during the selection."""
    monkeypatch.setattr(asking, "PART", 2)
    fleet = Fleet()
    for name in ("b", "b", "b", "b", "c", "c"):
        fleet.client_of(name, "/")
    gone = fleet.apps["b"]
    monkeypatch.setattr(fleet.peers["b"], "query", lambda *_: fleet.node.drop_server(fleet.hub(), gone))
    outcome, answers = fleet.fetch(others=others)
    assert [server for server, _ in rows_of(outcome)].count("c") == 2
    assert fleet.answer("c", (Chunk(2, b"[]"),))
    fleet.hub().queries.tick(fleet.now + 10.0)
    assert (len(answers.payloads), answers.finished, answers.missing) == (1, 1, ("b",))


def test_an_app_server_that_leaves_before_its_last_part_is_missing() -> None:
    fleet = Fleet()
    fleet.client_of("b", "/")
    fleet.client_of("b", "/")
    _, answers = fleet.fetch()
    assert fleet.answer("b", (Chunk(1, b"[]"),))
    fleet.hub().queries.without(fleet.apps["b"])
    assert (len(answers.payloads), answers.missing) == (1, ("b",))


def test_data_is_queried_in_the_order_of_the_rows() -> None:
    fleet = Fleet()
    for _ in range(50):
        fleet.client_of("b", "/")
        fleet.client_of("c", "/")
    rows = rows_of(fleet.fetch()[0])
    for name in ("b", "c"):
        ((_, _, asked),) = fleet.peers[name].queries
        assert [row.id for server, row in rows if server == name] == list(asked)


def test_own_sockets_may_be_excluded() -> None:
    fleet = Fleet()
    sids = {name: fleet.client_of(name, "/") for name in ("a", "b", "az")}
    outcome, _ = fleet.fetch(others=True)
    assert {server: row.id for server, row in rows_of(outcome)} == {"b": sids["b"], "az": sids["az"]}
    assert (outcome.reached, outcome.asked) == (2, 1)


def test_own_sockets_in_a_room_may_be_excluded() -> None:
    fleet = Fleet()
    sids = {name: fleet.client_of(name, "/") for name in ("a", "b")}
    for name in sids:
        (connection,) = fleet.apps[name].clients
        fleet.join(connection, "r")
    outcome, _ = fleet.fetch("/", "r", others=True)
    assert {server: row.id for server, row in rows_of(outcome)} == {"b": sids["b"]}


def test_rooms_may_change_while_the_rows_are_read() -> None:
    fleet = Fleet()
    sid = fleet.client_of("b", "/")
    (connection,) = fleet.apps["b"].clients
    rows = iter(fleet.fetch()[0].sockets["b"])
    assert [row.id for row in next(rows)] == [sid]
    fleet.join(connection, "r")
    assert list(rows) == []
    ((_, row),) = rows_of(fleet.fetch()[0])
    assert row.rooms == ("r",)


def test_a_row_that_exists_is_listed_as_it_was_when_the_fetch_began() -> None:
    fleet = Fleet()
    sids = sorted(fleet.client_of("b", "/") for _ in range(2 * asking.TOGETHER))
    rows_of(fleet.fetch()[0])
    outcome, _ = fleet.fetch()
    for connection in tuple(fleet.apps["b"].clients):
        fleet.join(connection, "r")
    rows = [row for _, row in rows_of(outcome)]
    assert sorted(row.id for row in rows) == sids
    assert {row.rooms for row in rows} == {()}
    assert {row.rooms for _, row in rows_of(fleet.fetch()[0])} == {("r",)}


def test_sockets_with_and_without_rows_are_listed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PART", 4)
    fleet = Fleet()
    sids = [fleet.client_of("b", "/") for _ in range(6)]
    rows_of(fleet.fetch()[0])
    fleet.client_of("b", "/ns")
    sids += [fleet.client_of("b", "/", "/ns") for _ in range(3)]
    rows_of(fleet.fetch("/ns")[0])
    for connection in tuple(fleet.apps["b"].clients)[:2]:
        fleet.join(connection, "r")
    outcome, _ = fleet.fetch()
    found = [row.id for _, row in rows_of(outcome)]
    assert sorted(found) == sorted(sids)
    assert [sid for _, _, sids in fleet.peers["b"].queries[-3:] for sid in sids] == found


def test_a_row_is_packed_again_when_the_rooms_change() -> None:
    fleet = Fleet()
    sid = fleet.client_of("b", "/", "/ns")
    (connection,) = fleet.apps["b"].clients

    def row(namespace: str = "/") -> Row:
        ((_, found),) = rows_of(fleet.fetch(namespace)[0])
        return found

    first = row()
    assert row() == first
    assert connection.listed is not None
    fleet.join(connection, "r")
    assert row().rooms == ("r",)
    fleet.join(connection, "in-ns", namespace="/ns")
    assert (row().rooms, row("/ns").rooms, row().rooms) == (("r",), ("in-ns",), ("r",))
    fleet.hub().directory.rooms.leave(connection, room_group("/", "r"))
    assert row() == first
    assert first.id == sid


def test_headers_that_clients_share_are_sent_once() -> None:
    fleet = Fleet()
    own = [b'{"headers":{"cookie":["%d"],"host":["h"],"user-agent":["A"]},"url":"/x"}' % n for n in range(3)]
    own.append(b'{"headers":{"host":["h"],"user-agent":["B"]}}')
    own.append(b'{"headers":{"cookie":["4"]},"query":{}}')
    for handshake in own:
        fleet.client_of("b", "/")
        (connection,) = [c for c in fleet.apps["b"].clients if c.handshake == b"{}"]
        connection.handshake = handshake
    for _ in range(2):
        outcome, _ = fleet.fetch()
        rows = [row for _, row in rows_of(outcome)]
        assert len(HEADERS) == len({row.shared for row in rows} - {0}) == 2
        assert sorted(len(bytes(c.handshake)) for c in fleet.apps["b"].clients) == sorted(map(len, own))
        assert sorted((row.shared != 0, row.handshake) for row in rows) == sorted(
            [
                *((True, b'{"headers":{"cookie":["%d"]},"url":"/x"}' % n) for n in range(3)),
                (True, b'{"headers":{}}'),
                (False, own[4]),
            ]
        )


def test_a_fetch_without_other_app_servers() -> None:
    fleet = Fleet()
    fleet.client_of("a", "/")
    fleet.client_of("az", "/")
    outcome, answers = fleet.fetch()
    assert (outcome.reached, outcome.asked) == (2, 0)
    assert (answers.finished, answers.missing) == (1, ())
    outcome, answers = fleet.fetch("/nowhere")
    assert (outcome.reached, rows_of(outcome), answers.finished) == (0, [], 1)
    assert not fleet.hub().waits


def test_a_fetch_of_a_room_with_exceptions() -> None:
    fleet = Fleet()
    one, two = fleet.client_of("b", "/", "/ns"), fleet.client_of("b", "/", "/ns")
    for connection in fleet.apps["b"].clients:
        fleet.join(connection, "room")
        fleet.join(connection, "in-ns", namespace="/ns")
    outcome, _ = fleet.fetch("/", "room", filter=Filter(none_of=(room_group("/", one),)))
    assert [(row.id, row.rooms) for _, row in rows_of(outcome)] == [(two, ("room",))]
    assert fleet.fetch("/", "in-ns")[0].reached == 0


def test_a_connecting_socket_is_not_listed() -> None:
    fleet = Fleet()
    fleet.client_of("b", "/")
    (connection,) = fleet.apps["b"].clients
    fleet.node.receive(connection, b"40/ns,")
    fleet.join(connection, "early", namespace="/ns")
    assert fleet.fetch("/ns", "early")[0].reached == 0


def test_an_app_server_that_does_not_answer_is_missing() -> None:
    fleet = Fleet()
    for name in ("b", "c"):
        fleet.client_of(name, "/")
    _, answers = fleet.fetch(timeout=2.0)
    fleet.answer("b", ONE)
    fleet.node.tick(fleet.now + 1.9)
    assert answers.finished == 0
    fleet.node.tick(fleet.now + 2.0)
    assert (answers.finished, answers.missing) == (1, ("c",))
    assert fleet.node.server_timeouts == 1
    assert not fleet.answer("c", ONE), "late"
    assert len(answers.payloads) == 1


@pytest.mark.parametrize("timeout", [1e9, float("inf"), float("nan")])
def test_the_timeout_is_bounded(timeout: float) -> None:
    fleet = Fleet()
    fleet.client_of("b", "/")
    _, answers = fleet.fetch(timeout=timeout)
    fleet.node.tick(fleet.now + fleet.links.invoke_timeout)
    assert answers.missing == ("b",)


def test_an_app_server_that_leaves_is_missing_at_once() -> None:
    fleet = Fleet()
    for name in ("b", "c"):
        fleet.client_of(name, "/")
    _, answers = fleet.fetch()
    fleet.node.drop_server(fleet.hub(), fleet.apps["b"])
    assert answers.finished == 0
    fleet.answer("c", ONE)
    assert (answers.finished, answers.missing) == (1, ("b",))


def test_only_an_asked_app_server_may_answer_and_only_once() -> None:
    fleet = Fleet()
    for name in ("b", "c"):
        fleet.client_of(name, "/")
    _, answers = fleet.fetch()
    number = fleet.number("b")
    assert not fleet.answer("a", "made up", number)
    assert not fleet.answer("az", "made up", number)
    assert fleet.answer("b", ONE)
    assert not fleet.answer("b", ONE)
    assert not fleet.answer("c", ONE, number + 1)
    assert answers.payloads == [ONE]


# -- server-side emits --------------------------------------------------------------------------------


def test_all_other_app_servers_get_the_event() -> None:
    fleet = Fleet()
    outcome, answers = fleet.tell("b")
    assert (outcome.reached, answers.finished) == (2, 0)
    heard = {name: peer.tellings for name, peer in fleet.peers.items()}
    assert heard == {"a": [(None, "b", "/", b'42["x"]')], "b": [], "c": [(None, "b", "/", b'42["x"]')]}
    assert not fleet.hub().waits


def test_answers_of_other_app_servers() -> None:
    fleet = Fleet()
    outcome, answers = fleet.tell("a", timeout=3.0)
    assert outcome.asked == 2
    number = fleet.peers["b"].tellings[0][0]
    assert number is not None and number == fleet.peers["c"].tellings[0][0]
    assert fleet.hub().questions.answered(number, fleet.apps["c"], b"430[1]")
    assert not fleet.hub().questions.answered(number, fleet.apps["a"], b"430[0]")
    fleet.node.tick(fleet.now + 3.0)
    assert (answers.senders, answers.missing) == (["c"], ("b",))


VERY_MANY = pytest.param(b"\x1e".join([b"42[1]"] * 10_001), id="very-many")


@pytest.mark.parametrize(
    "payload", [b"", b"2", b"42", b'421["x"]', b"430[]", b"41", b'42["\xff"]', VERY_MANY]
)
def test_a_packet_that_is_not_an_event_is_refused(payload: bytes) -> None:
    fleet = Fleet()
    with pytest.raises(PeerError):
        fleet.tell("a", 1.0, payload)
    assert [peer.tellings for peer in fleet.peers.values()] == [[], [], []]
    assert not fleet.hub().waits


def test_a_server_side_emit_without_other_app_servers() -> None:
    world = World()
    world.server("a", peer=RecordingPeer())
    world.server("az")
    answers = RecordingAnswers()
    outcome = world.execute(TellServers(HUB, "/", b'42["x"]', "a", 1.0), answers)
    assert (outcome.asked, answers.finished, answers.missing) == (0, 1, ())


@pytest.mark.parametrize(
    "command", [FetchSockets(HUB, Selection(), "/", 1.0, NOW_MS), TellServers(HUB, "/", b"", "")]
)
def test_an_ask_requires_a_receiver_of_answers(command: FetchSockets | TellServers) -> None:
    with pytest.raises(UsageError):
        Fleet().execute(command)
