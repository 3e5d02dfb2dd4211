"""A small executor behind the real REST API on a real server, and a caller with signed tokens."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jwt
import uvicorn
from starlette.applications import Starlette

from moorage.auth import AccessKeys, AuthSettings
from moorage.control.rest import routes
from moorage.wire.commands import (
    Command,
    DrainNode,
    Inspect,
    ListGroup,
    ListServers,
    Member,
    Outcome,
    SendToConnection,
    TellServers,
)

KEY = "primary-0123456789abcdef0123456789"
MAX_BODY = 10_000


class FakeNode:
    """Executes commands on three lists, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Command] = []
        self.counted: list[tuple[str, int, str | None]] = []
        self.connections = {"c1"}
        self.users = {"bob"}
        self.groups: dict[str, list[Member]] = {"g": [Member("c1", "bob")]}
        self.ready = True
        self.keys = AccessKeys(KEY)
        self.now = time.time

    def execute(self, command: Command) -> Outcome:
        self.asked.append(command)
        if isinstance(command, SendToConnection):
            return Outcome(found=command.connection in self.connections)
        if isinstance(command, ListGroup):
            later = [row for row in self.groups.get(command.group, []) if row.connection_id > command.after]
            return Outcome(members=tuple(later[: command.limit]), more=len(later) > command.limit)
        assert not isinstance(command, TellServers | ListServers | Inspect | DrainNode)
        to = command.to
        known = (
            (to.connection is None or to.connection in self.connections)
            and (to.user is None or to.user in self.users)
            and (to.group is None or to.group in self.groups)
        )
        return Outcome(found=known)

    def count(self, operation: str, status: int, reason: str | None) -> None:
        self.counted.append((operation, status, reason))

    def clock(self) -> float:
        return self.now()


@contextlib.contextmanager
def serving(node: FakeNode, *, public_endpoint: str = "") -> Iterator[str]:
    """A uvicorn in a thread; gives `http://127.0.0.1:PORT`."""
    app = Starlette(
        routes=routes(
            keys=node.keys,
            execute=node.execute,
            count=node.count,
            clock=node.clock,
            settings=AuthSettings(),
            max_body=MAX_BODY,
            public_endpoint=public_endpoint,
            ready=lambda: node.ready,
        )
    )
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    # Listening before the thread starts: whoever connects early waits in the backlog.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    base: str,
    method: str,
    target: str,
    body: Any = None,
    *,
    authorization: str | None = "sign",
    **headers: str,
) -> Answer:
    """One request. `authorization` "sign": with a token for exactly this URL; None: without."""
    url = urlsplit(base)
    assert url.hostname is not None
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if authorization == "sign":
        aud = f"http://{sent.get('host', url.netloc)}{target}"
        authorization = f"Bearer {jwt.encode({'aud': aud, 'exp': int(time.time()) + 60}, KEY)}"
    if authorization is not None:
        sent["authorization"] = authorization
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, target, body, sent)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
