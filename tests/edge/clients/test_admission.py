"""Who may ask for a session: path, query, origin, token."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import jwt
import pytest

from moorage.auth import AccessKeys, AuthSettings, sign
from moorage.edge.clients.admission import Admission, is_client_path
from moorage.edge.clients.log import ClientLog
from moorage.edge.http.upgrade import decoded, parse_query
from moorage.edge.settings import CorsSettings, ServerSettings
from moorage.hub.settings import HubSettings
from moorage.logs import redact
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from tests.hub.fakes import World

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0


def admission(
    *,
    origins: tuple[str, ...] = ("*",),
    credentials: Literal["listed", "any"] = "listed",
    public_endpoint: str = "",
    proxies: tuple[str, ...] = (),
    hubs: dict[str, HubSettings] | None = None,
    allow_unlisted_hubs: bool = True,
) -> Admission:
    """The admission with these settings."""
    world = World(hubs=hubs or {}, allow_unlisted_hubs=allow_unlisted_hubs)
    return Admission(
        node=world.node,
        keys=AccessKeys(KEY),
        auth_settings=AuthSettings(),
        server=ServerSettings(public_endpoint=public_endpoint, trusted_proxies=proxies),
        cors=CorsSettings(allow_origins=origins, credentials=credentials),
        default_hub="main",
        log=ClientLog(world.metrics, connects=False, per_second=100, clock=lambda: world.now),
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
    assert admission().hub_of(path) == hub


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
    assert reason(admission().hub_of, path) == name


def test_other_paths_are_not_the_client_edges() -> None:
    assert not any(is_client_path(path) for path in ("/", "/api/hubs/x", "/clientsx", "/socket.iox"))


def test_only_listed_hubs() -> None:
    closed = admission(hubs={"chat": HubSettings()}, allow_unlisted_hubs=False)
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
        assert Admission.check_query(query, "polling") == found
    except PeerError as error:
        assert error.reason.name == found


@pytest.mark.repair(6)
def test_pages_of_origins_that_are_not_listed_get_no_credentials() -> None:
    headers = dict(admission().cors_headers("https://a.example"))
    assert headers == {b"access-control-allow-origin": b"https://a.example", b"vary": b"Origin"}
    assert admission().cors_headers("") == []
    admission().check_origin("https://a.example")
    mixed = admission(origins=("*", "https://a.example"))
    assert dict(mixed.cors_headers("https://a.example"))[b"access-control-allow-credentials"] == b"true"
    assert b"access-control-allow-credentials" not in dict(mixed.cors_headers("https://b.example"))
    mixed.check_origin("https://b.example")


@pytest.mark.repair(31)
def test_a_wrong_audience_says_how_to_make_a_fitting_token() -> None:
    made = sign(AccessKeys(KEY), "http://elsewhere/clients/socketio/hubs/chat", NOW, 60.0)
    with pytest.raises(PeerError) as found:
        shake(admission(), {"access_token": [made]}, [HOST])
    text = found.value.message
    assert "it names http://elsewhere" in text and "expected live.example:8080/clients" in text
    assert "moorage token create --hub chat --endpoint http://live.example:8080" in text


def test_all_origins_are_echoed_where_credentials_are_open() -> None:
    headers = dict(admission(credentials="any").cors_headers("https://a.example"))
    assert headers[b"access-control-allow-origin"] == b"https://a.example"
    assert headers[b"access-control-allow-credentials"] == b"true"
    assert headers[b"vary"] == b"Origin"


def test_listed_origins_only() -> None:
    strict = admission(origins=("https://a.example",))
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
    asked: Admission,
    query: dict[str, list[str]],
    headers: list[tuple[bytes, bytes]],
    hub: str = "chat",
    *,
    target: str = "/socket.io/?EIO=4",
) -> Handshake:
    """A request's handshake, as the edges ask for it."""
    return asked.handshake(hub, "http", query, decoded(headers), target=target, address=lambda: "192.0.2.7")


