"""The bytes of one emit, built once and shared by all recipients."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from moorage.hub.hub import Connection
from moorage.hub.outbox import SLICE, SLICE_BYTES, Flusher, Outbox
from moorage.wire import engineio

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
    encoded: Encoded, to: Collection[Connection], flusher: Flusher[Connection], *, among: int = 0
) -> None:
    """Queue `encoded` for every connection in `to`, without a task, an await or a log line per recipient.
    If `to` is only a part of all recipients, `among` is the number of all."""
    among = among or len(to)
    if among < SLICE and among * len(encoded.payload) <= SLICE_BYTES:
        framed = 0
        for connection in to:
            box = connection.outbox
            if box.framed:
                framed += 1
                box.push(encoded.frames, among)
            else:
                box.push(encoded.payload, among)
    else:
        framed = flusher.spread(encoded.payload, encoded.frames, to, among, one_text=encoded.is_one_text)
    flusher.sent_websocket += framed * encoded.packets
    flusher.sent_polling += (len(to) - framed) * encoded.packets


def push(box: Outbox[Connection], encoded: Encoded, flusher: Flusher[Connection]) -> None:
    """Queue `encoded` for one client, and count it."""
    if box.framed:
        box.push(encoded.frames)
        flusher.sent_websocket += encoded.packets
    else:
        box.push(encoded.payload)
        flusher.sent_polling += encoded.packets
