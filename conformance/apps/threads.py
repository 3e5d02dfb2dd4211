"""The same on a synchronous `socketio.Server` in threading mode: `use_moorage_sync`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final

import socketio

from conformance.apps.lines import Line
from conformance.apps.python import App, main
from moorage.sdk import use_moorage_sync

QUICK: Final = ("emit", "send", "server_side_emit", "save_session")
SLOW: Final = (
    *(
        "call",
        "emit_with_acks",
        "fetch_sockets",
        "server_side_emit_with_ack",
        "servers",
        "close",
        "hand_over",
    ),
    *(
        "enter_room",
        "leave_room",
        "close_room",
        "sockets_join",
        "sockets_leave",
        "disconnect",
        "disconnect_sockets",
    ),
)


class Awaited:
    """Methods that would hold up the program become awaitable; the rest is as it was. Those that do not
    wait for the service share a thread, so that they are made in the order in which they were asked for."""

    def __init__(self, inner: Any, caller: Executor) -> None:
        self._inner = inner
        self._caller = caller

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in QUICK and name not in SLOW:
            return found
        caller = self._caller if name in QUICK else None

        async def call(*args: Any, **kwargs: Any) -> Any:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(caller, lambda: found(*args, **kwargs))

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        target = self if name.startswith("_") else self._inner
        (object.__setattr__ if target is self else setattr)(target, name, value)


class ThreadsApp(App):
    """Handlers run in the SDK's threads and wait there for what the program's loop makes of them."""

    async def attach(self, options: Line, **where: Any) -> None:
        self._loop = asyncio.get_running_loop()
        sio = socketio.Server(async_mode="threading", **options)
        moorage = await asyncio.to_thread(use_moorage_sync, sio, **where)
        caller = ThreadPoolExecutor(1)
        self.sio, self.moorage = Awaited(sio, caller), Awaited(moorage, caller)

    def handler(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wait(*args: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(function(*args), self._loop).result()

        return wait

    async def do_close_connection(self, line: Line) -> None:
        sid = self.sio.manager.eio_sid_from_sid(line["sid"], line["ns"])
        await asyncio.to_thread(self.sio.eio.disconnect, sid)


if __name__ == "__main__":
    asyncio.run(main(ThreadsApp()))
    # Handlers that never return would keep the threads, and so the process.
    os._exit(0)
