"""Where a scrape finds the values that the parts of a node keep."""

from __future__ import annotations

import math

from moorage import logs
from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.router import Router
from moorage.cluster.streams.streams import CHUNK, REFUSED
from moorage.edge.clients.log import ClientLog
from moorage.edge.http.listener import ClientPort
from moorage.edge.links import LinkAcceptor
from moorage.hub.node import Node
from moorage.metrics.gauges import Cluster, Gauges, Recovery, Stored, Traffic


def gauges(
    node: Node, log: ClientLog, links: LinkAcceptor, port: ClientPort, router: Router, nats: NatsBroker | None
) -> Gauges:
    """Functions for `Metrics.gauges`. None of them walks over clients."""
    return Gauges(
        connections=lambda: _connections(node),
        sockets=lambda: {hub.name: log.sockets[hub.name] for hub in node.hubs.values()},
        rooms=lambda: {hub.name: len(hub.directory.rooms) for hub in node.hubs.values()},
        app_servers=lambda: {hub.name: len(hub.servers) for hub in node.hubs.values()},
        cluster_app_servers=lambda: _elsewhere(node),
        hub_messages=lambda: _hub_messages(node),
        link_connections=links.links,
        outbox_bytes=lambda: node.flusher.waiting,
        traffic=lambda: _traffic(node),
        log_lines_dropped=logs.dropped,
        log_lines_suppressed=lambda: log.suppressed + links.suppressed,
        cluster=lambda: _cluster(router, port, nats),
        tls_expiry=lambda: port.tls.validity.end if port.tls is not None else math.inf,
        recovery=lambda: Recovery(*node.claims.seen(node.hubs.values())),
        stored=lambda: _stored(node),
    )


def _stored(node: Node) -> Stored:
    if node.keeping is None:
        return Stored()
    journal, heirs = node.keeping.journal, node.keeping.heirs
    counts = journal.counts
    return Stored(
        not journal.down, counts.pages, counts.bytes, counts.failures, heirs.inherited, heirs.unread
    )


def _connections(node: Node) -> dict[tuple[str, str], int]:
    # Known hubs without clients report 0, because a missing series looks like a target that is down.
    counts = {(name, kind): 0 for name in node.known_hubs() for kind in ("websocket", "polling")}
    for hub in node.hubs.values():
        counts[hub.name, "websocket"] = hub.websockets
        counts[hub.name, "polling"] = len(hub.directory.connections) - hub.websockets
    return counts


def _hub_messages(node: Node) -> dict[str, tuple[int, int]]:
    tallies = node.tallies
    found = {name: (tally.received, tally.sent) for name, tally in tallies.by_name.items()}
    rest = tallies.rest
    return {**found, "": (rest.received, rest.sent)} if rest.received or rest.sent else found


def _elsewhere(node: Node) -> dict[str, int]:
    """App servers that are linked to other nodes now, by hub."""
    return {hub.name: sum([each.up for each in hub.servers.elsewhere]) for hub in node.hubs.values()}


def _traffic(node: Node) -> Traffic:
    flusher = node.flusher
    return Traffic(
        flusher.sent_websocket,
        flusher.sent_polling,
        flusher.written,
        node.invoke_timeouts,
        node.server_timeouts,
        node.late_answers,
        node.handovers.counts,
        0 if flusher.packer is None else flusher.packer.count,
        flusher.saved,
    )


def _cluster(router: Router, port: ClientPort, nats: NatsBroker | None) -> Cluster:
    membership = router.membership
    if membership is None or nats is None:
        return Cluster()
    streams = router.streams
    return Cluster(
        membership.count,
        streams.sent,
        streams.received,
        streams.resent,
        streams.gaps,
        {**streams.bad, CHUNK: nats.bad, REFUSED: membership.refused},
        *port.relay.counts,
        *router.forwarding.counts,
        groups=len(router.directory),
        late=router.directory.times_late,
    )
