"""The REST door on a real server: Azure's Python SDK as published, and what strangers may try."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jwt
import pytest
import uvicorn
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from starlette.applications import Starlette

from moorage.auth import AccessKeys, AuthSettings, client_audience, verify
from moorage.control.rest import routes
from moorage.wire.commands import (
    CloseConnections,
    Command,
    Exists,
    Invoke,
    JoinGroups,
    LeaveGroups,
    ListGroup,
    Member,
    Outcome,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.filters import compile_filter

KEY = "primary-0123456789abcdef0123456789"
EVENT = '42["hi",1]'
MAX_BODY = 10_000


class Desk:
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
        to = command.to
        known = (
            (to.connection is None or to.connection in self.connections)
            and (to.user is None or to.user in self.users)
            and (to.group is None or to.group in self.groups)
        )
        return Outcome(found=known)

    async def invoke(self, command: Invoke) -> AsyncIterator[bytes]:
        self.asked.append(command)
        for line in (b'{"Payload":"431[1]"}\n', b'{"Payload":"431[2]"}\n'):
            yield line

    def count(self, operation: str, status: int, reason: str | None) -> None:
        self.counted.append((operation, status, reason))

    def clock(self) -> float:
        return self.now()


@contextlib.contextmanager
def serving(desk: Desk, *, public_endpoint: str = "", invoke: bool = True) -> Iterator[str]:
    """A uvicorn in a thread; gives `http://127.0.0.1:PORT`."""
    app = Starlette(
        routes=routes(
            keys=desk.keys,
            execute=desk.execute,
            count=desk.count,
            clock=desk.clock,
            settings=AuthSettings(),
            max_body=MAX_BODY,
            public_endpoint=public_endpoint,
            ready=lambda: desk.ready,
            invoke=desk.invoke if invoke else None,
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


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Desk, str]]:
    desk = Desk()
    with serving(desk) as base:
        yield desk, base


@pytest.fixture
def desk(server: tuple[Desk, str]) -> Desk:
    """The module's desk as new: whatever a test changed is set back."""
    server[0].keys.replace(KEY)
    fresh = vars(Desk())
    fresh.pop("keys")
    vars(server[0]).update(fresh)
    return server[0]


@pytest.fixture
def base(server: tuple[Desk, str], desk: Desk) -> str:
    return server[1]


@pytest.fixture
def client(base: str) -> Iterator[WebPubSubServiceClient]:
    with WebPubSubServiceClient.from_connection_string(
        f"Endpoint={base};AccessKey={KEY};Version=1.0;", hub="h", retry_total=0
    ) as made:
        yield made


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
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, target, body, sent)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())


SEND = "/api/hubs/h/:send?api-version=2024-12-01"


