"""Values that other parts of the service keep and a scrape asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


def _none() -> dict[Any, Any]:
    return {}


def _never() -> float:
    return math.inf


class Traffic(NamedTuple):
    """Numbers that the hub counts itself."""

    sent_websocket: int = 0
    sent_polling: int = 0
    bytes_sent_websocket: int = 0
    invoke_timeouts: int = 0
    server_timeouts: int = 0
    late_answers: int = 0
    handovers: Mapping[str, int] = MappingProxyType({})
    compressed: int = 0
    """Broadcasts that were compressed."""
    saved: int = 0
    """Bytes that compression has saved."""


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
    """The state of connection state recovery, and what it has done."""

    parked: int = 0
    kept_events: int = 0
    kept_bytes: int = 0
    parks: int = 0
    resumed: int = 0
    replayed: int = 0
    dropped: int = 0
    refused: Mapping[str, int] = MappingProxyType({})
    moved: int = 0
    incomplete: int = 0


class Stored(NamedTuple):
    """What a node stores of its recoverable sockets, so that they survive its loss."""

    up: bool = False
    pages: int = 0
    bytes: int = 0
    failures: int = 0
    inherited: int = 0
    unread: int = 0


class Gauges(NamedTuple):
    """Values that other parts keep, read at each scrape. Keys are label values in the metric's order."""

    connections: Callable[[], Mapping[tuple[str, str], int]] = _none
    """(hub, transport)"""
    sockets: Callable[[], Mapping[str, int]] = _none
    """hub, as in the next three fields"""
    rooms: Callable[[], Mapping[str, int]] = _none
    app_servers: Callable[[], Mapping[str, int]] = _none
    cluster_app_servers: Callable[[], Mapping[str, int]] = _none
    hub_messages: Callable[[], Mapping[str, tuple[int, int]]] = _none
    """Packets from and to clients, by hub, in an order that stays."""
    link_connections: Callable[[], Mapping[tuple[str, str], int]] = _none
    """(hub, dialect)"""
    outbox_bytes: Callable[[], int] = int
    traffic: Callable[[], Traffic] = Traffic
    log_lines_dropped: Callable[[], int] = int
    log_lines_suppressed: Callable[[], int] = int
    cluster: Callable[[], Cluster] = Cluster
    tls_expiry: Callable[[], float] = _never
    """When the certificate expires, in seconds since 1970; infinite without TLS."""
    recovery: Callable[[], Recovery] = Recovery
    stored: Callable[[], Stored] = Stored
