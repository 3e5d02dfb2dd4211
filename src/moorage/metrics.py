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

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from moorage.wire.reasons import CATALOGUE

PREFIX: Final = "moorage_"
MAX_HUBS: Final = 100
MAX_OPERATIONS: Final = 64
LAG_SAMPLES: Final = 60
OTHER: Final = "other"

Door = Literal["client", "link", "api", "http"]
DOORS: Final = ("client", "link", "api", "http")

_AGES: Final = (1, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600)
_QUEUES: Final = (0, 1024, 16 * 1024, 64 * 1024, 256 * 1024, 1024**2, 4 * 1024**2, 16 * 1024**2)
_WAITS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metric(NamedTuple):
    """Description of a metric. `name` excludes the prefix and, for counters, `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str

    @property
    def shown(self) -> str:
        """The name in queries."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"


def _m(name: str, kind: Literal["counter", "gauge", "histogram"], labels: str, help: str) -> Metric:
    return Metric(name, kind, tuple(labels.split()), help)


METRICS: Final = (
    _m("connections", "gauge", "hub transport", "Client connections open now"),
    _m("sockets", "gauge", "hub", "Sockets (a connection's presence in a namespace) open now"),
    _m("rooms", "gauge", "hub", "Rooms with at least one socket of this node"),
    _m("connects", "counter", "", "Client connections opened"),
    _m("disconnects", "counter", "reason", "Client connections ended, by reason"),
    _m("connection_age_seconds", "histogram", "", "Age of client connections at their end"),
    _m("refusals", "counter", "door reason", "Requests and connections refused, by door and reason"),
    _m("messages_received", "counter", "transport", "Engine.IO packets from clients"),
    _m("messages_sent", "counter", "transport", "Engine.IO packets to clients"),
    _m("bytes_received", "counter", "transport", "Bytes of packets from clients"),
    _m("bytes_sent", "counter", "transport", "Bytes of packets to clients"),
    _m("outbox_bytes", "gauge", "", "Bytes queued for all clients now"),
    _m("send_queue_bytes", "histogram", "", "Bytes queued for a client when its connection ended"),
    _m("slow_client_closes", "counter", "", "Clients closed because they did not read fast enough"),
    _m("app_servers", "gauge", "hub", "App servers connected now"),
    _m("tunnel_connections", "gauge", "hub dialect", "Links of app servers open now"),
    _m("tunnel_frames_received", "counter", "", "Tunnel frames from app servers"),
    _m("tunnel_frames_sent", "counter", "", "Tunnel frames to app servers"),
    _m("tunnel_bytes_received", "counter", "", "Bytes of tunnel frames from app servers"),
    _m("tunnel_bytes_sent", "counter", "", "Bytes of tunnel frames to app servers"),
    _m("tunnel_events_resent", "counter", "", "Events sent again to an app server that reconnected"),
    _m("tunnel_gap_answers", "counter", "", "Calls of app servers lost with a link, answered with a failure"),
    _m("tunnel_resumes", "counter", "", "Links that broke and resumed without loss"),
    _m("invoke_timeouts", "counter", "", "Emits with acks that timed out before the last answer"),
    _m("server_timeouts", "counter", "", "Requests among app servers that timed out before the last answer"),
    _m("late_answers", "counter", "", "Answers of clients and app servers that arrived too late"),
    _m("handovers", "counter", "result", "Clients that app servers handed over, by how that ended"),
    _m("upstream_seconds", "histogram", "event", "Time until the app server answered an event"),
    _m("api_requests", "counter", "operation status", "Requests of the data-plane API"),
    _m("faults", "counter", "part", "Exceptions that the service caught and survived, by part"),
    _m("log_lines_dropped", "counter", "", "Log lines lost because the reader was too slow"),
    _m("log_lines_suppressed", "counter", "", "Log lines suppressed because clients caused too many"),
    _m("event_loop_lag_seconds", "gauge", "", "Delay of the event loop at the last sample"),
    _m("event_loop_lag_max_seconds", "gauge", "", f"The largest of the last {LAG_SAMPLES} samples"),
    _m("cluster_nodes", "gauge", "", "Nodes of the cluster that this node hears, itself included"),
    _m("cluster_directory_groups", "gauge", "", "Groups of all nodes that this node keeps in its directory"),
    _m("cluster_join_seconds", "histogram", "", "Time until a join was in effect at all nodes"),
    _m("cluster_late_nodes", "counter", "", "Times that joins no longer waited for a node that was late"),
    _m("cluster_relayed_connections", "gauge", "", "Requests and WebSockets that are relayed to other nodes"),
    _m("cluster_relays", "counter", "", "Requests and WebSockets relayed to other nodes so far"),
    _m("cluster_passed_connections", "counter", "", "TCP connections passed to other nodes of this machine"),
    _m("cluster_messages_sent", "counter", "", "Messages to other nodes"),
    _m("cluster_messages_received", "counter", "", "Messages from other nodes"),
    _m("cluster_messages_resent", "counter", "", "Messages that another node missed and asked for again"),
    _m("cluster_gaps", "counter", "", "Times that messages of another node were lost"),
    _m("cluster_bad_messages", "counter", "reason", "Messages of other nodes that were dropped, by reason"),
    _m("cluster_app_servers", "gauge", "hub", "App servers that are linked to other nodes now"),
    _m("cluster_guests", "gauge", "", "Clients of other nodes whose app server is linked to this node"),
    _m("cluster_forwarded", "counter", "direction", "Packets forwarded to other nodes, by direction"),
    _m("recovery_parked", "gauge", "", "Sockets whose client is away and may come back"),
    _m("recovery_parks", "counter", "", "Times that a socket's client went away and might come back"),
    _m("recovery_resumed", "counter", "", "Sockets whose client came back to them"),
    _m("recovery_refused", "counter", "cause", "Clients that came back and got a new session, by cause"),
    _m("recovery_replayed", "counter", "", "Missed events that were sent to clients that came back"),
    _m("recovery_dropped", "counter", "", "Events that are no longer kept, because of a limit"),
    _m("recovery_moved", "counter", "", "Sockets that moved to another node while their client was away"),
    _m("recovery_kept_events", "gauge", "", "Events that are kept for clients that come back"),
    _m("recovery_kept_bytes", "gauge", "", "Bytes of these events"),
    _m("build_info", "gauge", "version", "Always 1; the version is in the label"),
)
WORKER_METRICS: Final = (
    _m("worker_up", "gauge", "node", "With workers: 1 if the worker's metrics are in this answer, else 0"),
    _m("worker_restarts", "counter", "node", "With workers: how often the worker was started again"),
)
"""About all workers of a machine (`workers.merge`)."""


