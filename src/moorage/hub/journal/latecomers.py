"""App servers that hand over to the heir of a lost node, or to a node that was restarted, when clients have
been resumed without them. What such an app server had sent to the lost node, and that one had not carried
out, is missing at the sockets. It cannot be delivered now: the same app server's later emits are there
already. So the sockets that it was for end, and their clients get new ones."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from moorage.hub.hub import Hub
from moorage.hub.journal.estate import HubEstate
from moorage.hub.recovery.commands import Change
from moorage.hub.recovery.losses import lanes_of
from moorage.hub.recovery.sockets.replay import EVERYONE
from moorage.wire.commands import Send

LATE_SECONDS: Final = 600.0
"""Seconds for which it is known which sockets were the lost node's. After that, all sockets of the hub that
have come from other nodes count."""
MAX_MISSING: Final = 5_000
"""Maximum number of emits that are looked at one by one. More of them count as emits to everyone."""

Missed = Callable[[str, Collection[str] | None, Collection[str]], object]
"""Called with a hub, the `pid`s of sockets (None for all that have come from other nodes), and the lanes of
emits that they may have missed."""


class Latecomers:
    """The app servers of one hub that have not handed over: their instances are `owing`. `begun`: the
    position of this node's log from which on it records what is sent to the sockets `pids`."""

    def __init__(
        self, hub: Hub, estate: HubEstate, owing: Collection[str], pids: Collection[str], *, begun: int
    ) -> None:
        self._hub = hub
        self._owing = set(owing)
        self._due: dict[str, float] = {}
        """App servers that are there, and until when they have time to hand over."""
        self._begun = begun
        self._taken = estate.taken
        self._done = {instance: estate.executed.get(instance, 0) for instance in owing}
        self._pids: frozenset[str] | None = frozenset(pids)
        self._private = estate.private_rooms()
        """The private rooms of a client's sockets, by its number on the link."""
        self._missing: list[tuple[tuple[str, int] | None, Collection[str]]] = []
        """The identity and the lanes of each emit that may be missing."""

    def is_news(self, session: str, batch: int, place: int) -> bool:
        """True if a frame of a session was not carried out at the lost node."""
        return (batch, place) >= self._taken.get(session, (0, 0))

    def command(self, command: Send | Change) -> None:
        """A command that the lost node may not have carried out."""
        identity = None
        if isinstance(command, Send):
            if command.volatile or 0 < command.number <= self._done.get(command.source, 0):
                return
            identity = (command.source, command.number) if command.number else None
        self._add(identity, lanes_of(command))

    def client(self, number: int) -> None:
        """A frame for one client."""
        self._add(None, (EVERYONE,) if self._pids is None else self._private.get(number, ()))

    def _add(self, identity: tuple[str, int] | None, lanes: Collection[str]) -> None:
        if len(self._missing) < MAX_MISSING:
            self._missing.append((identity, lanes))
        else:
            self._missing[-1] = None, (EVERYONE,)

    def appeared(self, instance: str, until: float) -> None:
        """An app server has a session at this node now."""
        if instance in self._owing:
            self._due.setdefault(instance, until)

    def tick(self, now: float) -> None:
        """Time passes. If an app server does not hand over in time, for example because its queue is full,
        any emit may be missing. Everyone is told so, once."""
        for instance, until in tuple(self._due.items()):
            if until <= now:
                self.settled(instance)
                self._add(None, (EVERYONE,))

    def settled(self, instance: str) -> None:
        """An app server has handed over everything."""
        self._owing.discard(instance)
        self._due.pop(instance, None)

    @property
    def is_over(self) -> bool:
        """True if no app server has anything to hand over any more."""
        return not self._owing

    def tell(self, missed: Missed) -> None:
        """Report what has come since the last call."""
        missing, self._missing = self._missing, []
        recovery = self._hub.recovery
        if not missing or recovery is None:
            return
        # What an app server has kept for its next session is carried out there, and handed over, too.
        here = recovery.log.identities(self._begun)
        lanes = {lane for identity, some in missing if identity not in here for lane in some}
        if lanes:
            missed(self._hub.name, self._pids, lanes)

    def forget(self) -> None:
        """`LATE_SECONDS` are over: from now on, it is not known which sockets were the lost node's."""
        self._pids = None
        self._private = {}