class TestPythonSdk:
    """`azure-messaging-webpubsubservice`, unmodified."""

    def test_sends(self, client: WebPubSubServiceClient, desk: Desk) -> None:
        text = "userId eq 'o''neil' and not ('x+y&z' in groups)"
        client.send_to_all(EVENT, content_type="text/plain", excluded=["a", "b"], filter=text)
        client.send_to_group("0~Lw~cm0", EVENT, content_type="text/plain", filter="'g' in groups")
        client.send_to_group("nobody/there é", EVENT, content_type="text/plain")
        client.send_to_user("bob", EVENT, content_type="text/plain")
        client.send_to_user("nobody", EVENT, content_type="text/plain")
        client.send_to_connection("c1", EVENT, content_type="text/plain")
        payload = EVENT.encode()
        assert desk.asked == [
            Send("h", Selection(filter=compile_filter(text), excluded=("a", "b")), payload),
            Send("h", Selection(group="0~Lw~cm0", filter=compile_filter("'g' in groups")), payload),
            Send("h", Selection(group="nobody/there é"), payload),
            Send("h", Selection(user="bob"), payload),
            Send("h", Selection(user="nobody"), payload),
            SendToConnection("h", "c1", payload),
        ]
        assert desk.counted[0] == ("send_to_all", 202, None)

    def test_send_to_an_unknown_connection(self, client: WebPubSubServiceClient, desk: Desk) -> None:
        with pytest.raises(ResourceNotFoundError):
            client.send_to_connection("gone", EVENT, content_type="text/plain")
        assert desk.counted == [("send_to_connection", 404, "api-not-found")]

    def test_send_of_json_tells_what_to_send(self, client: WebPubSubServiceClient, desk: Desk) -> None:
        with pytest.raises(HttpResponseError) as caught:
            client.send_to_all({"x": 1})
        assert caught.value.status_code == 415
        with pytest.raises(HttpResponseError):
            client.send_to_all(io.BytesIO(b"\x01"), content_type="application/octet-stream")
        with pytest.raises(HttpResponseError):
            client.send_to_all("plain text", content_type="text/plain")
        assert desk.asked == []
        assert [reason for _, _, reason in desk.counted] == [
            "api-bad-content-type",
            "api-bad-content-type",
            "api-bad-payload",
        ]

    def test_exists(self, client: WebPubSubServiceClient, desk: Desk) -> None:
        assert client.connection_exists("c1")
        assert not client.connection_exists("c2")
        assert client.user_exists("bob")
        assert not client.user_exists("fake user")
        assert client.group_exists("g")
        assert not client.group_exists("fake group")
        assert desk.asked[-1] == Exists("h", Selection(group="fake group"))
        assert desk.counted[-1] == ("group_exists", 404, None)

    def test_groups(self, client: WebPubSubServiceClient, desk: Desk) -> None:
        client.add_connection_to_group("g2", "c1")
        client.add_user_to_group("g2", "bob")
        client.remove_connection_from_group("g2", "c1")
        client.remove_user_from_group("g2", "bob")
        client.remove_connection_from_all_groups("c1")
        client.remove_user_from_all_groups("bob")
        # These two are younger than the package; its pipeline makes the token and the request.
        for operation, body in (
            (":addToGroups", {"groups": ["a", "b"], "filter": "connectionId eq 'c1'"}),
            (":removeFromGroups", {"groups": ["a"], "filter": "'g' in groups"}),
        ):
            request = HttpRequest("POST", f"/api/hubs/h/{operation}?api-version=2024-12-01", json=body)
            assert client.send_request(request).status_code == 200
        c1, bob = Selection(connection="c1"), Selection(user="bob")
        assert desk.asked == [
            JoinGroups("h", c1, ("g2",)),
            JoinGroups("h", bob, ("g2",)),
            LeaveGroups("h", c1, ("g2",)),
            LeaveGroups("h", bob, ("g2",)),
            LeaveGroups("h", c1, None),
            LeaveGroups("h", bob, None),
            JoinGroups("h", Selection(filter=compile_filter("connectionId eq 'c1'")), ("a", "b")),
            LeaveGroups("h", Selection(filter=compile_filter("'g' in groups")), ("a",)),
        ]

    def test_groups_of_strangers(self, client: WebPubSubServiceClient) -> None:
        with pytest.raises(ResourceNotFoundError):
            client.add_connection_to_group("g", "gone")
        with pytest.raises(ResourceNotFoundError):
            client.add_user_to_group("g", "nobody")
        # Leaving is done when nobody is there.
        client.remove_connection_from_group("g", "gone")
        client.remove_user_from_group("g", "nobody")
        client.remove_connection_from_all_groups("gone")
        client.remove_user_from_all_groups("nobody")

    def test_closing(self, client: WebPubSubServiceClient, desk: Desk) -> None:
        client.close_connection("c1", reason="bye & thanks")
        client.close_connection("gone")
        client.close_all_connections(excluded=["a", "b"], reason="x")
        client.close_group_connections("g", excluded=["a"])
        client.close_user_connections("bob")
        assert desk.asked == [
            CloseConnections("h", Selection(connection="c1"), "bye & thanks"),
            CloseConnections("h", Selection(connection="gone")),
            CloseConnections("h", Selection(excluded=("a", "b")), "x"),
            CloseConnections("h", Selection(group="g", excluded=("a",))),
            CloseConnections("h", Selection(user="bob")),
        ]

    def test_permissions(self, client: WebPubSubServiceClient, desk: Desk) -> None:
        assert not client.has_permission("sendToGroup", "c1", target_name="g")
        with pytest.raises(ResourceNotFoundError):
            client.grant_permission("sendToGroup", "c1", target_name="g")
        assert desk.counted[-1] == ("grant_permission", 404, "api-no-permissions")

    @pytest.mark.parametrize(
        ("size", "top", "pages"), [(6, None, 1), (450, None, 3), (450, 250, 2), (450, 3, 1), (0, None, 1)]
    )
    def test_list_connections(
        self, client: WebPubSubServiceClient, desk: Desk, size: int, top: int | None, pages: int
    ) -> None:
        desk.groups["big"] = [Member(f"c{n:03}/ü", None if n % 2 else f"u{n}") for n in range(size)]
        found = [(row.connection_id, row.user_id) for row in client.list_connections(group="big", top=top)]
        assert found == [(row.connection_id, row.user_id) for row in desk.groups["big"][:top]]
        assert len(desk.asked) == pages

    def test_tokens(self, client: WebPubSubServiceClient, base: str) -> None:
        made = client.get_client_access_token(
            user_id="bob", groups=["g"], roles=["r"], minutes_to_expire=5, client_protocol="SocketIO"
        )
        claims = verify(
            made["token"], AccessKeys(KEY), client_audience(urlsplit(base).netloc, "h"), time.time(), 30
        )
        assert (claims.user_id, claims.groups, claims.all["role"]) == ("bob", ("g",), ["r"])

    def test_health(self, client: WebPubSubServiceClient) -> None:
        answer = client.send_request(HttpRequest("HEAD", "/api/health"))
        assert answer.status_code == 200

    def test_another_key(self, base: str, desk: Desk) -> None:
        client = WebPubSubServiceClient.from_connection_string(
            f"Endpoint={base};AccessKey=another-0123456789abcdef0123456789;Version=1.0;", hub="h"
        )
        with client, pytest.raises(ClientAuthenticationError):
            client.send_to_all(EVENT, content_type="text/plain")
        assert desk.counted == [("send_to_all", 401, "token-signature")]


