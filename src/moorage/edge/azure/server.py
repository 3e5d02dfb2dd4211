"""One app server that speaks the azure dialect: `hub.ports.AppLink` over its tunnels. Client events go to the
app server, gathered per loop tick into one request per client. Data-plane calls come from it (`calls.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage import logs
from moorage.edge.azure.calls import CallHandler
from moorage.edge.azure.channel import Channel, Tunnel, joined
from moorage.edge.azure.pressure import Pressure
from moorage.edge.settings import LinkSettings
from moorage.engine.exchange import Event, Events
from moorage.hub.hub import AppServer, Capabilities, Client, Hub
from moorage.hub.node import Node
from moorage.hub.ports import Drained
from moorage.hub.turns import AT_ONCE, Intake, Job
from moorage.metrics.metrics import Metrics
from moorage.wire import reasons
from moorage.wire.azure import cloudevents, tunnel_frames
from moorage.wire.azure.cloudevents import EventWriter
from moorage.wire.azure.known import LEAST, TYPE, KnownFrames
from moorage.wire.handshake import Handshake, Kept
from moorage.wire.reasons import Reason

LATE_ANSWER_SECONDS: Final = 1.5
"""The SDK sends an answer again 1 s after it found no tunnel for it."""
LAST_EVENTS_SECONDS: Final = 5.0
"""Longest time that `disconnected` waits for the answers to the client's last events."""

log: Final = logs.get("link")
Callback = Callable[[], object]