class Histogram:
    """Fixed buckets with inclusive upper bounds, cumulated only when read."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: (upper bound, number of values up to that bound)."""
        seen = 0
        rows: list[tuple[str, float]] = []
        for bound, found in zip((*map(float, self.bounds), "+Inf"), self.counts, strict=True):
            seen += found
            rows.append((str(bound), seen))
        return rows


def _none() -> dict[Any, int]:
    return {}


class Traffic(NamedTuple):
    """What the hub has counted itself."""

    sent_websocket: int = 0
    sent_polling: int = 0
    bytes_sent_websocket: int = 0
    invoke_timeouts: int = 0
    server_timeouts: int = 0
    late_answers: int = 0
    handovers: Mapping[str, int] = MappingProxyType({})


class Cluster(NamedTuple):
    """This node among the others. A node that is alone is a cluster of one."""

    nodes: int = 1
    sent: int = 0
    received: int = 0
    resent: int = 0
    gaps: int = 0
    bad: Mapping[str, int] = MappingProxyType({})
    relaying: int = 0
    relayed: int = 0
    passed: int = 0
    guests: int = 0
    to_app_servers: int = 0
    """Packets sent to other nodes for app servers there."""
    to_clients: int = 0
    """Packets sent to other nodes for clients there."""
    groups: int = 0
    late: int = 0


class Recovery(NamedTuple):
    """Connection state recovery: what it does now, and what it has done."""

    parked: int = 0
    kept_events: int = 0
    kept_bytes: int = 0
    parks: int = 0
    resumed: int = 0
    replayed: int = 0
    dropped: int = 0
    refused: Mapping[str, int] = MappingProxyType({})
    moved: int = 0


class Gauges(NamedTuple):
    """Values that other parts keep, read at each scrape. Keys are label values in the metric's order."""

    connections: Callable[[], Mapping[tuple[str, str], int]] = _none
    """(hub, transport)"""
    sockets: Callable[[], Mapping[str, int]] = _none
    """hub, as in the next three fields"""
    rooms: Callable[[], Mapping[str, int]] = _none
    app_servers: Callable[[], Mapping[str, int]] = _none
    cluster_app_servers: Callable[[], Mapping[str, int]] = _none
    link_connections: Callable[[], Mapping[tuple[str, str], int]] = _none
    """(hub, dialect)"""
    outbox_bytes: Callable[[], int] = int
    traffic: Callable[[], Traffic] = Traffic
    log_lines_dropped: Callable[[], int] = int
    log_lines_suppressed: Callable[[], int] = int
    cluster: Callable[[], Cluster] = Cluster
    recovery: Callable[[], Recovery] = Recovery