def test_an_anonymous_handshake_carries_query_and_headers() -> None:
    query = {"EIO": ["4"], "room": ["a", "b"], "access_token": [""]}
    headers = [HOST, (b"Cookie", b"a=b"), (b"X", b"1"), (b"x", b"2"), (b"Proxy-Authorization", b"s")]
    made = shake(admission(), query, headers)
    assert made.query == {"EIO": ["4"], "room": ["a", "b"]}
    assert made.headers == {"host": ["live.example:8080"], "cookie": ["a=b"], "x": ["1", "2"]}
    assert (made.claims, made.user_id, made.groups) == ({}, None, ())


@pytest.mark.parametrize("by_header", [True, False])
def test_a_token_names_user_groups_and_claims(by_header: bool) -> None:
    signed = token(user="ann", groups=["g"], extra={"plan": "gold", "n": 1})
    query = {} if by_header else {"access_token": [signed]}
    headers = [HOST, (b"authorization", b"bearer " + signed.encode())] if by_header else [HOST]
    made = shake(admission(), query, headers)
    assert (made.user_id, made.groups) == ("ann", ("g",))
    assert made.claims["plan"] == ["gold"]
    assert made.claims["n"] == ["1"]
    assert "authorization" not in made.headers
    assert "access_token" not in made.query


def test_the_query_wins_over_the_header() -> None:
    headers = [HOST, (b"authorization", b"Bearer x.y.z")]
    made = shake(admission(), {"access_token": [token(user="ann")]}, headers)
    assert made.user_id == "ann"


@pytest.mark.repair(13)
def test_other_credentials_are_the_apps() -> None:
    made = shake(admission(), {}, [HOST, (b"authorization", b"Basic YTpi")])
    assert made.user_id is None
    assert made.headers["authorization"] == ["Basic YTpi"]


CLOSED = {"chat": HubSettings(anonymous=False)}
OWN_TOKENS = {
    "opaque": "0a1b2c",
    "other key": jwt.encode({"sub": "u1", "exp": NOW + 60}, "k" * 32),
    "other algorithm": jwt.encode({"sub": "u1", "aud": "https://api.app.example"}, "k" * 64, "HS512"),
    "same host": jwt.encode({"aud": ["http://live.example:8080", "x"]}, "k" * 32),
    "expired": jwt.encode({"exp": 1}, "k" * 32),
    "no claims": jwt.encode({}, "k" * 32),
    "odd audience": jwt.encode({"aud": {"a": 1}}, "k" * 32),
    "no JSON": "YQ.YQ.YQ",
    "long": "x" * 9000,
    "not ASCII": "\xe4.\xe4.\xe4",
}


@pytest.mark.repair(13)
@pytest.mark.parametrize("name", OWN_TOKENS)
def test_a_token_of_the_app_passes_through_where_anonymous_clients_may_connect(name: str) -> None:
    own = OWN_TOKENS[name]
    header = (b"Authorization", f"Bearer {own}".encode("latin-1"))
    made = shake(admission(), {"EIO": ["4"]}, [HOST, header])
    assert (made.user_id, made.claims) == (None, {})
    assert made.headers["authorization"] == [f"Bearer {own}"]
    made = shake(admission(), {"access_token": [own]}, [HOST], target="/socket.io/?EIO=4&access_token=own")
    assert made.query == {"access_token": [own]}
    assert made.origin().url == "/socket.io/?EIO=4&access_token=own"


@pytest.mark.repair(13)
@pytest.mark.parametrize("name", OWN_TOKENS)
def test_ours_and_the_apps_side_by_side(name: str) -> None:
    own, signed = OWN_TOKENS[name], token(user="ann")
    target = "/socket.io/?EIO=4&access_token=x"
    for closed in (admission(hubs=CLOSED), admission()):
        header = (b"authorization", f"Bearer {own}".encode("latin-1"))
        made = shake(closed, {"access_token": [signed]}, [HOST, header], target=target)
        assert (made.user_id, made.query) == ("ann", {})
        assert made.headers["authorization"] == [f"Bearer {own}"]
        assert made.origin().url == "/socket.io/?EIO=4"
        header = (b"authorization", b"Bearer " + signed.encode())
        made = shake(closed, {"access_token": [own]}, [HOST, header], target=target)
        assert (made.user_id, made.query) == ("ann", {"access_token": [own]})
        assert "authorization" not in made.headers
        assert made.origin().url == target


