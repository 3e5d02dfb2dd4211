"""The composition root: builds one node and its parts, starts it, and stops it in order. Nothing but this
file knows all the parts. The order of a stop is the method `Service.stop`. `process` runs a node as a
process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moorage import __version__, logs
from moorage.app import drain as draining
from moorage.app.alarm import Alarm
from moorage.app.faults import Faults
from moorage.app.gauges import gauges
from moorage.app.operators.admin import Admin
from moorage.app.operators.history import History
from moorage.app.operators.load import Load
from moorage.app.operators.tracing import Tracing
from moorage.app.recovery import RecoveryStore
from moorage.app.telemetry import sender
from moorage.auth import AccessKeys
from moorage.cluster.coverage.coverage import Coverage
from moorage.cluster.forwarding import listing
from moorage.cluster.local import LocalBroker
from moorage.cluster.members.membership import Member
from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.ports import Join
from moorage.cluster.recovery.pids import Pids
from moorage.cluster.router import Router
from moorage.config.model import Config, ShutdownSettings
from moorage.control import nodes, ops, rest
from moorage.control.admin.questions import Known
from moorage.control.adminui.server import HUB
from moorage.control.work import ApiWork
from moorage.edge.clients.admission import Admission
from moorage.edge.clients.log import ClientLog
from moorage.edge.clients.polling import PollingHandler
from moorage.edge.clients.websocket import WebSocketAcceptor
from moorage.edge.http.listener import ClientPort, not_found_body
from moorage.edge.links import LinkAcceptor
from moorage.edge.relay.passing import Passing
from moorage.edge.relay.relay import Relay, local_socket
from moorage.edge.tcp.tls import TlsError
from moorage.hub.inspect.busiest import Busiest
from moorage.hub.node import Node
from moorage.hub.observers import Observers
from moorage.hub.settings import HubSettings
from moorage.metrics.metrics import Metrics
from moorage.wire import ids
from moorage.wire.cluster.messages import VERSION, Alive
from moorage.wire.deflate.messages import Packer
from moorage.wire.errors import PeerError
from moorage.wire.groups import base64url
from moorage.wire.reasons import UNKNOWN_PATH

TICK_SECONDS: Final = 0.25
INSPECTION_PAUSE: Final = 0.001
"""Seconds between two steps of the work for operators, if there is much of it."""
SID_BYTES: Final = 16
"""128 random bits after the node's incarnation."""

log: Final = logs.get("app")


