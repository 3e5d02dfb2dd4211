"""Collecting the workers' metrics, with places whose processes are channels of the test."""

from __future__ import annotations

import asyncio
import socket

from moorage.workers.channel import Channel, FromWorker, Page, Pages, Render, ToWorker, from_worker, to_worker
from moorage.workers.gathering import Gathering
from moorage.workers.process import WorkerProcess


class Place(WorkerProcess):
    """A worker whose process is the test."""

    async def join(self) -> Channel[ToWorker]:
        """Returns the worker's end."""
        ours, theirs = socket.socketpair()
        self.channel: Channel[FromWorker] = await Channel.over(ours, from_worker)
        self.incarnation = "A" * 8
        return await Channel.over(theirs, to_worker)

    @property
    def answers(self) -> bool:
        return bool(self.incarnation)

    def send(self, message: ToWorker) -> None:
        self.channel.send(message)


async def test_the_answer_has_what_arrived_in_time() -> None:
    one, two, three = places = [Place(name, 0) for name in ("one", "two", "three")]
    first, second = await one.join(), await two.join()
    two.restarts = 4
    gathering = Gathering(places)
    gathering.begin(two, 77)
    numbers = set()
    for channel in (first, second):
        asked = await channel.receive()
        assert isinstance(asked, Render)
        numbers.add(asked.number)
    (number,) = numbers
    gathering.add(two, Page(number, b"2"))
    gathering.add(one, Page(number, b"1"))
    gathering.add(three, Page(number, b"late"))
    answer = await second.receive()
    assert answer == Pages(77, {"one": b"1", "two": b"2"}, {"one": 0, "two": 4, "three": 0})
    assert isinstance(answer, Pages)
    assert list(answer.pages) == ["one", "two"]

    gathering.begin(two, 78)
    asked = await first.receive()
    assert isinstance(asked, Render)
    gathering.add(one, Page(asked.number, b"1"))
    await second.receive()
    async with asyncio.timeout(60):
        answer = await second.receive()
    assert isinstance(answer, Pages) and answer.pages == {"one": b"1"}
    for channel in (first, second):
        channel.close()
    one.channel.close()
    two.channel.close()
