"""The links of one app server: one to each node of the service that it covers (see `sdk.link.planner`).

A fleet has the interface of `Link`. While there was never more than one, its methods are that link's own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from moorage.sdk.aio.link import INSTANCE_BYTES, MAX_SECONDS, Link
from moorage.sdk.aio.node_link import NodeLink
from moorage.sdk.aio.several import Make, Requesting, SeveralLinks
from moorage.sdk.errors import MoorageError, QueueFull, UsageError
from moorage.sdk.link.lost_nodes import LostNodes, all_again, fitting
from moorage.sdk.link.options import DEFAULTS, LinkOptions
from moorage.sdk.link.planner import NodeView, Order, Planner, slot_of
from moorage.sdk.link.ports import FleetReceiver
from moorage.sdk.link.session import Answers, Counts, Session
from moorage.wire.connection_string import ConnectionString
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import FromApp, ServiceHello

START_SECONDS: Final = 2.0
"""Seconds for which `start` waits for the sessions after the first."""
SEVERAL_NODES: Final = 4
"""Revision from which a service may have several nodes."""
_NO_SESSION: Final = "none"

_log = logging.getLogger("moorage.sdk")


class Fleet:
    """All links of one app server. Everything is on one event loop; nothing here is thread-safe."""

    def __init__(
        self,
        target: ConnectionString,
        hub: str,
        server_id: str,
        receiver: FleetReceiver,
        options: LinkOptions = DEFAULTS,
    ) -> None:
        self.target = target
        self.hub = hub
        self.server_id = server_id
        self.receiver = receiver
        self._options = options
        self._instance = secrets.token_urlsafe(INSTANCE_BYTES)
        self._counts = Counts()
        self._loop = asyncio.get_running_loop()
        self._planner = Planner()
        self._links: dict[int, NodeLink] = {}
        self._several = SeveralLinks(self._planner, self._links, self._counts)
        self._lost_nodes = LostNodes()
        self._failed: Exception | None = None
        self._held = self._was_down = False
        self._changed: asyncio.Future[None] | None = None
        """Set while `start` waits for the nodes to be covered."""
        link = self._add_link(self._planner.add()).link
        self._only: Link | None = link
        """The only link; None once there has been another."""
        self._home = self._several.home = link
        self.session: Session = link.session
        """The session of the home."""
        # As the methods of `Link`, which they are while there is one link.
        self.send: Callable[[FromApp], None] = link.send
        self.ask: Callable[[Make, Answers, float | None], int] = link.ask
        self.request: Requesting = link.request

    def _add_link(self, view: NodeView) -> NodeLink:
        node_link = NodeLink(self, view)
        node_link.link = Link(
            self.target,
            self.hub,
            self.server_id,
            node_link,
            self._options,
            instance=self._instance,
            counts=self._counts,
            owner=node_link,
        )
        node_link.link.session.heard_nodes = lambda frame: self._listed(node_link, frame)
        node_link.link.hold(self._held)
        node_link.link.patient = view.slot > 0
        self._links[view.slot] = node_link
        return node_link

    # -- state --------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """True if at least one link is up."""
        return any(node_link.link.up for node_link in self._links.values())

    @property
    def closed(self) -> bool:
        """True if the links have ended and will not be opened again."""
        return self._home.closed

    @property
    def left(self) -> bool:
        """True if `close` was called."""
        return self._home.left

    @property
    def hello(self) -> ServiceHello:
        """The service's hello. Only after `start`."""
        return self._home.hello

    @property
    def several(self) -> bool:
        """True if there is, or was, more than one session."""
        return self._only is None

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes with a session; none if the service has a single node."""
        return tuple(view.name for view in self._planner.alive if view.name)

    @property
    def congested(self) -> bool:
        """True if callers should wait for `drained` before they send more, because too much is queued for a
        link that is up."""
        if self._only is not None:
            return self._only.congested
        return any(node_link.link.congested for node_link in self._links.values())

    def session_of(self, number: int) -> str:
        """The session in which this number names a client or a question."""
        node_link = self._links.get(slot_of(number))
        return (node_link.link.session.id or _NO_SESSION) if node_link is not None else _NO_SESSION

    def send_in(self, session: str, frame: FromApp) -> None:
        """Queue a frame in this session and in no other; drop it if the session has ended."""
        for node_link in self._links.values():
            if node_link.link.session.id == session:
                node_link.link.send(frame)
                return
        if type(frame) is v1.Save:
            self._send_to_keepers([v1.encode_frame(frame)])

    def recovers(self, number: int) -> bool:
        """True if the client's node keeps sockets whose client may come back."""
        node_link = self._links.get(slot_of(number))
        lost = node_link is None and self._lost_nodes.recovers(slot_of(number))
        return lost or (node_link is not None and node_link.link.hello.recovery > 0)

    def knows(self, session: str) -> bool:
        """True if the session has not ended."""
        return any(node_link.link.session.id == session for node_link in self._links.values())

    # -- start and end ------------------------------------------------------------------------------

    async def start(self, *, wait: bool = False) -> None:
        """Connect to the service, then wait a moment for the sessions at its other nodes. `wait` and the
        errors are those of `Link.start`."""
        await self._home.start(wait=wait)
        if self.hello.revision < SEVERAL_NODES:
            return
        with suppress(TimeoutError, MoorageError):
            async with asyncio.timeout(START_SECONDS):
                # The answer is behind the list of nodes, if there is one.
                await self.request(v1.List, timeout=START_SECONDS)
                while not self._planner.covered:
                    self._changed = self._loop.create_future()
                    await self._changed

    async def close(self, drain: float = 0.0, *, empty: Callable[[], bool] = lambda: False) -> None:
        """Leave, as `Link.close` does."""
        if self.closed:
            return
        if drain > 0:
            await self.drain(drain, empty)
        await asyncio.gather(*(node_link.link.close() for node_link in tuple(self._links.values())))

    async def drain(self, seconds: float, empty: Callable[[], bool]) -> None:
        """The first part of `close`, for callers that have work to do before the second."""
        with suppress(QueueFull):  # Without a link there are no new clients.
            self.send(v1.Drain(min(seconds, MAX_SECONDS)))
        deadline = self._loop.time() + seconds
        while not empty() and self._loop.time() < deadline and not self.closed:
            await asyncio.sleep(0.02)

    # -- to the service -----------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until all queues are short again, or their links down. Raises the error that ends the only
        link."""
        while (slow := self._slow()) is not None:
            await slow.drained()

    def _slow(self) -> Link | None:
        return next((node_link.link for node_link in self._links.values() if node_link.link.congested), None)

    def hold(self, held: bool) -> None:
        """Hold back acknowledgements, or do not any more."""
        self._held = held
        for node_link in self._links.values():
            node_link.link.hold(held)

    # -- what happens to the links ------------------------------------------------------------------

    def where(self, node_link: NodeLink) -> tuple[ConnectionString, str]:
        """Where a link dials. The only link takes any node, and so does one of several if none is up. But
        its session is at one node, so it tries that one as well."""
        view = node_link.view
        alone = len(self._links) == 1 or (not self._planner.up and view is self._planner.anchor)
        if alone and not (view.listed and node_link.link.backoff.attempts % 2):
            return self.target, ""
        return self.target.at(view.url) if view.slot and view.url else self.target, view.node

    def greeted(self, node_link: NodeLink, hello: ServiceHello, *, new: bool) -> None:
        """A link is up."""
        twin = self._planner.twin(node_link.view, hello.node)
        if twin is not None:
            self._drop(twin, "another session at the same node has begun")
        node_link.link.session.lost = None
        view = node_link.view
        self._tell(self._planner.greeted(view, hello.node, new=new))
        self._settle_lost(view, but=hello.node)
        self._settle()

    def _listed(self, node_link: NodeLink, frame: v1.Nodes) -> None:
        self._planner.listed(node_link.view, frame)
        self._settle()

    def lost(self, node_link: NodeLink, why: str) -> None:
        """A session is over, and with it its clients."""
        was_home = node_link.view is self._planner.home
        self._lost_nodes.over(node_link.view, node_link.link.session)
        orders = self._planner.lost(node_link.view)
        if not orders:
            self.receiver.session_lost(why)
            self._settle()
            return
        self.receiver.clients_lost(node_link.view.slot, why)
        self._tell(orders)
        untaken = node_link.link.session.untaken()
        self._follow_home()
        if was_home:
            for frame in all_again(untaken):
                self._home.put(frame)
        self._settle()

    def event(self, node_link: NodeLink, name: str, error: Exception | None) -> None:
        """A link was lost, came back, or failed for good. The receiver is told if this concerns all links."""
        if name == "failed":
            self._fail(node_link, error)
            return
        if name == "lost":
            self._planner.down(node_link.view)
            if not self._planner.up:
                self._was_down = True
                self.receiver.link_event(name, error)
            self._settle()
        elif self._was_down:
            self._was_down = False
            self.receiver.link_event(name, error)

    def _fail(self, node_link: NodeLink, error: Exception | None) -> None:
        for other in tuple(self._links.values()):
            if other is not node_link:
                self._drop(other.view, str(error))
        self._home = self._several.home = node_link.link
        self.receiver.link_event("failed", error)

    def _tell(self, orders: list[Order]) -> None:
        """Tell all sessions which nodes are covered now. Nothing is queued in between."""
        for view, frame in orders:
            self._links[view.slot].link.put(v1.encode_frame(frame))

    def _settle(self) -> None:
        """Open, cover and drop links as the planner has decided."""
        steps = self._planner.steps()
        for view in steps.drop:
            if view.slot in self._links:
                self._drop(view, f"node {view.name or view.node} is gone")
                self._settle_lost(view, but="" if view in steps.gone else view.node)
        for row in self._planner.steps().dial:
            try:
                self.target.at(row.url or self.target.endpoint)
            except UsageError as error:
                _log.error("node %s cannot be covered: %s", row.name, error)
                continue
            self._grow()
            self._add_link(self._planner.add(row)).link.begin()
        self._follow_home()
        alive = self._planner.alive
        for node_link in self._links.values():
            node_link.link.session.alone = not any(view is not node_link.view for view in alive)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _settle_lost(self, view: NodeView, but: str) -> None:
        """The node of a session that is over is lost, unless it is `but`."""
        self._send_to_keepers(self._lost_nodes.settle(view, but, self._counts.number))

    def _send_to_keepers(self, frames: list[bytes]) -> None:
        for node_link in self._several.alive():
            if node_link.link.session.id and node_link.link.hello.keeps:
                for frame in fitting(node_link.link.session, frames):
                    node_link.link.put(frame)

    def _follow_home(self) -> None:
        self._home = self._several.home = self._links[self._planner.anchor.slot].link
        self.session = self._home.session

    def _grow(self) -> None:
        """From here on there are several links."""
        for node_link in self._links.values():
            node_link.link.patient = True
        self._only = None
        self.send, self.ask, self.request = self._several.send, self._several.ask, self._several.request

    def _drop(self, view: NodeView, why: str) -> None:
        node_link = self._links[view.slot]
        self._planner.remove(view)
        _log.info("%s", why)
        node_link.link.drop(why)
        self._links.pop(view.slot, None)
