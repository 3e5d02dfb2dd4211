"""The servers under test for the protocols' suites: an app of each SDK, and stock `socket.io`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from tests.conformance.apps import App, linked
from tests.support.rawhttp import Polling, clients
from tests.support.rawws import CLOSE, WebSocket
from tests.support.service import MoorageProcess

INTERVAL: Final = 0.3
TIMEOUT: Final = 1.5
"""The suites have 0.2 s. A busy machine may need longer for a pong."""
MAX_PAYLOAD: Final = 1_000_000
OPTIONS: Final = {
    "pingInterval": round(INTERVAL * 1000),
    "pingTimeout": round(TIMEOUT * 1000),
    "maxHttpBufferSize": MAX_PAYLOAD,
    "alwaysConnect": True,
}
"""The settings of both suites, except for the timeout. `alwaysConnect` is python-socketio's: CONNECT is
answered before the handler emits, as Socket.IO does."""


class Place(NamedTuple):
    """A server under test, as a client sees it."""

    sdk: str
    url: str
    path: str

    def target(self, query: str) -> str:
        """Path and query of a request."""
        return f"{self.path}?{query}"

    async def polling(self) -> Polling:
        """A new session."""
        return await Polling(self.url, self.path).open()

    async def websocket(self) -> WebSocket:
        """A new session."""
        return await WebSocket.session(self.url, self.path)

    async def upgrade(self, sid: str) -> WebSocket:
        """A second transport of a session."""
        return await WebSocket.open(self.url, self.target(f"EIO=4&transport=websocket&sid={sid}"))

    async def entered(self) -> WebSocket:
        """A new session with a socket in the main namespace."""
        socket = await self.websocket()
        await socket.send("40")
        assert (await event(socket)).startswith("40{")
        assert await event(socket) == '42["auth",{}]'
        return socket


async def event(socket: WebSocket) -> str:
    """The next text that is not a ping. Pings are answered."""
    while True:
        text = await socket.text()
        if text != "2":
            return text
        await socket.send("3")


async def fetch_until(client: Polling, count: int) -> list[str]:
    """Poll until this many packets have arrived, without pings, which are answered."""
    found: list[str] = []
    while len(found) < count:
        for packet in (await client.poll()).split("\x1e"):
            if packet == "2":
                await client.send("3")
            elif packet != "6":
                found.append(packet)
    return found


async def closed(socket: WebSocket, *, alive: bool = False) -> list[str]:
    """Wait for the server's close. Returns the texts before it. Only with `alive` pings are answered: the
    close then has another reason. Stock `ws` waits for an answer to its close frame."""
    texts: list[str] = []
    try:
        while (found := await socket.frame()).opcode != CLOSE:
            texts.append(found.payload.decode())
            if alive and texts[-1] == "2":
                await socket.send("3")
    except (EOFError, ConnectionError):
        pass
    return texts


@contextmanager
def place(sdk: str, service: MoorageProcess) -> Iterator[Place]:
    """An app server with the suites' settings."""
    app = App(sdk) if sdk == "native" else linked(sdk, service, f"Suite_{sdk}", **OPTIONS)
    try:
        if sdk == "native":
            url: Any = app.call("start", options=OPTIONS)["server"]
            found = Place(sdk, url, "/socket.io/")
        else:
            found = Place(sdk, service.url, clients(f"Suite_{sdk}"))
        for ns in ("/", "/custom"):
            app.call("define", ns=ns, suite=True)
        yield found
    finally:
        app.kill()
