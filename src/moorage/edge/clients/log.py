"""What becomes of clients, in the log and in the counters.

Strangers decide how often they come and go, so the number of lines that they cause is bounded. The
counters in `/metrics` count everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage import logs
from moorage.edge.http.upgrade import hint_of
from moorage.hub.clients import Who
from moorage.hub.connection import Connection
from moorage.logs_quota import Quota
from moorage.metrics import Door, Metrics
from moorage.wire.errors import PeerError
from moorage.wire.reasons import PING_TIMEOUT, SLOW_CLIENT, Reason

BURST_SECONDS: Final = 10.0
"""After a quiet time, the lines that are allowed in this time may come at once."""

log: Final = logs.get("client")


class ClientLog:
    """One line for each client that opens or is refused (only if `connects`), and one for each that ends."""

    def __init__(
        self, metrics: Metrics, *, connects: bool, per_second: float, clock: Callable[[], float]
    ) -> None:
        self._ends = Quota(per_second, per_second * BURST_SECONDS)
        # For a person at a terminal, who reads no more. A line costs a fifth of a connect.
        self._begins = Quota(rate=10.0, burst=50.0)
        self._metrics = metrics
        self._connects = connects
        self._clock = clock

    @property
    def suppressed(self) -> int:
        """Lines that were not written."""
        return self._begins.suppressed + self._ends.suppressed

    def opened(self, connection: Connection, transport: str) -> None:
        """A session begins."""
        if self._connects and self._begins.allows(self._clock()):
            log.info(
                "connect",
                # Not `connection`: a search for that field shall find the line of the end only.
                sid=connection.id,
                hub=connection.hub.name,
                user=connection.user_id,
                transport=transport,
            )

    def refused(self, door: Door, error: PeerError, path: str) -> None:
        """A request or a connection attempt is turned away."""
        reason = error.reason
        self._metrics.refusals[door, reason.name] += 1
        if self._connects and self._begins.allows(self._clock()):
            more = {"detail": error.detail, "hint": hint_of(reason)}
            told = {name: text for name, text in more.items() if text}
            log.info("refused", reason=reason.name, number=reason.number, path=path[:128], **told)

    def ended(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """A session ends. Ends that no client brings about are always written."""
        metrics = self._metrics
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
        """Say how many lines were suppressed."""
        for of, quota in (("connects and refusals", self._begins), ("disconnects", self._ends)):
            missed = quota.report(now)
            if missed:
                log.info("lines suppressed", of=of, count=missed)
