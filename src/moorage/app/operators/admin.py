"""Builds a node's Admin API from its parts."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from moorage import __version__, auth
from moorage.app.operators.history import History
from moorage.app.operators.load import Load, traffic
from moorage.auth import AccessKeys
from moorage.config.model import Config
from moorage.control.admin.access.callers import Callers
from moorage.control.admin.access.keys import AdminKeys
from moorage.control.admin.api import AdminApi
from moorage.control.admin.audit import Audit
from moorage.control.admin.operations import Operation, Table
from moorage.control.admin.questions import Execute, Known, Questions
from moorage.control.admin.table import Operations
from moorage.control.adminui.asking import Asking
from moorage.control.adminui.server import AdminUi
from moorage.control.adminui.stats import STATS, Sockets, Stats, StatsQuery
from moorage.control.dashboard import routes as dashboard
from moorage.control.rest import Count
from moorage.control.trace.streams import Traces
from moorage.edge.http.forwarded import TrustedProxies
from moorage.edge.limits.networks import counted_address
from moorage.hub.inspect.busiest import Busiest
from moorage.hub.inspect.census import Census
from moorage.hub.inspect.endings import Endings
from moorage.hub.inspect.inspector import Inspector
from moorage.hub.inspect.rooms import RoomIndex
from moorage.hub.node import Node
from moorage.hub.ports import Faults
from moorage.metrics.metrics import Metrics
from moorage.wire.inspect import forms
from moorage.wire.inspect.forms import Question


class Admin:
    """The Admin API of one node, and what it knows of the node's clients. It exists if the configuration has
    a key for it at the start."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.name = config.cluster.shown_name
        self.keys = AdminKeys(config.admin.read_key, config.admin.operate_key)
        self.audit = Audit(self.name, time.time)
        self.census = Census()
        self.rooms = RoomIndex()
        self.endings = Endings(time.monotonic, time.time)
        self.sockets = Sockets()
        self._parts: tuple[Questions, Callers] | None = None
        self.observers = (self.census, self.endings, self.sockets)
        """Observers of the node's clients."""

    def look_at(
        self, node: Node, metrics: Metrics, drain: Callable[[], object]
    ) -> Sequence[tuple[str, Load | History | Busiest]]:
        """Answer questions about this node. Returns what needs a tick, with the names of these parts."""
        now = time.monotonic()
        load = Load(node, metrics, now, lambda: self.rooms.total)
        history = History(node, metrics, time.time, now)
        self.count_rooms(node)
        node.inspections.inspector = inspector = Inspector(
            node,
            self.name,
            census=self.census,
            rooms=self.rooms,
            endings=self.endings,
            drain=drain,
        )
        inspector.add(forms.NODE, Question, lambda _: load.now())
        inspector.add(forms.HISTORY, Question, lambda _: history.show())
        inspector.add(forms.AUDIT, forms.AuditQuery, self.audit.list)
        stats = Stats(node, self.sockets, lambda: _traffic(node, metrics), _about_process(self.name))
        inspector.add(STATS, StatsQuery, stats.now)
        return ("load", load), ("history", history), ("busiest", inspector.busiest)

    def count_rooms(self, node: Node) -> None:
        """Note the rooms of the node. Call it before the first hub exists."""
        if node.members is not self.rooms:
            self.rooms.others, node.members = node.members, self.rooms

    def routes(
        self,
        *,
        keys: AccessKeys,
        execute: Execute,
        list_nodes: Callable[[], Sequence[Any]],
        known: Callable[[], Sequence[Known]],
        count: Count,
        more: Sequence[Operation],
    ) -> list[Route]:
        """The routes. `known` lists all nodes, `list_nodes` also what heartbeats tell of them; `more` are the
        operations of other parts."""
        config = self.config
        proxies = TrustedProxies(config.server.trusted_proxies)

        def address_of(request: Request) -> str:
            headers: dict[str, list[str]] = {}
            for name, value in request.headers.items():
                headers.setdefault(name, []).append(value)
            peer = request.client.host if request.client is not None else ""
            return proxies.client(peer, headers)

        def check_token(request: Request) -> None:
            base = config.server.public_endpoint or request.headers.get("host", "")
            auth.verify(
                auth.bearer(request.headers.get("authorization", "")),
                keys,
                auth.rest_audiences(base, request.url.path, request.url.query),
                time.time(),
                config.auth.clock_skew,
            )

        callers = Callers(
            self.keys,
            address_of=address_of,
            network_of=counted_address,
            clock=time.time,
            ticks=time.monotonic,
            origin=config.server.public_endpoint,
        )
        about = {
            "node": self.name,
            "version": __version__,
            "region": config.cluster.region,
            "trace_payloads": config.admin.trace_payloads,
        }
        questions = Questions(execute, known)
        self._parts = (questions, callers)
        table = Operations(questions, self.audit, list_nodes, about).table()
        api = AdminApi(
            Table(*table.operations, *more),
            self.keys,
            callers,
            token_check=check_token,
            session_ttl=config.admin.session_ttl,
            clock=time.time,
            count=count,
            note=self.audit.note,
            public_endpoint=config.server.public_endpoint,
        )
        return [*api.routes, *dashboard.routes(enabled=lambda: self.keys.enabled)]

    def serve_ui(self, node: Node, traces: Traces, faults: Faults) -> None:
        """Serve Socket.IO's Admin UI. Call it after `routes`."""
        assert self._parts is not None
        questions, callers = self._parts
        admin = self.config.admin
        asking = Asking(node, questions, self.keys, traces, payloads=admin.trace_payloads, clock=time.time)
        ui = AdminUi(
            node,
            asking,
            callers,
            self.audit.note,
            faults=faults,
            default_hub=self.config.default_hub,
            session_ttl=admin.session_ttl,
        )
        ui.begin()


def _about_process(name: str) -> dict[str, Any]:
    return {"name": name, "hostname": socket.gethostname(), "pid": os.getpid()}


def _traffic(node: Node, metrics: Metrics) -> dict[str, int]:
    """Packets and bytes by the types of the Admin UI."""
    passed = traffic(node, metrics)
    return {
        "packetsIn": passed.messages_in,
        "packetsOut": passed.messages_out,
        "bytesIn": passed.bytes_in,
        "bytesOut": passed.bytes_out,
    }
