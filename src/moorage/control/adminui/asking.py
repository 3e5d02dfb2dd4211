"""The questions of the Admin UI to the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import msgspec

from moorage.control.admin.access.keys import AdminKeys
from moorage.control.admin.questions import Questions
from moorage.control.adminui.stats import STATS, NodeStats, StatsQuery
from moorage.control.trace.streams import Traces
from moorage.hub.node import Node
from moorage.hub.turns import Intake
from moorage.wire.commands import FetchSockets, Found, Outcome, Selection
from moorage.wire.inspect.forms import MAX_ROWS, ConnectionRow, ConnectionsQuery

FETCH_SECONDS: Final = 5.0
MAX_PAGES: Final = 20
"""Maximum pages of connections whose transport is asked for."""


class Asking:
    """`control.adminui.viewer.Cluster`. `clock` gives epoch seconds."""

    def __init__(
        self,
        node: Node,
        questions: Questions,
        keys: AdminKeys,
        traces: Traces,
        *,
        payloads: bool,
        clock: Callable[[], float],
    ) -> None:
        self.traces = traces
        self.payloads = payloads
        self.keys = keys
        self._node = node
        self._questions = questions
        self._clock = clock
        self._intake = Intake(node.turns)

    def check(self, token: str) -> None:
        """As in the port."""
        self.keys.session(token, self._clock())

    async def stats(self, hub: str) -> Mapping[str, NodeStats]:
        """As in the port."""
        return (await self._questions.ask(STATS, StatsQuery(hub=hub), NodeStats))[0]

    async def sockets(self, hub: str, to: Selection, namespace: str) -> AsyncIterator[list[Found]]:
        """As in the port."""
        reply: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def replied(_about: object, outcome: Outcome | Exception) -> None:
            if reply.done():
                return
            if isinstance(outcome, Exception):
                reply.set_exception(outcome)
            else:
                reply.set_result(outcome)

        now = int(self._clock() * 1000)
        command = FetchSockets(hub, to, namespace, FETCH_SECONDS, now)
        job = self._node.submit(command, replied, None, _NoAnswers())
        if job is not None:
            self._intake.add(job)
        for found in (await reply).sockets.values():
            for some in found:
                yield some
                await asyncio.sleep(0)

    async def transports(self, hub: str) -> Mapping[str, str]:
        """As in the port."""
        found: dict[str, str] = {}
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            query = ConnectionsQuery(hub=hub, limit=MAX_ROWS, cursor=cursor)
            page = await self._questions.connections(query)
            rows = msgspec.json.decode(msgspec.json.encode(page.connections), type=list[ConnectionRow])
            found.update((row.id, row.transport) for row in rows)
            cursor = page.next
            if cursor is None:
                break
        return found

    def now(self) -> float:
        """As in the port."""
        return self._clock()


class _NoAnswers:
    """`hub.ports.Answers`: the data that app servers keep of their sockets is not shown."""

    def answer(self, sender: str, payload: object) -> None:
        """As in the port."""

    def finish(self, missing: tuple[str, ...]) -> None:
        """As in the port."""
