"""This node goes on with the sockets of nodes that are lost: it is their *heir*.

1. It reads what the lost node has written, and records from then on what is sent to its sockets.
2. Each app server that had a session at the lost node hands over what that may not have carried out
   (`hand_over`), and says when that was all (`handed_over`).
3. The other nodes do the same with what they had sent to the lost node (`told`), and this node with its own.
4. Then clients can come back. Until then those who ask for a socket wait.
5. What those that do not come at once have missed is written into this node's own journal (`Share.repeat`).

What this node has carried out for an app server before that one has handed over is not counted for these
sockets: it is in what is handed over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from moorage.hub.hub import Connection, Hub
from moorage.hub.journal.estate import HubEstate, written_once_more
from moorage.hub.journal.latecomers import LATE_SECONDS, Latecomers, Missed
from moorage.hub.journal.pages import Pages
from moorage.hub.journal.share import Share
from moorage.hub.recovery.commands import Change
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.settings import RecoverySettings
from moorage.hub.turns import Job, finished
from moorage.wire.commands import (
    CloseConnections,
    LeaveNamespace,
    Selection,
    Send,
)
from moorage.wire.engineio import CLOSE, check_text
from moorage.wire.socketio import CONNECT_ERROR, DISCONNECT, parse_header

HAND_OVER_SECONDS: Final = 5.0
"""How long app servers may take. An app server that is linked elsewhere only, and lives, takes longer: the
sockets are not recovered then."""
BACK_SECONDS: Final = 10.0
"""How long the app servers of a node that was restarted may take after the first one: they try again every
five seconds at the latest. Sockets that lack something of one that comes later end then (`latecomers`)."""
RETURN_SECONDS: Final = 60.0
"""Seconds for which a node that was restarted waits for the first app server of a hub."""
REMEMBERED: Final = 1_000
"""Maximum number of remembered lost nodes. Those whose sockets are on their way do not count."""

Heard = Mapping[str, tuple[int, int]]
"""How far the lost node had carried out the messages of others (`wire.recovery.journal.Heard`)."""


class _Lost:
    """One lost node."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.reading = True
        self.open = False
        self.unread = False
        self.heard: Heard = {}
        self.asked = False
        self.nodes: set[str] = set()
        """Nodes that have not told all that they had sent to the lost one, perhaps this one among them."""
        self.lacks = False
        """True if a node cannot tell it."""
        self.hubs: dict[str, Share] = {}
        self.without_hub: list[HubEstate] = []
        """Of hubs that do not exist here yet, because their app servers have no session yet."""
        self.late: dict[str, Latecomers] = {}
        """By hub, once clients can come back."""
        self.waiting: list[Callable[[], object]] = []
        """Those who ask for one of its sockets, and app servers that have something for it."""


