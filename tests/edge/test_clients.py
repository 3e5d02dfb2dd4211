"""Who may ask for a session: path, query, origin, token."""

from __future__ import annotations

import time
from typing import Any

import pytest

from moorage.auth import AccessKeys, AuthSettings, sign
from moorage.edge.clients import ClientDoor, is_client_path
from moorage.edge.settings import CorsSettings, ServerSettings
from moorage.edge.upgrade import parse_query
from moorage.hub.settings import HubSettings
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from tests.hub.fakes import World

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0


def door(
    *,
    origins: tuple[str, ...] = ("*",),
    public_endpoint: str = "",
    hubs: dict[str, HubSettings] | None = None,
    allow_unlisted_hubs: bool = True,
) -> ClientDoor:
    """A door with these settings."""
    world = World(hubs=hubs or {}, allow_unlisted_hubs=allow_unlisted_hubs)
    return ClientDoor(
        node=world.node,
        keys=AccessKeys(KEY),
        auth_settings=AuthSettings(),
        server=ServerSettings(public_endpoint=public_endpoint),
        cors=CorsSettings(allow_origins=origins),
        default_hub="main",
        metrics=world.metrics,
        wall_clock=lambda: NOW,
    )


def reason(call: Any, *args: Any) -> str:
    """The reason's name with which a call is refused."""
    with pytest.raises(PeerError) as found:
        call(*args)
    return found.value.reason.name


@pytest.mark.parametrize(
    ("path", "hub"),
    [
        ("/clients/socketio/hubs/chat", "chat"),
        ("/clients/socketio/hubs/chat/", "chat"),
        ("/clients/socketio/hubs/a%60b", "a`b"),
        ("/socket.io", "main"),
        ("/socket.io/", "main"),
    ],
)
def test_paths(path: str, hub: str) -> None:
    assert is_client_path(path)
    assert door().hub_of(path) == hub


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/clients/socketio/hubs/", "unknown-hub"),
        ("/clients/socketio/hubs/1a/", "unknown-hub"),
        ("/clients/socketio/hubs/a%2Fb/", "unknown-hub"),
        ("/clients/socketio/hubs/" + "a" * 129, "unknown-hub"),
        ("/clients/socketio/hubs/a/b", "unknown-path"),
        ("/clients/socketio/hubs/a//", "unknown-path"),
        ("/clients/socketio", "unknown-path"),
        ("/clients", "unknown-path"),
        ("/socket.io/x", "unknown-path"),
    ],
)
def test_wrong_paths(path: str, name: str) -> None:
    assert is_client_path(path)
    assert reason(door().hub_of, path) == name


def test_other_paths_are_not_the_client_edges() -> None:
    assert not any(is_client_path(path) for path in ("/", "/api/hubs/x", "/clientsx", "/socket.iox"))


def test_only_listed_hubs() -> None:
    closed = door(hubs={"chat": HubSettings()}, allow_unlisted_hubs=False)
    assert closed.hub_of("/clients/socketio/hubs/Chat/") == "Chat"
    assert reason(closed.hub_of, "/clients/socketio/hubs/other/") == "unknown-hub"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"EIO": ["4"], "transport": ["polling"]}, None),
        ({"EIO": ["4"], "transport": ["polling"], "sid": ["x"]}, "x"),
        ({"EIO": ["3"], "transport": ["polling"]}, "unsupported-version"),
        ({"transport": ["polling"]}, "unsupported-version"),
        ({"EIO": ["4"]}, "unknown-transport"),
        ({"EIO": ["4"], "transport": ["websocket"]}, "unknown-transport"),
    ],
)
def test_queries(query: dict[str, list[str]], found: str | None) -> None:
    try:
        assert ClientDoor.check_query(query, "polling") == found
    except PeerError as error:
        assert error.reason.name == found


def test_all_origins_are_echoed_by_default() -> None:
    headers = dict(door().cors_headers("https://a.example"))
    assert headers[b"access-control-allow-origin"] == b"https://a.example"
    assert headers[b"access-control-allow-credentials"] == b"true"
    assert headers[b"vary"] == b"Origin"
    assert door().cors_headers("") == []
    door().check_origin("https://a.example")


def test_listed_origins_only() -> None:
    strict = door(origins=("https://a.example",))
    assert strict.cors_headers("https://b.example") == []
    strict.check_origin("https://a.example")
    strict.check_origin("")
    assert reason(strict.check_origin, "https://b.example") == "origin-refused"
    assert reason(strict.check_origin, "null") == "origin-refused"


HOST = (b"host", b"live.example:8080")
AUDIENCE = "http://live.example:8080/clients/socketio/hubs/chat"


