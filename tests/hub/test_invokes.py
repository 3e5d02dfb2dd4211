"""Emits with acks: the recipients, valid answers, and the end."""

from __future__ import annotations

import time
from typing import Any

import pytest

from moorage.engine.peer import FIRST_SERVICE_ACK, LAST_SERVICE_ACK
from moorage.hub.hub import Connection
from moorage.hub.invokes import Questions
from moorage.wire.commands import EVERYONE, Invoke, Outcome, Selection
from moorage.wire.errors import PeerError, UsageError
from moorage.wire.groups import namespace_group
from moorage.wire.reasons import API_BAD_PAYLOAD, BAD_PACKET, BAD_SOCKETIO_PACKET, Reason
from tests.hub.fakes import HUB, RecordingAnswers, RecordingLink, World, heard

FIRST = b"%d" % FIRST_SERVICE_ACK
Stage = tuple[World, RecordingLink, Connection, Connection]


@pytest.fixture
def stage() -> Stage:
    """Two clients in `/`, one of them polling."""
    world = World()
    _, link = world.server()
    clients = world.client("/"), world.client("/", framed=False)
    link.forwarded.clear()
    return world, link, *clients


def invoke(world: World, payload: bytes = b'42["q"]', to: Selection = EVERYONE) -> RecordingAnswers:
    """Emit with acks. Returns the receiver of the answers."""
    answers = RecordingAnswers()
    world.execute(Invoke(HUB, to, payload), answers)
    world.settle()
    return answers


@pytest.mark.parametrize(
    ("payload", "packets"),
    [
        (b'42["q"]', [b'42%b["q"]']),
        (b'42/,["q"]', [b'42/,%b["q"]']),
        (b'42/ns,["q",1]', [b'42/ns,%b["q",1]']),
        (b'451-["q",{"num":0}]\x1ebYWI=', [b'451-%b["q",{"num":0}]', b"bYWI="]),
        (b'452-/ns,["q"]\x1eb\x1ebAAA=', [b'452-/ns,%b["q"]', b"b", b"bAAA="]),
        (b'450-["q"]', [b'450-%b["q"]']),
    ],
)
def test_ack_ids_follow_the_namespace(stage: Stage, payload: bytes, packets: list[bytes]) -> None:
    world, _, websocket, polling = stage
    invoke(world, payload)
    expected = [packets[0].replace(b"%b", FIRST), *packets[1:]]
    assert heard(websocket) == heard(polling) == expected


def test_answers_are_collected_and_not_passed_to_the_app_server(stage: Stage) -> None:
    world, link, one, two = stage
    answers = invoke(world)
    world.node.receive(two, b'43%b["two"]' % FIRST)
    assert (answers.payloads, answers.finished) == ([b'43%b["two"]' % FIRST], 0)
    world.node.receive(one, b"461-%b[{}]" % FIRST)
    assert answers.finished == 0
    world.node.receive_binary(one, b"ab")
    assert answers.payloads[1:] == [b"461-%b[{}]\x1ebYWI=" % FIRST]
    assert answers.finished == 1
    assert link.forwarded == []
    assert len(world.hub().invocations) == 0


def test_answers_are_matched_by_namespace_and_id(stage: Stage) -> None:
    world, link, one, two = stage
    first, second = invoke(world), invoke(world)
    # Each namespace has its own ids; the service's ids are unique over all namespaces.
    world.node.receive(one, b"43%d[2]" % (FIRST_SERVICE_ACK + 1))
    world.node.receive(one, b"43/ns,%d[1]" % FIRST_SERVICE_ACK)
    world.node.receive(one, b'437["for the app"]')
    assert first.payloads == [b"43/ns,%d[1]" % FIRST_SERVICE_ACK]
    assert second.payloads == [b"43%d[2]" % (FIRST_SERVICE_ACK + 1)]
    assert link.packets(one) == [b'437["for the app"]']
    two.outbox.unblock()
    assert heard(two) == [b'42%d["q"]' % (FIRST_SERVICE_ACK + n) for n in (0, 1)]


def test_late_duplicate_and_invented_answers(stage: Stage) -> None:
    world, link, one, two = stage
    outsider = world.client()
    answers = invoke(world, to=Selection(group=namespace_group("/")))
    world.node.receive(one, b"43%b[1]" % FIRST)
    world.node.receive(one, b"43%b[1]" % FIRST)
    world.node.receive(outsider, b"43%b[1]" % FIRST)
    world.node.receive(one, b"43%d[1]" % (FIRST_SERVICE_ACK + 99))
    assert len(answers.payloads) == 1
    assert answers.finished == 0
    assert world.node.late_answers == 3
    world.node.tick(world.now + world.links.invoke_timeout)
    assert answers.finished == 1
    world.node.receive(two, b"43%b[1]" % FIRST)
    assert len(answers.payloads) == 1
    assert world.node.late_answers == 4
    # No connection was closed, and the app server got nothing.
    assert link.ended == []
    assert link.forwarded == []


