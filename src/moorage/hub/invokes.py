"""Questions that many answer: who was asked, who has answered.

Two kinds: emits with acks, asked of clients, and what app servers ask each other. The service
sends one ack id to all recipients of an emit, so the packet is encoded once; a client's answer is
told apart by the connection that it comes on.
"""

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
    """One under way. `waiting`: who has not answered yet, and the name to report them by; `gone`: the
    names of those who never will."""

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
        """True when nobody else will be asked."""

    def finish(self) -> None:
        """Tell the asker, and who is missing."""
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
        """How many answers are waited for, all questions together."""
        return sum([len(question.waiting) for question in self._open.values()])

    def begin(self) -> int:
        """A fresh number. The range holds a billion: none is still open when it comes round."""
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
        """Wait for `asked`. Nobody asked: finished at once. Without `check` each gives one answer. It
        raises `PeerError` for what is none; whoever gave it is still waited for."""
        if asked:
            self._open[number] = Question(asked, answers, deadline, check)
        else:
            answers.finish(())

    def open(self, number: int, answers: Answers[Any], deadline: float, check: Check[WhoT]) -> None:
        """As `ask`, where it is not known yet who is asked: `expect` names them, `close` ends that."""
        question = self._open[number] = Question({}, answers, deadline, check)
        question.complete = False

    def expect(self, number: int, who: WhoT, name: str) -> None:
        """`who` is asked now, perhaps once more."""
        if number in self._open:
            self._open[number].waiting[who] = name

    def close(self, number: int) -> None:
        """Nobody else is asked."""
        question = self._open.get(number)
        if question is not None:
            question.complete = True
            self._end_if_answered(number, question)

    def answered(self, number: int, who: WhoT, payload: object) -> bool:
        """An answer; false where nobody waits for it (late, twice, or made up). Raises what the
        question's `check` raises."""
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
        """The question does not concern `who`: neither an answer nor missing. False where nobody
        waits for it."""
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
        """The asker is gone: forget its questions. Their streams are its own business."""
        # By identity, and in one pass however many: an app server may leave ten thousand behind.
        gone = frozenset(map(id, answers))
        for number in [n for n, question in self._open.items() if id(question.answers) in gone]:
            del self._open[number]

    def without(self, who: WhoT) -> None:
        """`who` will never answer any more: nobody waits for that until the deadline."""
        self._let_go(who, missing=True)

    def left(self, who: WhoT) -> None:
        """`who` has gone for good: nobody waits for it, and it is not missing."""
        self._let_go(who, missing=False)

    def _let_go(self, who: WhoT, *, missing: bool) -> None:
        for number, question in tuple(self._open.items()):
            name = question.waiting.pop(who, None)
            if name is None:
                continue
            if missing:
                question.gone += (name,)
            # Whoever is told of one end may take back others.
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
