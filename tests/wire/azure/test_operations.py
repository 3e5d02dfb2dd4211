"""Parameters and bodies of single operations."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from moorage.wire.azure.dataplane import decode, parse_query
from moorage.wire.azure.operations import GenerateToken, next_page
from moorage.wire.commands import JoinGroups, LeaveNamespace, ListGroup, Member, Outcome, Selection, Send
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import compile_filter

EVENT = b'42["hi"]'
VERSION = {"api-version": ["2024-12-01"]}


def ask(
    method: str, path: str, query: str = "", content_type: str = "text/plain", body: bytes = EVENT
) -> Any:
    return decode(method, f"/api/hubs/h/{path}", VERSION | parse_query(query), content_type, body).command


def refused(
    method: str, path: str, query: str = "", content_type: str = "text/plain", body: bytes = EVENT
) -> str:
    with pytest.raises(PeerError) as caught:
        ask(method, path, query, content_type, body)
    return caught.value.reason.name


class TestSend:
    @pytest.mark.parametrize(
        "path", [":send", "groups/g/:send", "users/u/:send", "connections/c/:send", ":invoke"]
    )
    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json",
            "application/octet-stream",
            "text/html",
            "",
            "text/plain; charset=latin-1",
            "plain",
        ],
    )
    def test_other_content_types_get_a_hint(self, path: str, content_type: str) -> None:
        with pytest.raises(PeerError) as caught:
            ask("POST", path, "", content_type)
        assert caught.value.reason.name == "api-bad-content-type"
        assert '42["event","data"]' in caught.value.detail

    @pytest.mark.parametrize(
        "content_type",
        [
            "text/plain",
            "Text/Plain",
            "text/plain;charset=UTF-8",
            'text/plain; charset="utf-8"',
            "text/plain; x=y",
        ],
    )
    def test_spellings_of_text(self, content_type: str) -> None:
        assert ask("POST", ":send", "", content_type) == Send("h", Selection(), EVENT)

    @pytest.mark.parametrize("body", [b"", b"hello", b"\xff", b"4"])
    def test_body_must_be_a_payload(self, body: bytes) -> None:
        assert refused("POST", ":send", body=body) == "api-bad-payload"

    @pytest.mark.parametrize("ttl", ["-1", "301", "", "x", "1.5", "٣", "9" * 5000])
    def test_ttl(self, ttl: str) -> None:
        assert refused("POST", ":send", f"messageTtlSeconds={ttl}") == "api-bad-argument"

    @pytest.mark.parametrize("query", ["filter=a&filter=b", "messageTtlSeconds=1&messageTtlSeconds=1"])
    def test_a_single_parameter_given_twice(self, query: str) -> None:
        assert refused("POST", ":send", query) == "api-bad-argument"

    @pytest.mark.parametrize("text", ["userId", "'a' in groups and"])
    def test_bad_filter(self, text: str) -> None:
        assert refused("POST", ":send", f"filter={text}") == "api-bad-filter"

    def test_filter_is_taken_literally(self) -> None:
        text = "'a' in groups or 'b' in groups and not ('x' in groups)"
        assert ask("POST", ":send", f"filter={text}").to.filter == compile_filter(text)

    def test_filter_and_exclusions_apply_to_every_operation(self) -> None:
        chosen = Selection(user="u", filter=compile_filter("'g' in groups"), excluded=("a", "b"))
        query = "filter='g' in groups&excluded=a&excluded=b"
        assert ask("POST", "users/u/:send", query).to == chosen
        assert ask("POST", "users/u/:closeConnections", query).to == chosen

    def test_too_many_exclusions(self) -> None:
        assert len(ask("POST", ":send", "&".join(["excluded=a"] * 1000)).to.excluded) == 1000
        assert refused("POST", ":send", "&".join(["excluded=a"] * 1001)) == "api-bad-argument"


class TestGroupsBody:
    def join(self, body: Any, content_type: str = "application/json") -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return ask("POST", ":addToGroups", "", content_type, data)

    def refused(self, body: Any, content_type: str = "application/json") -> str:
        with pytest.raises(PeerError) as caught:
            self.join(body, content_type)
        return caught.value.reason.name

    def test_filter_may_be_missing(self) -> None:
        everyone = JoinGroups("h", Selection(), ("g",))
        assert self.join({"groups": ["g"]}) == everyone
        assert self.join({"groups": ["g"], "filter": None, "more": 1}) == everyone

    def test_an_empty_list_of_groups_is_accepted(self) -> None:
        assert self.join({"groups": [], "filter": "true"}).groups == ()

    @pytest.mark.parametrize(
        "content_type", ["application/json; charset=utf-8", "text/json", "Application/JSON"]
    )
    def test_content_types(self, content_type: str) -> None:
        assert self.join({"groups": ["g"]}, content_type).groups == ("g",)

    @pytest.mark.parametrize("content_type", ["text/plain", "", "application/json; charset=utf-16"])
    def test_other_content_types(self, content_type: str) -> None:
        assert self.refused({"groups": ["g"]}, content_type) == "api-bad-content-type"

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "api-bad-body"),
            (b"[", "api-bad-body"),
            (b'{"groups":["\xff"]}', "api-bad-body"),
            (b'{"groups":["\\ud800"]}', "api-bad-body"),
            (b'{"more":' + b"[" * 9_999, "api-bad-body"),
            ([], "api-bad-body"),
            ({}, "api-bad-body"),
            ({"groups": "g"}, "api-bad-body"),
            ({"groups": [1]}, "api-bad-body"),
            ({"groups": [""]}, "api-bad-body"),
            ({"groups": ["g" * 1025]}, "api-bad-body"),
            ({"groups": ["g"] * 1001}, "api-bad-body"),
            ({"groups": [" \t"]}, "api-bad-argument"),
            ({"groups": ["g"], "filter": 1}, "api-bad-body"),
            ({"groups": ["g"], "filter": ""}, "api-bad-filter"),
            ({"groups": ["g"], "filter": "not"}, "api-bad-filter"),
        ],
    )
    def test_refused(self, body: Any, reason: str) -> None:
        assert self.refused(body) == reason

    def test_a_thousand_groups_of_1024_characters(self) -> None:
        assert len(self.join({"groups": ["g" * 1024] * 1000}).groups) == 1000


class TestToken:
    def test_defaults(self) -> None:
        assert ask("POST", ":generateToken") == GenerateToken(
            hub="h", user=None, groups=(), roles=(), ttl=3600
        )

    @pytest.mark.parametrize("kind", ["Default", "socketio", "MQTT", ""])
    def test_client_types(self, kind: str) -> None:
        assert ask("POST", ":generateToken", f"clientType={kind}").ttl == 3600

    @pytest.mark.parametrize(
        "query",
        [
            "minutesToExpire=0",
            "minutesToExpire=x",
            "minutesToExpire=2147483648",
            "clientType=x",
            "group=",
            "group=%20",
        ],
    )
    def test_refused(self, query: str) -> None:
        assert refused("POST", ":generateToken", query) == "api-bad-argument"


class TestClose:
    def test_reason_is_cut(self) -> None:
        assert ask("DELETE", "connections/c", f"reason={'x' * 999}").why == "x" * 256


class TestList:
    PATH = "groups/g/connections"

    def list(self, query: str) -> Any:
        return ask("GET", self.PATH, query)

    @pytest.mark.parametrize(
        ("query", "limit"),
        [
            ("", 200),
            ("maxpagesize=5", 5),
            ("top=3", 3),
            ("maxpagesize=5&top=3", 3),
            ("maxpagesize=5&top=30", 5),
        ],
    )
    def test_page_size(self, query: str, limit: int) -> None:
        assert self.list(query) == ListGroup("h", "g", limit)

    @pytest.mark.parametrize(
        "query",
        [
            "maxpagesize=0",
            "maxpagesize=201",
            "top=0",
            "top=2147483648",
            "top=",
            "continuationToken=!",
            "continuationToken=A",
            "continuationToken=_w",
            "continuationToken=%C3%A9",
        ],
    )
    def test_refused(self, query: str) -> None:
        assert refused("GET", self.PATH, query) == "api-bad-argument"

    def test_pages_chain(self) -> None:
        page = Outcome(members=(Member("a", None), Member("b/ü", "bob")), more=True)
        query = parse_query("api-version=1&maxpagesize=2")
        following = next_page(query, page)
        assert following is not None
        assert following["api-version"] == ["1"]
        assert following["continuationToken"] == [
            base64.urlsafe_b64encode("b/ü".encode()).decode().rstrip("=")
        ]
        token = following["continuationToken"][0]
        assert self.list(f"maxpagesize=2&continuationToken={token}") == ListGroup("h", "g", 2, "b/ü")

    def test_last_page(self) -> None:
        assert next_page({}, Outcome(members=(Member("a", None),))) is None
        assert next_page({}, Outcome(more=True)) is None

    def test_top_bounds_all_pages_together(self) -> None:
        page = Outcome(members=(Member("a", None), Member("b", None)), more=True)
        assert next_page({"top": ["2"]}, page) is None
        following = next_page({"top": ["5"], "maxpagesize": ["2"]}, page)
        assert following is not None
        assert following["top"] == ["3"]


def test_a_checked_disconnect_is_a_command_of_its_own() -> None:
    path = "/api/hubs/h/connections/c/:send"
    found = decode("POST", path, VERSION, "text/plain", b"41/ns,", check=True).command
    assert found == LeaveNamespace("h", Selection(connection="c"), "/ns", close=False)
