"""The result of each function and operator for a connection, in particular with null."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from moorage.wire.errors import UsageError
from moorage.wire.filters.evaluate import predicate_of
from moorage.wire.filters.parser import parse
from moorage.wire.filters.syntax import Compare, Constant, Groups


@dataclass(frozen=True)
class Person:
    id: str = "conn-1"
    user_id: str | None = "user-ab-de"
    groups: frozenset[str] = field(default_factory=frozenset)


ADA = Person(groups=frozenset(("g1", "g2", "it's")))
NOBODY = Person(user_id=None)


def holds(text: str, person: Person) -> bool:
    return predicate_of(parse(text))(person)


@pytest.mark.parametrize(
    "text",
    [
        # identifiers and comparisons
        "userId eq 'user-ab-de'",
        "'user-ab-de' eq userId",
        "userId ne 'USER-AB-DE'",
        "connectionId eq 'conn-1'",
        "userId ne null",
        "userId gt 'user'",
        "userId ge 'user-ab-de'",
        "userId lt 'user-b'",
        "userId le 'user-ab-de'",
        "'Z' lt 'a'",
        "10 gt 9",
        "-1 lt +1",
        "2 ge 2",
        "2 le 2",
        "true eq true",
        "true ne false",
        # in
        "'g1' in groups",
        "'it''s' in groups",
        "not ('G1' in groups)",
        "not (userId in groups)",
        "userId in ('x', 'user-ab-de')",
        "not (userId in ('x', null))",
        "'conn-1' in (userId, connectionId)",
        "userId in (connectionId, 'user-ab-de')",
        "not ('conn-2' in ('conn-3', userId, connectionId))",
        "length(userId) in (1, 10)",
        "true in (false, true)",
        # functions
        "tolower('ÀB') eq 'àb'",
        "toupper('ßa') eq 'SSA'",
        "trim(' \ta b ') eq 'a b'",
        "concat(userId, '!') eq 'user-ab-de!'",
        "concat('', '') eq ''",
        "startswith(userId, 'user')",
        "startswith(userId, '')",
        "not startswith(userId, 'USER')",
        "endswith(userId, 'de')",
        "not endswith(userId, 'milk')",
        "contains(userId, '-ab-')",
        "not contains(userId, 'ba')",
        "indexof(userId, '-ab-') eq 4",
        "indexof(userId, '') eq 0",
        "indexof(userId, 'zz') eq -1",
        "length('') eq 0",
        "length('a😀') eq 2",
        "length(groups) eq 3",
        "contains(userId, 'ab') eq true",
        # substring, out of range included
        "substring(userId, 5, 2) eq 'ab'",
        "substring(userId, 5) eq 'ab-de'",
        "substring(userId, 0) eq userId",
        "substring(userId, -3) eq userId",
        "substring(userId, -3, 4) eq 'user'",
        "substring(userId, 10) eq ''",
        "substring(userId, 99) eq ''",
        "substring(userId, 99, 1) eq ''",
        "substring(userId, 5, 0) eq ''",
        "substring(userId, 5, -1) eq ''",
        "substring(userId, 0, -3) eq ''",
        "substring(userId, 8, 99) eq 'de'",
        "substring(userId, 9223372036854775807, 9223372036854775807) eq ''",
        "substring(userId, -9223372036854775808, -9223372036854775808) eq ''",
        "substring(userId, indexof(userId, '-')) eq '-ab-de'",
        # logic
        "true and not false",
        "false or true",
        "false and false or true",
        "not (false and (false or true))",
        # null as a literal
        "null eq null",
        "not (null ne null)",
        "not (null gt null)",
        "not (null ge null)",
        "not (null in groups)",
        "null in (null)",
        "substring(userId, null) eq null",
        "length(null) eq null",
    ],
)
def test_holds(text: str) -> None:
    assert holds(text, ADA)
    assert not holds(f"not ({text})", ADA)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("userId eq null", True),
        ("null eq userId", True),
        ("userId ne null", False),
        ("userId eq 'a'", False),
        ("userId ne 'a'", True),
        ("userId eq ''", False),
        ("userId gt ''", False),
        ("userId ge ''", False),
        ("userId lt 'z'", False),
        ("'z' gt userId", False),
        ("userId le null", False),
        ("not (userId gt '')", True),
        ("userId in groups", False),
        ("userId in ('a', 'b')", False),
        ("userId in ('a', null)", True),
        ("null in (connectionId, userId)", True),
        ("length(userId) eq null", True),
        ("length(userId) gt 5", False),
        ("length(userId) le 5", False),
        ("length(groups) eq 0", True),
        ("tolower(userId) eq null", True),
        ("toupper(userId) eq null", True),
        ("trim(userId) eq null", True),
        ("concat(userId, 'a') eq null", True),
        ("concat('a', userId) eq null", True),
        ("substring(userId, 1) eq null", True),
        ("substring('abc', length(userId)) eq null", True),
        ("indexof(userId, 'a') eq null", True),
        ("indexof('a', userId) eq -1", False),
        ("contains(userId, '')", False),
        ("not contains(userId, '')", True),
        ("startswith('a', userId)", False),
        ("endswith(userId, '') eq false", True),
        ("endswith(userId, '') eq null", False),
    ],
)
def test_anonymous(text: str, expected: bool) -> None:
    assert holds(text, NOBODY) is expected


def test_every_result_is_a_bool() -> None:
    for text in (
        "true",
        "contains('a','a')",
        "'g1' in groups",
        "userId lt 'z'",
        "not true",
        "true and false",
    ):
        assert isinstance(holds(text, ADA), bool)
        assert isinstance(holds(text, NOBODY), bool)


def test_the_subject_may_have_any_strings() -> None:
    odd = Person(user_id="\ud800\x00İ", groups=frozenset(("\udfff",)))
    assert holds("length(tolower(userId)) gt 0", odd)
    assert holds("userId gt 'a'", odd)
    assert not holds("userId in groups", odd)


def test_an_impossible_tree_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        predicate_of(Compare("eq", Groups(), Constant(1)))
