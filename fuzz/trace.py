"""Targets of what describes packets for a trace. It takes any bytes and refuses none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import msgspec

from fuzz.mutate import damaged
from fuzz.target import Target
from fuzz.wire import PAYLOADS, WORDS
from moorage.hub.trace.describe import MAX_NAME, Whole, describe, in_frames, in_payload, shown
from moorage.wire import engineio
from moorage.wire.deflate.messages import Packer
from moorage.wire.errors import PeerError

_NAMES = [b'42["\\u0041\\ud83d"]', b'42[ "a\\x"]', b"42[12]", b"42[null]", b'42["' + b"x" * 300 + b'"]']


def _payload(rng: Random) -> bytes:
    return damaged(rng, [*PAYLOADS, *_NAMES], WORDS)


def _frames(rng: Random) -> bytes:
    payload = _payload(rng)
    try:
        packed = Packer(1, 0, 100_000).frames(payload) if rng.random() < 0.3 else None
        framed = packed or engineio.frames(payload)
    except PeerError:
        return b"\x81"
    return damaged(rng, [framed]) if rng.random() < 0.5 else framed


def _described(parts: Callable[[bytes], Iterator[Whole]]) -> Callable[[bytes], None]:
    def take(data: bytes) -> None:
        for whole in parts(data):
            what = describe(whole.packet)
            assert what.event is None or len(what.event) <= MAX_NAME + 1
            # It travels between nodes and to the browser.
            msgspec.json.encode((what, shown(whole.packet, what.body), whole.size))

    return take


TARGETS: dict[str, Target] = {
    "trace.in_payload": Target(_payload, _described(in_payload)),
    "trace.in_frames": Target(_frames, _described(in_frames)),
}
