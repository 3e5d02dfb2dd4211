"""The bytes of one emit, built once and shared by all recipients."""

from __future__ import annotations

from collections.abc import Collection

from moorage.hub.hub import Connection
from moorage.hub.outbox import SLICE, SLICE_BYTES, Flusher
from moorage.wire import engineio, socketio
from moorage.wire.deflate.messages import Packer
from moorage.wire.errors import PeerError
from moorage.wire.reasons import API_BAD_PAYLOAD


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


class Delivery:
    """A payload, checked and encoded once for all recipients, who may get it in several calls. Raises
    `PeerError` for a payload that cannot be encoded, before any recipient has got anything."""

    __slots__ = ("_encoded", "_flusher", "_is_packed", "_packed")

    work = 1
    """Units of work (`hub.turns`) for each recipient."""

    def __init__(self, payload: bytes, flusher: Flusher[Connection]) -> None:
        # A client must close a WebSocket on which it receives invalid UTF-8: one bad emit would end them all.
        self._encoded = encoded = Encoded(engineio.check_text(payload))
        self._flusher = flusher
        self._is_packed = False
        self._packed: bytes | None = None
        if encoded.packets > socketio.MAX_EMIT:
            raise PeerError(API_BAD_PAYLOAD, f"at most {socketio.MAX_EMIT} packets for several clients")
        if not encoded.is_one_text:
            _ = encoded.frames

    def to(self, some: Collection[Connection], *, among: int = 0) -> int:
        """Queue the payload for all in `some`, clients of one hub, without a task, an await or a log line per
        recipient, and return their number. `among`: the number of recipients in all calls together, if
        `some` is only a part of them."""
        packer = self._flusher.packer
        if packer is None or not packer.least <= len(self._encoded.payload) <= packer.most:
            return self._to(some, among)
        takers = [connection for connection in some if connection.outbox.packs]
        packed = self._pack(packer) if takers else None
        if packed is None:
            return self._to(some, among)
        among = among or len(some)
        plain = [connection for connection in some if not connection.outbox.packs]
        self._flusher.saved += len(takers) * (len(self._encoded.frames) - len(packed))
        return self._to(takers, among, packed) + self._to(plain, among)

    def _pack(self, packer: Packer) -> bytes | None:
        """The compressed frames, made for the first recipient who takes them."""
        if not self._is_packed:
            self._is_packed = True
            self._packed = packer.frames(self._encoded.payload)
        return self._packed

    def _to(self, some: Collection[Connection], among: int, packed: bytes | None = None) -> int:
        """`to`, with frames other than those of the payload, if all in `some` take these."""
        if not some:
            return 0
        encoded, flusher = self._encoded, self._flusher
        packets = encoded.packets
        among = among or len(some)
        if among < SLICE and among * len(encoded.payload) <= SLICE_BYTES:
            framed, frames = 0, packed
            for connection in some:
                box = connection.outbox
                if box.framed:
                    framed += 1
                    frames = frames or encoded.frames
                    box.push(frames, among, packets)
                else:
                    box.push(encoded.payload, among, packets)
        else:
            frames = packed or encoded.frames
            framed = flusher.spread(encoded.payload, frames, some, among, packets)
        flusher.sent_websocket += framed * packets
        flusher.sent_polling += (len(some) - framed) * packets
        next(iter(some)).hub.tally.sent += len(some) * packets
        return len(some)


def push(connection: Connection, encoded: Encoded, flusher: Flusher[Connection]) -> None:
    """Queue `encoded` for one client, and count it."""
    box, packets = connection.outbox, encoded.packets
    if box.framed:
        box.push(encoded.frames, 1, packets)
        flusher.sent_websocket += packets
    else:
        box.push(encoded.payload, 1, packets)
        flusher.sent_polling += packets
    connection.hub.tally.sent += packets