class Heirs:
    """All lost nodes whose heir this one is."""

    def __init__(
        self,
        hubs: Mapping[str, Hub],
        clock: Callable[[], float],
        settings_of: Callable[[str], RecoverySettings],
    ) -> None:
        self._hubs = hubs
        self._clock = clock
        self._settings_of = settings_of
        self._lost: dict[str, _Lost] = {}
        self.is_alive: Callable[[str], bool] = lambda node: False
        """True if a node is there, as far as this one knows."""
        self.ask: Callable[[str, Heard], Collection[str]] = lambda node, heard: ()
        """Asks all nodes for what they had sent to the lost one, and calls `told` for each. Returns them."""
        self._held: dict[str, dict[Callable[[], object], None]] = {}
        """App servers that have something for a node, before it is known whether this one is its heir."""
        self.forsaken: Callable[[str, str, int], object] = lambda node, hub, sockets: None
        """Called with a lost node, a hub, and the number of its sockets that no client can come back to,
        because an app server that is there has not handed over."""
        self.missed: Missed = lambda hub, pids, lanes: None
        """Ends sockets that lack something."""
        self.work: Callable[[Job[None]], object] = finished
        """Carries out a job in steps."""
        self.unread = 0
        """Number of lost nodes whose journals could not be read."""
        self.inherited = 0
        """Number of sockets of lost nodes that this node has taken over."""

    # -- what is read -------------------------------------------------------------------------------

    def expect(self, node: str) -> None:
        """The journal of a lost node is going to be read."""
        self._lost[node] = _Lost(self._clock() + HAND_OVER_SECONDS)
        if len(self._lost) > REMEMBERED:
            oldest = next((name for name, lost in self._lost.items() if lost.open), None)
            if oldest is not None:
                del self._lost[oldest]

    def read(self, node: str, pages: Pages) -> Job[None]:
        """The journal is here. Raises `PeerError` for entries that cannot be read."""
        estates = yield from written_once_more(pages, self._settings_of, self._clock())
        lost = self._lost[node]
        lost.without_hub = [estate for estate in estates if estate.recovery.everyone()]
        for hub in self._hubs.values():
            if hub.recovery is not None:
                self._begin(lost, hub, hub.recovery)
        lost.reading = False
        lost.heard = pages.heard
        lost.until = self._clock() + (RETURN_SECONDS if lost.without_hub else HAND_OVER_SECONDS)
        self._ask(node, lost)
        self.known(node)
        self._proceed(lost)

    def _ask(self, node: str, lost: _Lost) -> None:
        """All sockets are recorded here from now on: the other nodes tell what was before."""
        if lost.hubs and not lost.without_hub and not lost.asked:
            lost.asked = True
            lost.nodes = set(self.ask(node, lost.heard))

    def _begin(self, lost: _Lost, hub: Hub, recovery: Recovery[Connection]) -> None:
        for estate in tuple(lost.without_hub):
            if estate.hub.casefold() == hub.name.casefold():
                lost.without_hub.remove(estate)
                lost.hubs[hub.name] = Share(hub, recovery, estate)

    def begun(self, hub: Hub, recovery: Recovery[Connection]) -> None:
        """A hub has recovery from now on."""
        for node, lost in self._lost.items():
            if lost.without_hub and not lost.open:
                self._begin(lost, hub, recovery)
                if not lost.without_hub:
                    lost.until = self._clock() + BACK_SECONDS
                    self._ask(node, lost)

    def give_up(self, node: str, *, unread: bool) -> None:
        """There is no journal, or (`unread`) it cannot be read."""
        lost = self._lost[node]
        lost.unread = unread
        self.unread += unread
        lost.reading = False
        self.known(node)
        self._proceed(lost)

    # -- what app servers hand over --------------------------------------------------------------------

    def once_known(self, node: str, call: Callable[[], object]) -> None:
        """Make a call when this node knows what the lost one had, or that another one is its heir. A call
        that waits already is made once."""
        self._held.setdefault(node, {})[call] = None

    def known(self, node: str) -> None:
        """It is known now what the lost node had, or that another one is its heir: make the held calls."""
        for call in self._held.pop(node, ()):
            call()

    def is_reading(self, node: str) -> bool:
        """True if the journal of this node is on its way."""
        lost = self._lost.get(node)
        return lost is not None and lost.reading

    def estate(self, node: str, hub: str) -> HubEstate | None:
        """The estate of the lost node in this hub, while app servers may hand over."""
        sockets = self._sockets(node, hub)
        return None if sockets is None else sockets.estate

    def latecomers(self, node: str, hub: str) -> Latecomers | None:
        """The app servers of this hub that have not handed over, once clients can come back."""
        lost = self._lost.get(node)
        return None if lost is None else lost.late.get(hub)

    def takes(self, node: str, hub: str) -> bool:
        """True if app servers of this hub may hand over to this node what the lost one had not carried
        out."""
        return self.estate(node, hub) is not None or self.latecomers(node, hub) is not None

    def _sockets(self, node: str, hub: str) -> Share | None:
        lost = self._lost.get(node)
        return None if lost is None or lost.open else lost.hubs.get(hub)

    def hand_over(self, node: str, hub: str, command: Send | Change) -> None:
        """A command of an app server that the lost node may not have carried out."""
        sockets = self._sockets(node, hub)
        if sockets is not None:
            sockets.carry_out(command)

    def packet(self, node: str, hub: str, connection: str, payload: bytes) -> None:
        """Packets for one client that the lost node may not have delivered. Raises `PeerError`."""
        sockets = self._sockets(node, hub)
        if sockets is None:
            return
        to = Selection(connection=connection)
        if payload == CLOSE:
            sockets.carry_out(CloseConnections(hub, to))
            return
        header = parse_header(check_text(payload))
        if header.type in (DISCONNECT, CONNECT_ERROR):
            sockets.carry_out(LeaveNamespace(hub, to, header.namespace, close=False))
        else:
            sockets.estate.packet(connection, payload)

    def late(self, node: str, hub: str, command: Send | Change, instance: str) -> None:
        """A command that another node had sent to the lost one. `instance`: the app server for which it was
        forwarded; one with a session at the lost node hands its commands over itself."""
        sockets = self._sockets(node, hub)
        if sockets is not None and not (instance and instance in sockets.estate.instances):
            sockets.carry_out(command)

    def make_room(self, hub: str, pid: str) -> None:
        """A socket is about to come from another node. One that a lost node had is from before."""
        for lost in self._lost.values():
            if hub in lost.hubs:
                lost.hubs[hub].drop(pid)

    def told(self, node: str, by: str, *, complete: bool) -> None:
        """A node has told all that it had sent to the lost one; not `complete`: as far as it could."""
        lost = self._lost.get(node)
        if lost is not None and by in lost.nodes:
            lost.nodes.discard(by)
            lost.lacks = lost.lacks or not complete
            self._proceed(lost)

    def gone(self, by: str) -> None:
        """A node is gone. It tells nothing any more."""
        for node in tuple(self._lost):
            self.told(node, by, complete=False)

    def handed_over(self, node: str, hub: str, instance: str, number: int) -> None:
        """An app server has handed over all that it had for the lost node. Its commands up to `number` count
        as carried out there."""
        late = self.latecomers(node, hub)
        if late is not None:
            late.settled(instance)
            self._end_late(self._lost[node], hub, late)
        sockets = self._sockets(node, hub)
        if sockets is not None:
            executed = sockets.estate.executed
            executed[instance] = max(number, executed.get(instance, 0))
            sockets.owing.discard(instance)
            self._proceed(self._lost[node])

    def appeared(self, hub: str, instance: str) -> None:
        """An app server has a session at this node now, or at another one. It hands over at once, which takes
        a moment."""
        until = self._clock() + HAND_OVER_SECONDS
        for lost in self._lost.values():
            if hub in lost.late:
                lost.late[hub].appeared(instance, until)
            elif hub in lost.hubs and lost.hubs[hub].appears(instance):
                lost.until = max(lost.until, until)

    def dropped(self, instance: str) -> None:
        """A session of an app server is over, at this node or another one. If that was its last one, it
        hands nothing over. If not, this node has perhaps not got everything."""
        for lost in self._lost.values():
            for sockets in lost.hubs.values():
                if not sockets.may_hand_over(instance):
                    sockets.without((instance,))
            self._proceed(lost)

    # -- who asks ----------------------------------------------------------------------------------------

    def waits(self, node: str) -> bool:
        """True if the sockets of this node are on their way."""
        lost = self._lost.get(node)
        return lost is not None and not lost.open

    def was_unread(self, node: str) -> bool:
        """True if the journal of this node could not be read."""
        lost = self._lost.get(node)
        return lost is not None and lost.unread

    def when_open(self, node: str, call: Callable[[], object]) -> None:
        """Make a call when the sockets of a node for which `waits` is true are here, or do not come."""
        self._lost[node].waiting.append(call)

    def _proceed(self, lost: _Lost) -> None:
        if (
            lost.open
            or lost.reading
            or lost.without_hub
            or lost.nodes
            or any([sockets.owing for sockets in lost.hubs.values()])
        ):
            return
        lost.open = True
        for sockets in lost.hubs.values():
            if lost.lacks:
                # An emit may be missing that nobody has, so nobody knows who lacks it.
                sockets.close()
            late = sockets.latecomers()
            if late is not None:
                lost.late[sockets.hub.name] = late
                lost.until = self._clock() + LATE_SECONDS
            sockets.open()
            self.inherited += len(sockets)
            self.work(sockets.repeat())
        # Its logs may be large. From here on only the sockets that need them keep them.
        lost.hubs.clear()
        waiting, lost.waiting = lost.waiting, []
        for call in waiting:
            call()

    def tick(self, now: float) -> None:
        """Time passes: app servers that are gone hand nothing over."""
        for node, lost in self._lost.items():
            if lost.open:
                self._look_for_late(lost, now)
            elif not lost.reading and lost.until <= now:
                self._go_on(node, lost, now)

    def _look_for_late(self, lost: _Lost, now: float) -> None:
        for hub, late in tuple(lost.late.items()):
            late.tick(now)
            self._end_late(lost, hub, late)
            if lost.until <= now:
                late.forget()

    def _end_late(self, lost: _Lost, hub: str, late: Latecomers) -> None:
        """Report what is missing so far. If nothing more can follow, forget the latecomers."""
        late.tell(self.missed)
        if late.is_over:
            del lost.late[hub]

    def _go_on(self, node: str, lost: _Lost, now: float) -> None:
        lost.without_hub.clear()
        if not lost.asked:
            self._ask(node, lost)
            if lost.nodes:
                lost.until = now + HAND_OVER_SECONDS
                return
        lost.lacks = lost.lacks or bool(lost.nodes)
        lost.nodes.clear()
        for sockets in lost.hubs.values():
            if any(map(sockets.may_hand_over, sockets.owing)):
                # It is there, but has no session here, or is too slow. What it has sent is missing.
                self.forsaken(node, sockets.hub.name, len(sockets))
                sockets.close()
            sockets.without(tuple(sockets.owing))
        self._proceed(lost)
