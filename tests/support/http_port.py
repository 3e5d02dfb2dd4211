"""A listener as `ClientPort` builds it, with a small application behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport
from uvicorn.config import Config
from uvicorn.server import ServerState

from moorage.edge.http.acceptor import Acceptor, Setup
from moorage.edge.http.protocol import HttpProtocol
from moorage.edge.http.upgrade import UpgradeRequest
from moorage.edge.settings import ServerSettings
from moorage.metrics.metrics import Metrics

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Listener(WSListener):
    """Records the callbacks of picows."""

    def __init__(self) -> None:
        self.frames: list[tuple[WSMsgType, bytes]] = []
        self.told: list[str] = []
        self.heard: asyncio.Event = asyncio.Event()
        self.transport: WSTransport

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.heard.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self._tell("connected")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames.append((frame.msg_type, frame.get_payload_as_bytes()))
        self._tell("frame")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._tell("disconnected")

    def pause_writing(self) -> None:
        self._tell("pause")

    def resume_writing(self) -> None:
        self._tell("resume")

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a callback."""
        async with asyncio.timeout(60):
            while not true():
                self.heard.clear()
                await self.heard.wait()


class Port:
    """With `fast`, upgrades are recognised by their first bytes; otherwise `HttpProtocol` gets everything."""

    def __init__(self, *, fast: bool) -> None:
        self.fast = fast
        self.acceptors: set[Acceptor] = set()
        self.settings = ServerSettings(max_header_bytes=4096)
        self.metrics = Metrics("test")
        self.state = ServerState()
        self.upgrades: asyncio.Queue[UpgradeRequest] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.served: list[tuple[str, bytes]] = []
        self.url = ""

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers with the length of the body once `gate` is open; `/early` without reading it,
        `/large` with a megabyte."""
        await self.gate.wait()
        if scope["path"] == "/early":
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message.get("more_body"):
                break
        self.served.append((scope["path"], body))
        answer = b"x" * 1024 * 1024 if scope["path"] == "/large" else b"%d" % len(body)
        head = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    def acceptor(self) -> Acceptor:
        """One connection, set up like `ClientPort` does."""
        limit = self.settings.max_header_bytes
        return Acceptor(Setup(self.protocol, self._upgrade, self.metrics, limit, self.acceptors))

    def protocol(self) -> HttpProtocol:
        """The same for a connection that is not plainly a WebSocket."""
        made = HttpProtocol(self.config, self.state, {})
        made.settings, made.metrics, made.upgrades = self.settings, self.metrics, self._upgrade
        return made

    def _upgrade(self, request: UpgradeRequest) -> None:
        self.upgrades.put_nowait(request)

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        self.config = Config(
            app=self.app, http="httptools", ws="none", lifespan="off", interface="asgi3", log_config=None
        )
        self.config.load()
        self.config.ws_protocol_class = UpgradeRequest
        made = self.acceptor if self.fast else self.protocol
        server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def refusals(self, reason: str) -> int:
        """The number of refusals of this port for `reason`."""
        return self.metrics.refusals["http", reason]