class TestToken:
    def test_generate(self, base: str, desk: Desk) -> None:
        answer = call(
            base,
            "POST",
            "/api/hubs/h/:generateToken?api-version=2024-12-01&userId=bob&minutesToExpire=7&role=r&group=g&clientType=SocketIO",
        )
        assert answer.status == 200
        claims = jwt.decode(answer.json["token"], KEY, ["HS256"], audience=f"{base}/clients/socketio/hubs/h")
        assert claims["exp"] - claims["iat"] in {420, 421}
        assert (claims["sub"], claims["role"], claims["webpubsub.group"]) == ("bob", ["r"], ["g"])
        assert desk.asked == []


class TestErrors:
    def test_shape(self, base: str) -> None:
        answer = call(base, "POST", SEND + "&filter=nonsense", EVENT, content_type="text/plain")
        assert answer.status == 400
        assert answer.headers["x-ms-error-code"] == "api-bad-filter"
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        body = answer.json
        assert body.pop("message").startswith("the filter is not valid")
        assert body == {
            "code": "api-bad-filter",
            "target": "send_to_all",
            "details": [],
            "inner": {"code": "5002", "inner": None},
        }

    def test_content_type_hint(self, base: str) -> None:
        answer = call(base, "POST", SEND, "{}", content_type="application/json")
        assert (answer.status, answer.json["code"]) == (415, "api-bad-content-type")
        assert '42["event","data"]' in answer.json["message"]

    def test_method(self, base: str) -> None:
        answer = call(base, "PATCH", "/api/hubs/h/connections/c1?api-version=2024-12-01")
        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, HEAD")

    @pytest.mark.parametrize(
        "path", ["/api/", "/api/hubs", "/api/hubs/h/nothing", "/api/v1/x", "/api/hubs/h/users/%ff"]
    )
    def test_path(self, base: str, desk: Desk, path: str) -> None:
        answer = call(base, "GET", path)
        assert (answer.status, answer.json["code"]) == (404, "api-bad-path")
        assert desk.counted == [("unknown", 404, "api-bad-path")]

    def test_version(self, base: str) -> None:
        answer = call(base, "POST", "/api/hubs/h/:send", EVENT, content_type="text/plain")
        assert (answer.status, answer.json["code"]) == (400, "api-bad-argument")
        assert "api-version" in answer.json["message"]

    @pytest.mark.parametrize("query", ["a=%ff", "&".join(["excluded=x"] * 1200)])
    def test_query(self, base: str, query: str) -> None:
        answer = call(
            base, "POST", f"/api/hubs/h/:send?api-version=2024-12-01&{query}", EVENT, authorization=None
        )
        assert answer.status == 401
        aud = f"{base}/api/hubs/h/:send"
        token = jwt.encode({"aud": aud, "exp": int(time.time()) + 60}, KEY)
        answer = call(base, "POST", f"/api/hubs/h/:send?{query}", EVENT, authorization=f"Bearer {token}")
        assert (answer.status, answer.json["code"]) == (400, "api-bad-argument")

    def test_an_encoded_slash_stays_in_its_name(self, base: str, desk: Desk) -> None:
        assert call(base, "HEAD", "/api/hubs/h/groups/a%2Fb?api-version=2024-12-01").status == 404
        assert desk.asked == [Exists("h", Selection(group="a/b"))]


