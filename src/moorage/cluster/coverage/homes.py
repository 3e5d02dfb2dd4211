"""App servers with a session at several nodes: which of them this node has, and how far their commands are.

Such an app server sends its commands to each node that it covers. One of these nodes, its home, forwards them
to the nodes that it does not cover (docs/explanation/architecture.md, "One app server, several nodes"). A
node must not carry out a command twice, so it remembers for each instance of an app server the highest number
that it has carried out. Between nodes an instance contains the name of its hub.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, Protocol

from moorage.wire.cluster.messages import Envelope

MAX_ABSENT: Final = 10_000
"""Maximum number of remembered instances without a session here. The one that sent a command least recently
is forgotten first."""


def instance_of(hub: str, instance: str) -> str:
    """The name of an instance between nodes. Two hubs may have an app server of the same instance."""
    return f"{hub.casefold()}/{instance}"


class Session(Protocol):
    """A session at this node of an app server that covers several nodes."""

    term: int
    """The term with which it began to cover this node."""

    def marked(self, term: int) -> None:
        """Everything that the home had forwarded to this node before this term has been carried out."""

    def settled(self, call: Callable[[], object]) -> None:
        """Make a call once everything that has arrived in it so far is carried out."""

    def uncovered(self) -> None:
        """The app server has told its home that it does not cover this node any more."""


class Instance:
    """One instance of an app server, as this node knows it."""

    __slots__ = ("marked", "number", "session", "term", "waiting")

    def __init__(self) -> None:
        self.term = 0
        """The highest term that a forwarded command or a mark carried."""
        self.number = 0
        """The highest number of a command that was carried out here."""
        self.marked = 0
        """The highest term of the marks that have arrived."""
        self.session: Session | None = None
        """Its session at this node, once nothing is forwarded to this node any more."""
        self.waiting: Session | None = None
        """Its session that waits for a mark."""

    @property
    def is_here(self) -> bool:
        """True if it has a session at this node."""
        return self.session is not None or self.waiting is not None

    def begin(self, session: Session, *, fence: bool) -> bool:
        """A session begins to cover this node. True if it need not wait for a mark."""
        if fence and self.marked < session.term:
            self.waiting = session
            return False
        self.waiting, self.session = None, session
        return True

    def mark(self, term: int) -> None:
        """A mark has arrived, and everything before it has been carried out. What the last home had forwarded
        and comes now is too late."""
        self.marked = max(self.marked, term)
        self.term = max(self.term, term)
        waiting = self.waiting
        if waiting is not None and waiting.term <= term:
            self.waiting, self.session = None, waiting
            waiting.marked(term)

    def uncover(self, term: int) -> None:
        """The app server does not cover this node any more. What a home of an earlier term had forwarded is
        too late."""
        self.term = max(self.term, term)
        for session in (self.session, self.waiting):
            if session is not None and session.term < term:
                session.uncovered()

    def end(self, session: Session) -> None:
        """The session is over. From now on this node takes what the home forwards."""
        if self.session is session:
            self.session = None
        if self.waiting is session:
            self.waiting = None


class Via:
    """What forwarded commands of an app server carry. The app server's home here keeps it up to date."""

    __slots__ = ("covered", "instance", "number", "term")

    def __init__(self, instance: str, term: int, covered: Collection[str] | None) -> None:
        self.instance = instance
        self.term = term
        self.covered = None if covered is None else frozenset(covered)
        """Nodes that get the commands from the app server itself; None if all other nodes do, or get them
        from its home."""
        self.number = 0
        """Of the command that is being forwarded."""


class Instances:
    """All instances from which a command or a session has come to this node."""

    def __init__(self) -> None:
        self._all: dict[str, Instance] = {}
        """Instances by name, the one that sent a command least recently first."""

    def get(self, instance: str) -> Instance:
        """The entry of this instance, which is made if there is none."""
        found = self._all.pop(instance, None) or Instance()
        self._all[instance] = found
        if len(self._all) > MAX_ABSENT:
            oldest = next((name for name, one in self._all.items() if not one.is_here), None)
            if oldest is not None and oldest != instance:
                del self._all[oldest]
        return found

    def find(self, instance: str) -> Instance | None:
        """The entry of this instance, if there is one."""
        return self._all.get(instance)

    def executed(self, hub: str) -> dict[str, int]:
        """The highest numbers that were carried out here, of the instances of one hub."""
        hub = instance_of(hub, "")
        return {
            name: found.number for name, found in self._all.items() if found.number and name.startswith(hub)
        }

    def is_new(self, envelope: Envelope) -> bool:
        """True if a forwarded command is to be carried out; its number counts as carried out then.

        A home forwards nothing to a node that is covered. So if the command's term is above the one of the
        session here, which may still wait for its mark, the app server has given the session up. A home that
        has begun anew does not know of it, and cannot tell this node."""
        known = self.get(envelope.instance)
        if any(one is not None and envelope.term > one.term for one in (known.session, known.waiting)):
            known.uncover(envelope.term)
        elif known.session is not None or envelope.term < known.term:
            return False
        if 0 < envelope.number <= known.number:
            return False
        known.term = envelope.term
        known.number = max(known.number, envelope.number)
        return True
