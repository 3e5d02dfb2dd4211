"""A node that operators look at."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from moorage.hub.hub import Connection
from moorage.hub.inspect.census import Census
from moorage.hub.inspect.endings import Endings
from moorage.hub.inspect.inspector import Inspector
from moorage.hub.inspect.rooms import RoomIndex
from moorage.hub.observers import Observers
from moorage.hub.turns import finished
from moorage.wire.commands import Inspect
from moorage.wire.inspect.forms import Question
from tests.hub.fakes import World

OWN = "node0001"
WALL = 1_700_000_000.0
"""The wall clock when the world's clock is 0."""

RowsT = TypeVar("RowsT")


class Stage(World):
    """Its node has an inspector. Ids of connections begin with the node's incarnation, as in a service."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.node.incarnation = OWN
        self.census, self.rooms = Census(), RoomIndex(self.members)
        self.endings = Endings(lambda: self.now, lambda: WALL + self.now)
        self.node.observer = Observers(self.observer, self.census, self.endings)
        self.node.members = self.rooms
        self.drained = 0
        self.inspector = Inspector(
            self.node,
            "here",
            census=self.census,
            rooms=self.rooms,
            endings=self.endings,
            drain=self._drain,
        )
        self.node.inspections.inspector = self.inspector

    def _new_id(self) -> str:
        return OWN + super()._new_id()

    def _drain(self) -> None:
        self.drained += 1

    def crowd(self, count: int, **handshake: Any) -> list[Connection]:
        """Clients with a socket in `/`."""
        return [self.client("/", **handshake) for _ in range(count)]

    def ask(self, what: str, question: Question, answer: type[RowsT]) -> RowsT:
        """This node's answer."""
        (report,) = self.execute(Inspect("", what, msgspec.json.encode(question))).reports
        assert report.node == OWN
        return msgspec.json.decode(report.body, type=answer)

    def steps(self, what: str, question: Question) -> int:
        """In how many steps it answers."""
        job = self.inspector.inspect(what, msgspec.json.encode(question))
        count = 0

        def counting() -> Any:
            nonlocal count
            for step in job:
                count += 1
                yield step

        finished(counting())
        return count