class TestAuth:
    def test_without(self, base: str, desk: Desk) -> None:
        answer = call(base, "POST", SEND, EVENT, authorization=None)
        assert (answer.status, answer.json["code"]) == (401, "token-missing")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert desk.counted == [("send_to_all", 401, "token-missing")]

    @pytest.mark.parametrize(
        ("claims", "reason"),
        [
            ({}, None),
            ({"aud": "http://{host}/api/hubs/h/:send"}, None),
            ({"aud": "https://{host}/api/hubs/h/:send/"}, None),
            ({"aud": ["https://webpubsub.azure.com", "http://{host}/api/hubs/h/:send"]}, None),
            ({"aud": "http://{host}/api/hubs/other/:send"}, "token-audience"),
            ({"aud": "http://{host}/api/hubs/h/:send?api-version=2021-10-01"}, "token-audience"),
            ({"aud": "http://localhost:1/api/hubs/h/:send"}, "token-audience"),
            ({"aud": "http://{host}/clients/socketio/hubs/h"}, "token-audience"),
            ({"exp": 1}, "token-expired"),
            ({"nbf": 2**40}, "token-not-yet"),
            ({"aud": None}, "token-claims"),
        ],
    )
    def test_claims(self, base: str, claims: dict[str, Any], reason: str | None) -> None:
        payload = json.dumps({"aud": base + SEND, "exp": int(time.time()) + 60} | claims)
        # Not `jwt.encode`, which is particular about what it signs.
        token = jwt.PyJWS().encode(payload.replace("{host}", urlsplit(base).netloc).encode(), KEY)
        answer = call(base, "POST", SEND, EVENT, authorization=f"Bearer {token}", content_type="text/plain")
        if reason is None:
            assert answer.status == 202
        else:
            assert (answer.status, answer.json["code"]) == (401, reason)

    def test_time_is_the_services_clock(self, base: str, desk: Desk) -> None:
        desk.now = lambda: time.time() + 120
        answer = call(base, "POST", SEND, EVENT, content_type="text/plain")
        assert answer.json["code"] == "token-expired"

    def test_rotation(self, base: str, desk: Desk) -> None:
        desk.keys.replace("another-0123456789abcdef0123456789", KEY)
        assert call(base, "POST", SEND, EVENT, content_type="text/plain").status == 202
        desk.keys.replace("another-0123456789abcdef0123456789")
        assert call(base, "POST", SEND, EVENT, content_type="text/plain").status == 401

    def test_nothing_of_a_body_is_read_before_the_token(self, base: str) -> None:
        with raw_post(base, "Content-Length: 9000", token="") as raw:
            assert raw.recv(100).startswith(b"HTTP/1.1 401 ")


@contextlib.contextmanager
def raw_post(base: str, *headers: str, token: str | None = None) -> Iterator[socket.socket]:
    """A connection on which the head of a `:send` has been written; the body is the caller's."""
    url = urlsplit(base)
    if token is None:
        token = jwt.encode({"aud": base + SEND, "exp": int(time.time()) + 60}, KEY)
    lines = [
        f"POST {SEND} HTTP/1.1",
        f"Host: {url.netloc}",
        f"Authorization: Bearer {token}",
        *headers,
        "",
        "",
    ]
    with socket.create_connection((url.hostname or "", url.port or 0), 10) as raw:
        raw.sendall("\r\n".join(lines).encode())
        yield raw


