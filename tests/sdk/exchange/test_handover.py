"""What an app server says of a client that leaves, and how it takes one."""

from __future__ import annotations

import logging

import pytest

from moorage.sdk.clients.clients import Client
from moorage.sdk.clients.members import Parting, Stage
from moorage.sdk.errors import UsageError
from moorage.sdk.exchange.handover import HandedOver, check_revision, handed_over
from moorage.wire.moorage import v1
from tests.sdk.exchange.test_dispatch import Recorder


def adopted(recorder: Recorder, *rows: v1.Arriving, number: int = 1) -> Client:
    """A client that another app server has served."""
    recorder.adopt(v1.Adopt(number, f"c{number}", None, b"{}", "websocket", rows))
    return recorder.table.by_number[number]


def row(data: bytes = b"", acks: int = 0, rooms: tuple[str, ...] = ()) -> v1.Arriving:
    """Its socket in `/`."""
    return v1.Arriving("/", "s1", rooms, data, acks)


@pytest.fixture
def recorder() -> Recorder:
    made = Recorder()
    made._sio.on("connect", lambda *_: None)
    return made


def test_a_client_arrives_with_its_sockets(recorder: Recorder) -> None:
    client = adopted(recorder, row(b'{"data":{"n":1},"auth":"a"}', 7, ("red",)))
    assert recorder.notes == [("connect", "c1"), ("arrive", "s1")]
    member = client.members["/"]
    assert (member.stage, member.auth, member.last_ack) == (Stage.CONNECTED, "a", 7)
    assert (client.session, client.upgraded) == ({"/": {"n": 1}}, True)
    assert client.environ["moorage.handed_over"] is True
    assert set(recorder.manager.get_rooms("s1", "/")) == {"s1", "red"}


@pytest.mark.parametrize("data", [b"", b"no JSON", b"[1]"])
def test_a_client_without_data(recorder: Recorder, data: bytes) -> None:
    client = adopted(recorder, row(data))
    assert (client.session, client.members["/"].auth) == ({}, None)


def test_a_client_in_a_namespace_that_is_not_served_is_refused(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        recorder.adopt(v1.Adopt(1, "c1", None, b"{}", "polling", (v1.Arriving("/x", "s", (), b"", 0),)))
    assert recorder.notes == [v1.Refused(1, 503, "")]
    assert recorder.table.by_number == {}
    assert "namespaces" in caplog.text


def test_a_client_leaves_when_its_handlers_have_ended(recorder: Recorder) -> None:
    client = adopted(recorder, row(b'{"data":{"n":1}}', 7))
    acks = client.members["/"].expect(print)
    recorder.notes.clear()
    recorder.running.add(1)
    recorder.freeze(v1.Freeze(1))
    assert recorder.notes == []
    recorder.running.clear()
    recorder.handler_ended(client)
    recorder.handler_ended(client)
    assert recorder.notes == [v1.State(1, (v1.Leaving("/", "s1", b'{"data":{"n":1}}', acks, (acks,)),))]
    assert client.parting is Parting.SAID
    assert recorder.manager.reachable("s1", "/") is None


def test_a_client_that_is_given_back_is_reached_again(recorder: Recorder) -> None:
    client = adopted(recorder, row())
    recorder.freeze(v1.Freeze(1))
    recorder.resume(v1.Resume(1))
    assert recorder.manager.reachable("s1", "/") is client.members["/"]


def test_a_client_that_is_given_back_before_its_handlers_end_says_nothing(recorder: Recorder) -> None:
    client = adopted(recorder, row())
    recorder.notes.clear()
    recorder.running.add(1)
    recorder.freeze(v1.Freeze(1))
    recorder.resume(v1.Resume(1))
    recorder.running.clear()
    recorder.handler_ended(client)
    assert recorder.notes == []


def test_a_client_that_has_gone_meanwhile_says_nothing(recorder: Recorder) -> None:
    client = adopted(recorder, row())
    recorder.running.add(1)
    recorder.freeze(v1.Freeze(1))
    recorder.closed(v1.Closed(1, 1000, "x", "transport close"))
    recorder.notes.clear()
    recorder.running.clear()
    recorder.handler_ended(client)
    assert recorder.notes == []


def test_a_released_client_ends_without_an_event_but_for_its_acks(recorder: Recorder) -> None:
    client = adopted(recorder, row())
    acks = client.members["/"].expect(print)
    recorder.freeze(v1.Freeze(1))
    recorder.notes.clear()
    recorder.released(v1.Released(1))
    assert (recorder.notes, recorder.table.by_number) == ([], {})
    assert recorder.manager.members.get("s1", "/") is None
    binary = b'461-9[{"_placeholder":true,"num":0}]\x1ebAQ=='
    for payload in (b'43%d["yes"]' % acks, b"43/other,1[]", b'42["event"]', binary):
        recorder.packet(1, payload)
    assert recorder.notes == [("late ack", "s1", acks), ("late ack", "s1", 9)]


def test_a_released_client_that_waits_for_nothing_is_forgotten(recorder: Recorder) -> None:
    adopted(recorder, row())
    recorder.released(v1.Released(1))
    recorder.notes.clear()
    recorder.packet(1, b"431[]")
    assert recorder.notes == []


def test_frames_about_unknown_clients_are_ignored(recorder: Recorder) -> None:
    recorder.freeze(v1.Freeze(9))
    recorder.resume(v1.Resume(9))
    recorder.released(v1.Released(9))
    assert recorder.notes == []


def test_the_answer_names_those_that_could_not_move() -> None:
    assert handed_over(v1.Done(1, 5, ("c9",))) == HandedOver(5, ("c9",))


def test_an_old_service_cannot_hand_over() -> None:
    check_revision(5)
    with pytest.raises(UsageError, match="cannot hand clients over"):
        check_revision(4)
