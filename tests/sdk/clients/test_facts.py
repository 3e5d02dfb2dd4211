"""What other app servers learn of a session: all that JSON can say, and what was left out."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from moorage.sdk.clients.facts import facts_json


def facts(session: Any, auth: Any = None) -> Any:
    """As the asker reads them."""
    return json.loads(facts_json(session, auth))


def test_nothing_to_tell() -> None:
    assert facts_json({}, None) == b""
    assert facts_json(None, None) == b""


def test_what_json_can_say() -> None:
    assert facts({"name": "é", "n": [1, 2.5, None, True]}, {"token": "t"}) == {
        "data": {"name": "é", "n": [1, 2.5, None, True]},
        "auth": {"token": "t"},
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (object(), "object is not JSON serialisable"),
        (datetime.date(2020, 1, 1), "date is not JSON serialisable"),
        (b"x", "bytes is not JSON serialisable"),
        ({1}, "set is not JSON serialisable"),
    ],
)
def test_what_it_cannot_is_left_out_and_named(value: object, problem: str) -> None:
    assert facts({"name": "x", "user": {"odd": value, "list": [1, value]}}) == {
        "data": {"name": "x", "user": {"list": [1, None]}},
        "left_out": {"data.user.odd": problem, "data.user.list[1]": problem},
    }


def test_keys_and_numbers_that_need_help() -> None:
    assert facts({1: "a", "big": 2**70, "half": "\ud800"}) == {
        "data": {"1": "a", "big": float(2**70), "half": "?"},
        "left_out": {},
    }


def test_a_session_that_contains_itself() -> None:
    """In more ways than one: each would double what is to be looked at, a hundred times."""
    session: dict[str, Any] = {"a": 1}
    session["self"] = session
    session["list"] = [session, session]
    assert facts(session) == {
        "data": {"a": 1, "list": [None, None]},
        "left_out": dict.fromkeys(("data.self", "data.list[0]", "data.list[1]"), "it contains itself"),
    }


def test_a_deep_session() -> None:
    session: Any = {1}
    for _ in range(300):
        session = [session]
    assert list(facts({"deep": session})["left_out"].values()) == ["nested too deeply"]
