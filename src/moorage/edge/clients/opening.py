"""A polling client that waits for its app server's decision."""

from __future__ import annotations

import asyncio

from moorage.engine.upgrade import Step
from moorage.hub.hub import Connection
from moorage.hub.ports import RefusedError
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import Reason


class PollingOpening:
    """`hub.ports.Opening` of a polling client."""

    transport = "polling"

    def __init__(self) -> None:
        self.answer: asyncio.Future[OpenInfo] = asyncio.get_running_loop().create_future()

    def accepted(self, connection: Connection, info: OpenInfo) -> None:
        """The session is open."""
        connection.session.step(Step.OPENED_POLLING)
        if not self.answer.done():
            self.answer.set_result(info)

    def refused(self, reason: Reason, detail: str) -> None:
        """The session is refused."""
        if not self.answer.done():
            self.answer.set_exception(RefusedError(reason, detail))