def test_the_deadline(stage: Stage) -> None:
    world, _, one, _ = stage
    answers = invoke(world)
    world.node.receive(one, b"43%b[1]" % FIRST)
    world.node.tick(world.now + world.links.invoke_timeout - 0.01)
    assert answers.finished == 0
    world.node.tick(world.now + world.links.invoke_timeout)
    world.node.tick(world.now + world.links.invoke_timeout + 100)
    assert answers.finished == 1
    assert world.node.invoke_timeouts == 1
    assert len(world.hub().invocations) == 0


def test_a_disconnected_client_stays_missing_until_the_deadline(stage: Stage) -> None:
    # If it ended early, the app would treat the answers so far as complete.
    world, _, one, two = stage
    answers = invoke(world)
    world.node.receive(two, b"1")
    world.node.receive(one, b"43%b[1]" % FIRST)
    assert answers.finished == 0
    world.node.tick(world.now + world.links.invoke_timeout)
    assert answers.finished == 1


def test_an_ask_without_recipients() -> None:
    world = World()
    assert invoke(world).finished == 1  # there is no such hub
    world.server()
    assert invoke(world).finished == 1
    assert len(world.hub().invocations) == 0


def test_the_number_of_recipients_is_reported(stage: Stage) -> None:
    world = stage[0]
    command = Invoke(HUB, Selection(excluded=(stage[2].id,)), b'42["q"]')
    assert world.execute(command, RecordingAnswers()) == Outcome(reached=1, asked=1)


def test_a_volatile_ask(stage: Stage) -> None:
    world, _, websocket, polling = stage
    world.send(polling, b'42["takes its poll"]')
    world.settle()
    answers = RecordingAnswers()
    outcome = world.execute(Invoke(HUB, EVERYONE, b'42["q"]', 2.0, volatile=True), answers)
    world.settle()
    polling.outbox.unblock()
    assert heard(websocket) == [b'42%b["q"]' % FIRST]
    assert heard(polling) == [b'42["takes its poll"]']
    # It is asked nevertheless, as in Socket.IO.
    assert outcome.asked == 2
    world.node.receive(websocket, b"43%b[1]" % FIRST)
    world.node.tick(world.now + 2.0)
    assert (len(answers.payloads), answers.missing) == (1, (f"{polling.id}/",))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'425["has one"]', API_BAD_PAYLOAD),
        (b"430[]", API_BAD_PAYLOAD),
        (b"40", API_BAD_PAYLOAD),
        (b"41", API_BAD_PAYLOAD),
        (b"42", API_BAD_PAYLOAD),
        (b"42/ns", API_BAD_PAYLOAD),
        (b"2", BAD_SOCKETIO_PACKET),
        (b"", BAD_SOCKETIO_PACKET),
        (b'451-["q"]\x1eb!', BAD_PACKET),
    ],
)
def test_payloads_that_cannot_be_asked(stage: Stage, payload: bytes, reason: Reason) -> None:
    world, _, one, two = stage
    answers = RecordingAnswers()
    with pytest.raises(PeerError) as caught:
        world.execute(Invoke(HUB, EVERYONE, payload), answers)
    assert caught.value.reason is reason
    world.settle()
    assert heard(one) == heard(two) == []
    assert answers.finished == 0
    assert len(world.hub().invocations) == 0


def test_an_ask_requires_a_receiver_of_answers(stage: Stage) -> None:
    with pytest.raises(UsageError):
        stage[0].execute(Invoke(HUB, EVERYONE, b'42["q"]'))


def test_requests_end_with_the_app_server_that_made_them(stage: Stage) -> None:
    world, _, one, _ = stage
    gone, stays = invoke(world), invoke(world)
    world.hub().invocations.cancel(gone)
    assert len(world.hub().invocations) == 1
    world.node.receive(one, b"43%b[1]" % FIRST)
    assert world.node.late_answers == 1
    assert gone.payloads == []
    world.node.tick(world.now + 1_000)
    assert (gone.finished, stays.finished) == (0, 1)


def asked(questions: Questions[str], *who: str, deadline: float = 100.0) -> tuple[int, RecordingAnswers]:
    """Ask some responders. Returns the number of the question and the receiver of its answers."""
    number, answers = questions.begin(), RecordingAnswers()
    questions.ask(number, {name: f"the {name}" for name in who}, answers, deadline)
    return number, answers


def test_a_request_does_not_wait_for_disconnected_clients() -> None:
    questions: Questions[str] = Questions()
    alone, first = asked(questions, "a")
    number, second = asked(questions, "a", "b", "c")
    _, third = asked(questions, "b")
    questions.without("a")
    assert (first.finished, first.missing) == (1, ("the a",))
    assert not questions.answered(alone, "a", "late")
    assert questions.answered(number, "b", 1)
    assert not questions.answered(number, "a", "late")
    assert second.finished == 0
    assert questions.answered(number, "c", 2)
    # The end comes at once, not at the deadline.
    assert (second.payloads, second.finished, second.missing) == ([1, 2], 1, ("the a",))
    assert third.finished == 0
    questions.without("b")
    assert (third.finished, third.missing, len(questions)) == (1, ("the b",), 0)


