"""Builds a node's live trace from its parts."""

from __future__ import annotations

import time

from moorage.auth import claimed_user
from moorage.cluster.router import Router
from moorage.cluster.trace.traces import Traces
from moorage.config.model import Config
from moorage.control.trace.streams import Streams
from moorage.edge.clients.admission import Admission
from moorage.hub.node import Node
from moorage.hub.trace.tracer import Tracer
from moorage.wire.errors import PeerError


class Tracing:
    """The traces of this node, for itself and for other nodes, and the streams that begin at this node."""

    def __init__(self, config: Config, node: Node, router: Router, incarnation: str) -> None:
        self._keys = (config.admin.read_key, config.admin.operate_key)
        self._tracer = Tracer(node, time.time)
        self.traces = Traces(
            self._tracer,
            router,
            own=incarnation,
            name=config.cluster.shown_name,
            clock=node.clock,
        )
        self.streams = Streams(self.traces, payloads=config.admin.trace_payloads, clock=time.time)

    def listen(self, admission: Admission) -> None:
        """Show clients that are refused before the hub knows them."""
        admission.refused = self._refused

    def _refused(self, hub: str, token: str, is_valid: bool, error: PeerError) -> None:
        if len(self._tracer):
            user = claimed_user(token)
            self._tracer.refused(hub, user, error, claimed=user is not None and not is_valid)

    def reload(self, config: Config) -> None:
        """The configuration may have other keys, and who watches has shown one of the former ones."""
        before, self._keys = self._keys, (config.admin.read_key, config.admin.operate_key)
        if self._keys != before:
            self.streams.keys_changed()

    def tick(self, now: float) -> None:
        """Pass on the packets that were seen."""
        self.traces.tick(now)
