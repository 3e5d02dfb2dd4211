"""The names, labels and help texts of all metrics."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

PREFIX: Final = "moorage_"
LAG_SAMPLES: Final = 60


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
    _m("hub_messages_received", "counter", "hub", "Engine.IO packets from clients of a hub"),
    _m("hub_messages_sent", "counter", "hub", "Engine.IO packets to clients of a hub"),
    _m("bytes_received", "counter", "transport", "Bytes of packets from clients"),
    _m("bytes_sent", "counter", "transport", "Bytes of packets to clients"),
    _m("compressed_broadcasts", "counter", "", "Broadcasts that were compressed"),
    _m("compression_saved_bytes", "counter", "", "Bytes to clients that compression has saved"),
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
    _m("admin_requests", "counter", "operation status", "Requests of the Admin API"),
    _m("tls_certificate_expiry_seconds", "gauge", "", "When the certificate expires, in Unix time"),
    _m("faults", "counter", "part", "Exceptions that the service caught and survived, by part"),
    _m("file_shortages", "counter", "", "Times that no file descriptor was free for a connection"),
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
    _m("recovery_incomplete", "counter", "", "Sockets that may lack events lost between two nodes, and end"),
    _m("recovery_kept_events", "gauge", "", "Events that are kept for clients that come back"),
    _m("recovery_kept_bytes", "gauge", "", "Bytes of these events"),
    _m("recovery_store_up", "gauge", "", "1 while what recovery needs is stored outside of this process"),
    _m("recovery_store_pages", "counter", "", "Pages that were stored"),
    _m("recovery_store_bytes", "counter", "", "Bytes of these pages"),
    _m("recovery_store_failures", "counter", "", "Times that a page could not be stored, or not for certain"),
    _m("recovery_inherited", "counter", "", "Sockets of lost nodes with which this node went on"),
    _m("recovery_unread", "counter", "", "Lost nodes whose sockets could not be read"),
    _m("build_info", "gauge", "version", "Always 1; the version is in the label"),
)
WORKER_METRICS: Final = (
    _m("worker_up", "gauge", "node", "With workers: 1 if the worker's metrics are in this answer, else 0"),
    _m("worker_restarts", "counter", "node", "With workers: how often the worker was started again"),
)
"""About all workers of a machine (`workers.merge`)."""
