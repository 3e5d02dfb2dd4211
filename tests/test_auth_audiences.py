"""The audiences that a token may have, for clients, REST calls and links."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.auth import (
    claimed_user,
    client_audience,
    rest_audiences,
    tunnel_audience,
)


class TestClientAudience:
    @pytest.mark.parametrize(
        ("base", "aud"),
        [
            ("localhost:8080", "http://localhost:8080/clients/socketio/hubs/chat"),
            ("localhost:8080", "https://localhost:8080/clients/socketio/hubs/chat"),
            ("localhost:8080", "ws://localhost:8080/clients/socketio/hubs/chat"),
            ("localhost:8080", "WSS://LocalHost:8080/clients/socketio/hubs/Chat/"),
            ("Example.ORG", "https://example.org/clients/socketio/hubs/CHAT"),
            ("example.org", "https://example.org:443/clients/socketio/hubs/chat"),
            ("example.org:80", "http://example.org/clients/socketio/hubs/chat"),
            ("https://example.org:443/", "http://example.org/clients/socketio/hubs/ch%61t"),
            ("https://example.org/rt/", "https://example.org/rt/clients/socketio/hubs/chat"),
            ("[::1]:8080", "http://[::1]:8080/clients/socketio/hubs/chat"),
            (("a.example", "b.example"), "http://b.example/clients/socketio/hubs/chat"),
        ],
    )
    def test_same(self, base: str | tuple[str, ...], aud: str) -> None:
        assert client_audience(base, "chat")(aud)

    @pytest.mark.parametrize(
        "aud",
        [
            "",
            "localhost:8080/clients/socketio/hubs/chat",
            "ftp://localhost:8080/clients/socketio/hubs/chat",
            "http://127.0.0.1:8080/clients/socketio/hubs/chat",
            "http://localhost/clients/socketio/hubs/chat",
            "http://localhost:8081/clients/socketio/hubs/chat",
            "http://localhost:8080/clients/socketio/hubs/cha",
            "http://localhost:8080/clients/socketio/hubs/chat/x",
            "http://localhost:8080/clients/socketio/hubs/chat?x=1",
            "http://localhost:8080/clients/socketio/hubs/chat#x",
            "http://localhost:8080/client/hubs/chat",
            "http://user@localhost:8080/clients/socketio/hubs/chat",
            "http://localhost:8080",
        ],
    )
    def test_different(self, aud: str) -> None:
        assert not client_audience("localhost:8080", "chat")(aud)

    def test_hub_with_signs(self) -> None:
        assert client_audience("h", "a[b]`")("http://h/clients/socketio/hubs/a[b]`")
        assert client_audience("h", "a[b]`")("http://h/clients/socketio/hubs/a%5Bb%5d%60")
        assert not client_audience("h", "a%5Bb")("http://h/clients/socketio/hubs/a[b")

    @pytest.mark.parametrize(
        "host", ["h/clients/socketio/hubs/a?", "h/clients/socketio/hubs/a#", "h/x", "u@h", "h%2F", "h "]
    )
    def test_a_host_header_cannot_bring_a_path(self, host: str) -> None:
        for base in (host, f"http://{host}"):
            assert not client_audience(base, "b")("http://h/clients/socketio/hubs/a")
            assert not rest_audiences(base, "/x", "")("http://h/clients/socketio/hubs/a")
            assert not tunnel_audience(base, "")("http://h/clients/socketio/hubs/a")
        assert not client_audience(host, "b")(f"http://{host}/clients/socketio/hubs/b")


class TestRestAudiences:
    PATH = "/api/hubs/chat/groups/a%2Fb/:send"
    QUERY = "api-version=2024-12-01&filter=userId%20eq%20%27bob%27&excluded=1&excluded=2"

    @pytest.mark.parametrize(
        "aud",
        [
            f"http://h:1{PATH}?{QUERY}",
            f"https://H:1{PATH}?{QUERY}",
            f"http://h:1{PATH}",
            f"http://h:1{PATH}/",
            # As JavaScript leaves it before its URL class escapes the quote; as a form writes it.
            f"http://h:1{PATH}?excluded=2&excluded=1&filter=userId%20eq%20'bob'&api-version=2024-12-01",
            f"http://h:1{PATH}?excluded=1&excluded=2&filter=userId+eq+'bob'&api-version=2024-12-01",
        ],
    )
    def test_same(self, aud: str) -> None:
        assert rest_audiences("h:1", self.PATH, self.QUERY)(aud)

    @pytest.mark.parametrize(
        "aud",
        [
            f"http://h:2{PATH}",
            "http://h:1/api/hubs/chat/groups/a/b/:send",
            "http://h:1/api/hubs/Chat/groups/a%2Fb/:send",
            f"http://h:1{PATH}?api-version=2024-12-01",
            f"http://h:1{PATH}?{QUERY}&excluded=2",
            "http://h:1/",
            "http://h:1",
        ],
    )
    def test_different(self, aud: str) -> None:
        assert not rest_audiences("h:1", self.PATH, self.QUERY)(aud)

    def test_without_query(self) -> None:
        accepts = rest_audiences("https://example.org/rt", "/api/x", "")
        assert accepts("https://example.org/rt/api/x")
        assert not accepts("https://example.org/rt/api/x?y=")


class TestTunnelAudience:
    def test_query_without_the_token(self) -> None:
        accepts = tunnel_audience("localhost:8080", "hub=eio_hub&target=node-2&access_token=a.b.c")
        assert accepts("ws://localhost:8080/server/tunnel?hub=eio_hub&target=node-2")
        assert accepts("wss://localhost:8080/server/tunnel?target=node-2&hub=eio_hub")
        assert not accepts("ws://localhost:8080/server/tunnel?hub=eio_hub")
        assert not accepts("ws://localhost:8080/server/tunnel?hub=other&target=node-2")
        assert not accepts("ws://localhost:8080/server/tunnel")
        assert tunnel_audience("wss://h/rt", "access_token=x&hub=a%5B")("ws://h/rt/server/tunnel?hub=a[")


@given(base=st.text(), path=st.text(), query=st.text(), aud=st.text())
def test_audiences_never_raise(base: str, path: str, query: str, aud: str) -> None:
    for accepts in (
        client_audience(base, path),
        rest_audiences(base, path, query),
        tunnel_audience(base, query),
    ):
        assert accepts(aud) in (True, False)


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"sub": "ada"}, "ada"),
        ({"userId": "ada"}, "ada"),
        ({"sub": "", "userId": "ada"}, "ada"),
        ({"sub": 7}, None),
        ({}, None),
    ],
)
def test_the_user_that_a_token_claims(claims: dict[str, Any], user: str | None) -> None:
    assert claimed_user(jwt.encode(claims, "another key" * 5)) == user


@pytest.mark.parametrize("token", ["", "a.b.c", "é.é.é", "..", "a." + "e" * 9_000 + ".c"])
def test_a_token_that_claims_nothing(token: str) -> None:
    assert claimed_user(token) is None
