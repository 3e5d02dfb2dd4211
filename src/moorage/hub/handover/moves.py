"""The clients of one hub that move to another app server: who moves next, who is asked, and for how long.

A limited number moves at a time, so that each client waits for a moment only, however many there are."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final

from moorage.engine.peer import CONNECTING
from moorage.engine.upgrade import State
from moorage.hub.handover.homecoming import Homecoming
from moorage.hub.handover.move import End, Move, Note, Stage
from moorage.hub.hub import AppServer, Connection, Hub
from moorage.hub.ports import Later
from moorage.wire import reasons
from moorage.wire.errors import PeerError
from moorage.wire.reasons import Reason

IN_FLIGHT: Final = 64
"""Clients that are being frozen or offered at a time."""
SLOW_SECONDS: Final = 1.0
"""A move that takes longer does not keep the others waiting."""
FREEZE_SECONDS: Final = 10.0
"""Time for an app server to finish a client's handlers. Then it goes on with the client."""
OFFER_SECONDS: Final = 5.0
"""Time for an app server to take a client. Then the next one is asked."""
ENDED_AT_ONCE: Final = 500
"""Clients without an app server that are closed in one tick, about 10 ms. There may be ten thousand."""
ACK_SECONDS: Final = 5.0
"""Time for acks that the former app server waits for."""
KEPT_BYTES: Final = 64 * 1024 * 1024
"""Bytes kept for all moving clients of the hub above which a client that sends more is closed."""
ACKS: Final = 1 << 20
"""Distance of the ack ids that are assumed of two app servers that were lost."""
LOSSES: Final = 256
"""Number of losses after which they begin again: ack ids of app servers are below 2^30."""

Done = Callable[[int, tuple[str, ...]], object]
Disconnect = Callable[[Connection, Reason], object]


class Order:
    """One app server gives all its clients away. `done` gets the number of clients that have left it, and the
    ids of those that could not."""

    def __init__(self, server: AppServer, done: Done, now: float) -> None:
        self.server = server
        self.done = done
        self.since = now
        self.waiting = deque(server.clients)
        self.later: list[Connection] = []
        """Clients that cannot be frozen just now."""
        self.moving: set[Move] = set()
        self.left = 0
        self.missing = [guest.id for guest in server.guests]


