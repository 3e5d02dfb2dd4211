"""Callbacks that wait until an app server of the moorage dialect has acknowledged what is queued for it."""

from __future__ import annotations

from collections import deque

from moorage.hub.ports import Drained
from moorage.wire.moorage.stream import Outgoing


class Acks:
    """The waiting callbacks, in the order of the batches they wait for."""

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._unsent: list[Drained] = []
        """Callbacks whose frames are in no batch yet."""
        self._sent: deque[tuple[int, Drained]] = deque()

    def __bool__(self) -> bool:
        return bool(self._sent or self._unsent)

    def wait(self, done: Drained) -> None:
        """Call `done` when everything queued so far has been acknowledged."""
        if self._out.waiting:
            self._unsent.append(done)
        elif self._out.in_flight:
            self._sent.append((self._out.last, done))
        else:
            done()

    def sent(self) -> None:
        """Everything queued so far is in batches."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self._sent.extend((self._out.last, done) for done in unsent)

    def taken(self) -> None:
        """The app server has acknowledged something."""
        while self._sent and self._sent[0][0] <= self._out.acknowledged:
            self._sent.popleft()[1]()

    def give_up(self) -> None:
        """The session is over and nothing will be acknowledged: call all callbacks."""
        waiting = [*(done for _, done in self._sent), *self._unsent]
        self._sent.clear()
        self._unsent.clear()
        for done in waiting:
            done()
