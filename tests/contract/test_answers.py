"""Contract of `hub.ports.Answers`, for every dialect and for the test double."""

from __future__ import annotations

import json
from typing import Protocol

import pytest

from moorage.edge.settings import LinkSettings
from moorage.hub.hub import Connection
from moorage.wire.commands import EVERYONE, Invoke
from moorage.wire.groups import namespace_group
from moorage.wire.moorage import v1
from tests.edge.azure import rig as azure_rig
from tests.edge.moorage import rig as moorage_rig
from tests.hub.fakes import HUB, RecordingAnswers, World, heard

TIMEOUT = 10.0
LINKS = LinkSettings(invoke_timeout=TIMEOUT)
"""An `:invoke` has no timeout of its own; the setting applies."""


class Subject(Protocol):
    """An asker with three clients, and their answers."""

    world: World
    clients: list[Connection]

    def ask(self) -> None:
        """Ask the clients."""

    def got(self) -> tuple[list[bytes], int]:
        """All answers so far, and the number of ends."""

    def cut(self) -> None:
        """Break the way back."""

    def back(self) -> None:
        """Restore the way back."""

    def after(self, seconds: float) -> None:
        """Advance the time."""


class Double:
    """The test double of the hub's tests."""

    def __init__(self) -> None:
        self.world = World(links=LINKS)
        self.world.server()
        self.clients = [self.world.client("/") for _ in range(3)]
        self.answers = RecordingAnswers()

    def ask(self) -> None:
        self.world.execute(Invoke(HUB, EVERYONE, b'42["q"]', TIMEOUT), self.answers)
        self.world.settle()

    def got(self) -> tuple[list[bytes], int]:
        return list(self.answers.payloads), self.answers.finished

    def cut(self) -> None:
        pass

    def back(self) -> None:
        pass

    def after(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.node.tick(self.world.now)


class Azure:
    """`AnswerStream` of the azure dialect."""

    def __init__(self) -> None:
        self.rig = azure_rig.Rig(links=LINKS)
        self.world = self.rig.world
        self.wire = self.rig.open()
        self.clients = []
        for number in range(3):
            connection = self.rig.client(self.wire)
            self.rig.say(connection, "40")
            self.world.send(connection, b'40{"sid":"s%d"}' % number)
            self.clients.append(connection)
            for frame in self.rig.sent(self.wire):
                self.rig.answer(self.wire, frame)
        self._lines: list[bytes] = []
        self._ends = 0

    def ask(self) -> None:
        condition = f"'{namespace_group('/')}' in groups"
        self.rig.call(self.wire, f":invoke?api-version=1&filter={condition}".replace(" ", "%20"), b'42["q"]')
        self.world.settle()

    def got(self) -> tuple[list[bytes], int]:
        for frame in self.rig.sent(self.wire):
            if frame.name == "answer":
                assert frame.status == 200
                self._ends += not frame.more
                self._lines += frame.content.splitlines()
        return [json.loads(line)["Payload"].encode() for line in self._lines], self._ends

    def cut(self) -> None:
        self.rig.lose(self.wire)

    def back(self) -> None:
        self.wire = self.rig.open("t2")

    def after(self, seconds: float) -> None:
        self.rig.after(seconds)
        self.world.node.tick(self.world.now)


class Moorage:
    """`Stream` of the moorage dialect."""

    def __init__(self) -> None:
        self.rig = moorage_rig.Rig(links=LINKS)
        self.world = self.rig.world
        self.app = self.rig.app()
        self.clients = [self.app.client("/")[1] for _ in range(3)]
        self._answers: list[bytes] = []
        self._ends = 0

    def ask(self) -> None:
        self.app.say(v1.Ask(1, v1.To("/"), 0, round(TIMEOUT * 1000), b'42["q"]'))
        self.world.settle()

    def got(self) -> tuple[list[bytes], int]:
        for frame in self.app.heard():
            if isinstance(frame, v1.Answer):
                assert not self._ends
                self._answers.append(frame.payload)
            elif isinstance(frame, v1.Done):
                self._ends += 1
        return self._answers, self._ends

    def cut(self) -> None:
        self.app.cut()

    def back(self) -> None:
        self.app.back()

    def after(self, seconds: float) -> None:
        end = self.world.now + seconds
        while self.world.now < end:
            self.rig.after(min(1.0, end - self.world.now))
            self.app.ack()


@pytest.fixture(params=[Double, Azure, Moorage])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each kind, after the question was sent."""
    made: Subject = request.param()
    made.ask()
    return made


def answer(subject: Subject, number: int) -> bytes:
    """One client's answer."""
    connection = subject.clients[number]
    asked = next(packet for packet in heard(connection) if b'"q"' in packet)
    packet = b"43%b[%d]" % (asked[2 : asked.index(b"[")], number)
    subject.world.node.receive(connection, packet)
    return packet


def test_answers_arrive_at_once_and_the_end_with_the_last(subject: Subject) -> None:
    assert subject.got() == ([], 0)
    given = [answer(subject, 2)]
    assert subject.got() == (given, 0)
    given += [answer(subject, 0), answer(subject, 1)]
    assert subject.got() == (given, 1)


def test_answers_end_at_the_deadline(subject: Subject) -> None:
    given = [answer(subject, 1)]
    subject.after(TIMEOUT / 2)
    assert subject.got() == (given, 0)
    subject.after(TIMEOUT / 2 + 0.5)
    assert subject.got() == (given, 1)
    answer(subject, 0)
    subject.after(1.0)
    assert subject.got() == (given, 1)


def test_a_client_that_disconnects_does_not_affect_other_answers(subject: Subject) -> None:
    subject.world.node.receive(subject.clients[0], b"1")
    given = [answer(subject, 1), answer(subject, 2)]
    assert subject.got() == (given, 0), "it may not look as if all had answered"
    subject.after(TIMEOUT + 0.5)
    assert subject.got() == (given, 1)


def test_answers_wait_while_the_link_is_down(subject: Subject) -> None:
    subject.cut()
    given = [answer(subject, number) for number in range(3)]
    subject.back()
    assert subject.got() == (given, 1)