class Metrics:
    """One node's numbers. Add to the attributes; `render` shows them."""

    __slots__ = (
        "_keep_hubs",
        "_lags",
        "_registry",
        "_version",
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
        self.link_frames_received = self.link_frames_sent = 0
        self.link_bytes_received = self.link_bytes_sent = 0
        self.events_resent = self.gap_answers = self.link_resumes = 0
        self.disconnects: Counter[str] = Counter()
        """By the reason's name."""
        self.refusals: Counter[tuple[Door, str]] = Counter()
        """By door and the reason's name."""
        self.faults: Counter[str] = Counter()
        """By the part of the service."""
        self.api_requests: Counter[tuple[str, int]] = Counter()
        """By the operation's name (of the route, never a path) and HTTP status."""
        self.connection_age_seconds = Histogram(_AGES)
        self.send_queue_bytes = Histogram(_QUEUES)
        self.cluster_join_seconds = Histogram(_WAITS)
        self.upstream_seconds = {event: Histogram(_WAITS) for event in ("connect", "message", "disconnected")}

    def lag(self, seconds: float) -> None:
        """Note by how much a timer of the event loop was late. Call about once a second."""
        self._lags.append(seconds)

    def render(self) -> bytes:
        """The body of a scrape, in Prometheus' text format."""
        if self._registry is None:
            # A registry of our own: two nodes in one process (tests) must not share the global one.
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Collector(self))
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

        hub, cluster, recovery = self.gauges.traffic(), self.gauges.cluster(), self.gauges.recovery()
        return {
            "connects": {(): self.connects},
            "disconnects": _sum(((_reason(name),), n) for name, n in self.disconnects.items()),
            "refusals": _sum(
                ((door if door in DOORS else OTHER, _reason(name)), n)
                for (door, name), n in self.refusals.items()
            ),
            "messages_received": by_transport(self.received_websocket, self.received_polling),
            "messages_sent": by_transport(hub.sent_websocket, hub.sent_polling),
            "bytes_received": by_transport(self.bytes_received_websocket, self.bytes_received_polling),
            "bytes_sent": by_transport(
                self.bytes_sent_websocket + hub.bytes_sent_websocket, self.bytes_sent_polling
            ),
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
            "faults": _sum(((part,), n) for part, n in self.faults.items()),
            "log_lines_dropped": {(): self.gauges.log_lines_dropped()},
            "log_lines_suppressed": {(): self.gauges.log_lines_suppressed()},
            "api_requests": _sum(self._api_rows()),
            "recovery_parks": {(): recovery.parks},
            "recovery_resumed": {(): recovery.resumed},
            "recovery_refused": {(cause,): n for cause, n in recovery.refused.items()},
            "recovery_replayed": {(): recovery.replayed},
            "recovery_dropped": {(): recovery.dropped},
            "recovery_moved": {(): recovery.moved},
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

    def _api_rows(self) -> Iterator[tuple[tuple[str, ...], int]]:
        names: dict[str, str] = {}
        for (operation, status), n in self.api_requests.items():
            # First come, first kept: a counter's label must not change under the reader.
            name = names.setdefault(operation, operation if len(names) < MAX_OPERATIONS else OTHER)
            yield (name, str(status) if 100 <= status <= 599 else OTHER), n

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
        lags = self._lags
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
            "recovery_parked": {(): recovery.parked},
            "recovery_kept_events": {(): recovery.kept_events},
            "recovery_kept_bytes": {(): recovery.kept_bytes},
            "cluster_nodes": {(): cluster.nodes},
            "cluster_directory_groups": {(): cluster.groups},
            "cluster_relayed_connections": {(): cluster.relaying},
            "cluster_guests": {(): cluster.guests},
            "event_loop_lag_seconds": {(): lags[-1] if lags else 0.0},
            "event_loop_lag_max_seconds": {(): max(lags, default=0.0)},
            "build_info": {(self._version,): 1},
        }

    def _shown_hubs(self, present: set[str]) -> set[str]:
        # Names that were shown stay shown while they exist; a hub that has gone frees its place.
        kept = [name for name in self._keep_hubs if name in present]
        free = MAX_HUBS - len(kept)
        kept += sorted(present.difference(kept))[:free]
        self._keep_hubs = tuple(kept)
        return set(kept)


class _Collector:
    """Turns a `Metrics` into the client library's families, at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Any]:
        samples, histograms = self._metrics.samples(), self._metrics.histograms()
        for metric in METRICS:
            name, labels = f"{PREFIX}{metric.name}", metric.labels
            if metric.kind == "histogram":
                family = HistogramMetricFamily(name, metric.help, labels=labels)
                for values, found in histograms[metric.name].items():
                    family.add_metric(values, found.buckets(), found.total)
                yield family
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            plain = kind(name, metric.help, labels=labels)
            for values, value in samples[metric.name].items():
                plain.add_metric(values, value)
            yield plain


def _sum(rows: Any) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for labels, n in rows:
        found[labels] = found.get(labels, 0) + n
    return found


def _reason(name: str) -> str:
    return name if name in CATALOGUE else OTHER
