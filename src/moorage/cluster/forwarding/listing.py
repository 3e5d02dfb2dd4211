"""The nodes of the cluster and their app servers, for people. Any node can list them: the figures of the
others come from their heartbeats and from their lists of app servers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from moorage.cluster.forwarding.announced import Announced
from moorage.cluster.router import Router
from moorage.hub.node import Node
from moorage.wire.cluster.forwarding import AppServerRow
from moorage.wire.cluster.messages import Alive


class AppServerInfo(msgspec.Struct, frozen=True):
    """One app server at one node. An app server that covers several nodes is listed at each of them."""

    hub: str
    id: str
    instance: str
    dialect: str
    clients: int
    up: bool
    """False while it has no link here and may still come back."""
    draining: bool
    home: bool
    """True at the node that forwards its commands."""


class NodeInfo(msgspec.Struct, frozen=True):
    """One node."""

    name: str
    incarnation: str
    region: str
    advertise: str
    version: str
    """Version of the package; empty if the node is too old to send it."""
    protocol: str
    state: str
    """"ready", or why the node takes no new clients."""
    heartbeat_age: float
    """Seconds since its last heartbeat arrived; 0 for the node that answers."""
    clients: int
    app_servers: list[AppServerInfo]


def nodes(router: Router, node: Node, incarnation: str, own: Alive) -> list[NodeInfo]:
    """All nodes, ordered by name. `own` describes this one."""
    announced = Announced(node)
    announced.refresh()
    found = [_info(incarnation, own, 0.0, announced.all.rows)]
    membership, now = router.membership, node.clock()
    for other, (beat, heard) in membership.heard().items() if membership is not None else ():
        found.append(_info(other, beat, max(0.0, now - heard), router.forwarding.app_servers(other)))
    return sorted(found, key=lambda info: (info.name, info.incarnation))


def _info(incarnation: str, beat: Alive, age: float, rows: Iterable[AppServerRow]) -> NodeInfo:
    return NodeInfo(
        beat.name,
        incarnation,
        beat.region,
        beat.advertise,
        beat.release,
        ".".join(map(str, beat.version)),
        beat.state,
        round(age, 2),
        beat.clients,
        [
            AppServerInfo(
                row.hub, row.id, row.instance, row.dialect, row.clients, row.up, row.draining, row.home
            )
            for row in rows
        ],
    )