class Service:
    """One node, ready to `start`. `reload` may be called at any time while it runs. `join` makes the node's
    broker; by default the configuration decides between NATS and a node that is alone. A worker of a
    supervisor has `siblings`, and `run_dir`: the private directory in which all workers of the supervisor put
    their Unix sockets (`INCARNATION.sock`)."""

    def __init__(
        self,
        config: Config,
        join: Join | None = None,
        *,
        siblings: ops.Siblings | None = None,
        run_dir: Path | None = None,
    ) -> None:
        self.config = config
        self.run_dir = run_dir
        self._siblings = siblings
        self.keys = AccessKeys(config.keys.primary, config.keys.secondary or None)
        self.metrics = Metrics(__version__, tuple(config.hubs))
        self.faults = Faults(self.metrics.faults)
        self._loop = asyncio.get_running_loop()
        self._ready = False
        self._ticker: asyncio.Task[None] | None = None
        self.incarnation = ids.new_incarnation(config.cluster.sid_prefix)
        self.client_log = ClientLog(
            self.metrics,
            connects=config.log.connects,
            per_second=config.log.client_lines_per_second,
            clock=time.monotonic,
        )
        self.admin = Admin(config) if config.admin.enabled else None
        self._alarm = Alarm(lambda: self.node.heartbeats.tick(time.monotonic()))
        self.node = self._make_node(config)
        self.node.handovers.hold = config.links.hold
        self._nats: NatsBroker | None = None
        if join is None and config.cluster.nats_url:
            self._nats = NatsBroker(config.cluster, self.incarnation)
        broker = self._nats or (join or LocalBroker)(self.incarnation)
        self._alone = isinstance(broker, LocalBroker)
        self.router = Router(
            self.node,
            broker,
            self.incarnation,
            connect_timeout=config.links.connect_timeout,
            soon=None if self._nats is None else self._nats.soon,
            joined=self.metrics.cluster_join_seconds.observe,
        )
        self._store = RecoveryStore(config, self.node, self.router)
        self.tracing = Tracing(config, self.node, self.router, self.incarnation)
        self._api_work = ApiWork(self.node.submit, self.node.turns, self.node.inspections)
        self.when_told_to_drain: Callable[[], object] = lambda: None
        """Called when an operator drains this node."""
        self._samplers = self._let_operators_look()
        self.node.heartbeats.wake_at = self._alarm.set
        self._build_edge(config)
        self._coverage = self._cover(config)
        if not self._alone:
            self.links.join(self._coverage)
        parts = (self.node, self.client_log, self.links, self.port, self.router, self._nats)
        self.metrics.gauges = gauges(*parts)
        self.node.claims.refused = self.client_log.not_recovered
        name = config.cluster.shown_name
        self._otel = sender(os.environ, self.metrics, node=name, incarnation=self.incarnation)
        if self._otel is not None and self._otel.spans is not None:
            self.links.trace(self._otel.spans)

    def _make_node(self, config: Config) -> Node:
        log = self.client_log
        node = Node(
            new_id=lambda: self.incarnation + base64url(os.urandom(SID_BYTES)),
            clock=time.monotonic,
            later=self._loop.call_soon,
            observer=log if self.admin is None else Observers(log, *self.admin.observers),
            faults=self.faults,
            limits=config.limits,
            invoke_timeout=config.links.invoke_timeout,
            hubs=_hubs(config),
            allow_unlisted_hubs=config.allow_unlisted_hubs,
            incarnation=self.incarnation,
        )
        pids = Pids(self.keys, node.new_id)
        node.claims.new_pid, node.claims.is_genuine = pids.make, pids.is_genuine
        return node

    def _let_operators_look(self) -> Sequence[tuple[str, Load | History | Busiest]]:
        """Returns what samples this node for them."""
        self.node.inspections.pause = partial(self._loop.call_later, INSPECTION_PAUSE)
        if self.admin is None:
            return ()
        return self.admin.look_at(self.node, self.metrics, self._told_to_drain)

    def _cover(self, config: Config) -> Coverage:
        own = config.cluster
        member = Member(self.incarnation, own.shown_name, own.region, own.advertise, VERSION)
        most = config.coverage.max
        return Coverage(self.node, self.router, member, self._is_reachable, most=most)

    def _is_reachable(self, node: Member) -> bool:
        return bool(node.advertise) or self.relay.reaches(node.incarnation)

    def _build_edge(self, config: Config) -> None:
        self.admission = admission = Admission(
            node=self.node,
            keys=self.keys,
            auth_settings=config.auth,
            server=config.server,
            cors=config.cors,
            default_hub=config.default_hub,
            log=self.client_log,
            wall_clock=time.time,
        )
        self.tracing.listen(admission)
        admission.admin_hub = HUB if config.admin.serves_ui else ""
        address_of, limit = self.router.address_of, config.server.max_relays
        ca_file = config.server.tls.ca_file
        self.node.flusher.send = os.write
        packing = config.server.compression
        if packing.enabled:
            self.node.flusher.packer = Packer(packing.level, packing.threshold, packing.max_size)
        self.relay = Relay(self.keys, self.incarnation, address_of, limit=limit, ca_file=ca_file)
        most = config.limits.max_packets_per_payload
        self.polling = PollingHandler(admission, self.relay, most, clock=time.monotonic)
        self.sockets = WebSocketAcceptor(
            admission,
            self.relay,
            release_poll=self.polling.release_poll,
            upgraded=self.polling.upgraded,
            farewell=self.polling.farewell,
            clock=time.monotonic,
        )
        self.links = LinkAcceptor(
            node=self.node,
            metrics=self.metrics,
            keys=self.keys,
            auth_settings=config.auth,
            server=config.server,
            settings=config.links,
            max_waiting=config.limits.outbox_bytes_link,
            clock=time.monotonic,
            wall_clock=time.time,
            relay=self.relay,
        )
        self.port = ClientPort(
            config.server,
            polling=self.polling,
            sockets=self.sockets,
            links=self.links,
            relay=self.relay,
            apis=self._apis(config),
            metrics=self.metrics,
            log=self.client_log,
        )

    def _apis(self, config: Config) -> Starlette:
        async def not_found(request: Request, _error: Exception) -> Response:
            self.client_log.request_refused("http", PeerError(UNKNOWN_PATH), request.url.path)
            return Response(not_found_body(request.url.path), 404, media_type="application/json")

        routes = [
            *ops.routes(
                not_ready=self.not_ready,
                metrics=self.metrics.render if config.metrics.enabled else None,
                siblings=self._siblings,
            ),
            *self._admin_routes(),
            nodes.route(
                self._nodes,
                keys=self.keys,
                settings=config.auth,
                public_endpoint=config.server.public_endpoint,
                clock=time.time,
                count=self._count_api,
            ),
            *rest.routes(
                keys=self.keys,
                execute=self._api_work.execute,
                settings=config.auth,
                public_endpoint=config.server.public_endpoint,
                max_body=config.links.max_frame,
                clock=time.time,
                count=self._count_api,
                ready=lambda: not self.not_ready(),
            ),
        ]
        made = Starlette(routes=routes, exception_handlers={404: not_found})
        # It would redirect to a URL made from the Host header, which a stranger writes.
        made.router.redirect_slashes = False
        return made

    def _told_to_drain(self) -> None:
        self.when_told_to_drain()

    def _admin_routes(self) -> list[Route]:
        if self.admin is None:
            return []
        return self.admin.routes(
            keys=self.keys,
            execute=self._api_work.execute,
            list_nodes=self._nodes,
            known=self._known,
            count=self._count_admin,
            more=[self.tracing.streams.operation(self.admin.audit.note)],
        )

    def _known(self) -> list[Known]:
        membership = self.router.membership
        others = () if membership is None else membership.members.values()
        own = Known(self.incarnation, self.config.cluster.shown_name)
        return [own, *(Known(each.incarnation, each.name) for each in others)]

    def _nodes(self) -> list[listing.NodeInfo]:
        return listing.nodes(self.router, self.node, self.incarnation, self._describe(self._own))

    @property
    def _own(self) -> Alive:
        own = self.config.cluster
        return Alive(own.shown_name, region=own.region, advertise=own.advertise, release=__version__)

    def _describe(self, beat: Alive) -> Alive:
        return replace(beat, clients=self.node.connections, state=self.not_ready() or "ready")

    def _count_admin(self, operation: str, status: int, reason: str | None) -> None:
        self.metrics.admin_requests[operation, status] += 1
        if reason is not None:
            self.metrics.refusals["admin", reason] += 1

    def _count_api(self, operation: str, status: int, reason: str | None) -> None:
        self.metrics.api_requests[operation, status] += 1
        if reason is not None:
            self.metrics.refusals["api", reason] += 1

    def not_ready(self) -> str:
        """The reason why no new client should be sent here; "" if there is none."""
        if not self._ready:
            return "draining" if self.node.draining else "starting"
        membership = self.router.membership
        if membership is None or self._nats is None:
            return ""
        if not self._nats.connected:
            return "no-nats"
        now = time.monotonic()
        if not membership.has_listened(now):
            return "joining"
        return "" if self._coverage.is_covered(now) else "uncovered"

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> str:
        """Start to listen. Returns the base URL. A worker opens only its own port, not yet the shared one.
        Raises `OSError` if the address cannot be bound, and `UsageError` if no NATS server can be used."""
        if self._nats is not None:
            await self._nats.connect()
        await self._store.start()
        try:
            url = await (self.port.start() if self._siblings is None else self.port.start_own())
        except OSError:
            self.router.stop()
            raise
        if self.run_dir is not None:
            self.relay.passing = Passing(self.run_dir, self.incarnation, self.port.take)
            self.relay.passing.start()
            await self.port.start_local(local_socket(self.run_dir, self.incarnation))
            self.relay.folder = self.run_dir
        if not self._alone:
            # Without other nodes a list of this node's groups would cost each of them 2 us and 100 bytes.
            self.router.start()
            if self.admin is not None:
                self.admin.count_rooms(self.node)
        if self.admin is not None and self.config.admin.serves_ui:
            self.admin.serve_ui(self.node, self.tracing.traces, self.faults)
        if self._nats is not None:
            self.router.join(self._own, self._describe)
        self._ticker = asyncio.create_task(self._tick())
        if self._otel is not None:
            self._otel.start()
        self._ready = True
        return url

    async def _tick(self) -> None:
        """A few times a second every part checks its deadlines. Only heartbeats are more exact: they have
        a timer of their own. A fault in one part does not keep the others from their tick."""
        parts = (
            ("links", self.links),
            ("node", self.node),
            ("router", self.router),
            ("websockets", self.sockets),
            ("polling", self.polling),
            ("relay", self.relay),
            ("port", self.port),
            ("log", self.client_log),
            *self._samplers,
            ("trace", self.tracing),
            *((("nats", self._nats),) if self._nats is not None else ()),
        )
        sampled = 0.0
        while True:
            due = self._loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            for name, part in parts:
                try:
                    part.tick(now)
                except Exception as error:
                    self.faults(name, error)
            if now - sampled >= 1.0:
                sampled = now
                self.metrics.lag(max(0.0, self._loop.time() - due))

    def reload(self, config: Config) -> None:
        """Apply what can change while running: keys, hubs, lists of addresses, and certificates."""
        self.tracing.reload(config)
        if self.admin is not None:
            self.admin.keys.replace(config.admin.read_key, config.admin.operate_key)
        self.keys.replace(config.keys.primary, config.keys.secondary or None)
        self.node.configure(_hubs(config), allow_unlisted_hubs=config.allow_unlisted_hubs)
        self.admission.client_limits.reload(config.server)
        self.relay.reload(config.server.tls.ca_file)
        if self.port.tls is not None:
            try:
                self.port.tls.reload(config.server.tls)
            except TlsError as error:
                # The files have changed since the configuration was checked.
                log.error("certificate not reloaded", problem=str(error))
            else:
                # The names of the files are the same after a renewal, so no setting has changed.
                log.info("certificate reloaded", expires=self.port.tls.expires)

    async def stop(self, *, drain: bool = True) -> None:
        """Stop in order: not ready, no new clients and links, clients closed at a pace, links, the rest.
        `drain=False` closes everything at once."""
        self._ready = False
        self.node.draining = True
        self.tracing.streams.stop()
        if drain:
            await self._drain(self.config.shutdown)
        else:
            draining.close_now(self.node, self.node.everyone())
            await asyncio.sleep(TICK_SECONDS)
        self.links.close()
        self.relay.close()
        await self.port.stop()
        self.router.stop()
        await self._store.stop()
        if self._nats is not None:
            await self._nats.closed()
        if self._ticker is not None:
            self._ticker.cancel()
        self._alarm.cancel()
        if self._otel is not None:
            await self._otel.stop()

    async def _drain(self, settings: ShutdownSettings) -> None:
        """Wait until all clients are closed and all app servers know it, or until `shutdown.timeout` has
        passed."""
        end = self._loop.time() + settings.timeout
        until = end - draining.reserve(settings)
        self.links.drain(draining.seconds_for(settings, len(self.node.everyone())))
        await asyncio.sleep(min(settings.lb_wait, settings.timeout))
        # The listener stays open: polling clients fetch their last packets, and monitors and balancers
        # check the state. New clients and links are refused as `draining`.
        await draining.close_clients(self.node, settings, until)
        # Clients that do not come back before this node has ended find their sockets at another one.
        leaving = min(until, self._loop.time() + draining.LEAVE_SECONDS)
        await draining.once_true(self.router.recovery.leave, leaving)
        # One turn of the loop for the last answers to polls and to app servers.
        await asyncio.sleep(TICK_SECONDS)
        last = min(end, self._loop.time() + draining.LAST_SECONDS)
        await draining.once_true(lambda: not len(self.sockets.sweep), last)
        await draining.once_true(lambda: self.links.settled, end)


def _hubs(config: Config) -> Mapping[str, HubSettings]:
    """The hubs' settings. That of Socket.IO's Admin UI has the defaults, whatever the others have."""
    return {**config.hubs, HUB: HubSettings()} if config.admin.serves_ui else config.hubs