@pytest.mark.repair(21)
def test_an_app_server_that_left_is_not_missing() -> None:
    questions: Questions[str] = Questions()
    _, alone = asked(questions, "a")
    number, answers = asked(questions, "a", "b")
    questions.left("a")
    assert (alone.finished, alone.missing) == (1, ())
    assert questions.answered(number, "b", 1)
    assert (answers.payloads, answers.finished, answers.missing, len(questions)) == ([1], 1, (), 0)


def test_an_excused_app_server_is_not_waited_for() -> None:
    questions: Questions[str] = Questions()
    number, answers = asked(questions, "a", "b")
    assert questions.excused(number, "a")
    assert not questions.excused(number, "a")
    assert not questions.excused(number + 1, "b")
    assert not questions.answered(number, "a", "late")
    assert questions.answered(number, "b", 1)
    assert (answers.payloads, answers.finished, answers.missing) == ([1], 1, ())
    number, answers = asked(questions, "a")
    assert questions.excused(number, "a")
    assert (answers.payloads, answers.finished, answers.missing, len(questions)) == ([], 1, (), 0)


def test_lost_and_late_responders_are_missing() -> None:
    questions: Questions[str] = Questions()
    number, answers = asked(questions, "a", "b", "c", deadline=5.0)
    questions.without("b")
    questions.answered(number, "c", 1)
    assert questions.tick(4.9) == 0
    assert questions.tick(5.0) == 1
    assert answers.missing == ("the b", "the a")


def test_an_app_server_that_leaves_ten_thousand_open_requests() -> None:
    questions: Questions[str] = Questions()
    left = [asked(questions, "a")[1] for _ in range(10_000)]
    _, stays = asked(questions, "a")
    began = time.monotonic()
    questions.cancel(*left)
    assert time.monotonic() - began < 10.0, "milliseconds; one by one it would take half a minute"
    assert len(questions) == 1
    questions.without("a")
    assert stays.finished == 1
    assert not any(answers.finished for answers in left)


def test_an_app_server_may_go_while_another_one_ends() -> None:
    questions: Questions[Any] = Questions()
    other = RecordingAnswers()
    first = CancellingAnswers(questions, other)
    for answers in (first, other):
        questions.ask(questions.begin(), {"a": "the a"}, answers, 100.0)
    questions.without("a")
    assert (first.finished, other.finished, len(questions)) == (1, 0, 0)


def test_ack_ids_wrap_around() -> None:
    invocations: Questions[Connection] = Questions()
    assert [invocations.begin(), invocations.begin()] == [FIRST_SERVICE_ACK, FIRST_SERVICE_ACK + 1]
    invocations._next = LAST_SERVICE_ACK
    assert [invocations.begin(), invocations.begin()] == [LAST_SERVICE_ACK, FIRST_SERVICE_ACK]


class CancellingAnswers(RecordingAnswers):
    """Cancels the other questions of the same app server when one of them ends."""

    def __init__(self, invocations: Questions[Connection], other: RecordingAnswers) -> None:
        super().__init__()
        self._invocations = invocations
        self._other = other

    def finish(self, missing: tuple[str, ...]) -> None:
        super().finish(missing)
        self._invocations.cancel(self._other)


def test_an_app_server_may_go_while_timeouts_are_handled(stage: Stage) -> None:
    world = stage[0]
    other = RecordingAnswers()
    first = CancellingAnswers(world.hub().invocations, other)
    for answers in (first, other):
        world.execute(Invoke(HUB, EVERYONE, b'42["q"]'), answers)
    world.node.tick(world.now + 1_000)
    assert first.finished == 1
    assert len(world.hub().invocations) == 0


def test_a_question_that_is_over_takes_nobody_and_ends_once() -> None:
    questions: Questions[str] = Questions()
    answers = RecordingAnswers()
    questions.open(7, answers, 10.0, lambda _who, _payload: True)
    questions.expect(7, "a", "a")
    questions.tick(11.0)
    questions.expect(7, "b", "b")
    questions.close(7)
    assert (answers.missing, answers.finished) == (("a",), 1)


def test_a_volatile_ask_that_nobody_can_take(stage: Stage) -> None:
    world, _, websocket, polling = stage
    for client in (websocket, polling):
        client.outbox.ready = False
    answers = RecordingAnswers()
    outcome = world.execute(Invoke(HUB, EVERYONE, b'42["q"]', 2.0, volatile=True), answers)
    world.node.tick(world.now + 2.0)
    assert (outcome.asked, len(answers.missing)) == (2, 2)
