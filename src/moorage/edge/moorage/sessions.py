"""The sessions of the moorage dialect. A hello begins a session or resumes one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Final

from moorage import __version__
from moorage.edge.moorage.coverage import Coverage, Homes
from moorage.edge.moorage.frames.dispatcher import Dispatcher
from moorage.edge.moorage.intake import Reader
from moorage.edge.moorage.link import MoorageSocket
from moorage.edge.moorage.returns import WITH_RECOVERY, SessionReturns
from moorage.edge.moorage.server import MoorageServer
from moorage.edge.moorage.tracing import REVISION as TRACING
from moorage.edge.moorage.tracing import Spans, Traces
from moorage.edge.settings import LinkSettings
from moorage.edge.sockets import STEP_SECONDS, Sweep
from moorage.hub.hub import AppServer, Hub
from moorage.hub.node import Node
from moorage.metrics.metrics import Metrics
from moorage.wire import reasons
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.moorage.listing import SharedHeaders

SEVERAL_NODES: Final = 4
"""Revision of the link protocol from which app servers may have sessions at several nodes."""
HELLO_SECONDS: Final = 10.0
MIN_WINDOW: Final = 64 * 1024
MAX_WINDOW: Final = 2**40


class Sessions:
    """All sessions, by hub and server id; `edge.moorage.link.Greeter`."""

    def __init__(
        self,
        node: Node,
        metrics: Metrics,
        settings: LinkSettings,
        max_waiting: int,
        *,
        node_id: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        later: Callable[[Callable[[], object]], object],
    ) -> None:
        self.node = node
        self.metrics = metrics
        self.settings = settings
        self._max_waiting = max_waiting
        self.clock = clock
        self._node_id = node_id
        self.homes: Homes | None = None
        """The other nodes. Set before the first link."""
        self.spans: Spans | None = None
        """Makes the spans of sampled events. Set before the first link; None if nothing is sampled."""
        self._traces: dict[MoorageServer, Traces] = {}
        self._wall_clock = wall_clock
        self._headers = SharedHeaders()
        self._later = later
        self._sessions: dict[tuple[str, str], tuple[MoorageServer, Reader]] = {}
        self._client_numbers = itertools.count(1)
        """Shared by all sessions and never reset: a frame about a client of a lost session that enters the
        next session names nobody there."""
        self.sweep = Sweep(clock)
        """Watches links without a hello, and closed ones."""
        self._ticked = clock()

    def socket(self, hub: str, server_id: str) -> MoorageSocket:
        """The socket of a link that was accepted. Its hello is due."""
        made = MoorageSocket(self, hub, server_id)
        self.sweep.watch(made, min(HELLO_SECONDS, 3 * self.settings.heartbeat))
        return made

    def knows(self, hub: str, server_id: str) -> bool:
        """True if there is a session that this app server may resume."""
        found = self.node.hub(hub)
        known = None if found is None else self._sessions.get((found.name, server_id))
        return known is not None and not known[0].over

    def links(self) -> dict[str, int]:
        """Open links by hub."""
        counts: dict[str, int] = {}
        for server, _ in self._sessions.values():
            counts[server.hub.name] = counts.get(server.hub.name, 0) + (server.transport is not None)
        return counts

    def greet(self, socket: MoorageSocket, hello: v1.AppHello) -> tuple[MoorageServer, Reader]:
        """`Greeter.greet`."""
        if hello.revision < 1:
            raise PeerError(reasons.LINK_VERSION, f"revision {hello.revision}")
        if not MIN_WINDOW <= hello.window <= MAX_WINDOW:
            raise PeerError(reasons.LINK_BAD_FRAME, f"the window must have {MIN_WINDOW} bytes or more")
        hub = self.node.ensure_hub(socket.hub)
        self.sweep.forget(socket)
        known = self._sessions.get((hub.name, socket.server_id))
        if known is not None and not known[0].over and hello.session == known[0].session:
            return self._resume(socket, hello, *known)
        app = hub.servers.get(socket.server_id)
        if (app is not None and app.up) or _is_taken_elsewhere(hub, socket.server_id, hello.instance):
            raise PeerError(reasons.LINK_SERVER_TAKEN, socket.server_id)
        self.evict(hub, socket.server_id)
        if app is not None:
            self.node.drop_server(hub, app)
        return self._begin(socket, hello, hub)

    def _resume(
        self, socket: MoorageSocket, hello: v1.AppHello, server: MoorageServer, reader: Reader
    ) -> tuple[MoorageServer, Reader]:
        replay = server.out.resume(hello.received)
        server.acks.taken()
        server.out.window = server.window_of(hello.window)
        server.revision = min(hello.revision, v1.REVISION)
        old = server.transport
        if old is not None:
            server.lost(old)
            old.close(reasons.LINK_REPLACED)
        self.metrics.link_resumes += 1
        server.app.address = socket.address
        server.attach(socket, self._hello(server, resumed=True), replay)
        return server, reader

    def evict(self, hub: Hub, server_id: str) -> None:
        """Drop the session of an app server that has come back without it, perhaps in another dialect."""
        known = self._sessions.pop((hub.name, server_id), None)
        if known is not None:
            known[0].give_up("app server came back anew")

    def _begin(self, socket: MoorageSocket, hello: v1.AppHello, hub: Hub) -> tuple[MoorageServer, Reader]:
        hub = self.node.ensure_hub(hub.name)
        server = MoorageServer(
            self.node,
            self.metrics,
            self.settings,
            self._max_waiting,
            hub,
            socket.server_id,
            hello=hello,
            numbers=self._client_numbers,
            later=self._later,
            wall_clock=self._wall_clock,
        )
        coverage = None
        if self.homes is not None and server.revision >= SEVERAL_NODES:
            coverage = Coverage(server, self.homes, hello.instance)
        traces = None
        if self.spans is not None and hello.traces and server.revision >= TRACING:
            traces = Traces(server, self.spans, random.random, node_id=self._node_id)
            self._traces[server] = server.app.link = traces
        dispatcher = Dispatcher(server, self._wall_clock, self._headers, coverage, traces)
        reader = Reader(server, dispatcher)
        server.at_end = reader.end
        self._sessions[hub.name, socket.server_id] = server, reader
        hub.servers.add(server.app)
        if server.revision >= WITH_RECOVERY:
            self.node.claims.turn_on(
                hub,
                server.app,
                SessionReturns(server),
                hello.recovery / 1000,
                quiet=hello.quiet,
                settings=self.node.hub_settings(hub.name),
                news=self.node.members,
            )
        self._end_forwarded(server.app, hub)
        server.app.address = socket.address
        server.attach(socket, self._hello(server, resumed=False), [])
        reader.tick(self.clock())
        return server, reader

    def _end_forwarded(self, app: AppServer, hub: Hub) -> None:
        """The app server has a session here from now on. Clients that were forwarded to it a moment ago would
        get its packets on two ways, so they reconnect."""
        for other in hub.servers.elsewhere:
            if app.instance and other.id == app.id and other.instance == app.instance:
                for client in tuple(other.clients):
                    self.node.disconnect(
                        client, reasons.APP_LOST, who="service", detail="a session came here"
                    )

    def _hello(self, server: MoorageServer, *, resumed: bool) -> bytes:
        links = self.settings
        frame = v1.ServiceHello(
            v1.REVISION,
            __version__,
            server.session,
            resumed,
            server.inc.received,
            links.window,
            links.max_frame,
            round(links.heartbeat * 1000),
            round(links.grace * 1000),
            server.hub.name,
            self._node_id,
            self.node.limits.max_payload,
            round(server.app.recovery * 1000),
            self.node.keeping is not None,
        )
        return v1.encode_batch(0, 0, [v1.encode_frame(frame)])

    @property
    def settled(self) -> bool:
        """True if no app server with a link has unacknowledged frames."""
        return all(server.settled for server, _ in self._sessions.values())

    def drain(self, seconds: float) -> None:
        """Tell all app servers that the service will stop in `seconds`."""
        for server, _ in self._sessions.values():
            server.queue(v1.Drain(seconds))

    def tick(self, now: float) -> None:
        """Check the deadlines of all sessions, and forget those that are over."""
        step, self._ticked = min(now - self._ticked, STEP_SECONDS), now
        for key, (server, reader) in tuple(self._sessions.items()):
            if server.hub.servers.elsewhere and _yields(server.app, server.hub):
                server.give_up("another process uses the id of this app server", reasons.LINK_SERVER_TAKEN)
            if not server.over:
                self.node.guard("links", server.tick, now, step)
                self.node.guard("links", reader.tick, now)
            if server.over:
                del self._sessions[key]
        for server, traces in tuple(self._traces.items()):
            traces.tick(now)
            if server.over:
                del self._traces[server]
        self.sweep.tick(now)

    def close(self) -> None:
        """The service stops: close all links."""
        for server, _ in self._sessions.values():
            server.close_all()


def _yields(app: AppServer, hub: Hub) -> bool:
    """True if another process came to another node with the same id at the same moment, and keeps the id.
    Both nodes decide alike: the lower instance keeps it."""
    return app.up and any(other < app.instance for other in _instances(hub, app.id))


def _is_taken_elsewhere(hub: Hub, server_id: str, instance: str) -> bool:
    """True if another process with this id is linked to another node. One process may be linked to several
    nodes. Older SDKs do not name their instance."""
    return bool(instance) and any(other != instance for other in _instances(hub, server_id))


def _instances(hub: Hub, server_id: str) -> list[str]:
    return [
        each.instance for each in hub.servers.elsewhere if each.id == server_id and each.up and each.instance
    ]
