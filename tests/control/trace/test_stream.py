"""One stream, with a reader that is fast, slow or gone."""

from __future__ import annotations

import pytest

from moorage.control.trace import stream as module
from moorage.control.trace.events import KEEP_ALIVE
from moorage.control.trace.stream import MAX_BYTES, Stream
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_KEYS_CHANGED, DRAINING
from moorage.wire.trace.messages import Traced
from moorage.wire.trace.seen import Packet


def traced(*names: str, node: str = "n", dropped: int = 0, connections: int = 1) -> Traced:
    seen = tuple(Packet(1.0, "h", "c", None, "s", "in", "event", "/", name) for name in names)
    return Traced("w", node, seen, dropped, connections, False)


async def test_what_was_seen_leaves_in_one_piece() -> None:
    stream = Stream(lambda: 0.0, None)
    chunks = stream.chunks()
    assert await anext(chunks) == KEEP_ALIVE
    stream.take(traced("a"))
    stream.take(traced("b"))
    chunk = (await anext(chunks)).decode()
    assert chunk.count("event: watching") == 1, "only when it changes"
    assert chunk.index('"a"') < chunk.index('"b"')
    stream.take(traced("c", node="other"))
    stream.take(traced("d", connections=2))
    assert (await anext(chunks)).decode().count("event: watching") == 2


async def test_a_slow_reader() -> None:
    stream = Stream(lambda: 0.0, None)
    chunks = stream.chunks()
    await anext(chunks)
    total = 0
    for _ in range(100):
        stream.take(traced(*["x" * 100] * 100, dropped=1))
        total += 100
    chunk = await anext(chunks)
    assert MAX_BYTES < len(chunk) < MAX_BYTES + 1_000
    shown = chunk.count(b"event: packet")
    assert chunk.endswith(b'event: dropped\ndata: {"count":%d}\n\n' % (total - shown + 100))
    stream.take(traced("later"))
    assert b"later" in await anext(chunks)


async def test_a_quiet_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.01)
    chunks = Stream(lambda: 0.0, None).chunks()
    assert [await anext(chunks) for _ in range(3)] == [KEEP_ALIVE] * 3


async def test_the_end_of_a_session() -> None:
    now = 100.0
    stream = Stream(lambda: now, 100.02)
    chunks = stream.chunks()
    await anext(chunks)
    stream.take(traced("a"))
    assert b'"a"' in await anext(chunks)
    # The clock is looked at before and after the wait.
    now = 100.5
    assert b"admin-session-over" in await anext(chunks)
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)


async def test_an_end_with_a_reason() -> None:
    stream = Stream(lambda: 0.0, None)
    chunks = stream.chunks()
    await anext(chunks)
    stream.take(traced("a"))
    stream.end(PeerError(DRAINING))
    stream.end(PeerError(ADMIN_KEYS_CHANGED))
    last = await anext(chunks)
    assert last.index(b'"a"') < last.index(b"draining")
    assert b"admin-keys-changed" not in last
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)
