"""The app server's calls in the azure dialect: data-plane REST requests inside the tunnel."""

from __future__ import annotations

import json
from typing import Final, Protocol

from msgspec.structs import replace

from moorage import logs
from moorage.edge.azure.channel import Tunnel
from moorage.edge.settings import LinkSettings
from moorage.engine.exchange import Calls
from moorage.hub.commands.deliver import LONG
from moorage.hub.hub import AppServer, Connection, Hub
from moorage.hub.node import Node
from moorage.hub.turns import Job
from moorage.metrics.metrics import Metrics
from moorage.wire.azure import tunnel_frames
from moorage.wire.azure.dataplane import Operation, decode_url
from moorage.wire.azure.known import KnownCall
from moorage.wire.azure.operations import GenerateToken
from moorage.wire.azure.tunnel_frames import Request
from moorage.wire.commands import (
    DONE,
    Command,
    Invoke,
    LeaveNamespace,
    Outcome,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.errors import PeerError
from moorage.wire.reasons import API_BAD_PATH, API_BAD_PAYLOAD, API_BODY_TOO_LARGE
from moorage.wire.socketio import goodbye, is_emit

log: Final = logs.get("link")


class Caller(Protocol):
    """The app server whose calls these are."""

    node: Node
    metrics: Metrics
    settings: LinkSettings
    hub: Hub
    app: AppServer

    def any_tunnel(self) -> Tunnel | None:
        """An open tunnel. The SDK takes answers on any of them."""

    def wake(self) -> None:
        """Have the tunnels flushed at the end of this tick."""


class CallHandler:
    """Decodes calls, submits them in arrival order and answers every one."""

    def __init__(self, server: Caller) -> None:
        self._server = server
        self._calls = Calls()
        self._streams: dict[int, AnswerStream] = {}

    def call(self, tunnel: Tunnel, request: Request, content: bytes, now: float) -> Job[None] | None:
        """Carry out one call, at once or as the job that is returned. Every call gets an answer."""
        if self._repeated(tunnel, request.ack_id, now):
            return None
        try:
            return self._call(tunnel, request, content)
        except Exception as error:
            self._answer(tunnel, request.ack_id, self._refused(request, error))
            return None

    def known(self, tunnel: Tunnel, call: KnownCall, client: Connection, now: float) -> Job[None] | None:
        """The same for a call that needs no parser. It is about `client`."""
        calls, ack_id = self._calls, call.ack_id
        if ack_id == calls.next:
            # Nearly always: no call is missing or sent again.
            calls.next = ack_id + 1
        elif self._repeated(tunnel, ack_id, now):
            return None
        node, payload = self._server.node, call.payload
        simple = payload and len(payload) <= LONG
        if not simple or node.cluster is not None or client.hub.recovery is not None:
            return node.submit(call.command, self._done, (tunnel, call, call.like))
        try:
            node.send(client, payload)
        except Exception as error:
            status = self._refused(call, error)
        else:
            status = call.like.success
        frame = tunnel_frames.response(ack_id, status)
        calls.answered(ack_id, frame, now)
        tunnel.queue(frame)
        self._server.wake()
        return None

    def _repeated(self, tunnel: Tunnel, ack_id: int, now: float) -> bool:
        """True if the SDK has sent a call before. If that one was answered, its answer is sent again."""
        answer = self._calls.arrived(ack_id, now)
        if answer is not None:
            tunnel.queue(answer)
            self._server.wake()
        return answer is not None or ack_id in self._streams

    def _confined(self, command: Command) -> Command:
        """`command`, restricted so that clients of other app servers get only events and acks. The SDK sends
        all other packets to its own clients: answers to CONNECT, and the end of a socket to that socket's
        private room. Only `disconnectSockets` reaches sockets of other app servers."""
        if isinstance(command, Send):
            if is_emit(command.payload):
                return command
            end = goodbye(command.payload)
            if end is not None and end.close is not None:
                return LeaveNamespace(command.hub, command.to, end.namespace, end.close)
            own = replace(command.to, server=self._server.app.id)
            return Send(command.hub, own, command.payload, command.volatile, control=True)
        if isinstance(command, SendToConnection) and not is_emit(command.payload):
            found = self._server.hub.directory.connections.get(command.connection)
            if found is None:
                # It may be on another node, and there it must be one of this app server's own, too.
                own = Selection(connection=command.connection, server=self._server.app.id)
                return Send(command.hub, own, command.payload, control=True)
            if found.server is not self._server.app:
                raise PeerError(
                    API_BAD_PAYLOAD, "packets for another app server's client must be events or acks"
                )
        return command

    def _decoded(self, request: Request, content: bytes) -> Operation:
        own, most = self._server.hub.name, self._server.settings.max_frame
        if len(content) > most:
            raise PeerError(API_BODY_TOO_LARGE, f"at most {most} bytes")
        operation = decode_url(request.http_method, request.url, request.content_type(), content, repair=True)
        hub = operation.command.hub
        if hub != own and hub.casefold() != own.casefold():
            # The link's token is valid for one hub.
            raise PeerError(API_BAD_PATH, "the call is for another hub")
        return operation

    def _call(self, tunnel: Tunnel, request: Request, content: bytes) -> Job[None] | None:
        operation = self._decoded(request, content)
        command = operation.command
        if isinstance(command, GenerateToken):
            self._answer(tunnel, request.ack_id, 404)
            return None
        if isinstance(command, Invoke):
            stream = self._streams[request.ack_id] = AnswerStream(self, request.ack_id)
            return self._server.node.submit(command, self._begun, (tunnel, request, stream), stream)
        if isinstance(command, Send) and _cleans_up(command):
            self._answer(tunnel, request.ack_id, operation.status(DONE))
            return None
        return self._server.node.submit(self._confined(command), self._done, (tunnel, request, operation))

    def _done(
        self, about: tuple[Tunnel, Request | KnownCall, Operation], outcome: Outcome | Exception
    ) -> None:
        """The reply to any call but `:invoke`."""
        tunnel, request, operation = about
        if type(outcome) is Outcome:
            status = operation.status(outcome)
        else:
            assert isinstance(outcome, Exception)
            status = self._refused(request, outcome)
        self._answer(tunnel, request.ack_id, status)

    def _begun(self, about: tuple[Tunnel, Request, AnswerStream], outcome: Outcome | Exception) -> None:
        """All clients of an `:invoke` have been asked, or it is refused."""
        tunnel, request, stream = about
        if isinstance(outcome, Exception):
            self._streams.pop(request.ack_id, None)
            self._answer(tunnel, request.ack_id, self._refused(request, outcome))
        elif not stream.finished:
            stream.begin()

    def _refused(self, request: Request | KnownCall, error: Exception) -> int:
        if isinstance(error, PeerError):
            self._server.metrics.refusals["link", error.reason.name] += 1
            log.info("call refused", reason=error.reason.name, detail=error.detail[:200])
            return error.reason.http
        # A defect of the service. The call must still be answered, or the SDK waits for ever.
        about = request.url[:200] if isinstance(request, Request) else request.connection
        log.error("call failed", call=about, exc_info=error)
        return 500

    def _answer(self, tunnel: Tunnel, ack_id: int, status: int) -> None:
        frame = tunnel_frames.response(ack_id, status)
        self._calls.answered(ack_id, frame, self._server.node.clock())
        tunnel.queue(frame)
        self._server.wake()

    def send(self, frame: bytes, by: Tunnel | None = None) -> Tunnel | None:
        """Queue part of an answer on the tunnel `by` if it is open, else on any. Returns the tunnel that was
        used, or None if none is open."""
        tunnel = by if by is not None and by.open else self._server.any_tunnel()
        if tunnel is not None:
            tunnel.queue(frame)
            self._server.wake()
        return tunnel

    def stream_ended(self, ack_id: int) -> None:
        """The last part of this answer is queued."""
        self._streams.pop(ack_id, None)

    def end_streams(self) -> None:
        """The last tunnel is closing. End all streams, so that no promise of the app stays open."""
        for stream in tuple(self._streams.values()):
            self._server.hub.invocations.cancel(stream)
            stream.finish(())

    def tunnel_lost(self, tunnel: Tunnel) -> None:
        """Give up the streams that had answers on a broken tunnel, because some may be lost. Such a stream is
        not ended: the app gets its time-out instead of a success with too few answers."""
        for ack_id, stream in tuple(self._streams.items()):
            if not stream.survives(tunnel):
                self._server.hub.invocations.cancel(stream)
                del self._streams[ack_id]

    def give_up(self) -> None:
        """The app server will not come back."""
        for stream in self._streams.values():
            self._server.hub.invocations.cancel(stream)
        self._streams.clear()

    def replay(self, tunnel: Tunnel, now: float) -> None:
        """Send the recent answers again over a new tunnel, and what the streams have gathered meanwhile."""
        for frame in self._calls.replay(now):
            tunnel.queue(frame)
        for stream in tuple(self._streams.values()):
            stream.resume()

    def tick(self, now: float) -> None:
        """Answer the calls that were lost on their way to the service."""
        if self._server.any_tunnel() is None:
            return
        for ack_id in self._calls.overdue(now):
            self._server.metrics.gap_answers += 1
            self.send(tunnel_frames.response(ack_id, 503))


def _cleans_up(command: Send) -> bool:
    """True for the DISCONNECT that the SDK sends to a socket's private room after the socket has ended. If
    the client is still there, the app server is being closed. The client would not reconnect after this
    packet, so it is dropped."""
    end = goodbye(command.payload)
    return end is not None and end.close is None and command.to.connection is None


class AnswerStream:
    """`hub.ports.Answers` of one `:invoke`: one JSON line for each client's ack. While no tunnel is open,
    the lines wait for the next one."""

    def __init__(self, calls: CallHandler, ack_id: int) -> None:
        self._calls = calls
        self.ack_id = ack_id
        self.finished = False
        """True once nothing more may be added to the answer."""
        self._tunnel: Tunnel | None = None
        """The tunnel of its parts; None before the first part and after the loss of the tunnel."""
        self._answered = False
        """True once a tunnel has carried an answer."""
        self._waiting: list[bytes] = []

    def begin(self) -> None:
        """Send the head of the answer."""
        if self._tunnel is None:
            self._tunnel = self._calls.send(tunnel_frames.response(self.ack_id, 200, more=True))

    def answer(self, _sender: str, payload: bytes) -> None:
        """One ack. The line is ASCII, because the SDK decodes each chunk separately."""
        if self.finished:
            return
        line = json.dumps({"Payload": payload.decode(errors="replace")}).encode() + b"\n"
        self._waiting.append(tunnel_frames.response(self.ack_id, 200, more=True, content=line))
        self.resume()

    def finish(self, _missing: tuple[str, ...]) -> None:
        """The end. The SDK takes the number of lines as the number of clients."""
        if not self.finished:
            self.finished = True
            self.resume()

    def resume(self) -> None:
        """Send the waiting lines if a tunnel is open."""
        self.begin()
        if self._tunnel is None:
            return
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self._answered = True
            self._tunnel = self._calls.send(frame, self._tunnel)
        if self.finished:
            self._calls.send(tunnel_frames.response(self.ack_id, 200), self._tunnel)
            self._calls.stream_ended(self.ack_id)

    def survives(self, lost: Tunnel) -> bool:
        """A tunnel broke. True if the stream may continue on another one."""
        if self._tunnel is lost:
            self._tunnel = None
            # Other nodes do not know that the asker has given up, and may still answer.
            self.finished |= self._answered
            return not self._answered
        return True