class AzureServer:
    """All state of one server id. `later` schedules `flush` at the end of the loop tick."""

    def __init__(
        self,
        node: Node,
        metrics: Metrics,
        settings: LinkSettings,
        hub: Hub,
        server_id: str,
        *,
        later: Callback,
        first_ack: int,
    ) -> None:
        self.node = node
        self.metrics = metrics
        self.settings = settings
        self._wait_at_most = settings.max_waiting_bytes
        self.hub = hub
        self._connections = hub.directory.connections
        self.app = AppServer(server_id, self, "azure", Capabilities(keeps_heartbeat=True))
        self.app.since = node.clock()
        self.calls = CallHandler(self)
        self.intake = Intake(node.turns)
        self._later = later
        self._scheduled = False
        self._writer = EventWriter(hub.name, "moorage")
        self._known = KnownFrames(hub.name, settings.max_frame)
        self._tunnels: list[Tunnel] = []
        self._events: Events[Channel, Tunnel | None] = Events(first_ack)
        self._dirty: list[Channel] = []
        self._closing: dict[Channel, None] = {}
        self._stranded: dict[Channel, None] = {}
        self._release_at = 0.0
        self._down_since: float | None = node.clock()
        """Set from the start: if the first link never opens, this object must still be dropped."""
        self._keepalive_at = 0.0
        self._is_compared = False
        self._pressure = Pressure(node.turns, settings.max_waiting_bytes)

    # -- tunnels --------------------------------------------------------------------------------

    @property
    def tunnels(self) -> int:
        """Number of open tunnels."""
        return len(self._tunnels)

    def tunnel_opened(self, tunnel: Tunnel, now: float) -> None:
        """A tunnel is up: greet, send recent answers again, and release what waited for a tunnel."""
        tunnel.queue(tunnel_frames.connected(tunnel.id, self.app.id))
        self._tunnels.append(tunnel)
        self.app.up = True
        self._down_since = None
        if self._stranded:
            self._release_at = now + LATE_ANSWER_SECONDS
        self.calls.replay(tunnel, now)
        for channel in self._channels():
            if channel.tunnel is None:
                channel.pin(tunnel)
                if channel.stranded is None:
                    self._let_go(channel)
                    self._settled(channel)
        self.resume_clients()
        self.wake()

    def tunnel_lost(self, tunnel: Tunnel, now: float) -> None:
        """A tunnel is gone, whichever side ended it."""
        if tunnel not in self._tunnels:
            return
        self._tunnels.remove(tunnel)
        tunnel.open = False
        for ack_id, event in self._events.strand(tunnel):
            self._strand(ack_id, event)
        for channel in tuple(tunnel.channels):
            self._move(channel)
        self._release_at = now + LATE_ANSWER_SECONDS
        self.calls.tunnel_lost(tunnel)
        if not self._tunnels:
            self.app.up = False
            self._down_since = now
        self.resume_clients()

    def _move(self, channel: Channel) -> None:
        """Move a channel off a broken tunnel. Unsent packets go back into the queue, before newer ones."""
        inbox, channel.inbox = channel.inbox, []
        channel.pin(None)
        for packet in inbox:
            self._hold(channel, packet)
        channel.pin(self._pick())
        if channel.tunnel is not None and channel.stranded is None:
            self._let_go(channel)

    def _strand(self, ack_id: int, event: Event[Channel, Tunnel | None]) -> None:
        channel = event.channel
        if event.name == "message":
            if channel.stranded is None:
                channel.stranded = {}
                self._stranded[channel] = None
            channel.stranded[ack_id] = event.body
            channel.unanswered -= 1
        else:
            self._events.settle(ack_id)
            if event.name == "connect":
                # The client will retry. If the app server has taken it, it is told of the end.
                why = "the link to the app server broke"
                self.node.refuse(channel.connection, reasons.NO_APP_SERVER, why)
            self._closing[channel] = None
            channel.closing = event.sent_at

    def _pick(self) -> Tunnel | None:
        if len(self._tunnels) == 1:
            return self._tunnels[0]
        # A tunnel that is being closed is lost a moment later, and its events come back.
        return min(self._tunnels, key=lambda tunnel: (not tunnel.open, len(tunnel.channels)), default=None)

    def any_tunnel(self) -> Tunnel | None:
        """`azure.calls.Caller`."""
        return next((tunnel for tunnel in self._tunnels if tunnel.open), None)

    @property
    def settled(self) -> bool:
        """True if the app server has answered all events, or has no tunnel."""
        return not self._tunnels or all(channel.idle for channel in self._channels())

    def close_all(self) -> None:
        """The service stops."""
        self.flush()
        for tunnel in tuple(self._tunnels):
            tunnel.flush()
            tunnel.close(reasons.DRAINING)

    def give_up(self) -> None:
        """The app server has links at another node too, and goes on there. Its SDK hears of the end of all
        clients of this node before its links here are closed. Then it dials again."""
        if not self.app.draining:
            self.app.draining = True
            self.intake.add(self._giving_up())

    def _giving_up(self) -> Job[None]:
        log.warning("app server moves", hub=self.hub.name, server=self.app.id)
        for place, client in enumerate((*self.app.clients, *self.app.guests)):
            if place % AT_ONCE == AT_ONCE - 1:
                yield False
            self.node.disconnect(client, reasons.APP_LOST, who="service", detail="links at two nodes")
        for channel in tuple(self._closing):
            self._force_close(channel)
        self.calls.give_up()
        self.close_all()
        self.node.drop_server(self.hub, self.app)

    def _channels(self) -> list[Channel]:
        own = (*self.app.clients, *self.app.guests)
        return [*(c.channel for c in own if isinstance(c.channel, Channel)), *self._closing]

    def wake(self) -> None:
        """Schedule `flush` for the end of this tick."""
        if not self._scheduled:
            self._scheduled = True
            self._later()

    def cork(self) -> None:
        """Called by a caller that will call `flush` itself in this tick."""
        self._scheduled = True

    def flush(self) -> None:
        """End of the tick: one event for each client that has sent something, one write per tunnel."""
        try:
            if self._dirty:
                dirty, self._dirty = self._dirty, []
                for channel in dirty:
                    packets, channel.inbox = channel.inbox, []
                    for body in packets if len(packets) == 1 else joined(packets):
                        self._message(channel, body)
        finally:
            # Reset only now: frames that the loop queues are written below and need no other flush.
            self._scheduled = False
        for tunnel in tuple(self._tunnels):
            tunnel.gathered = 0
            tunnel.flush()
        if self._pressure.paused and not self._behind:
            self.resume_clients()

    def resume_clients(self) -> None:
        """A tunnel takes data again."""
        self._pressure.resume(self._tunnels)

    @property
    def _behind(self) -> bool:
        """True if the app server does not read its clients' events, or does not answer them."""
        return self._events.size > self._wait_at_most or any(tunnel.congested for tunnel in self._tunnels)

    # -- events: hub.ports.AppLink -----------------------------------------------------------

    def open(self, connection: Client, handshake: Handshake) -> None:
        """Send `connect`. The answer becomes `Node.accept` or `Node.refuse`."""
        channel = Channel(connection)
        connection.channel = channel
        channel.pin(self._pick())
        body = cloudevents.connect_body(handshake)
        connection.handshake = Kept(body, *handshake.origin(), handshake.secure)
        self._request("connect", channel, body)

    def forward(self, connection: Client, packet: bytes) -> None:
        """Queue one packet of the client."""
        channel = connection.channel
        assert isinstance(channel, Channel)
        tunnel = channel.tunnel
        if tunnel is None or channel.stranded is not None:
            self._hold(channel, packet)
            return
        if not channel.inbox:
            self._dirty.append(channel)
            self.wake()
        channel.inbox.append(packet)
        tunnel.gathered += len(packet)
        if (
            tunnel.congested
            or tunnel.gathered > tunnel.gather_at_most
            or self._events.size > self._wait_at_most
        ):
            self._pressure.hold_back(connection, tunnel)

    def _hold(self, channel: Channel, packet: bytes) -> None:
        if not self._pressure.hold(channel, packet):
            self.node.disconnect(channel.connection, reasons.LINK_OVERFLOW, who="service")

    def _let_go(self, channel: Channel) -> None:
        for packet in self._pressure.take(channel):
            self.forward(channel.connection, packet)

    def closed(self, connection: Client, reason: Reason) -> None:
        """Send `disconnected` after the answers to the client's last events, or the SDK reports an error."""
        channel = connection.channel
        self._pressure.forget(connection)
        if isinstance(channel, Channel) and self.hub.servers.get(self.app.id) is self.app:
            channel.closing = self.node.clock() + LAST_EVENTS_SECONDS
            self._closing[channel] = None
            self._settled(channel)
        elif isinstance(channel, Channel):
            channel.end()

    def drained(self, connection: Client, done: Drained) -> None:
        """Call `done` when all packets so far are answered."""
        channel = connection.channel
        if not isinstance(channel, Channel) or channel.idle:
            done()
        elif channel.waiters is None:
            channel.waiters = [done]
        else:
            channel.waiters.append(done)

    taken = drained

    def _request(self, name: str, channel: Channel, body: bytes) -> None:
        tunnel = channel.tunnel
        ack_id = self._events.add(Event(name, channel, body, tunnel, self.node.clock()))
        if tunnel is not None:
            tunnel.queue(self._writer.write(name, ack_id, channel.identity, body))
            self.wake()

    def _message(self, channel: Channel, body: bytes) -> None:
        channel.unanswered += 1
        self._request("message", channel, body)

    def _settled(self, channel: Channel) -> None:
        """An answer came or the client left: do what waited for the channel to be idle."""
        if not channel.idle:
            return
        if channel.waiters is not None:
            waiters, channel.waiters = channel.waiters, None
            for done in waiters:
                done()
        if channel.closing is not None and channel.tunnel is not None and channel in self._closing:
            del self._closing[channel]
            self._request("disconnected", channel, b"{}")
            channel.end()

    # -- from the app server --------------------------------------------------------------------

    def received(self, tunnel: Tunnel, data: bytes, now: float) -> Job[None] | None:
        """Handle one frame, at once or as the job that is returned. Raises `PeerError` (link-bad-frame)."""
        known = self._known
        if len(data) < LEAST:
            pass
        elif data[TYPE] == tunnel_frames.RESPONSE:
            if (answer := known.answer(data)) is not None:
                self._answered(answer[0], 200, answer[1], now)
                return None
        else:
            call = known.call(data)
            if call is not None:
                client = self._connections.get(call.connection)
                if client is not None and client.server is self.app:
                    return self.calls.known(tunnel, call, client, now)
        frame, content = tunnel_frames.decode(data)
        if isinstance(frame, tunnel_frames.Request):
            job = self.calls.call(tunnel, frame, content, now)
            known.learn_call(data, frame, content)
            return job
        if frame is not None and not frame.not_completed:
            self._answered(frame.ack_id, frame.status_code, content, now)
            known.learn_answer(data, frame, content)
        return None

    def _answered(self, ack_id: int, status: int, content: bytes, now: float) -> None:
        event = self._events.settle(ack_id)
        if event is None:
            return
        channel = event.channel
        self.metrics.upstream_seconds[event.name].observe(now - event.sent_at)
        if event.name == "message":
            if channel.stranded is not None and ack_id in channel.stranded:
                self._late(channel, ack_id)
            else:
                channel.unanswered -= 1
            if status >= 400:
                text = content.decode(errors="replace")[:200]
                self.node.disconnect(channel.connection, reasons.APP_FORGOT, who="app", detail=text)
            if channel.waiters is not None or channel.closing is not None:
                self._settled(channel)
        elif event.name == "connect":
            self._connect_answered(channel, status, content)

    def _late(self, channel: Channel, ack_id: int) -> None:
        """An answer that a broken tunnel had delayed. This event need not be sent again."""
        assert channel.stranded is not None
        del channel.stranded[ack_id]
        if not channel.stranded:
            channel.stranded = None
            self._stranded.pop(channel, None)
            self._let_go(channel)

    def _connect_answered(self, channel: Channel, status: int, content: bytes) -> None:
        connection = channel.connection
        if status == 200:
            info = cloudevents.connect_answer(content)
            if info is not None:
                self._compare_limits(info.max_payload)
                self.node.accept(connection, info)
                return
            why = "the app server's answer to connect cannot be read"
            self.node.refuse(connection, reasons.APP_ERROR, why)
        else:
            reason = reasons.APP_REFUSED if 400 <= status < 500 else reasons.APP_ERROR
            self.node.refuse(connection, reason, content.decode(errors="replace")[:200])
        channel.end()

    def _compare_limits(self, wanted: int) -> None:
        """Log a warning, with the first answer, if the app takes larger messages than the service."""
        limit = self.node.limits.max_payload
        if not self._is_compared and wanted > limit:
            text = "maxHttpBufferSize of the app server is above limits.max_payload, which holds"
            log.warning(text, server=self.app.id, wanted=wanted, max_payload=limit)
        self._is_compared = True

    # -- time ---------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Called a few times a second: time-outs, resends, keep-alive, the end of the grace time."""
        if not self.intake.busy:
            # Otherwise the missing answer may be among the frames that wait.
            if self._down_since is not None and now - self._down_since >= self.settings.grace:
                self._down_since = None
                self.calls.give_up()
                log.warning("app server lost", hub=self.hub.name, server=self.app.id)
                self.node.drop_server(self.hub, self.app)
                return
            self._overdue(now)
        for channel in [c for c in self._closing if c.closing is not None and c.closing <= now]:
            self._force_close(channel)
        if now >= self._keepalive_at:
            self._keepalive_at = now + self.settings.keepalive
            for tunnel in self._tunnels:
                tunnel.queue(tunnel_frames.KEEPALIVE)
            self.wake()

    def _overdue(self, now: float) -> None:
        for ack_id, event in self._events.connects_before(now - self.settings.connect_timeout):
            self._events.settle(ack_id)
            self.node.refuse(event.channel.connection, reasons.CONNECT_TIMEOUT)
            self._closing[event.channel] = None
            event.channel.closing = now
            self._settled(event.channel)
        if self._stranded and self._tunnels and now >= self._release_at:
            self._resend()
        self.calls.tick(now)

    def _resend(self) -> None:
        """No answer came for these events, so the app server has not seen them. (If only the answer was lost
        with the tunnel, the event arrives twice; losing it silently would be worse.) Sends the events of as
        many clients as the new tunnel takes. The others follow with the next tick."""
        for channel in tuple(self._stranded):
            tunnel = channel.tunnel
            if tunnel is None or tunnel.congested:
                continue
            del self._stranded[channel]
            events, channel.stranded = channel.stranded or {}, None
            for ack_id, body in sorted(events.items()):
                self._events.settle(ack_id)
                self.metrics.events_resent += 1
                self._message(channel, body)
            self._let_go(channel)
            self._settled(channel)
            if tunnel.crowded:
                tunnel.flush()
        # Also read from the clients whose packets waited behind stranded events.
        self.resume_clients()

    def _force_close(self, channel: Channel) -> None:
        if channel.tunnel is None or channel.stranded is not None:
            return
        del self._closing[channel]
        self._request("disconnected", channel, b"{}")
        channel.end()
