"""One request, carried out by several nodes: their answers become one."""

from __future__ import annotations

from moorage.sdk.errors import MoorageError
from moorage.sdk.link.session import Answers, End, Part
from moorage.wire.moorage.v1 import Asked, Done


class Merged:
    """Counts add up, and what is missing is joined. A node that fails is missing, by its name; if all fail,
    the request fails with the first error."""

    def __init__(self, ref: int, answers: Answers, nodes: int) -> None:
        self._ref = ref
        self._answers = answers
        self._open = nodes
        self._silent = nodes
        """Number of nodes that have not told yet how many answers they wait for."""
        self._asked = 0
        self._count = 0
        self._missing: dict[str, None] = {}
        self._succeeded = False
        self._error: MoorageError | None = None

    def leaf(self, source: int, node: str) -> Leaf:
        """Takes the answer of one node."""
        return Leaf(self, source, node)

    def part(self, frame: Part, source: int) -> None:
        """Part of one node's answer."""
        if not isinstance(frame, Asked):
            self._answers.part(frame, source)
            return
        self._asked += frame.count
        self.told()

    def told(self) -> None:
        """One more node has told how many answers it waits for, or will not tell any more."""
        self._silent -= 1
        if self._silent == 0:
            self._answers.part(Asked(self._ref, self._asked), 0)

    def ended(self, frame: Done) -> None:
        """One node's answer is complete."""
        self._succeeded = True
        self._count += frame.count
        self._missing.update(dict.fromkeys(frame.missing))
        self._close()

    def failed(self, node: str, error: MoorageError) -> None:
        """One node will not answer."""
        self._missing[node] = None
        self._error = self._error or error
        self._close()

    def _close(self) -> None:
        self._open -= 1
        if self._open:
            return
        if self._succeeded or self._error is None:
            self._answers.end(Done(self._ref, self._count, tuple(self._missing)))
        else:
            self._answers.failed(self._error)


class Leaf:
    """`Answers` for the part of one node."""

    __slots__ = ("_merged", "_node", "_source", "_told")

    def __init__(self, merged: Merged, source: int, node: str) -> None:
        self._merged = merged
        self._source = source
        self._node = node
        self._told = False

    def part(self, frame: Part, source: int = 0, /) -> None:
        """Part of the answer."""
        self._told = self._told or isinstance(frame, Asked)
        self._merged.part(frame, self._source)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._merged.told()

    def end(self, frame: End) -> None:
        """The last of it."""
        assert isinstance(frame, Done)
        self._tell()
        self._merged.ended(frame)

    def failed(self, error: MoorageError) -> None:
        """The node refused, was lost, or did not answer in time."""
        self._tell()
        self._merged.failed(self._node, error)
