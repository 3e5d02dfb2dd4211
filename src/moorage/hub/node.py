"""One Moorage process, and the one door for its commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, Final
from weakref import WeakSet

from moorage.hub.commands import asking, execute
from moorage.hub.commands.deliver import LONG, deliver_to_one, delivering_to_one, is_long
from moorage.hub.connections.clients import Clients
from moorage.hub.flushes import Flushes
from moorage.hub.hub import Connection, Hub
from moorage.hub.journal.journal import Store
from moorage.hub.journal.keeping import Keeping
from moorage.hub.ports import Answers, Reach, Reply
from moorage.hub.recovery.commands import recorded, with_parked
from moorage.hub.turns import Job
from moorage.wire.commands import DONE, Ask, Cast, Command, Outcome, Send, Write
from moorage.wire.errors import UsageError


class Everywhere(Enum):
    """The type of `EVERYWHERE`."""

    EVERYWHERE = 0


EVERYWHERE: Final = Everywhere.EVERYWHERE
"""A command reaches all nodes of the cluster."""


class Node(Clients):
    """The clients of this process, and everything that can be asked of them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.keeping: Keeping | None = None
        """Set if recoverable sockets are to survive the loss of this node (`keep`)."""
        self._large: WeakSet[Job[None]] = WeakSet()
        """Commands that are carried out in steps."""
        self.flushes = Flushes(self.later, self._flush_clients, self.guard)
        self.handlers = dict(execute.HANDLERS)
        """What carries out each type of command. A trace puts its own in the place of some."""
        self.askers = dict(asking.HANDLERS)
        """The same for commands with many answers."""

    def keep(self, store: Store, wall_clock: Callable[[], float]) -> Keeping:
        """Keep a journal. Call it before the first hub exists."""
        self.keeping = Keeping(
            store,
            self.hubs,
            self.flusher,
            clock=self.clock,
            wall_clock=wall_clock,
            settings_of=self.settings_of,
        )
        self.claims.session_changed = self.keeping.session_changed
        self.claims.came_elsewhere = self.keeping.heirs.appeared
        self.claims.gone_elsewhere = self.keeping.heirs.dropped
        return self.keeping

    def _flush_clients(self) -> None:
        if self.flusher.pending:
            self.flusher.run()

    def tick(self, now: float) -> None:
        """`Clients.tick`."""
        super().tick(now)
        if self.keeping is not None:
            self.guard("node", self.keeping.tick, now)

    def submit(
        self,
        command: Command,
        reply: Reply,
        about: Any = None,
        answers: Answers[Any] | None = None,
        reach: Reach | Everywhere | None = EVERYWHERE,
    ) -> Job[None] | None:
        """The one door for commands. Calls `reply(about, outcome)` once; never raises. `reach`: the nodes
        that get the command besides this one; None for none.

        Small work is done at once, and without other nodes `reply` has been called when this returns. For
        large work it returns a job, which the caller puts into its `Intake`. `answers` receives what the
        asked give in answer to `Invoke`, `FetchSockets` and `TellServers`."""
        cluster = self.cluster if reach is EVERYWHERE else reach
        try:
            if cluster is not None:
                if isinstance(command, Ask):
                    reply, about, answers = cluster.ask(command, reply, about, answers)
                elif type(command) is Send and not (command.number and command.source):
                    command = self._identified(command)
            outcome = self.carry_out(command, answers)
        except Exception as error:
            reply(about, error)
            return None
        if type(outcome) is Outcome:
            if cluster is None:
                reply(about, outcome)
            else:
                _share(cluster, command, outcome, reply, about)
            return None
        assert not isinstance(outcome, Outcome)
        steps = self._in_steps(outcome, command, reply, about, reach)
        self._large.add(steps)
        return steps

    def begun(self) -> Callable[[], bool]:
        """Returns a function that tells whether all large work that has begun is over: its commands have been
        sent to other nodes, or were dropped."""
        # Weak, because a link that is lost drops its work.
        begun = WeakSet(self._large)
        return lambda: all(inspect.getgeneratorstate(job) == inspect.GEN_CLOSED for job in begun)

    def _identified(self, emit: Send) -> Send:
        """The emit with an identity of this node. Positional arguments: half the time of `replace`."""
        return Send(
            emit.hub,
            emit.to,
            emit.payload,
            emit.volatile,
            emit.control,
            self.incarnation,
            next(self.emit_numbers),
        )

    def _in_steps(
        self,
        job: Job[Outcome],
        command: Command,
        reply: Reply,
        about: Any,
        reach: Reach | Everywhere | None,
    ) -> Job[None]:
        try:
            outcome = yield from job
        except Exception as error:
            reply(about, error)
            return
        # Looked up again: nodes may have come and gone since.
        cluster = self.cluster if reach is EVERYWHERE else reach
        if cluster is None:
            reply(about, outcome)
        else:
            _share(cluster, command, outcome, reply, about)

    def carry_out(self, command: Command, answers: Answers[Any] | None = None) -> Outcome | Job[Outcome]:
        """Carry out a command on this node alone: `submit`'s local part, and the way in for what other
        nodes send. Large work is returned as a job. Both this call and the job raise `PeerError` if the
        command is refused; nothing has happened then."""
        # A hub that does not exist answers like one without clients.
        hub = self.hubs.get(command.hub.casefold()) or Hub(command.hub, self.tallies.rest)
        recovery = hub.recovery
        if recovery is not None and type(command) is Send:
            command = recorded(recovery, command)
        handler = self.handlers.get(type(command))
        if handler is not None:
            if recovery is not None:
                return with_parked(self, hub, recovery, command, handler)
            return handler(self, hub, command)
        if answers is None:
            raise UsageError(f"{type(command).__name__} needs somewhere to send its answers")
        return self.askers[type(command)](self, hub, command, answers)

    def ignores(self, hub: Hub, group: str) -> bool:
        """True if an emit to `group` has no effect on this node: the group has no members here, and neither
        recovery nor a trace takes note of emits."""
        return (
            not hub.directory.rooms.members(group)
            and hub.recovery is None
            and self.keeping is None
            and self.handlers[Send] is execute.HANDLERS[Send]
        )

    def send(self, connection: Connection, payload: bytes) -> Job[None] | None:
        """`submit` of a `SendToConnection` whose client the caller has looked up already. Such a client is
        on this node, so nothing leaves it. Raises `PeerError` for a payload that cannot be encoded."""
        if len(payload) > LONG and is_long(payload):
            return delivering_to_one(self, connection, payload)
        deliver_to_one(self, connection, payload)
        return None


def _share(cluster: Reach, command: Command, outcome: Outcome, reply: Reply, about: Any) -> None:
    """Pass on a command that this node has carried out, and reply to it."""
    try:
        if isinstance(command, Write):
            cluster.write(command, outcome, reply, about)
            return
        if isinstance(command, Cast):
            cluster.cast(command, outcome)
            # A client that is not on this node may be on another one, and nobody waits to find out.
            outcome = outcome if outcome.found else DONE
    except Exception as error:
        reply(about, error)
    else:
        reply(about, outcome)
