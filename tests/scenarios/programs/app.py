"""An app server of a scenario with our Python SDK. It does the same as `app.mjs`."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import socketio

from conformance.apps.lines import Command, Line, listen, notice
from moorage.sdk import MoorageError, use_moorage


class App:
    """The commands."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncServer(async_mode="asgi")
        self.names: dict[str, str] = {}
        self.emitted = 0
        self.emitting: asyncio.Task[None] | None = None
        self.sio.on("connect", self._connected)
        self.sio.on("disconnect", self._disconnected)
        self.sio.on("count", self._count)

    async def _connected(self, sid: str, _environ: object, auth: dict[str, str]) -> None:
        self.names[sid] = auth["name"]
        notice("connect", sid=sid, client=auth["name"])
        await self.sio.enter_room(sid, "room")

    async def _disconnected(self, sid: str, reason: str) -> None:
        notice("disconnect", sid=sid, client=self.names.pop(sid, None), reason=reason)

    async def _count(self, sid: str, number: int) -> int:
        notice("taken", sid=sid, client=self.names[sid], number=number)
        return number

    def command(self, name: str) -> Command:
        """Find one."""
        found: Command = getattr(self, f"do_{name}")
        return found

    async def do_start(self, line: Line) -> None:
        moorage = await use_moorage(self.sio, **line["options"])
        moorage.on("error", lambda error: notice("problem", message=str(error)))

    async def do_emit(self, line: Line) -> None:
        self.emitting = asyncio.create_task(
            self._emit(line["label"], line["every"] / 1000, "x" * line["size"])
        )

    async def _emit(self, label: str, seconds: float, rest: str) -> None:
        while True:
            self.emitted += 1
            try:
                await self.sio.emit("news", (label, self.emitted, rest), room="room")
            except MoorageError as error:
                notice("problem", message=str(error))
            await asyncio.sleep(seconds)

    async def do_hush(self, _line: Line) -> int:
        assert self.emitting is not None
        self.emitting.cancel()
        with suppress(asyncio.CancelledError):
            await self.emitting
        return self.emitted


if __name__ == "__main__":
    asyncio.run(listen(App().command))
