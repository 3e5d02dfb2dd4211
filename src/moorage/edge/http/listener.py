"""The listener of the client port: one port for polling, WebSockets, links and the HTTP APIs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from moorage import logs
from moorage.edge.clients.admission import is_client_path
from moorage.edge.clients.log import ClientLog
from moorage.edge.clients.polling import PollingHandler
from moorage.edge.clients.websocket import WebSocketAcceptor
from moorage.edge.http.acceptor import Acceptor, PassedAcceptor, Setup
from moorage.edge.http.asgi import Receive, Scope
from moorage.edge.http.forwarded import TrustedProxies
from moorage.edge.http.protocol import HttpProtocol, sweep
from moorage.edge.http.refusals import error_body
from moorage.edge.http.replies import Send
from moorage.edge.http.upgrade import UpgradeRequest
from moorage.edge.links import PATH, LinkAcceptor
from moorage.edge.relay.heads import PREFIX
from moorage.edge.relay.relay import RELAYED, Relay
from moorage.edge.settings import ServerSettings
from moorage.edge.tcp.counted import AddressLimit
from moorage.edge.tcp.files import Files
from moorage.edge.tcp.gate import Gate, listening
from moorage.edge.tcp.tls import Tls
from moorage.metrics.metrics import Metrics
from moorage.wire.errors import PeerError
from moorage.wire.reasons import UNKNOWN_PATH

log: Final = logs.get("relay")

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientPort:
    """Binds, accepts, and routes by path. `apis` answers every path that is neither a client's nor a
    link's."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        polling: PollingHandler,
        sockets: WebSocketAcceptor,
        links: LinkAcceptor,
        relay: Relay,
        apis: AsgiApp,
        metrics: Metrics,
        log: ClientLog,
    ) -> None:
        """Raises `TlsError` (a `UsageError`) if the files of TLS cannot be used."""
        self._settings = settings
        self.tls = Tls(settings.tls) if settings.tls.cert_file else None
        proxies, most = TrustedProxies(settings.trusted_proxies), settings.max_tcp_per_address
        self._proxies = proxies if settings.proxy_protocol else None
        self._limit = AddressLimit(most, proxies) if most else None
        self._told = proxies
        """Proxies that tell the scheme of the client's request."""
        self._polling = polling
        self._sockets = sockets
        self._links = links
        self.relay = relay
        self._apis = apis
        self._metrics = metrics
        self._files = Files(metrics)
        self._log = log
        self._state = ServerState()
        self._acceptors: set[Acceptor] = set()
        self._servers: list[asyncio.Server | Gate] = []
        self._local: asyncio.Server | None = None
        self._setup = self._make_setup()
        self._taken: set[asyncio.Task[Any]] = set()
        """Connections of other nodes whose transport is being made."""

    async def start(self) -> str:
        """Listen, and return the base URL with the bound port. Raises `OSError`."""
        return await self._listen(self._settings.port)

    async def start_own(self) -> str:
        """Listen on the port that belongs to this worker alone. Otherwise like `start`."""
        return await self._listen(self._settings.worker_port, shared=True)

    async def start_shared(self) -> str:
        """Listen on the port that all workers share. Otherwise like `start`."""
        return await self._listen(self._settings.port, shared=True)

    def stop_shared(self) -> None:
        """Accept no more connections on the shared port; the other workers get them."""
        for server in self._servers[1:]:
            server.close()

    async def start_local(self, path: Path) -> None:
        """Listen on a Unix socket for what other nodes of this machine relay. Raises `OSError`."""
        loop, setup = asyncio.get_running_loop(), self._setup
        self._local = await loop.create_unix_server(lambda: Acceptor(setup), str(path))
        path.chmod(0o600)

    async def _listen(self, port: int, *, shared: bool = False) -> str:
        # The supervisor keeps both kinds of ports reserved, so its workers have to share them with it.
        host, backlog, setup = self._settings.host, self._settings.backlog, self._setup
        server: asyncio.Server | Gate
        if self.tls is None and self._proxies is None and self._limit is None:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(
                lambda: Acceptor(setup), host, port, backlog=backlog, reuse_port=shared or None
            )
        else:
            server = Gate(
                listening(host, port, backlog=backlog, shared=shared),
                partial(Acceptor, setup),
                tls=self.tls,
                proxies=self._proxies,
                refused=lambda error: self._log.request_refused("http", error, ""),
                files=self._files,
                timeout=self._settings.header_timeout,
                limit=self._limit,
            )
        self._servers.append(server)
        return base_url(self._settings, server.sockets[0].getsockname()[1])

    def _make_setup(self) -> Setup:
        """What makes the protocol of each connection."""
        config = Config(
            app=self._route,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(self._settings.keep_alive)),
        )
        config.load()
        # uvicorn only checks that there is a class. `HttpProtocol` does the upgrade.
        config.ws_protocol_class = UpgradeRequest

        def http() -> HttpProtocol:
            made = HttpProtocol(config, self._state, {})
            made.settings = self._settings
            made.upgrades = self._upgrade
            made.metrics = self._metrics
            return made

        return Setup(http, self._upgrade, self._metrics, self._settings.max_header_bytes, self._acceptors)

    def take(self, sock: socket.socket, data: bytes) -> None:
        """Go on with a connection that another node has accepted, and of which it has read `data`."""
        sock.setblocking(False)
        setup = self._setup
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: PassedAcceptor(setup, data), sock))
        self._taken.add(task)
        task.add_done_callback(self._took)

    def _took(self, task: asyncio.Task[Any]) -> None:
        self._taken.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("passed connection not accepted", error=str(task.exception()))

    async def stop(self) -> None:
        """Accept no new TCP connections, and end the remaining HTTP connections."""
        for server in (*self._servers, *((self._local,) if self._local is not None else ())):
            server.close()
            if isinstance(server, Gate):
                server.abort()
        for connection in (*self._state.connections, *self._acceptors):
            connection.shutdown()
        tasks = tuple(self._state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    def tick(self, _now: float) -> None:
        """End requests that take too long, and see whether there are descriptors for more."""
        self._files.check()
        now = asyncio.get_running_loop().time()
        sweep(self._state.connections, now)
        for acceptor in [f for f in self._acceptors if now - f.since > self._settings.header_timeout]:
            acceptor.give_up()

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].decode("ascii")
        app: AsgiApp = self._apis
        if is_client_path(path):
            # As for WebSockets, the path is decoded once, by the code that reads the hub's name.
            scope["path"] = path
            app = self._polling
        elif path.startswith(PREFIX) and self._arrived(scope, path.removeprefix(PREFIX)):
            app = self._polling
        elif self._told:
            scope["scheme"] = _told_scheme(self._told, scope)
        await app(scope, receive, send)

    def _arrived(self, scope: Scope, path: str) -> bool:
        """Make a request that another node has relayed look as the client sent it."""
        target = f"{path}?{scope['query_string'].decode('latin-1')}"
        client = self.relay.arrived(scope["method"], target, scope["headers"])
        if client is None or not is_client_path(path):
            return False
        scope["path"], scope["scheme"], scope["client"] = path, client.scheme, (client.address, 0)
        scope["extensions"][RELAYED] = True
        return True

    def _upgrade_arrived(self, request: UpgradeRequest) -> bool:
        """The same for an upgrade."""
        client = self.relay.arrived("GET", request.target.removeprefix(PREFIX), request.headers)
        if client is not None:
            request.arrived(request.path.removeprefix(PREFIX), client)
        return client is not None

    def _upgrade(self, request: UpgradeRequest) -> None:
        if request.path == PATH:
            self._links.upgrade(request)
        elif is_client_path(request.path):
            self._sockets.upgrade(request)
        elif request.path.startswith(PREFIX) and self._upgrade_arrived(request):
            self._upgrade(request)
        else:
            error = PeerError(UNKNOWN_PATH, request.path[:128])
            self._log.request_refused("http", error, request.path)
            request.refuse(error)


def _told_scheme(proxies: TrustedProxies, scope: Scope) -> str:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    client = scope["client"]
    return proxies.scheme(client[0] if client else "", headers, scope["scheme"])


def base_url(server: ServerSettings, port: int) -> str:
    """The URL of the service at one of its ports."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http{'s' if server.tls.cert_file else ''}://{host}:{port}"


def not_found_body(path: str) -> bytes:
    """The JSON of a 404 outside the client paths. It tells where clients should connect."""
    return error_body(PeerError(UNKNOWN_PATH, path[:128]))
