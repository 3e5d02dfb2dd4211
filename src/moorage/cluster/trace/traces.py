"""Traces of the whole cluster. The node at which a trace was started asks all nodes to watch, and repeats it:
a new node starts within `RENEW_SECONDS`, and a node that hears nothing for `LEASE_SECONDS` stops. The events
of a node leave in batches, a few times a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from moorage.hub.trace.tracer import Taken, Tracer
from moorage.wire.cluster.messages import Body, Envelope
from moorage.wire.trace.messages import Traced, Unwatch, Watch
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import Packet, Seen

RENEW_SECONDS: Final = 2.0
LEASE_SECONDS: Final = 7.0
MAX_FOREIGN: Final = 500
"""Maximum watches of other nodes."""
BATCH: Final = 100
"""Maximum events of one message."""
TICK_BYTES: Final = 128 * 1024
"""Maximum bytes that leave for other nodes between two ticks, approximately. Sent messages are kept for nodes
that have missed one, and a trace must not displace the others there."""
_EVENT_BYTES: Final = 200

Take = Callable[[Traced], object]
"""Takes what one node has seen."""


class Network(Protocol):
    """The way to the other nodes (`cluster.router.Router`)."""

    handlers: dict[type, Callable[[Envelope], object]]

    def tell(self, node: str, body: Body) -> None:
        """Send a message to one node."""

    def tell_all(self, body: Body) -> None:
        """Send a message to all other nodes."""


class _Own:
    """A watch that was asked for at this node."""

    def __init__(self, scope: Scope, take: Take) -> None:
        self.scope = scope
        self.take = take
        self.told: tuple[int, bool] | None = None
        """The connections that are followed here, as they were last reported."""


class _Foreign:
    """A watch for another node."""

    def __init__(self, node: str, until: float) -> None:
        self.node = node
        self.until = until
        self.told: tuple[int, bool] | None = None


class Traces:
    """The traces of one node. `own` is its incarnation, `name` its name for people."""

    def __init__(
        self, tracer: Tracer, nodes: Network, *, own: str, name: str, clock: Callable[[], float]
    ) -> None:
        self._tracer = tracer
        self._nodes = nodes
        self._prefix = own
        self._name = name
        self._clock = clock
        self._last = 0
        self._own: dict[str, _Own] = {}
        self._foreign: dict[str, _Foreign] = {}
        self._renewed = clock()
        nodes.handlers[Watch] = self._watch
        nodes.handlers[Unwatch] = self._unwatch
        nodes.handlers[Traced] = self._traced

    def open(self, scope: Scope, take: Take) -> str:
        """Watch on all nodes. `take` gets what each has seen, from within this call until `close`. Returns
        the id of the watch."""
        self._last += 1
        watch_id = f"{self._prefix}.{self._last}"
        own = self._own[watch_id] = _Own(scope, take)
        self._tracer.start(watch_id, scope)
        self._nodes.tell_all(Watch(watch_id, scope, LEASE_SECONDS))
        self._hand_on(watch_id, own)
        return watch_id

    def close(self, watch_id: str) -> None:
        """End a watch everywhere."""
        if self._own.pop(watch_id, None) is not None:
            self._tracer.stop(watch_id)
            self._nodes.tell_all(Unwatch(watch_id))

    def tick(self, now: float) -> None:
        """Pass on the events, and check the leases."""
        if not self._own and not self._foreign:
            return
        self._tracer.tick()
        for watch_id, own in tuple(self._own.items()):
            self._hand_on(watch_id, own)
        if now - self._renewed >= RENEW_SECONDS:
            self._renewed = now
            for watch_id, own in self._own.items():
                self._nodes.tell_all(Watch(watch_id, own.scope, LEASE_SECONDS))
        budget = TICK_BYTES
        for watch_id, foreign in tuple(self._foreign.items()):
            if foreign.until <= now:
                self._end(watch_id)
            else:
                budget = self._report(watch_id, foreign, budget)

    def _hand_on(self, watch_id: str, own: _Own) -> None:
        taken = self._tracer.take(watch_id)
        if _is_news(taken, own):
            own.take(self._batch(watch_id, taken, taken.events, taken.dropped))

    def _report(self, watch_id: str, foreign: _Foreign, budget: int) -> int:
        """Send the events of another node's watch. Returns how many bytes are left."""
        taken = self._tracer.take(watch_id)
        if not _is_news(taken, foreign):
            return budget
        events: list[Seen] = []
        for seen in taken.events:
            budget -= _size(seen)
            if budget < 0:
                break
            events.append(seen)
        dropped = taken.dropped + len(taken.events) - len(events)
        for start in range(0, max(1, len(events)), BATCH):
            some = tuple(events[start : start + BATCH])
            self._nodes.tell(foreign.node, self._batch(watch_id, taken, some, 0 if start else dropped))
        return budget

    def _batch(self, watch_id: str, taken: Taken, events: tuple[Seen, ...], dropped: int) -> Traced:
        return Traced(watch_id, self._name, events, dropped, taken.connections, taken.limited)

    # -- what arrives -----------------------------------------------------------------------------

    def _watch(self, envelope: Envelope) -> None:
        body = envelope.body
        assert isinstance(body, Watch)
        until = self._clock() + body.lease
        known = self._foreign.get(body.id)
        if known is not None:
            if known.node == envelope.origin:
                known.until = until
        elif len(self._foreign) < MAX_FOREIGN and body.id not in self._own:
            self._foreign[body.id] = _Foreign(envelope.origin, until)
            self._tracer.start(body.id, body.scope)

    def _unwatch(self, envelope: Envelope) -> None:
        body = envelope.body
        assert isinstance(body, Unwatch)
        known = self._foreign.get(body.id)
        if known is not None and known.node == envelope.origin:
            self._end(body.id)

    def _end(self, watch_id: str) -> None:
        del self._foreign[watch_id]
        self._tracer.stop(watch_id)

    def _traced(self, envelope: Envelope) -> None:
        body = envelope.body
        assert isinstance(body, Traced)
        own = self._own.get(body.id)
        if own is not None:
            own.take(body)


def _is_news(taken: Taken, watch: _Own | _Foreign) -> bool:
    """True if there are new events, or other connections than before."""
    followed = (taken.connections, taken.limited)
    changed, watch.told = followed != watch.told, followed
    return bool(changed or taken.events or taken.dropped)


def _size(seen: Seen) -> int:
    payload = seen.payload if isinstance(seen, Packet) else None
    return _EVENT_BYTES + len(payload or "")
