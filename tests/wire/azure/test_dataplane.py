"""The whole table of operations, over HTTP and in a tunnel, and refused requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moorage.wire.azure.dataplane import (
    MAX_URL,
    Operation,
    allowed_methods,
    decode,
    decode_url,
    operation_name,
    parse_query,
)
from moorage.wire.azure.operations import ROWS, GenerateToken
from moorage.wire.commands import (
    DONE,
    NOT_FOUND,
    CloseConnections,
    Exists,
    Invoke,
    JoinGroups,
    LeaveGroups,
    ListGroup,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import compile_filter

EVENT = b'42["hi",1]'
GROUPS = b'{"groups":["g1","g2"],"filter":"\'vip\' in groups"}'
VIP = compile_filter("'vip' in groups")
TEXT = "text/plain"
JSON = "application/json"

# operation, method, path after /api/hubs/, query, content type, body, command, status, status if not found
TABLE: list[tuple[str, str, str, str, str, bytes, Any, int, int]] = [
    (
        "add_connections_to_groups", "POST", "h/:addToGroups", "", JSON, GROUPS,
        JoinGroups("h", Selection(filter=VIP), ("g1", "g2")), 200, 200,
    ),
    (
        "remove_connections_from_groups", "POST", "h/:removeFromGroups", "", JSON, GROUPS,
        LeaveGroups("h", Selection(filter=VIP), ("g1", "g2")), 200, 200,
    ),
    (
        "close_all_connections", "POST", "h/:closeConnections", "excluded=a&excluded=b&reason=so", "", b"",
        CloseConnections("h", Selection(excluded=("a", "b")), "so"), 204, 204,
    ),
    (
        "generate_client_token", "POST", "h/:generateToken",
        "userId=u&role=r1&role=r2&minutesToExpire=5&group=g&clientType=socketio", "", b"",
        GenerateToken(hub="h", user="u", groups=("g",), roles=("r1", "r2"), ttl=300), 200, 200,
    ),
    (
        "send_to_all", "POST", "h/:send", "excluded=a&filter='vip'+in+groups&messageTtlSeconds=0",
        TEXT, EVENT,
        Send("h", Selection(filter=VIP, excluded=("a",)), EVENT), 202, 202,
    ),
    (
        "close_connection", "DELETE", "h/connections/c", "reason=bye%20now", "", b"",
        CloseConnections("h", Selection(connection="c"), "bye now"), 204, 204,
    ),
    (
        "connection_exists", "HEAD", "h/connections/c", "", "", b"",
        Exists("h", Selection(connection="c")), 200, 404,
    ),
    (
        "send_to_connection", "POST", "h/connections/c/:send", "messageTtlSeconds=300", TEXT, EVENT,
        SendToConnection("h", "c", EVENT), 202, 404,
    ),
    (
        "remove_connection_from_all_groups", "DELETE", "h/connections/fake%20connection/groups", "", "", b"",
        LeaveGroups("h", Selection(connection="fake connection"), None), 204, 204,
    ),
    ("group_exists", "HEAD", "h/groups/g", "", "", b"", Exists("h", Selection(group="g")), 200, 404),
    (
        "close_group_connections", "POST", "h/groups/g/:closeConnections", "excluded=a", "", b"",
        CloseConnections("h", Selection(group="g", excluded=("a",)), ""), 204, 204,
    ),
    (
        "send_to_group", "POST", "h/groups/0~Lw~cm0/:send", "filter=%27vip%27%20in%20groups", TEXT, EVENT,
        Send("h", Selection(group="0~Lw~cm0", filter=VIP), EVENT), 202, 202,
    ),
    (
        "list_connections_in_group", "GET", "h/groups/g/connections", "maxpagesize=7&continuationToken=YWJj",
        "", b"", ListGroup("h", "g", 7, "abc"), 200, 200,
    ),
    (
        "remove_connection_from_group", "DELETE", "h/groups/g/connections/c", "", "", b"",
        LeaveGroups("h", Selection(connection="c"), ("g",)), 204, 204,
    ),
    (
        "add_connection_to_group", "PUT", "h/groups/g/connections/c", "", "", b"",
        JoinGroups("h", Selection(connection="c"), ("g",)), 200, 404,
    ),
    ("user_exists", "HEAD", "h/users/u", "", "", b"", Exists("h", Selection(user="u")), 200, 404),
    (
        "close_user_connections", "POST", "h/users/u/:closeConnections", "reason=x", "", b"",
        CloseConnections("h", Selection(user="u"), "x"), 204, 204,
    ),
    (
        "send_to_user", "POST", "h/users/u/:send", "", TEXT, EVENT,
        Send("h", Selection(user="u"), EVENT), 202, 202,
    ),
    (
        "remove_user_from_all_groups", "DELETE", "h/users/u/groups", "", "", b"",
        LeaveGroups("h", Selection(user="u"), None), 204, 204,
    ),
    (
        "remove_user_from_group", "DELETE", "h/users/u/groups/g", "", "", b"",
        LeaveGroups("h", Selection(user="u"), ("g",)), 204, 204,
    ),
    (
        "add_user_to_group", "PUT", "h/users/u/groups/a%2Fb%E2%82%AC", "", "", b"",
        JoinGroups("h", Selection(user="u"), ("a/b€",)), 200, 404,
    ),
    (
        "invoke", "POST", "h/:invoke", "excluded=a", TEXT, EVENT,
        Invoke("h", Selection(excluded=("a",)), EVENT), 200, 200,
    ),
]  # fmt: skip
PERMISSIONS = [
    ("grant_permission", "PUT", "h/permissions/sendToGroup/connections/c"),
    ("revoke_permission", "DELETE", "h/permissions/joinLeaveGroup/connections/c"),
    ("check_permission", "HEAD", "h/permissions/sendToGroup/connections/c"),
]


def ask(
    method: str, path: str, query: str = "", content_type: str = TEXT, body: bytes = EVENT, **flags: bool
) -> Operation:
    """`decode` with defaults for most parameters."""
    return decode(
        method,
        f"/api/hubs/{path}",
        parse_query(f"api-version=2024-12-01&{query}"),
        content_type,
        body,
        **flags,
    )


def refused(method: str, path: str, query: str = "") -> str:
    with pytest.raises(PeerError) as caught:
        ask(method, path, query)
    return caught.value.reason.name


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_operation(row: tuple[str, str, str, str, str, bytes, Any, int, int]) -> None:
    name, method, path, query, content_type, body, command, found, missing = row
    operation = ask(method, path, query, content_type, body)
    assert (operation.name, operation.command) == (name, command)
    assert (operation.status(DONE), operation.status(NOT_FOUND)) == (found, missing)
    assert operation_name(method, f"/api/hubs/{path}") == name

    # The tunnel has the same operations, without a version.
    url = f"https://host/api/hubs/{path}?{query}"
    assert decode_url(method, url, content_type, body) == operation


@pytest.mark.parametrize("row", PERMISSIONS, ids=[row[0] for row in PERMISSIONS])
def test_permissions_have_no_meaning(row: tuple[str, str, str]) -> None:
    name, method, path = row
    assert refused(method, path, "targetName=g") == "api-no-permissions"
    assert operation_name(method, f"/api/hubs/{path}") == name


def test_the_table_above_is_complete() -> None:
    known = {row.name for methods in ROWS.values() for row in methods.values()}
    # 25 operations of the published API without health, which has no hub, and with :invoke.
    assert known == {row[0] for row in TABLE} | {row[0] for row in PERMISSIONS}
    assert len(known) == 25


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("POST", "h/:nothing", "api-bad-path"),
        ("POST", "h", "api-bad-path"),
        ("POST", "h/", "api-bad-path"),
        ("POST", "", "api-bad-path"),
        ("POST", "h//:send", "api-bad-path"),
        ("POST", "h/connections//:send", "api-bad-path"),
        ("POST", "h/groups/g/h/:send", "api-bad-path"),
        ("POST", "h/groups/a/b/c/d/e/f/g/h", "api-bad-path"),
        ("POST", "h/:send/x", "api-bad-path"),
        ("POST", "H/:Send", "api-bad-path"),
        ("POST", "1h/:send", "api-bad-path"),
        ("POST", "a-b/:send", "api-bad-path"),
        ("POST", "h%2F/:send", "api-bad-path"),
        ("POST", f"{'h' * 129}/:send", "api-bad-path"),
        ("POST", "h/groups/%ff/:send", "api-bad-path"),
        ("POST", "h/groups/\ud800/:send", "api-bad-path"),
        ("HEAD", "h/groups/%20%09", "api-bad-argument"),
        ("HEAD", f"h/groups/{'g' * 1025}", "api-bad-argument"),
        ("GET", "h/:send", "api-bad-method"),
        ("post", "h/:send", "api-bad-method"),
        ("GET", "h/connections/c", "api-bad-method"),
        ("PUT", "h/connections/c", "api-bad-method"),
    ],
)
def test_paths_and_methods(method: str, path: str, reason: str) -> None:
    assert refused(method, path) == reason


def test_other_roots() -> None:
    for path in (
        "",
        "/",
        "/api",
        "/api/hubs",
        "api/hubs/h/:send",
        "/Api/hubs/h/:send",
        "/x/api/hubs/h/:send",
    ):
        with pytest.raises(PeerError) as caught:
            decode("POST", path, {}, TEXT, EVENT, version_required=False)
        assert caught.value.reason.name == "api-bad-path"
        assert operation_name("POST", path) == "unknown"
        assert allowed_methods(path) == ()


def test_names_are_decoded_after_splitting() -> None:
    command = ask("POST", "a%5Bb%5D/groups/%2F%3A%C3%A9%25/%3Asend/").command
    assert command == Send("a[b]", Selection(group="/:é%"), EVENT)
    # A name may look like an operation; its position decides.
    assert ask("HEAD", "h/groups/:send", "", "", b"").command == Exists("h", Selection(group=":send"))


def test_a_version_may_be_optional() -> None:
    with pytest.raises(PeerError):
        decode("POST", "/api/hubs/h/:send", {}, TEXT, EVENT)
    assert decode("POST", "/api/hubs/h/:send", {}, TEXT, EVENT, version_required=False).name


def test_allowed_methods() -> None:
    assert allowed_methods("/api/hubs/h/groups/g/connections/c") == ("PUT", "DELETE")
    assert allowed_methods("/api/hubs/h/connections/c") == ("DELETE", "HEAD")


class TestVersion:
    @pytest.mark.parametrize("version", ["2020-10-01", "2024-12-01", "2021-05-01-preview", "2030-01-01-rc.1"])
    def test_any_version_is_accepted(self, version: str) -> None:
        query = {"api-version": [version]}
        assert decode("POST", "/api/hubs/h/:send", query, TEXT, EVENT).name == "send_to_all"

    @pytest.mark.parametrize(
        "given", [[], [""], ["1"], ["latest"], ["2024-12-01 "], ["2024-12-01", "2024-12-01"]]
    )
    def test_a_version_is_required(self, given: list[str]) -> None:
        with pytest.raises(PeerError) as caught:
            decode("POST", "/api/hubs/h/:send", {"api-version": given}, TEXT, EVENT)
        assert caught.value.reason.name == "api-bad-argument"

    def test_no_version_is_required_in_a_tunnel(self) -> None:
        assert decode_url("POST", "https://host/api/hubs/h/:send", TEXT, EVENT).name == "send_to_all"


class TestQuery:
    @pytest.mark.parametrize(
        "query",
        ["a=%ff", "%ff=1", "a=\ud800", "&".join(["excluded=1"] * 1101)],
        ids=["value", "name", "raw", "many"],
    )
    def test_refused(self, query: str) -> None:
        with pytest.raises(PeerError) as caught:
            parse_query(query)
        assert caught.value.reason.name == "api-bad-argument"

    def test_form_encoding(self) -> None:
        assert parse_query("a=x+y%2B%27&b=&a=2&c") == {"a": ["x y+'", "2"], "b": [""], "c": [""]}


class TestUrl:
    """`decode_url`: the fast paths must agree with `decode`."""

    NAMESPACE = "%270%7ELw%7E%27+in+groups"

    @pytest.mark.parametrize(
        "tail",
        [
            "h/connections/c1/:send?api-version=2023-07-01",
            "h/connections/c1/:send?api-version=2023-07-01&foo=bar",
            "h/connections/c1/:send?api-version=2023-07-01&filter=" + NAMESPACE,
            "h/connections/c%201/:send?api-version=2023-07-01",
            "h/groups/0~Lw~cm0/:send?api-version=2023-07-01",
            "h/groups/0~Lw~cm0/:send?api-version=2023-07-01&filter=not+%28%27g%27+in+groups%29",
            "h/groups/a%2Fb/:send?api-version=2023-07-01&filter=" + NAMESPACE,
            "h/groups/+/:send?api-version=2023-07-01",
            "h/:send?api-version=2023-07-01",
            "h/:send?api-version=2023-07-01&filter=" + NAMESPACE,
            "h/:send?api-version=2023-07-01&filter=" + NAMESPACE + "&foo=bar",
            "h/:send?filter=" + NAMESPACE + "&api-version=2023-07-01",
            "h/:send?api-version=2023-07-01&filter=" + "+or+".join([NAMESPACE] * 30),
        ],
    )
    @pytest.mark.parametrize("origin", ["https://host", "http://127.0.0.1:80", ""])
    def test_the_tunnel_decodes_like_http(self, origin: str, tail: str) -> None:
        path, _, query = f"/api/hubs/{tail}".partition("?")
        expected = decode("POST", path, parse_query(query), TEXT, EVENT, repair=True, check=False)
        assert decode_url("POST", f"{origin}/api/hubs/{tail}", TEXT, EVENT, True) == expected

    def test_repair_reaches_the_filter(self) -> None:
        url = (
            "https://host/api/hubs/h/:send?api-version=2023-07-01&filter="
            "%27a%27+in+groups+or+%27b%27+in+groups+and+not+%28%27x%27+in+groups%29"
        )
        repaired, literal = (decode_url("POST", url, TEXT, EVENT, repair).command for repair in (True, False))
        assert isinstance(repaired, Send)
        assert isinstance(literal, Send)
        assert repaired.to.filter is not None
        assert repaired.to.filter.none_of == ("x",)
        assert literal.to != repaired.to

    def test_payloads_are_checked_on_request_only(self) -> None:
        url = "https://host/api/hubs/h/:send?api-version=2023-07-01"
        assert decode_url("POST", url, TEXT, b"hello").success == 202
        with pytest.raises(PeerError) as caught:
            decode_url("POST", url, TEXT, b"hello", check=True)
        assert caught.value.reason.name == "api-bad-payload"

    @pytest.mark.parametrize(
        ("url", "content_type", "body", "reason"),
        [
            ("https://host/api/hubs/h/:send?api-version=1", TEXT, b"", "api-bad-payload"),
            ("https://host/api/hubs/h/:send?api-version=1", JSON, EVENT, "api-bad-content-type"),
            ("https://host/api/hubs/h/:send?api-version=1&filter=", TEXT, EVENT, "api-bad-filter"),
            ("https://host/api/hubs/h/:send?api-version=1&filter=a+b", TEXT, EVENT, "api-bad-filter"),
            ("https://host/api/hubs/h/:send?api-version=1&filter=%ff", TEXT, EVENT, "api-bad-argument"),
            ("https://host/api/hubs/h/:send?x=1&filter=%ff", TEXT, EVENT, "api-bad-argument"),
            ("https://host", TEXT, EVENT, "api-bad-path"),
            ("https://", TEXT, EVENT, "api-bad-path"),
            ("", TEXT, EVENT, "api-bad-path"),
            ("api/hubs/h/:send", TEXT, EVENT, "api-bad-path"),
            ("https://host/api/hubs/h/:send?" + "x" * MAX_URL, TEXT, EVENT, "api-bad-path"),
        ],
    )
    def test_refused(self, url: str, content_type: str, body: bytes, reason: str) -> None:
        with pytest.raises(PeerError) as caught:
            decode_url("POST", url, content_type, body)
        assert caught.value.reason.name == reason


# --- any input ---------------------------------------------------------------------------------

_METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]) | st.text(max_size=5)
_ANY_TEXT = st.text(st.characters(), max_size=30)  # lone surrogates included
_SEGMENTS = (
    st.sampled_from(
        [
            ":send",
            ":invoke",
            ":addToGroups",
            ":generateToken",
            ":closeConnections",
            "groups",
            "connections",
            "users",
            "g",
            "%41",
            "%ff",
            "",
        ]
    )
    | _ANY_TEXT
)
_PATHS = st.lists(_SEGMENTS, max_size=6).map(lambda parts: "/api/hubs/h/" + "/".join(parts)) | _ANY_TEXT
_FIELDS = st.sampled_from(
    [
        "api-version=2024-12-01",
        "filter=",
        "filter=%27g%27+in+groups",
        "excluded=a",
        "top=5",
        "top=x",
        "maxpagesize=201",
        "continuationToken=____",
        "continuationToken=%FF",
        "messageTtlSeconds=301",
        "minutesToExpire=1",
        "group=g",
        "clientType=x",
    ]
)
_QUERIES = st.lists(_FIELDS | _ANY_TEXT, max_size=5).map("&".join)
_TYPES = (
    st.sampled_from([TEXT, JSON, "application/octet-stream", "text/plain; charset=latin-1", ""]) | _ANY_TEXT
)
_BODIES = st.sampled_from(
    [EVENT, GROUPS, b"{}", b'{"groups":[""]}', b"[" * 9_999, b"451-[]\x1ebAA"]
) | st.binary(max_size=40)


@given(method=_METHODS, path=_PATHS, query=_QUERIES, kind=_TYPES, body=_BODIES, check=st.booleans())
@example(
    method="POST",
    path="/api/hubs/h/:addToGroups",
    query="",
    kind=JSON,
    body=b'{"groups":' + b"[" * 9_999,
    check=True,
)
def test_anything_is_an_operation_or_a_refusal(
    method: str, path: str, query: str, kind: str, body: bytes, check: bool
) -> None:
    try:
        found = decode(method, path, parse_query(query), kind, body, check=check)
    except PeerError as error:
        assert 5000 <= error.reason.number < 5100
    else:
        assert isinstance(found, Operation)


@given(
    method=_METHODS,
    url=st.tuples(st.sampled_from(["https://host", "", "x://", "://"]) | _ANY_TEXT, _PATHS, _QUERIES).map(
        lambda parts: f"{parts[0]}{parts[1]}?{parts[2]}"
    ),
    kind=_TYPES,
    body=_BODIES,
    repair=st.booleans(),
)
def test_any_url_is_an_operation_or_a_refusal(
    method: str, url: str, kind: str, body: bytes, repair: bool
) -> None:
    try:
        found = decode_url(method, url, kind, body, repair)
    except PeerError as error:
        assert 5000 <= error.reason.number < 5100
    else:
        assert isinstance(found, Operation)
