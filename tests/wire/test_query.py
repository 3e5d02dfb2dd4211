"""Query strings: the fast path agrees with the general parser."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.query import parse_query


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {}),
        ("a", {"a": [""]}),
        ("a=", {"a": [""]}),
        ("=b", {"": ["b"]}),
        ("a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        ("a=b=c", {"a": ["b=c"]}),
        ("&&a=1&", {"a": ["1"]}),
        ("a=%20+%C3%A9", {"a": ["  é"]}),
    ],
)
def test_queries(query: str, found: dict[str, list[str]]) -> None:
    assert parse_query(query, 10) == found


@given(st.text("ab=&é;", max_size=30))
def test_the_fast_path_agrees_with_the_general_parser(query: str) -> None:
    assert parse_query(query, 100) == parse_qs(query, keep_blank_values=True)


@pytest.mark.parametrize("query", ["a&" * 10, "a=%ff"])
def test_refused_queries(query: str) -> None:
    with pytest.raises(ValueError, match=r"fields|utf-8"):
        parse_query(query, 5)
