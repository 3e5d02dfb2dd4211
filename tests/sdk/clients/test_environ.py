"""The WSGI environment of a client, as `connect` handlers get it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from moorage.sdk.clients.environ import environ_of, parse_handshake
from moorage.wire.moorage.v1 import Open


def environ(user: str | None = "ann", **handshake: Any) -> dict[str, Any]:
    """Of a client whose handshake has these members."""
    return environ_of(Open(1, "conn", user, orjson.dumps(handshake)))


def test_the_request() -> None:
    made = environ(
        headers={
            "host": ["rt.example.com:8080"],
            "user-agent": ["curl"],
            "cookie": ["a=1", "b=2"],
            "x-forwarded-for": ["10.0.0.1", "10.0.0.2"],
            "content-type": ["text/plain"],
        },
        query={"EIO": ["4"], "room": ["a b"]},
        claims={"sub": ["ann"], "role": ["x", "y"]},
        url="/clients/socketio/hubs/app/?EIO=4&room=a%20b",
        address="192.0.2.7",
        secure=True,
        issued=1,
    )
    expected = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/clients/socketio/hubs/app/",
        "QUERY_STRING": "EIO=4&room=a%20b",
        "REMOTE_ADDR": "192.0.2.7",
        "SERVER_NAME": "rt.example.com",
        "SERVER_PORT": "8080",
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "rt.example.com:8080",
        "HTTP_USER_AGENT": "curl",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_FORWARDED_FOR": "10.0.0.1,10.0.0.2",
        "CONTENT_TYPE": "text/plain",
        "moorage.connection_id": "conn",
        "moorage.user_id": "ann",
        "moorage.claims": {"sub": ["ann"], "role": ["x", "y"]},
    }
    assert orjson.loads(made["moorage.handshake"])["url"] == "/clients/socketio/hubs/app/?EIO=4&room=a%20b"
    assert {name: made[name] for name in expected} == expected


def test_the_asgi_scope() -> None:
    scope = environ(headers={"cookie": ["a=1", "b=2"]}, url="/x?y=1", address="::1")["asgi.scope"]
    assert scope["headers"] == [(b"cookie", b"a=1"), (b"cookie", b"b=2")]
    assert (scope["path"], scope["query_string"], scope["client"]) == ("/x", b"y=1", ("::1", 0))


@pytest.mark.parametrize("order", [1, -1])
def test_a_header_that_imitates_another(order: int) -> None:
    headers = list({"x-user": ["by the proxy"], "x_user": ["by the client"], "a_b": ["alone"]}.items())
    made = environ(headers=dict(headers[::order]))
    assert (made["HTTP_X_USER"], made["HTTP_A_B"]) == ("by the proxy", "alone")


def test_a_handshake_that_says_nothing() -> None:
    made = environ(user=None)
    assert (made["QUERY_STRING"], made["REMOTE_ADDR"], made["SERVER_PORT"]) == ("", "", "80")
    assert (made["moorage.user_id"], made["moorage.claims"]) == (None, {})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null"])
def test_a_handshake_that_cannot_be_read(data: bytes) -> None:
    assert parse_handshake(data) == {}