def token(**claims: Any) -> str:
    """A token as the SDK makes it."""
    return sign(AccessKeys(KEY), AUDIENCE, NOW, 60.0, **claims)


def shake(
    asked: ClientDoor, query: dict[str, list[str]], headers: list[tuple[bytes, bytes]], hub: str = "chat"
) -> Handshake:
    """A request's handshake, as the edges ask for it."""
    target = "/socket.io/?EIO=4"
    return asked.handshake(hub, "http", query, headers, target=target, address=lambda: "192.0.2.7")


def test_an_anonymous_handshake_carries_query_and_headers() -> None:
    query = {"EIO": ["4"], "room": ["a", "b"], "access_token": [""]}
    headers = [HOST, (b"Cookie", b"a=b"), (b"X", b"1"), (b"x", b"2"), (b"Proxy-Authorization", b"s")]
    made = shake(door(), query, headers)
    assert made.query == {"EIO": ["4"], "room": ["a", "b"]}
    assert made.headers == {"host": ["live.example:8080"], "cookie": ["a=b"], "x": ["1", "2"]}
    assert (made.claims, made.user_id, made.groups) == ({}, None, ())


@pytest.mark.parametrize("by_header", [True, False])
def test_a_token_names_user_groups_and_claims(by_header: bool) -> None:
    signed = token(user="ann", groups=["g"], extra={"plan": "gold", "n": 1})
    query = {} if by_header else {"access_token": [signed]}
    headers = [HOST, (b"authorization", b"bearer " + signed.encode())] if by_header else [HOST]
    made = shake(door(), query, headers)
    assert (made.user_id, made.groups) == ("ann", ("g",))
    assert made.claims["plan"] == ["gold"]
    assert made.claims["n"] == ["1"]
    assert "authorization" not in made.headers
    assert "access_token" not in made.query


def test_the_query_wins_over_the_header() -> None:
    headers = [HOST, (b"authorization", b"Bearer x.y.z")]
    made = shake(door(), {"access_token": [token(user="ann")]}, headers)
    assert made.user_id == "ann"


def test_other_credentials_are_not_ours() -> None:
    made = shake(door(), {}, [HOST, (b"authorization", b"Basic YTpi")])
    assert made.user_id is None
    assert "authorization" not in made.headers


def test_anonymous_clients_are_denied_per_hub() -> None:
    closed = door(hubs={"chat": HubSettings(anonymous=False)})
    assert reason(shake, closed, {}, [HOST]) == "token-missing"
    assert shake(closed, {}, [HOST], "other").user_id is None
    assert shake(closed, {"access_token": [token(user="ann")]}, [HOST]).user_id == "ann"


def test_the_audience_is_compared_with_the_public_endpoint() -> None:
    behind = door(public_endpoint="http://live.example:8080")
    host = (b"host", b"10.0.0.1")
    assert shake(behind, {"access_token": [token(user="a")]}, [host]).user_id == "a"
    assert reason(shake, door(), {"access_token": [token()]}, [host]) == "token-audience"
    assert reason(shake, door(), {"access_token": [token()]}, []) == "bad-request"
    assert reason(shake, door(), {"access_token": [token()]}, [HOST], "other") == "token-audience"


def test_the_wall_clock_is_the_one_given() -> None:
    assert abs(time.time() - NOW) > 1000
    old = sign(AccessKeys(KEY), AUDIENCE, NOW - 120, 60.0)
    assert reason(shake, door(), {"access_token": [old]}, [HOST]) == "token-expired"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("/socket.io/?EIO=4&access_token=T", "/socket.io/?EIO=4"),
        ("/socket.io/?access_token=T&EIO=4", "/socket.io/?EIO=4"),
        ("/socket.io/?a=1&access_token=T&EIO=4", "/socket.io/?a=1&EIO=4"),
        ("/socket.io/?access_token=T", "/socket.io/"),
        ("/socket.io/?%61ccess_token=T&EIO=4", "/socket.io/?EIO=4"),
        ("/socket.io/?EIO=4&access%5Ftoken=T&access_token=T&x=1", "/socket.io/?EIO=4&x=1"),
    ],
)
def test_the_app_server_hears_the_url_without_the_token(asked: str, told: str) -> None:
    signed = token(user="ann")
    target = asked.replace("=T", f"={signed}")
    query = parse_query(target.partition("?")[2])
    made = door().handshake("chat", "http", query, [HOST], target=target, address=lambda: "192.0.2.7")
    assert made.origin() == (told, "192.0.2.7")
    assert (made.user_id, made.secure) == ("ann", False)
