"""The frames by which an app server accepts, serves and closes its clients, and answers what it was asked."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from moorage.edge.moorage.server import MoorageServer
from moorage.engine.upgrade import State
from moorage.hub.commands.deliver import is_special
from moorage.hub.hub import Client, Connection
from moorage.hub.turns import Job
from moorage.wire import reasons
from moorage.wire.commands import LeaveNamespace, Selection
from moorage.wire.engineio import RS, check_text
from moorage.wire.errors import PeerError
from moorage.wire.handshake import OpenInfo
from moorage.wire.moorage import v1
from moorage.wire.socketio import ACK, BINARY_ACK, parse_header

_LARGEST: Final = 2**53 - 1
_DISCONNECT: Final = b"41"
MAX_MESSAGE: Final = 1_000
"""Maximum characters of an app's own message that a client receives."""
_FORBIDDEN: Final = 4
"""Engine.IO's error code for HTTP status 403."""
_STATUSES: Final = frozenset(status.value for status in HTTPStatus if status.value >= 400)


class ClientFrames:
    """Handles these frames for one session. Each method raises `PeerError` for a frame that cannot be carried
    out."""

    def __init__(self, server: MoorageServer) -> None:
        self._server = server
        self._node = server.node
        self._own = server.numbered.own

    def opened(self, frame: v1.Opened) -> None:
        """The app server accepts a client."""
        opening = self._opening(frame.client)
        if opening is None:
            return
        connection, since = opening
        terms = (frame.ping_interval, frame.ping_timeout, frame.max_payload)
        if min(terms) < 1 or max(terms) > _LARGEST:
            self._server.numbered.pop(frame.client)
            self._node.refuse(connection, reasons.APP_ERROR, "the app server's terms are out of range")
            raise PeerError(reasons.LINK_BAD_REQUEST, "terms must be 1 or more")
        self._server.metrics.upstream_seconds["connect"].observe(self._node.clock() - since)
        self._node.accept(connection, OpenInfo(*terms))

    def refused(self, frame: v1.Refused) -> None:
        """The app server refuses a client."""
        opening = self._opening(frame.client)
        if opening is not None:
            self._server.numbered.pop(frame.client)
            reason = reasons.APP_REFUSED if 400 <= frame.status < 500 else reasons.APP_ERROR
            if frame.status in _STATUSES:
                # As with native Socket.IO, the client receives the status and message of the app.
                text = "" if frame.message else reason.text
                code = _FORBIDDEN if frame.status == HTTPStatus.FORBIDDEN else reason.eio
                reason = reason._replace(http=frame.status, text=text, eio=code)
            self._node.refuse(opening[0], reason, frame.message[:MAX_MESSAGE])

    def _opening(self, number: int) -> tuple[Client, float] | None:
        """The client that waits for this answer, and the time of its offer. None if the answer is too late;
        the app server has been told already. Raises `PeerError` if no such client was offered."""
        server = self._server
        since = server.openings.pop(number, None)
        client = server.numbered.get(number)
        if since is not None and client is not None:
            return client, since
        if client is not None or not server.asked(number):
            raise PeerError(reasons.LINK_BAD_REQUEST, "no Open of this client is unanswered")
        return None

    def close(self, frame: v1.Close) -> None:
        """The app server closes a client."""
        connection = self._server.numbered.get(frame.client)
        if connection is None:
            return
        if self._server.openings.pop(frame.client, None) is None:
            leaving = self._server.app.draining
            self._node.disconnect(
                connection, reasons.APP_LET_GO if leaving else reasons.APP_CLOSED, who="app"
            )
        else:
            self._node.refuse(connection, reasons.APP_REFUSED)
            self._server.numbered.pop(frame.client)
            self._server.tell_closed(frame.client, reasons.APP_CLOSED)

    def packet(self, frame: v1.Packet) -> Job[None] | None:
        """Packets for one client."""
        connection = self._own.get(frame.client)
        if connection is None:
            return self._packet_elsewhere(frame)
        return self._node.send(connection, frame.payload)

    def _packet_elsewhere(self, frame: v1.Packet) -> Job[None] | None:
        """Packets for a client of another node, or one that another app server serves now. If there is none,
        its `Closed` is on the way, and this crossed it: its parked sockets get the events when it returns."""
        numbered = self._server.numbered
        guest = numbered.guests.get(frame.client)
        if guest is not None:
            guest.owner.send(guest, check_text(frame.payload))
            return None
        late = numbered.late.get(frame.client)
        if late is None:
            return None
        if frame.payload.startswith(_DISCONNECT):
            return self._end_socket(late, frame.payload)
        if late.session.state == State.CLOSED:
            if late.hub.recovery is not None:
                late.hub.recovery.crossed(late, check_text(frame.payload))
            return None
        return None if is_special(frame.payload) else self._node.send(late, frame.payload)

    def _end_socket(self, client: Connection, payload: bytes) -> Job[None] | None:
        """The app has disconnected a socket before it knew that the client is gone, or that another app
        server serves it."""
        packet, _, _ = check_text(payload).partition(RS)
        to = Selection(connection=client.id)
        command = LeaveNamespace(client.hub.name, to, parse_header(packet).namespace)
        return self._node.submit(command, _unanswered)

    def facts(self, frame: v1.Facts) -> None:
        """The app's data of its sockets."""
        if not self._server.hub.queries.answered(frame.ref, self._server.app, frame.chunks):
            self._node.late_answers += 1

    def reply(self, frame: v1.Reply) -> None:
        """The answer to a server-side emit."""
        questions, app = self._server.hub.questions, self._server.app
        if not frame.payload:
            # The app server lacks the namespace. With native Socket.IO it would not have been asked.
            known = questions.excused(frame.ref, app)
        else:
            header = parse_header(check_text(frame.payload))
            pieces = frame.payload.count(RS) + 1
            if header.type not in (ACK, BINARY_ACK) or pieces != header.attachments + 1:
                raise PeerError(reasons.LINK_BAD_REQUEST, "an ack with its attachments is expected")
            known = questions.answered(frame.ref, app, frame.payload)
        if not known:
            self._node.late_answers += 1


def _unanswered(_about: object, _outcome: object) -> None:
    """Nobody waits for the outcome."""
