"""Messages between a supervisor and a worker, over a real socket pair."""

from __future__ import annotations

import socket

from moorage.config.load import load
from moorage.config.model import Config
from moorage.workers.channel import (
    MAX_QUEUED,
    Begin,
    Channel,
    FromWorker,
    Page,
    Started,
    ToWorker,
    from_worker,
    to_worker,
)


async def pair() -> tuple[Channel[FromWorker], Channel[ToWorker]]:
    one, two = socket.socketpair()
    return await Channel.over(one, from_worker), await Channel.over(two, to_worker)


async def test_messages_arrive_in_order_and_whole() -> None:
    supervisor, worker = await pair()
    config = load(None, {}, {"keys.primary": "k" * 32, "hubs.chat.anonymous": False, "workers": "auto"})
    begin = Begin(config, "one", "/run")
    supervisor.send(begin)
    assert await worker.receive() == begin
    for message in (Started("AAAAAAAA"), Page(1, b"x" * 300_000), Page(2, b"")):
        worker.send(message)
        assert await supervisor.receive() == message
    worker.close()
    assert await supervisor.receive() is None
    supervisor.send(Begin(Config(), "", ""))
    await supervisor.flushed()


async def test_the_last_messages_arrive_before_the_end() -> None:
    supervisor, worker = await pair()
    worker.send(Started("AAAAAAAA"))
    await worker.flushed()
    assert await supervisor.receive() == Started("AAAAAAAA")
    assert await supervisor.receive() is None
    supervisor.close()


async def test_what_cannot_be_read_is_the_end() -> None:
    one, two = socket.socketpair()
    channel = await Channel.over(one, from_worker)
    with two:
        two.sendall(b"\x01\0\0\0\xc1")
        assert await channel.receive() is None
    channel.close()


async def test_a_process_that_does_not_read_is_known() -> None:
    supervisor, worker = await pair()
    states = [worker.crowded]
    worker.send(Page(1, b"x" * (2 * MAX_QUEUED)))
    states.append(worker.crowded)
    assert await supervisor.receive() is not None
    states.append(worker.crowded)
    assert states == [False, True, False]
    worker.close()
    supervisor.close()
