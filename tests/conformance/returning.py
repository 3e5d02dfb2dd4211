"""Stock clients in JavaScript and Python that reconnect automatically."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import aiohttp
import requests
import socketio

from tests.conformance.program import PATIENCE
from tests.conformance.stage import Stage

TRANSPORTS: Final = ("websocket", "polling")
DELAY: Final = 0.05
MOST: Final = 0.2


class Returning(Protocol):
    """A client that reports its connects and disconnects."""

    label: str

    def sid(self) -> str:
        """Its socket id."""

    def wait_connects(self, count: int) -> None:
        """Wait until it has connected `times` times."""

    def end(self) -> str:
        """The reason of its first disconnect."""

    def connects(self) -> int:
        """The number of its connects."""

    def close(self) -> None:
        """Disconnect without reconnecting."""


class Script:
    """`socket.io-client`; the stage closes it."""

    def __init__(self, stage: Stage, transport: str) -> None:
        self.label = f"script-{transport}"
        delays: dict[str, Any] = {"reconnectionDelay": DELAY * 1000, "reconnectionDelayMax": MOST * 1000}
        self._client = stage.opening(transport=transport, reconnection=True, **delays).connected()
        self._program = self._client.program

    def sid(self) -> str:
        return self._client.sid

    def connects(self) -> int:
        return len(self._program.heard(0, notice="connect", client=self._client.number))

    def wait_connects(self, count: int) -> None:
        self._program.wait_until(lambda: self.connects() >= count, f"{count} connects of {self.label}")

    def end(self) -> str:
        return self._client.ended()

    def close(self) -> None:
        pass


class Python:
    """`socketio.Client`."""

    kind = "python"

    def __init__(self, stage: Stage, transport: str) -> None:
        self.label = f"{self.kind}-{transport}"
        self._ns = stage.ns
        self._changed = threading.Condition()
        self._connects = 0
        self._ends: list[str] = []
        options = {"reconnection_delay": DELAY, "reconnection_delay_max": MOST, "handle_sigint": False}
        self.sio = self._make(options)
        self.sio.on("connect", self._connected, namespace=stage.ns)
        self.sio.on("disconnect", self._disconnected, namespace=stage.ns)
        self._run(
            lambda: self.sio.connect(
                stage.service.url,
                transports=[transport],
                namespaces=[stage.ns],
                socketio_path=f"/clients/socketio/hubs/{stage.hub}/",
                wait_timeout=PATIENCE,
            )
        )
        self.wait_connects(1)

    def _make(self, options: dict[str, Any]) -> Any:
        # Its own session would leave connections open.
        self._http: Any = requests.Session()
        return socketio.Client(http_session=self._http, **options)

    def _run(self, act: Callable[[], Any]) -> None:
        act()

    def _connected(self) -> None:
        with self._changed:
            self._connects += 1
            self._changed.notify_all()

    def _disconnected(self, reason: str) -> None:
        with self._changed:
            self._ends.append(reason)
            self._changed.notify_all()

    def sid(self) -> str:
        sid: str = self.sio.get_sid(namespace=self._ns)
        return sid

    def connects(self) -> int:
        return self._connects

    def wait_connects(self, count: int) -> None:
        with self._changed:
            came = self._changed.wait_for(lambda: self._connects >= count, PATIENCE)
        assert came, f"{self.label} stayed away: {self._ends}"

    def end(self) -> str:
        with self._changed:
            assert self._changed.wait_for(lambda: self._ends, PATIENCE), self.label
        return self._ends[0]

    def close(self) -> None:
        self._stay_away()
        self._run(self.sio.shutdown)
        self._http.close()

    def _stay_away(self) -> None:
        # `shutdown` does not stop a client that has lost its connection and has not begun to reconnect.
        self.sio.reconnection = False
        self.sio.reconnection_attempts = 1


class Asyncio(Python):
    """`socketio.AsyncClient`, on a separate event loop."""

    kind = "asyncio"

    def _make(self, options: dict[str, Any]) -> Any:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._on_the_loop(options), self._loop).result(PATIENCE)

    async def _on_the_loop(self, options: dict[str, Any]) -> Any:
        self._http = aiohttp.ClientSession()
        return socketio.AsyncClient(http_session=self._http, **options)

    def _run(self, act: Callable[[], Any]) -> None:
        async def on_the_loop() -> None:
            await act()

        asyncio.run_coroutine_threadsafe(on_the_loop(), self._loop).result(PATIENCE)

    def close(self) -> None:
        self._stay_away()
        try:
            self._run(self.sio.shutdown)
            self._run(self._http.close)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        with warnings.catch_warnings():
            # The client drops an unused answer without reading it. aiohttp warns about this when
            # the garbage collector finds the answer, which must not happen in another test.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def crew(stage: Stage) -> Sequence[Returning]:
    """Clients of each kind, on each transport."""
    kinds = (Script, Python, Asyncio)
    return [kind(stage, transport) for kind in kinds for transport in TRANSPORTS]
