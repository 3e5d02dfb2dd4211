"""Counters and their Prometheus format.

Rules:
- The hot path adds to plain integers, without a lock, a label look-up or a call. A client library's
  counter costs half a microsecond, as much as all our other work for a packet.
- A scrape reads all values on the event loop that also writes them.
- Values that another part keeps (numbers of connections and rooms) are not counted again; a scrape
  asks for them.
- Labels have closed sets of values, never ids, users or rooms. Strangers may create hubs if unlisted
  hubs are allowed, so the number of hub labels is capped.

docs/reference/metrics.md explains what a change of each metric means.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from moorage.metrics.catalogue import LAG_SAMPLES
from moorage.metrics.collector import Collector
from moorage.metrics.gauges import Gauges
from moorage.metrics.histogram import Histogram
from moorage.wire.reasons import CATALOGUE

MAX_HUBS: Final = 100
MAX_OPERATIONS: Final = 64
OTHER: Final = "other"

Door = Literal["client", "link", "api", "http", "admin"]
DOORS: Final = ("client", "link", "api", "http", "admin")

_AGES: Final = (1, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600)
_QUEUES: Final = (0, 1024, 16 * 1024, 64 * 1024, 256 * 1024, 1024**2, 4 * 1024**2, 16 * 1024**2)
_WAITS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One node's numbers. Add to the attributes; `render` shows them."""

    __slots__ = (
        "_keep_hubs",
        "_lags",
        "_registry",
        "_version",
        "admin_requests",
        "api_requests",
        "bytes_received_polling",
        "bytes_received_websocket",
        "bytes_sent_polling",
        "bytes_sent_websocket",
        "cluster_join_seconds",
        "connection_age_seconds",
        "connects",
        "disconnects",
        "events_resent",
        "faults",
        "file_shortages",
        "gap_answers",
        "gauges",
        "link_bytes_received",
        "link_bytes_sent",
        "link_frames_received",
        "link_frames_sent",
        "link_resumes",
        "received_polling",
        "received_websocket",
        "refusals",
        "send_queue_bytes",
        "slow_client_closes",
        "upstream_seconds",
    )

    def __init__(self, version: str, hubs: Sequence[str] = ()) -> None:
        """`hubs`: the configured ones, whose labels no stranger's hub can push out."""
        self._version = version
        self._keep_hubs: tuple[str, ...] = tuple(hubs)[:MAX_HUBS]
        self._registry: CollectorRegistry | None = None
        self._lags: deque[float] = deque(maxlen=LAG_SAMPLES)
        self.gauges = Gauges()
        self.connects = 0
        self.received_websocket = self.received_polling = 0
        self.bytes_received_websocket = self.bytes_received_polling = 0
        self.bytes_sent_websocket = self.bytes_sent_polling = 0
        self.slow_client_closes = 0
        self.file_shortages = 0
        """Times that no file could be opened for a connection."""
        self.link_frames_received = self.link_frames_sent = 0
        self.link_bytes_received = self.link_bytes_sent = 0
        self.events_resent = self.gap_answers = self.link_resumes = 0
        self.disconnects: Counter[str] = Counter()
        """Ended connections, by the reason's name."""
        self.refusals: Counter[tuple[Door, str]] = Counter()
        """Refused requests and connections, by door and the reason's name."""
        self.faults: Counter[str] = Counter()
        """Faults, by the part of the service."""
        self.admin_requests: Counter[tuple[str, int]] = Counter()
        """Requests of the Admin API, by the operation's name and HTTP status."""
        self.api_requests: Counter[tuple[str, int]] = Counter()
        """Requests of the REST API, by the operation's name (of the route, never a path) and HTTP status."""
        self.connection_age_seconds = Histogram(_AGES)
        self.send_queue_bytes = Histogram(_QUEUES)
        self.cluster_join_seconds = Histogram(_WAITS)
        self.upstream_seconds = {event: Histogram(_WAITS) for event in ("connect", "message", "disconnected")}

    def lag(self, seconds: float) -> None:
        """Note by how much a timer of the event loop was late. Call about once a second."""
        self._lags.append(seconds)

    @property
    def last_lag(self) -> float:
        """The last sample."""
        return self._lags[-1] if self._lags else 0.0

    @property
    def lag_max(self) -> float:
        """The largest of the last samples."""
        return max(self._lags, default=0.0)

    def render(self) -> bytes:
        """The body of a scrape, in Prometheus' text format."""
        if self._registry is None:
            # A registry of our own: two nodes in one process (tests) must not share the global one.
            registry = CollectorRegistry(auto_describe=False)
            registry.register(Collector(self))
            ProcessCollector(registry=registry)
            self._registry = registry
        return generate_latest(self._registry)

    def samples(self) -> dict[str, dict[tuple[str, ...], float]]:
        """All counters and gauges: metric name -> label values -> value."""
        return {**self._counters(), **self._gauges()}

    def histograms(self) -> dict[str, dict[tuple[str, ...], Histogram]]:
        """All histograms, in the same shape."""
        return {
            "connection_age_seconds": {(): self.connection_age_seconds},
            "send_queue_bytes": {(): self.send_queue_bytes},
            "cluster_join_seconds": {(): self.cluster_join_seconds},
            "upstream_seconds": {(event,): found for event, found in self.upstream_seconds.items()},
        }

    def _counters(self) -> dict[str, dict[tuple[str, ...], float]]:
        def by_transport(websocket: int, polling: int) -> dict[tuple[str, ...], float]:
            return {("websocket",): websocket, ("polling",): polling}

        hub = self.gauges.traffic()
        return {
            "connects": {(): self.connects},
            "disconnects": _sum(((_reason(name),), n) for name, n in self.disconnects.items()),
            "refusals": _sum(
                ((door if door in DOORS else OTHER, _reason(name)), n)
                for (door, name), n in self.refusals.items()
            ),
            "messages_received": by_transport(self.received_websocket, self.received_polling),
            "messages_sent": by_transport(hub.sent_websocket, hub.sent_polling),
            **self._hub_counters(),
            "bytes_received": by_transport(self.bytes_received_websocket, self.bytes_received_polling),
            "bytes_sent": by_transport(
                self.bytes_sent_websocket + hub.bytes_sent_websocket, self.bytes_sent_polling
            ),
            "compressed_broadcasts": {(): hub.compressed},
            "compression_saved_bytes": {(): hub.saved},
            "slow_client_closes": {(): self.slow_client_closes},
            "tunnel_frames_received": {(): self.link_frames_received},
            "tunnel_frames_sent": {(): self.link_frames_sent},
            "tunnel_bytes_received": {(): self.link_bytes_received},
            "tunnel_bytes_sent": {(): self.link_bytes_sent},
            "tunnel_events_resent": {(): self.events_resent},
            "tunnel_gap_answers": {(): self.gap_answers},
            "tunnel_resumes": {(): self.link_resumes},
            "invoke_timeouts": {(): hub.invoke_timeouts},
            "server_timeouts": {(): hub.server_timeouts},
            "late_answers": {(): hub.late_answers},
            "handovers": {(result,): n for result, n in hub.handovers.items()},
            "file_shortages": {(): self.file_shortages},
            "faults": _sum(((part,), n) for part, n in self.faults.items()),
            "log_lines_dropped": {(): self.gauges.log_lines_dropped()},
            "log_lines_suppressed": {(): self.gauges.log_lines_suppressed()},
            "api_requests": _sum(_api_rows(self.api_requests)),
            "admin_requests": _sum(_api_rows(self.admin_requests)),
            **self._cluster_counters(),
        }

    def _hub_counters(self) -> dict[str, dict[tuple[str, ...], float]]:
        # First come, first kept: a counter's label must not change under the reader.
        rows = [
            (name if place < MAX_HUBS else OTHER, counts)
            for place, (name, counts) in enumerate(self.gauges.hub_messages().items())
        ]
        return {
            "hub_messages_received": _sum(((hub,), received) for hub, (received, _) in rows),
            "hub_messages_sent": _sum(((hub,), sent) for hub, (_, sent) in rows),
        }

    def _cluster_counters(self) -> dict[str, dict[tuple[str, ...], float]]:
        cluster, recovery, stored = self.gauges.cluster(), self.gauges.recovery(), self.gauges.stored()
        return {
            "recovery_parks": {(): recovery.parks},
            "recovery_resumed": {(): recovery.resumed},
            "recovery_refused": {(cause,): n for cause, n in recovery.refused.items()},
            "recovery_replayed": {(): recovery.replayed},
            "recovery_dropped": {(): recovery.dropped},
            "recovery_moved": {(): recovery.moved},
            "recovery_incomplete": {(): recovery.incomplete},
            "recovery_store_pages": {(): stored.pages},
            "recovery_store_bytes": {(): stored.bytes},
            "recovery_store_failures": {(): stored.failures},
            "recovery_inherited": {(): stored.inherited},
            "recovery_unread": {(): stored.unread},
            "cluster_messages_sent": {(): cluster.sent},
            "cluster_messages_received": {(): cluster.received},
            "cluster_messages_resent": {(): cluster.resent},
            "cluster_gaps": {(): cluster.gaps},
            "cluster_late_nodes": {(): cluster.late},
            "cluster_bad_messages": {(reason,): n for reason, n in cluster.bad.items()},
            "cluster_relays": {(): cluster.relayed},
            "cluster_passed_connections": {(): cluster.passed},
            "cluster_forwarded": {
                ("to_app_server",): cluster.to_app_servers,
                ("to_client",): cluster.to_clients,
            },
        }

    def _gauges(self) -> dict[str, dict[tuple[str, ...], float]]:
        ask, cluster, recovery = self.gauges, self.gauges.cluster(), self.gauges.recovery()
        pairs = {"connections": ask.connections(), "tunnel_connections": ask.link_connections()}
        singles = {
            "sockets": ask.sockets(),
            "rooms": ask.rooms(),
            "app_servers": ask.app_servers(),
            "cluster_app_servers": ask.cluster_app_servers(),
        }
        shown = self._shown_hubs({hub for rows in pairs.values() for hub, _ in rows}.union(*singles.values()))
        return {
            **{
                name: _sum(((hub if hub in shown else OTHER, kind), n) for (hub, kind), n in rows.items())
                for name, rows in pairs.items()
            },
            **{
                name: _sum(((hub if hub in shown else OTHER,), n) for hub, n in rows.items())
                for name, rows in singles.items()
            },
            "outbox_bytes": {(): ask.outbox_bytes()},
            "tls_certificate_expiry_seconds": {(): ask.tls_expiry()},
            "recovery_parked": {(): recovery.parked},
            "recovery_kept_events": {(): recovery.kept_events},
            "recovery_kept_bytes": {(): recovery.kept_bytes},
            "recovery_store_up": {(): int(ask.stored().up)},
            "cluster_nodes": {(): cluster.nodes},
            "cluster_directory_groups": {(): cluster.groups},
            "cluster_relayed_connections": {(): cluster.relaying},
            "cluster_guests": {(): cluster.guests},
            "event_loop_lag_seconds": {(): self.last_lag},
            "event_loop_lag_max_seconds": {(): self.lag_max},
            "build_info": {(self._version,): 1},
        }

    def _shown_hubs(self, present: set[str]) -> set[str]:
        # Names that were shown stay shown while they exist; a hub that has gone frees its place.
        kept = [name for name in self._keep_hubs if name in present]
        free = MAX_HUBS - len(kept)
        kept += sorted(present.difference(kept))[:free]
        self._keep_hubs = tuple(kept)
        return set(kept)


def _api_rows(requests: Counter[tuple[str, int]]) -> Iterator[tuple[tuple[str, ...], int]]:
    names: dict[str, str] = {}
    for (operation, status), n in requests.items():
        # First come, first kept: a counter's label must not change under the reader.
        name = names.setdefault(operation, operation if len(names) < MAX_OPERATIONS else OTHER)
        yield (name, str(status) if 100 <= status <= 599 else OTHER), n


def _sum(rows: Any) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for labels, n in rows:
        found[labels] = found.get(labels, 0) + n
    return found


def _reason(name: str) -> str:
    return name if name in CATALOGUE else OTHER
