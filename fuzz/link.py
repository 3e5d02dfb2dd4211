"""Targets of the moorage dialect: its frames, and the two halves of its stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutate import damaged
from fuzz.target import Target
from moorage.wire.moorage import v1
from moorage.wire.moorage.stream import Incoming, Outgoing

ROOT = Path(__file__).resolve().parent.parent
VECTORS = json.loads((ROOT / "conformance" / "link-vectors.json").read_text(encoding="utf-8"))
WORDS = [
    b"\x90",
    b"\x91",
    b"\x93",
    b"\xc0",
    b"\xc4\x01",
    b"\xa1\xff",
    b"\xcf" + b"\xff" * 8,
    b"\xdd" + b"\xff" * 4,
]


def _examples(direction: str) -> list[bytes]:
    """A batch around each frame, and batches that are never sent."""
    frames = [f"93010091{row['hex']}" for row in VECTORS["frames"] if row["direction"] == direction]
    odd = [row["hex"] for row in VECTORS["tolerated"] if row["direction"] == direction]
    return list(map(bytes.fromhex, frames + odd))


def _decodes(decode: Callable[[bytes], v1.Batch[Any]]) -> Callable[[bytes], None]:
    def take(data: bytes) -> None:
        batch = decode(data)
        plain = v1.encode_batch(batch.number, batch.ack, list(map(v1.encode_frame, batch.frames)))
        assert decode(plain) == batch

    return take


def _target(direction: str, decode: Callable[[bytes], v1.Batch[Any]]) -> Target:
    examples = _examples(direction)
    return Target(lambda rng: damaged(rng, examples, WORDS), _decodes(decode))


Steps = list[tuple[int, int, int]]


def _steps(rng: Random) -> Steps:
    """Steps of a mostly correct peer: kind, number, size."""
    kinds = rng.choices(range(6), (4, 4, 2, 4, 2, 0.3), k=rng.randrange(60))
    return [(kind, rng.choice((1, 1, 1, 1, 1, 0, 2, -1)), rng.choice((1, 10, 400, 3000))) for kind in kinds]


def _stream(steps: Steps) -> None:
    """For any input of the other end, the sums stay correct."""
    outgoing, incoming, acked = Outgoing(1000), Incoming(1000), 0
    for kind, by, size in steps:
        match kind:
            case 0:
                outgoing.queue(b"x" * size)
            case 1:
                may = outgoing.waiting > 0 and not outgoing.blocked
                assert (outgoing.take(incoming.ack) is not None) == may
            case 2:
                # An ack of a batch that was never sent is rare, because it ends the session.
                ack = min(acked + by, outgoing.last + (by == 2))
                outgoing.taken(ack)
                acked = max(acked, ack)
            case 3:
                assert incoming.arrived(incoming.received + by, size) == (by > 0)
            case 4:
                incoming.take_all()
                assert incoming.told() == incoming.received and not incoming.has_news
            case _:
                again = outgoing.resume(acked + by - 1)
                acked += by - 1
                assert sum(map(len, again)) == outgoing.in_flight
        assert outgoing.in_flight >= 0 and incoming.ack <= incoming.received
        assert 0 <= acked <= outgoing.last


TARGETS = {
    "tunnel.decode_from_app": _target("app", v1.decode_from_app),
    "tunnel.decode_from_service": _target("service", v1.decode_from_service),
    "wire.stream": Target(_steps, _stream),
}
