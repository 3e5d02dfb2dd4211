"""The REST API on a real server: its answers, and what strangers may try."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest

from moorage.wire.commands import Exists, Member, Selection
from tests.control.rest_node import KEY, MAX_BODY, FakeNode, call, serving

EVENT = '42["hi",1]'
SEND = "/api/hubs/h/:send?api-version=2024-12-01"


class TestToken:
    def test_generate(self, base: str, node: FakeNode) -> None:
        answer = call(
            base,
            "POST",
            "/api/hubs/h/:generateToken?api-version=2024-12-01&userId=bob&minutesToExpire=7&role=r&group=g&clientType=SocketIO",
        )
        assert answer.status == 200
        claims = jwt.decode(answer.json["token"], KEY, ["HS256"], audience=f"{base}/clients/socketio/hubs/h")
        assert claims["exp"] - claims["iat"] in {420, 421}
        assert (claims["sub"], claims["role"], claims["webpubsub.group"]) == ("bob", ["r"], ["g"])
        assert node.asked == []


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
    def test_path(self, base: str, node: FakeNode, path: str) -> None:
        answer = call(base, "GET", path)
        assert (answer.status, answer.json["code"]) == (404, "api-bad-path")
        assert node.counted == [("unknown", 404, "api-bad-path")]

    @pytest.mark.repair(8)
    @pytest.mark.parametrize("character", ["%0A", "%00", "%0d%0a", "%1E", "%7F"])
    @pytest.mark.parametrize(
        ("method", "path", "operation"),
        [
            ("HEAD", "groups/a{}b", "group_exists"),
            ("POST", "groups/a{}/:send", "send_to_group"),
            ("DELETE", "connections/{}c1", "close_connection"),
            ("PUT", "users/bob{}/groups/g", "add_user_to_group"),
            ("PUT", "users/bob/groups/g{}", "add_user_to_group"),
            ("POST", ":generateToken?userId=a{}", "generate_client_token"),
            ("POST", ":generateToken?group=a{}", "generate_client_token"),
        ],
    )
    def test_control_characters_in_names(
        self, base: str, node: FakeNode, method: str, path: str, operation: str, character: str
    ) -> None:
        path = f"/api/hubs/h/{path.format(character)}"
        target = f"{path}{'&' if '?' in path else '?'}api-version=2024-12-01"
        kind = {"content_type": "text/plain"}
        assert call(base, method, target, EVENT, authorization=None, **kind).status == 401
        assert call(base, method, target, EVENT, **kind).status == 400
        assert node.asked == []
        assert node.counted == [(operation, 401, "token-missing"), (operation, 400, "api-bad-argument")]

    @pytest.mark.repair(8)
    @pytest.mark.parametrize("path", ["/api/hubs/h%0A/:send", "/api/%0A", "/api/hubs/h/%0A"])
    def test_line_breaks_elsewhere_in_the_path(self, base: str, path: str) -> None:
        assert call(base, "POST", path, EVENT, authorization=None).status == 401
        answer = call(base, "POST", path, EVENT)
        assert (answer.status, answer.json["code"]) == (404, "api-bad-path")

    @pytest.mark.repair(8)
    @pytest.mark.parametrize("host", ["x/api/hubs", "http://x", "x?y", "a b", ""])
    def test_a_broken_host_header(self, node: FakeNode, host: str) -> None:
        with serving(node, public_endpoint="http://public.example") as base:
            kind = {"content_type": "text/plain", "host": host}
            assert call(base, "POST", SEND, EVENT, authorization=None, **kind).status == 401
            token = jwt.encode({"aud": f"http://public.example{SEND}", "exp": int(time.time()) + 60}, KEY)
            answer = call(base, "POST", SEND, EVENT, authorization=f"Bearer {token}", **kind)
            assert (answer.status, answer.json["code"]) == (400, "bad-request")
            kind["host"] = "internal:8080"
            assert call(base, "POST", SEND, EVENT, authorization=f"Bearer {token}", **kind).status == 202
        assert [reason for _, _, reason in node.counted] == ["token-missing", "bad-request", None]

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

    def test_an_encoded_slash_stays_in_its_name(self, base: str, node: FakeNode) -> None:
        assert call(base, "HEAD", "/api/hubs/h/groups/a%2Fb?api-version=2024-12-01").status == 404
        assert node.asked == [Exists("h", Selection(group="a/b"))]


class TestAuth:
    def test_without(self, base: str, node: FakeNode) -> None:
        answer = call(base, "POST", SEND, EVENT, authorization=None)
        assert (answer.status, answer.json["code"]) == (401, "token-missing")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert node.counted == [("send_to_all", 401, "token-missing")]

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

    def test_time_is_the_services_clock(self, base: str, node: FakeNode) -> None:
        node.now = lambda: time.time() + 120
        answer = call(base, "POST", SEND, EVENT, content_type="text/plain")
        assert answer.json["code"] == "token-expired"

    def test_rotation(self, base: str, node: FakeNode) -> None:
        node.keys.replace("another-0123456789abcdef0123456789", KEY)
        assert call(base, "POST", SEND, EVENT, content_type="text/plain").status == 202
        node.keys.replace("another-0123456789abcdef0123456789")
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

    def test_too_large_by_chunks(self, base: str, node: FakeNode) -> None:
        with raw_post(base, "Transfer-Encoding: chunked") as raw:
            raw.sendall(b"%x\r\n%b\r\n" % (MAX_BODY, b"x" * MAX_BODY) + b"1\r\nx\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
        assert node.counted == [("send_to_all", 413, "api-body-too-large")]

    def test_largest(self, base: str, node: FakeNode) -> None:
        body = f'42["{"x" * (MAX_BODY - 6)}"]'
        assert len(body) == MAX_BODY
        assert call(base, "POST", SEND, body, content_type="text/plain").status == 202

    def test_given_up_half_way(self, base: str, node: FakeNode) -> None:
        with raw_post(base, "Content-Length: 90") as raw:
            raw.sendall(b"4")
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(100) == b""
        # The same thread serves the next caller; by then the broken one has been counted.
        assert call(base, "POST", SEND, EVENT, content_type="text/plain").status == 202
        assert node.counted == [("send_to_all", 400, "bad-http"), ("send_to_all", 202, None)]


class TestInvoke:
    def test_acks_are_not_collected_over_http(self, base: str, node: FakeNode) -> None:
        target = "/api/hubs/h/:invoke?api-version=2023-07-01&filter=%27g%27+in+groups"
        answer = call(base, "POST", target, EVENT, content_type="text/plain")
        assert (answer.status, answer.json["code"]) == (404, "api-bad-path")
        assert node.asked == []


class TestHealth:
    @pytest.mark.parametrize("target", ["/api/health", "/api/health?api-version=2024-12-01"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_needs_no_token(self, base: str, node: FakeNode, method: str, target: str) -> None:
        assert call(base, method, target, authorization=None).status == 200
        assert node.counted == [("health", 200, None)]

    def test_not_ready(self, base: str, node: FakeNode) -> None:
        node.ready = False
        assert call(base, "HEAD", "/api/health", authorization=None).status == 503

    def test_method(self, base: str) -> None:
        answer = call(base, "POST", "/api/health", authorization=None)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


class TestPublicEndpoint:
    """Behind a proxy: callers know us by another URL than the Host header shows."""

    PUBLIC = "https://rt.example.org/io"

    def test_tokens_and_links_name_the_public_endpoint(self) -> None:
        node = FakeNode()
        node.groups["big"] = [Member(f"c{n}", None) for n in range(3)]
        target = "/api/hubs/h/groups/big/connections?api-version=2024-12-01&maxpagesize=2"
        with serving(node, public_endpoint=self.PUBLIC + "/") as base:
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
