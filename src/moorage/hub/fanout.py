"""The bytes of one emit, built once and shared by all recipients."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from moorage.hub.outbox import SLICE, SLICE_BYTES, Flusher, Outbox
from moorage.wire import engineio

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.metrics import Metrics

SPECIAL: Final = (b"40", b"41", b"44", b"1")
"""First bytes of the packets that change state in the service as well as at the client: CONNECT, DISCONNECT
and CONNECT_ERROR of Socket.IO, and the close of Engine.IO."""


class Encoded:
    """A payload with its WebSocket frames, built when the first WebSocket client needs them."""

    __slots__ = ("_frames", "packets", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.packets = payload.count(engineio.RS) + 1
        self._frames: bytes | None = None

    @property
    def frames(self) -> bytes:
        """All packets as frames, concatenated."""
        if self._frames is None:
            self._frames = engineio.frames(self.payload)
        return self._frames

    @property
    def is_one_text(self) -> bool:
        """True if `frames` is a single text frame."""
        return self.packets == 1 and self.payload[:1] != b"b"

    @property
    def is_special(self) -> bool:
        """True if the payload holds a packet that changes the service's state (`SPECIAL`)."""
        if self.packets == 1:
            return self.payload.startswith(SPECIAL)
        return any(packet.startswith(SPECIAL) for packet in self.payload.split(engineio.RS))


def fan_out(
    encoded: Encoded,
    to: Collection[Connection],
    flusher: Flusher,
    metrics: Metrics,
    *,
    among: int = 0,
) -> None:
    """Queue `encoded` for every connection in `to`. This loop creates no task, awaits nothing and logs
    nothing: a recipient costs two appends and an addition. `among`: the number of all recipients, if `to` is
    only a part of them."""
    among = among or len(to)
    if among < SLICE and among * len(encoded.payload) <= SLICE_BYTES:
        for connection in to:
            push(connection.outbox, encoded, metrics, among)
        return
    framed = flusher.spread(encoded, to, among)
    metrics.sent_websocket += framed * encoded.packets
    metrics.sent_polling += (len(to) - framed) * encoded.packets


def push(box: Outbox, encoded: Encoded, metrics: Metrics, among: int = 1) -> None:
    """Queue `encoded` for one client, and count it. `among`: the number of clients that share its bytes."""
    if box.framed:
        box.push(encoded.frames, among)
        metrics.sent_websocket += encoded.packets
    else:
        box.push(encoded.payload, among)
        metrics.sent_polling += encoded.packets