@pytest.mark.repair(13)
def test_two_tokens_of_ours_are_both_hidden() -> None:
    header = (b"authorization", b"Bearer " + token(user="bob").encode())
    made = shake(admission(), {"access_token": [token(user="ann")]}, [HOST, header])
    assert (made.user_id, made.query) == ("ann", {})
    assert "authorization" not in made.headers


@pytest.mark.repair(13)
@pytest.mark.parametrize("by_header", [True, False])
def test_a_hub_that_requires_tokens_says_how_to_send_ours_beside_the_apps(by_header: bool) -> None:
    own = OWN_TOKENS["other key"]
    query = {} if by_header else {"access_token": [own]}
    headers = [HOST, (b"authorization", b"Bearer " + own.encode())] if by_header else [HOST]
    with pytest.raises(PeerError) as found:
        shake(admission(hubs=CLOSED), query, headers)
    assert (found.value.reason.name, found.value.reason.http) == ("token-signature", 401)
    place = (
        "the query parameter `access_token`" if by_header else "the header `Authorization` (scheme `Bearer`)"
    )
    assert f"beside it as {place}" in found.value.message
    assert redact(found.value.message) == found.value.message


OTHER_HOST = "http://old.example/clients/socketio/hubs/x"


@pytest.mark.repair(13)
@pytest.mark.parametrize("by_header", [True, False])
@pytest.mark.parametrize(
    ("made", "name"),
    [
        (lambda: sign(AccessKeys(KEY), AUDIENCE, NOW - 120, 60.0), "token-expired"),
        (lambda: sign(AccessKeys(KEY), "https://app.example", NOW, 60.0), "token-audience"),
        (lambda: sign(AccessKeys("k" * 32), AUDIENCE, NOW, 60.0), "token-signature"),
        (lambda: sign(AccessKeys("k" * 32), OTHER_HOST, NOW, 60.0), "token-signature"),
        (lambda: sign(AccessKeys("k" * 32), AUDIENCE.upper(), NOW, 60.0), "token-signature"),
        (lambda: sign(AccessKeys("k" * 32), "http://live/client/hubs/chat", NOW, 60.0), "token-signature"),
        (lambda: jwt.encode({"aud": ["x", AUDIENCE]}, "", "none"), "token-algorithm"),
        (lambda: jwt.encode({"aud": AUDIENCE, "x": "x" * 9000}, KEY), "token-malformed"),
    ],
)  # fmt: skip
def test_a_token_that_is_addressed_to_us_is_never_ignored(
    by_header: bool, made: Callable[[], str], name: str
) -> None:
    query = {} if by_header else {"access_token": [made()]}
    headers = [HOST, (b"authorization", b"Bearer " + made().encode())] if by_header else [HOST]
    assert reason(shake, admission(), query, headers) == name


LISTED = ("*", "https://app.example", "https://*.shop.example", "capacitor://localhost")


@pytest.mark.repair(6)
@pytest.mark.parametrize(
    ("origin", "seen"),
    [
        ("", True),
        ("https://app.example", True),
        ("https://a.shop.example", True),
        ("capacitor://localhost", True),
        ("http://live.example:8080", True),
        ("https://live.example:8080", True),
        ("http://live.example", False),
        ("https://evil.example", False),
        ("http://app.example", False),
        ("https://app.example.evil.example", False),
        ("null", False),
        ("nonsense", False),
    ],
)
def test_cookies_reach_the_app_from_listed_pages_only(origin: str, seen: bool) -> None:
    headers = [HOST, (b"cookie", b"sid=secret"), (b"x-own", b"1")]
    headers += [(b"Origin", origin.encode())] if origin else []
    made = shake(admission(origins=LISTED), {}, headers)
    assert ("cookie" in made.headers) is seen
    assert made.headers["x-own"] == ["1"]
    assert "cookie" in shake(admission(credentials="any"), {}, headers).headers


