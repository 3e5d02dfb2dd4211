"""Any text gives a `Filter` or `PeerError`, and a `Filter` has the meaning of its text.

The second half writes random conditions together with a naive reading of each, as the reference
for parser, evaluation, decomposition and shortcut at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import MAX_TEXT, _general, _shortcut, compile_filter
from moorage.wire.filters.evaluate import predicate_of
from moorage.wire.filters.parser import parse
from tests.support.filters import matches


@dataclass(frozen=True)
class Person:
    id: str = "c1"
    user_id: str | None = "ada"
    groups: frozenset[str] = frozenset()


PEOPLE_AT_HAND = (Person(), Person("i", "ada", frozenset(("a", "g1"))), Person(user_id=None))


def outcome(text: str) -> None:
    """Any `text` is refused with `PeerError` or gives a filter that returns a bool."""
    for repair in (False, True):
        try:
            found = compile_filter(text, repair=repair)
        except PeerError as error:
            assert error.reason.name == "api-bad-filter"
            assert error.message.encode()
            assert error.message.isprintable()
            assert len(error.message) < 300
            continue
        for subject in PEOPLE_AT_HAND:
            assert isinstance(matches(found, subject), bool)


ANY_TEXT = st.text(st.characters(), max_size=60)
WORDS = st.sampled_from(
    ["and", "or", "not", "eq", "ne", "gt", "in", "(", ")", ",", "'a'", "''", "1", "-1", "null", "true",
     "userId", "connectionId", "groups", "length", "substring", "contains"]
)  # fmt: skip


@given(ANY_TEXT)
def test_any_text_is_handled_or_refused(text: str) -> None:
    outcome(text)


@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_any_order_of_words_is_compiled_or_refused(text: str) -> None:
    outcome(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * MAX_TEXT,
        "not " * (MAX_TEXT // 4),
        "'" * (MAX_TEXT - 1),
        "'" * MAX_TEXT,
        "''" * 8_000 + " in groups",
        " " * MAX_TEXT,
        "1" * MAX_TEXT,
        "a" * MAX_TEXT,
        "true or " * 2_000,
        "'a' in groups or " * 900,
        "'a' in groups" + " and not ('x' in groups)" * 680,
        "userId in (" + "1," * 8_000,
        "userId in (" + ",".join(["'a'"] * 4_000) + ")",
        "connectionId in (" + ",".join(["userId"] * 2_000) + ")",
        "concat(" * 40 + "userId" + ",userId)" * 40 + " eq ''",
        "x" * 1_000_000,
    ],
    ids=lambda text: text[:20].strip(),
)
def test_large_texts_are_handled_in_time(text: str) -> None:
    outcome(text)


# ---- against a naive evaluation of the same conditions


@dataclass(frozen=True)
class Say:
    """One expression of the model: its text, and its value for a subject."""

    text: str
    of: Callable[[Person], Any]
    level: Literal["or", "and", "condition", "operand"] = "operand"

    def within(self, *bare: str) -> str:
        return self.text if self.level in bare else f"({self.text})"


LITERALS = st.sampled_from(["", "a", "ada", "ADA", "g1", "c1", "it's", " b ", "é"])
PEOPLE = st.builds(
    Person,
    st.sampled_from(["c1", "c2", "C1"]),
    st.sampled_from([None, "", "ada", "ADA", " b ", "g1", "it's"]),
    st.frozensets(st.sampled_from(["g1", "g2", "a", "it's", ""])),
)


def word(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from([text, text, text.upper(), text.title()])


def function(
    name: str, body: Callable[..., Any], *arguments: st.SearchStrategy[Say]
) -> st.SearchStrategy[Say]:
    absent = False if name in {"contains", "startswith", "endswith"} else None

    def build(spelt: str, parts: tuple[Say, ...]) -> Say:
        def of(subject: Person) -> Any:
            values = [part.of(subject) for part in parts]
            return absent if any(value is None for value in values) else body(*values)

        return Say(f"{spelt}({', '.join(part.text for part in parts)})", of)

    return st.builds(build, word(name), st.tuples(*arguments))


STRINGS: st.SearchStrategy[Say] = st.deferred(
    lambda: st.one_of(
        LITERALS.map(lambda value: Say("'" + value.replace("'", "''") + "'", lambda _: value)),
        word("userId").map(lambda text: Say(text, lambda subject: subject.user_id)),
        word("connectionId").map(lambda text: Say(text, lambda subject: subject.id)),
        word("null").map(lambda text: Say(text, lambda _: None)),
        STRINGS.map(lambda inner: Say(f"({inner.text})", inner.of)),
        function("tolower", lambda s: s.lower(), STRINGS),
        function("toupper", lambda s: s.upper(), STRINGS),
        function("trim", lambda s: s.strip(), STRINGS),
        function("concat", lambda a, b: a + b, STRINGS, STRINGS),
        function("substring", lambda s, n: "".join(c for i, c in enumerate(s) if i >= n), STRINGS, INTS),
        function(
            "substring",
            lambda s, n, k: "".join(c for i, c in enumerate(s) if max(n, 0) <= i < max(n, 0) + k),
            STRINGS,
            INTS,
            INTS,
        ),
    )
)
INTS: st.SearchStrategy[Say] = st.deferred(
    lambda: st.one_of(
        st.integers(-3, 5).map(lambda value: Say(str(value), lambda _: value)),
        st.just(Say("length(groups)", lambda subject: len(subject.groups))),
        function("length", len, STRINGS),
        function("indexof", lambda a, b: a.index(b) if b in a else -1, STRINGS, STRINGS),
    )
)
TRUTHS: st.SearchStrategy[Say] = st.one_of(
    st.booleans().map(lambda value: Say(str(value).lower(), lambda _: value)),
    function("contains", lambda a, b: b in a, STRINGS, STRINGS),
    function("startswith", lambda a, b: a[: len(b)] == b, STRINGS, STRINGS),
    function(
        "endswith", lambda a, b: a[len(a) - len(b) :] == b if len(b) <= len(a) else False, STRINGS, STRINGS
    ),
)
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: None not in (a, b) and a > b,
    "ge": lambda a, b: None not in (a, b) and (a > b or a == b),
    "lt": lambda a, b: None not in (a, b) and a < b,
    "le": lambda a, b: None not in (a, b) and (a < b or a == b),
}


def compare(operator: str, spelt: str, left: Say, right: Say) -> Say:
    rule = ORDERS[operator]
    return Say(f"{left.text} {spelt} {right.text}", lambda p: rule(left.of(p), right.of(p)), "condition")


def comparisons(operands: st.SearchStrategy[Say], operators: list[str]) -> st.SearchStrategy[Say]:
    return st.sampled_from(operators).flatmap(
        lambda operator: st.builds(compare, st.just(operator), word(operator), operands, operands)
    )


def one_of(item: Say, options: list[Say]) -> Say:
    text = f"{item.text} in ({', '.join(option.text for option in options)})"
    return Say(text, lambda p: any(item.of(p) == option.of(p) for option in options), "condition")


def in_groups(item: Say, spelt: str) -> Say:
    return Say(f"{item.text} in {spelt}", lambda p: item.of(p) in p.groups, "condition")


def join(operator: Literal["and", "or"], parts: list[Say], spaces: str) -> Say:
    bare = ("operand", "condition") if operator == "and" else ("operand", "condition", "and")
    text = f"{spaces}{operator}{spaces}".join(part.within(*bare) for part in parts)
    rule = all if operator == "and" else any
    return Say(text, lambda p: rule(part.of(p) for part in parts), operator)


LEAVES = st.one_of(
    st.builds(
        in_groups, LITERALS.map(lambda v: Say("'" + v.replace("'", "''") + "'", lambda _: v)), word("groups")
    ),
    st.sampled_from(["c1", "c2"]).map(
        lambda v: Say(f"connectionId eq '{v}'", lambda p: p.id == v, "condition")
    ),
    st.builds(in_groups, STRINGS, st.sampled_from(["groups", "(groups)"])),
    TRUTHS,
    comparisons(STRINGS, list(ORDERS)),
    comparisons(INTS, list(ORDERS)),
    comparisons(TRUTHS, ["eq", "ne"]),
    st.builds(one_of, STRINGS, st.lists(STRINGS, min_size=1, max_size=3)),
    st.builds(one_of, INTS, st.lists(INTS, min_size=1, max_size=3)),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda part: Say(f"not {part.within('operand')}", lambda p: not part.of(p), "condition")),
        inner.map(lambda part: Say(f"( {part.text} )", part.of, "condition")),
        st.builds(
            join,
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=2, max_size=4),
            st.sampled_from([" ", "  ", "\n\t"]),
        ),
    ),
    max_leaves=12,
)


@given(CONDITIONS, st.lists(PEOPLE, min_size=1, max_size=6))
def test_a_filter_agrees_with_a_naive_evaluation(condition: Say, people: list[Person]) -> None:
    found = compile_filter(condition.text)
    whole = predicate_of(parse(condition.text))
    for subject in people:
        expected = condition.of(subject)
        assert matches(found, subject) is expected
        assert whole(subject) is expected


@given(CONDITIONS, st.data())
def test_mutated_filters_are_compiled_or_refused(condition: Say, data: st.DataObject) -> None:
    text = condition.text
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 4))
    outcome(text[:at] + data.draw(st.text(st.characters(), max_size=3) | WORDS) + text[at + cut :])


@given(CONDITIONS, st.booleans())
def test_the_shortcut_agrees_for_any_text(condition: Say, repair: bool) -> None:
    quick = _shortcut(condition.text, repair)
    assert quick is None or quick == _general(condition.text, repair)
