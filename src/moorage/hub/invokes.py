"""Emits with acks from many: who was asked, who has answered.

The service sends one ack id to all recipients of an invoke, so the packet is encoded once; a
client's answer is told apart by the connection that it comes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.engine.peer import FIRST_SERVICE_ACK, LAST_SERVICE_ACK
from moorage.hub.ports import Answers

if TYPE_CHECKING:
    from moorage.hub.connection import Connection


class Invocation:
    """One invoke under way."""

    __slots__ = ("answers", "deadline", "waiting")

    def __init__(self, waiting: set[Connection], answers: Answers, deadline: float) -> None:
        self.waiting = waiting
        self.answers = answers
        self.deadline = deadline


class Invocations:
    """All invokes of one hub."""

    def __init__(self) -> None:
        self._open: dict[int, Invocation] = {}
        self._next = FIRST_SERVICE_ACK

    def __len__(self) -> int:
        return len(self._open)

    def begin(self) -> int:
        """A fresh ack id. The range holds a billion: none is still open when it comes round."""
        ack_id = self._next
        self._next = FIRST_SERVICE_ACK if ack_id == LAST_SERVICE_ACK else ack_id + 1
        return ack_id

    def ask(self, ack_id: int, asked: set[Connection], answers: Answers, deadline: float) -> None:
        """Wait for `asked`. Nobody asked: finished at once."""
        if asked:
            self._open[ack_id] = Invocation(asked, answers, deadline)
        else:
            answers.finish()

    def answered(self, ack_id: int, connection: Connection, payload: bytes) -> bool:
        """A client's answer; false where nobody waits for it (late, twice, or made up)."""
        invocation = self._open.get(ack_id)
        if invocation is None or connection not in invocation.waiting:
            return False
        invocation.waiting.discard(connection)
        invocation.answers.answer(payload)
        if not invocation.waiting:
            del self._open[ack_id]
            invocation.answers.finish()
        return True

    def cancel(self, answers: Answers) -> None:
        """The asker is gone: forget its invokes. Its stream is its own business."""
        for ack_id in [i for i, invocation in self._open.items() if invocation.answers is answers]:
            del self._open[ack_id]

    def tick(self, now: float) -> int:
        """End what is past its deadline; how many. A client that left without answering keeps its
        invoke open until here, so that Socket.IO reports a timeout as it does natively: an early
        end would turn the timeout into a success with fewer answers."""
        late = [ack_id for ack_id, invocation in self._open.items() if invocation.deadline <= now]
        ended = [self._open.pop(ack_id) for ack_id in late]
        for invocation in ended:
            invocation.answers.finish()
        return len(ended)