@pytest.mark.repair(6)
def test_credentials_that_browsers_fill_in_are_withheld_like_cookies() -> None:
    evil = (b"origin", b"https://evil.example")
    for scheme in (b"Basic", b"Digest", b"NEGOTIATE", b"ntlm"):
        made = shake(admission(), {}, [HOST, evil, (b"authorization", scheme + b" x")])
        assert "authorization" not in made.headers
    made = shake(admission(), {}, [HOST, evil, (b"authorization", b"Bearer own")])
    assert made.headers["authorization"] == ["Bearer own"], "a script that knows the token may send it"


@pytest.mark.repair(6)
def test_two_origins_are_trusted_only_if_both_are() -> None:
    headers = [
        HOST,
        (b"cookie", b"a"),
        (b"origin", b"https://app.example"),
        (b"origin", b"https://evil.example"),
    ]
    assert "cookie" not in shake(admission(origins=LISTED), {}, headers).headers


@pytest.mark.repair(6)
def test_the_services_own_origin_behind_a_proxy() -> None:
    behind = admission(public_endpoint="https://live.example")
    for origin, seen in ((b"https://live.example", True), (b"http://live.example:8080", False)):
        made = shake(behind, {}, [HOST, (b"cookie", b"a"), (b"origin", origin)])
        assert ("cookie" in made.headers) is seen


def test_anonymous_clients_are_denied_per_hub() -> None:
    closed = admission(hubs={"chat": HubSettings(anonymous=False)})
    assert reason(shake, closed, {}, [HOST]) == "token-missing"
    assert shake(closed, {}, [HOST], "other").user_id is None
    assert shake(closed, {"access_token": [token(user="ann")]}, [HOST]).user_id == "ann"


def test_the_audience_is_compared_with_the_public_endpoint() -> None:
    behind = admission(public_endpoint="http://live.example:8080")
    host = (b"host", b"10.0.0.1")
    assert shake(behind, {"access_token": [token(user="a")]}, [host]).user_id == "a"
    assert reason(shake, admission(), {"access_token": [token()]}, [host]) == "token-audience"
    assert reason(shake, admission(), {"access_token": [token()]}, []) == "bad-request"
    assert reason(shake, admission(), {"access_token": [token()]}, [HOST], "other") == "token-audience"


@pytest.mark.repair(8)
@pytest.mark.parametrize("host", [b"live.example/x", b"http://live.example", b"a b", b""])
def test_a_broken_host_header_is_refused_after_the_token(host: bytes) -> None:
    behind = admission(
        public_endpoint="http://live.example:8080", hubs={"chat": HubSettings(anonymous=False)}
    )
    headers = [(b"host", host)]
    assert reason(shake, behind, {}, headers) == "token-missing"
    assert reason(shake, behind, {"access_token": [token(user="a")]}, headers) == "bad-request"
    assert reason(shake, behind, {}, headers, "other") == "bad-request"
    assert reason(shake, admission(), {}, [HOST, HOST], "other") == "bad-request"


def test_the_wall_clock_is_the_one_given() -> None:
    assert abs(time.time() - NOW) > 1000
    old = sign(AccessKeys(KEY), AUDIENCE, NOW - 120, 60.0)
    assert reason(shake, admission(), {"access_token": [old]}, [HOST]) == "token-expired"


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
def test_the_app_server_gets_the_url_without_the_token(asked: str, told: str) -> None:
    signed = token(user="ann")
    target = asked.replace("=T", f"={signed}")
    query = parse_query(target.partition("?")[2])
    made = shake(admission(), query, [HOST], target=target)
    assert made.origin() == (told, "192.0.2.7")
    assert (made.user_id, made.secure) == ("ann", False)


@pytest.mark.parametrize(
    ("proxies", "secure"), [(("192.0.2.0/24",), True), (("10.0.0.0/8",), False), ((), False)]
)
def test_the_app_server_is_told_of_https_at_a_trusted_proxy(proxies: tuple[str, ...], secure: bool) -> None:
    headers = [HOST, (b"x-forwarded-proto", b"https")]
    made = shake(admission(proxies=proxies), {}, headers, target="/socket.io/")
    assert made.secure == secure