class TestBody:
    def test_announced_too_large(self, base: str) -> None:
        with raw_post(base, f"Content-Length: {MAX_BODY + 1}") as raw:
            assert raw.recv(100).startswith(b"HTTP/1.1 413 ")

    def test_too_large_by_chunks(self, base: str, desk: Desk) -> None:
        with raw_post(base, "Transfer-Encoding: chunked") as raw:
            raw.sendall(b"%x\r\n%b\r\n" % (MAX_BODY, b"x" * MAX_BODY) + b"1\r\nx\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
        assert desk.counted == [("send_to_all", 413, "api-body-too-large")]

    def test_largest(self, base: str, desk: Desk) -> None:
        body = f'42["{"x" * (MAX_BODY - 6)}"]'
        assert len(body) == MAX_BODY
        assert call(base, "POST", SEND, body, content_type="text/plain").status == 202

    def test_given_up_half_way(self, base: str, desk: Desk) -> None:
        with raw_post(base, "Content-Length: 90") as raw:
            raw.sendall(b"4")
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(100) == b""
        # The same thread serves the next caller; by then the broken one has been counted.
        assert call(base, "POST", SEND, EVENT, content_type="text/plain").status == 202
        assert desk.counted == [("send_to_all", 400, "bad-http"), ("send_to_all", 202, None)]


class TestInvoke:
    TARGET = "/api/hubs/h/:invoke?api-version=2023-07-01&filter=%27g%27+in+groups"

    def test_streams_lines(self, base: str, desk: Desk) -> None:
        answer = call(base, "POST", self.TARGET, EVENT, content_type="text/plain")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
        assert answer.body == b'{"Payload":"431[1]"}\n{"Payload":"431[2]"}\n'
        assert desk.asked == [Invoke("h", Selection(filter=compile_filter("'g' in groups")), EVENT.encode())]
        assert desk.counted == [("invoke", 200, None)]

    def test_without_a_hook(self) -> None:
        desk = Desk()
        with serving(desk, invoke=False) as base:
            answer = call(base, "POST", self.TARGET, EVENT, content_type="text/plain")
        assert (answer.status, answer.json["code"]) == (404, "api-bad-path")


class TestHealth:
    @pytest.mark.parametrize("target", ["/api/health", "/api/health?api-version=2024-12-01"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_needs_no_token(self, base: str, desk: Desk, method: str, target: str) -> None:
        assert call(base, method, target, authorization=None).status == 200
        assert desk.counted == [("health", 200, None)]

    def test_not_ready(self, base: str, desk: Desk) -> None:
        desk.ready = False
        assert call(base, "HEAD", "/api/health", authorization=None).status == 503

    def test_method(self, base: str) -> None:
        answer = call(base, "POST", "/api/health", authorization=None)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


class TestPublicEndpoint:
    """Behind a proxy: callers know us by another URL than the Host header shows."""

    PUBLIC = "https://rt.example.org/io"

    def test_is_what_tokens_and_links_name(self) -> None:
        desk = Desk()
        desk.groups["big"] = [Member(f"c{n}", None) for n in range(3)]
        target = "/api/hubs/h/groups/big/connections?api-version=2024-12-01&maxpagesize=2"
        with serving(desk, public_endpoint=self.PUBLIC + "/") as base:
            token = jwt.encode({"aud": self.PUBLIC + target, "exp": int(time.time()) + 60}, KEY)
            listed = call(base, "GET", target, authorization=f"Bearer {token}")
            by_host = call(base, "GET", target)
            aud = f"{self.PUBLIC}/api/hubs/h/:generateToken"
            token = jwt.encode({"aud": aud, "exp": int(time.time()) + 60}, KEY)
            made = call(
                base,
                "POST",
                "/api/hubs/h/:generateToken?api-version=1999-01-01",
                authorization=f"Bearer {token}",
            )
        assert listed.json == {
            "value": [{"connectionId": "c0", "userId": None}, {"connectionId": "c1", "userId": None}],
            "nextLink": f"{self.PUBLIC}{target}&continuationToken=YzE",
        }
        assert by_host.json["code"] == "token-audience"
        assert self.PUBLIC.removeprefix("https://") in by_host.json["message"]
        claims = jwt.decode(made.json["token"], options={"verify_signature": False})
        assert claims["aud"] == f"{self.PUBLIC}/clients/socketio/hubs/h"
