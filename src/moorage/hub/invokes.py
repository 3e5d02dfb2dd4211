"""Questions with many responders: the open answers, and the end of each question. There are two kinds: emits
with acks, which clients answer, and requests that app servers answer. All recipients of an emit get the same
ack id, so that the packet is encoded once. The connection of an answer identifies the client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from moorage.engine.peer import FIRST_SERVICE_ACK, LAST_SERVICE_ACK
from moorage.hub.ports import Answers

WhoT = TypeVar("WhoT")

Check = Callable[[WhoT, Any], bool]
"""Called with each answer before it is passed on; returns True if it is the responder's last one."""

FIRST: Final = FIRST_SERVICE_ACK
LAST: Final = LAST_SERVICE_ACK


class Question(Generic[WhoT]):
    """An open question. `waiting` maps each responder without an answer to its name in reports; `gone` has
    the names of responders that will never answer."""

    __slots__ = ("answers", "check", "complete", "deadline", "gone", "waiting")

    def __init__(
        self, waiting: Mapping[WhoT, str], answers: Answers[Any], deadline: float, check: Check[WhoT] | None
    ) -> None:
        self.waiting = dict(waiting)
        self.answers = answers
        self.deadline = deadline
        self.check = check
        self.gone: tuple[str, ...] = ()
        self.complete = True
        """True if no more responders will be added."""

    def finish(self) -> None:
        """End the answers, with the names of missing responders."""
        self.answers.finish((*self.gone, *self.waiting.values()))


class Questions(Generic[WhoT]):
    """All questions of one kind in one hub."""

    def __init__(self) -> None:
        self._open: dict[int, Question[WhoT]] = {}
        self._next = FIRST

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting(self) -> int:
        """Number of awaited answers of all questions."""
        return sum([len(question.waiting) for question in self._open.values()])

    def begin(self) -> int:
        """A new number. The range has a billion, so no number is still open when it is used again."""
        number = self._next
        self._next = FIRST if number == LAST else number + 1
        return number

    def ask(
        self,
        number: int,
        asked: Mapping[WhoT, str],
        answers: Answers[Any],
        deadline: float,
        check: Check[WhoT] | None = None,
    ) -> None:
        """Wait for the answers of `asked`; without responders the question ends at once. Without `check` each
        gives one answer. `check` raises `PeerError` for an invalid answer, which does not count."""
        if asked:
            self._open[number] = Question(asked, answers, deadline, check)
        else:
            answers.finish(())

    def open(self, number: int, answers: Answers[Any], deadline: float, check: Check[WhoT]) -> None:
        """Like `ask`, if the responders are not known yet: `expect` adds them, `close` ends the adding."""
        question = self._open[number] = Question({}, answers, deadline, check)
        question.complete = False

    def expect(self, number: int, who: WhoT, name: str) -> None:
        """Add the responder `who`, or add it again."""
        if number in self._open:
            self._open[number].waiting[who] = name

    def close(self, number: int) -> None:
        """Add no more responders."""
        question = self._open.get(number)
        if question is not None:
            question.complete = True
            self._end_if_answered(number, question)

    def answered(self, number: int, who: WhoT, payload: object) -> bool:
        """Pass on an answer. Returns False for an unexpected one (late, repeated or invented). Raises
        the exceptions of the question's `check`."""
        question = self._open.get(number)
        if question is None or who not in question.waiting:
            return False
        name = question.waiting[who]
        if question.check is None or question.check(who, payload):
            del question.waiting[who]
        question.answers.answer(name, payload)
        self._end_if_answered(number, question)
        return True

    def excused(self, number: int, who: WhoT) -> bool:
        """Remove `who` from the question, neither as answered nor as missing. Returns False if it is not
        a responder."""
        question = self._open.get(number)
        if question is None or question.waiting.pop(who, None) is None:
            return False
        self._end_if_answered(number, question)
        return True

    def _end_if_answered(self, number: int, question: Question[WhoT]) -> None:
        if question.complete and not question.waiting:
            del self._open[number]
            question.finish()

    def cancel(self, *answers: Answers[Any]) -> None:
        """Drop the questions of an asker that is gone, without ending their answers."""
        # By identity and in one pass, because an app server may have ten thousand open questions.
        gone = frozenset(map(id, answers))
        for number in [n for n, question in self._open.items() if id(question.answers) in gone]:
            del self._open[number]

    def without(self, who: WhoT) -> None:
        """`who` will never answer: report it as missing and do not wait for it."""
        self._drop(who, missing=True)

    def left(self, who: WhoT) -> None:
        """`who` has left in order: do not wait for it, and do not report it as missing."""
        self._drop(who, missing=False)

    def _drop(self, who: WhoT, *, missing: bool) -> None:
        for number, question in tuple(self._open.items()):
            name = question.waiting.pop(who, None)
            if name is None:
                continue
            if missing:
                question.gone += (name,)
            # The end of one question may cancel others.
            if question.complete and not question.waiting and self._open.pop(number, None) is not None:
                question.finish()

    def tick(self, now: float) -> int:
        """End the questions whose deadline has passed, and return how many. A client that left without an
        answer keeps its question open until then. Socket.IO then reports a timeout, as it does natively;
        an early end would report success with fewer answers."""
        late = [number for number, question in self._open.items() if question.deadline <= now]
        ended = 0
        for number in late:
            # One by one: if `finish` raises, the others stay for the next tick.
            question = self._open.pop(number, None)
            if question is not None:
                question.finish()
                ended += 1
        return ended