class Moves:
    """See the module's text. `opening` tells whether a client waits for its app server's first answer."""

    def __init__(
        self,
        hub: Hub,
        *,
        clock: Callable[[], float],
        later: Later,
        hold: float,
        opening: Callable[[Connection], bool],
        disconnect: Disconnect,
        read_on: Callable[[Connection], object],
        counts: Counter[str],
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._later = later
        self._hold = hold
        self._opening = opening
        self._disconnect = disconnect
        self._read_on = read_on
        self._counts = counts
        self._orders: dict[AppServer, Order] = {}
        self._held: deque[Move] = deque()
        """To be offered. Some are over: to remove one would take as long as there are others."""
        self._parked: set[Move] = set()
        """Held, and no app server is there to be asked."""
        self._flying: set[Move] = set()
        self._slow: set[Move] = set()
        self._served: set[Move] = set()
        """The former app server waits for acks."""
        self._kept = 0
        self._scheduled = False
        self._losses = itertools.count(1)

    def __len__(self) -> int:
        """Everything that is under way."""
        parts = (self._orders, self._held, self._parked, self._flying, self._slow, self._served)
        return sum(map(len, parts))

    # -- who moves ------------------------------------------------------------------------------

    def hand_over(self, server: AppServer, done: Done) -> None:
        """All clients of an app server move, and it gets no new ones. Raises `PeerError` if they do
        already."""
        if server in self._orders:
            raise PeerError(reasons.LINK_BAD_REQUEST, "the clients are being handed over already")
        server.draining = True
        order = self._orders[server] = Order(server, done, self._clock())
        if not self._candidates() and any(each.takes_clients for each in self._hub.servers.all()):
            # There are only app servers that cannot go on with a client. It reconnects to one of them.
            order.missing += [connection.id for connection in order.waiting]
            order.waiting.clear()
        self.wake()

    def lose(self, connection: Connection) -> None:
        """Its app server is lost, and another one is to go on with the client."""
        move = self._move(connection)
        move.go_on_alone()

    def bring(self, connection: Connection, server: AppServer, claim: Note) -> None:
        """The client's socket objects live on at this app server, so it is asked to take the connection.
        `claim` is called with the app server that has the connection then."""
        move = Homecoming(connection, self, now=self._clock())
        move.claim(claim)
        # However many clients come back at once, none of them waits for another one.
        self._slow.add(move)
        move.offer(server)

    def _move(self, connection: Connection) -> Move:
        if isinstance(connection.channel, Move):
            return connection.channel
        acks = next(self._losses) % LOSSES * ACKS
        return Move(connection, self, acks=acks, now=self._clock())

    def server_lost(self, server: AppServer) -> None:
        """An app server is gone: nothing waits for it any more."""
        self._orders.pop(server, None)
        for move in self._offered_to(server):
            move.refused()
        for move in [move for move in self._served if server in (move.former, move.server)]:
            move.finish()
        self.wake()

    # -- one after the other ------------------------------------------------------------------------

    def wake(self) -> None:
        """Something has changed: go on in the next turn."""
        if not self._scheduled:
            self._scheduled = True
            self._later(self._go_on)

    def app_servers_changed(self) -> None:
        """An app server may have come."""
        if self._parked:
            self._held += self._parked
            self._parked.clear()
        if self._held:
            self.wake()

    def _go_on(self) -> None:
        self._scheduled = False
        while self._held and len(self._flying) < IN_FLIGHT:
            self._offer(self._held.popleft())
        for order in tuple(self._orders.values()):
            while order.waiting and len(self._flying) < IN_FLIGHT:
                self._freeze(order, order.waiting.popleft())
            if not (order.waiting or order.later or order.moving or self._offered_to(order.server)):
                del self._orders[order.server]
                order.done(order.left, tuple(order.missing))

    def _offered_to(self, server: AppServer) -> list[Move]:
        """Clients that this app server is asked to take."""
        return [move for move in (*self._flying, *self._slow) if move.server is server]

    def _freeze(self, order: Order, connection: Connection) -> None:
        peer = connection.session.peer
        if connection.session.state == State.CLOSED:
            return
        if connection.server is not order.server:
            # It has moved meanwhile, with a `Homecoming`.
            order.left += 1
            return
        if (
            self._opening(connection)
            or isinstance(connection.channel, Move)
            or CONNECTING in peer.namespaces.values()
            or peer.in_pieces
        ):
            order.later.append(connection)
            return
        move = self._move(connection)
        order.moving.add(move)
        self._flying.add(move)
        move.freeze()

    def _offer(self, move: Move) -> None:
        if move.stage is not Stage.HELD:
            return
        candidates = self._candidates()
        untried = [each for each in candidates if each not in move.tried]
        if untried:
            self._flying.add(move)
            move.since = self._clock()
            move.offer(min(untried, key=lambda server: (server.behind, server.load)))
        elif move.tried and move.may_resume and move.former.up and move.former in self._hub.servers:
            move.resume()
        else:
            self._parked.add(move)
            if not move.tried:
                move.release_former()
                self._settle(move, End.MOVED)

    def _candidates(self) -> list[AppServer]:
        servers = self._hub.servers.all()
        return [each for each in servers if each.mover is not None and each.takes_clients]

    # -- `move.Owner` -------------------------------------------------------------------------------

    def held(self, move: Move) -> None:
        """`Owner.held`."""
        self._flying.discard(move)
        self._slow.discard(move)
        if not move.tried:
            move.since = self._clock()
        self._held.append(move)
        self.wake()

    def kept(self, move: Move, size: int) -> None:
        """`Owner.kept`."""
        self._kept += size
        if self._kept > KEPT_BYTES and size > 0:
            self._disconnect(move.connection, reasons.LINK_OVERFLOW)

    def read_on(self, connection: Connection) -> None:
        """`Owner.read_on`."""
        self._read_on(connection)

    def served(self, move: Move) -> None:
        """`Owner.served`."""
        self._flying.discard(move)
        self._slow.discard(move)
        move.since = self._clock()
        self._served.add(move)
        self.wake()

    def over(self, move: Move, end: End) -> None:
        """`Owner.over`."""
        for some in (self._flying, self._slow, self._parked, self._served):
            some.discard(move)
        self._settle(move, end)
        if not isinstance(move, Homecoming):
            # It counts as a recovery: no app server has given a client away.
            self._counts[end.name.lower()] += 1
        order = self._orders.get(move.connection.server)
        if order is not None and end is End.MOVED:
            # It was offered to this app server before that one began to give its clients away.
            order.waiting.append(move.connection)
        self.wake()

    def _settle(self, move: Move, end: End) -> None:
        for order in self._orders.values():
            if move in order.moving:
                order.moving.discard(move)
                order.left += end is End.MOVED
                if end is End.RESUMED:
                    order.missing.append(move.connection.id)

    # -- time -------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Check the deadlines."""
        for move in _since(self._flying, now - SLOW_SECONDS):
            self._flying.discard(move)
            self._slow.add(move)
            self.wake()
        self._overdue(now)
        for order in self._orders.values():
            if now - order.since > FREEZE_SECONDS:
                order.missing += [each.id for each in order.later if each.session.state != State.CLOSED]
            else:
                order.waiting += order.later
            order.later = []
            self.wake()

    def _overdue(self, now: float) -> None:
        for move in _since(self._slow, now - OFFER_SECONDS):
            if move.stage is Stage.OFFERED:
                move.withdraw()
            elif now - move.since > FREEZE_SECONDS:
                move.resume()
        for move in _since(self._served, now - ACK_SECONDS):
            move.finish()
        ended = 0
        for move in _since((*self._held, *self._parked), now - self._hold):
            if ended == ENDED_AT_ONCE:
                break
            if move.stage is Stage.HELD:
                # No effect on a client that is gone.
                self._disconnect(move.connection, reasons.NO_APP_SERVER)
                move.abandon()
                ended += 1


def _since(moves: Iterable[Move], deadline: float) -> list[Move]:
    return [move for move in moves if move.since <= deadline]
