"""Log lines, counters and gauges of clients that come and go. Strangers can connect as often as they like, so
the number of log lines is limited. The counters in `/metrics` count everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from moorage import logs
from moorage.edge.http.refusals import hint_of
from moorage.hub.hub import Connection
from moorage.hub.ports import Who
from moorage.logs_quota import Quota
from moorage.metrics.metrics import Door, Metrics
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from moorage.wire.reasons import PING_TIMEOUT, SLOW_CLIENT, Reason

BURST_SECONDS: Final = 10.0
"""After a quiet time, the lines that are allowed for this time may be written at once."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

log: Final = logs.get("client")


class ClientLog:
    """`hub.ports.Observer`. Writes one line for each client that is opened or refused (only if `connects`),
    and one for each that is closed."""

    def __init__(
        self, metrics: Metrics, *, connects: bool, per_second: float, clock: Callable[[], float]
    ) -> None:
        self._ends = Quota(per_second, per_second * BURST_SECONDS)
        # A person at a terminal cannot read more, and a line costs a fifth of a connect.
        self._begins = Quota(rate=10.0, burst=50.0)
        self.metrics = metrics
        self._connects = connects
        self._clock = clock
        self.sockets: Counter[str] = Counter()
        """Open sockets (a connection's presence in a namespace) by hub."""

    @property
    def suppressed(self) -> int:
        """Number of lines that were not written."""
        return self._begins.suppressed + self._ends.suppressed

    def opened(self, connection: Connection, transport: str) -> None:
        """`Observer.opened`."""
        self.metrics.connects += 1
        if self._connects and self._begins.allows(self._clock()):
            log.info(
                "connect",
                # Not `connection`: a search for that field should find the closing line only.
                sid=connection.id,
                hub=connection.hub.name,
                user=connection.user_id,
                transport=transport,
            )

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        """`Observer.refused`."""
        known = {"hub": hub, "user": handshake.user_id} if handshake.user_id else {"hub": hub}
        self._refused("client", error, lambda: handshake.origin().url.partition("?")[0], known)

    def request_refused(self, door: Door, error: PeerError, path: str) -> None:
        """A request is refused before it gets to the hub."""
        self._refused(door, error, lambda: path)

    def _refused(
        self, door: Door, error: PeerError, path: Callable[[], str], known: Mapping[str, str] = NOTHING
    ) -> None:
        reason = error.reason
        self.metrics.refusals[door, reason.name] += 1
        if self._connects and self._begins.allows(self._clock()):
            more = {"path": path()[:128], **known, "detail": error.detail, "hint": hint_of(reason)}
            told = {name: text for name, text in more.items() if text}
            log.info("refused", reason=reason.name, number=reason.number, **told)

    def not_recovered(self, connection: Connection, namespace: str, cause: str) -> None:
        """`hub.recovery.claims.Refused`."""
        if self._begins.allows(self._clock()):
            log.info(
                "recovery refused",
                cause=cause,
                sid=connection.id,
                hub=connection.hub.name,
                user=connection.user_id,
                namespace=namespace[:128],
            )

    def joined(self, connection: Connection, namespace: str) -> None:
        """`Observer.joined`."""
        self.sockets[connection.hub.name] += 1

    def left(self, connection: Connection, namespace: str) -> None:
        """`Observer.left`."""
        name = connection.hub.name
        if self.sockets[name] == 1:
            # Hubs come and go: keep no entry of one that is gone.
            del self.sockets[name]
        else:
            self.sockets[name] -= 1

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """`Observer.closed`. A close that the client did not cause is always logged."""
        metrics = self.metrics
        metrics.disconnects[reason.name] += 1
        metrics.slow_client_closes += reason is SLOW_CLIENT
        metrics.connection_age_seconds.observe(age)
        metrics.send_queue_bytes.observe(queued)
        by_client = who == "client" or reason is PING_TIMEOUT or reason.number >= SLOW_CLIENT.number
        if by_client and not self._ends.allows(self._clock()):
            return
        logs.disconnect_line(
            connection=connection.id,
            hub=connection.hub.name,
            user=connection.user_id,
            who=who,
            reason=reason,
            detail=detail,
            age_s=age,
            queued_bytes=queued,
            transport="websocket" if connection.outbox.framed else "polling",
            sockets=len(connection.session.peer.namespaces),
        )

    def tick(self, now: float) -> None:
        """Log how many lines were suppressed."""
        for of, quota in (("connects and refusals", self._begins), ("disconnects", self._ends)):
            missed = quota.report(now)
            if missed:
                log.info("lines suppressed", of=of, count=missed)
