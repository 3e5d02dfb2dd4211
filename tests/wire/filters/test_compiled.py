"""Filters as the hub gets them: decomposition, repair, shortcut, cache, the manual."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import (
    MAX_CLAUSES,
    MAX_TEXT,
    Filter,
    _compiled_short,
    _general,
    _shortcut,
    _shortcut_cached,
    compile_filter,
)
from tests.support.filters import matches


@dataclass(frozen=True)
class Person:
    id: str
    user_id: str | None
    groups: frozenset[str]


def person(*groups: str, id: str = "c1", user_id: str | None = "ada") -> Person:
    return Person(id, user_id, frozenset(groups))


def group(name: str) -> str:
    return "'" + name.replace("'", "''") + "' in groups"


# ---- decomposition

SDK_SHAPE = "'a' in groups or 'b' in groups and not ('x' in groups)"
PARTS: list[tuple[str, tuple[str, ...] | None, tuple[str, ...], str | None, bool]] = [
    ("'a' in groups", ("a",), (), None, False),
    ("('a' in groups)", ("a",), (), None, False),
    ("'a' in (groups)", ("a",), (), None, False),
    ("'it''s' in groups", ("it's",), (), None, False),
    ("'a' in groups or 'b' in groups", ("a", "b"), (), None, False),
    ("'a' in groups or ('b' in groups or 'c' in groups)", ("a", "b", "c"), (), None, False),
    ("'b' in groups or 'a' in groups or 'b' in groups", ("b", "a"), (), None, False),
    ("'a' in groups and not ('x' in groups)", ("a",), ("x",), None, False),
    ("not ('x' in groups)", None, ("x",), None, False),
    ("not ('x' in groups) and not ('y' in groups) and not ('x' in groups)", None, ("x", "y"), None, False),
    ("not ('x' in groups) and 'a' in groups", ("a",), ("x",), None, False),
    ("not ('x' in groups or 'y' in groups)", None, ("x", "y"), None, False),
    ("('a' in groups or 'b' in groups) and not ('x' in groups)", ("a", "b"), ("x",), None, False),
    ("('a' in groups and not ('x' in groups)) and connectionId eq 'i'", ("a",), ("x",), "i", False),
    ("connectionId eq 'i'", None, (), "i", False),
    ("'i' eq connectionId", None, (), "i", False),
    ("CONNECTIONID EQ 'I'", None, (), "I", False),
    ("connectionId in ('i')", None, (), None, True),
    ("connectionId ne 'i'", None, (), None, True),
    ("connectionId eq null", None, (), None, True),
    ("connectionId eq userId", None, (), None, True),
    ("userId eq 'i'", None, (), None, True),
    ("connectionId eq 'i' and connectionId eq 'j'", None, (), "i", True),
    ("'a' in groups and 'b' in groups", ("a",), (), None, True),
    (SDK_SHAPE, None, (), None, True),
    ("'a' in groups or userId eq 'u'", None, (), None, True),
    ("not ('a' in groups and 'b' in groups)", None, (), None, True),
    ("not not ('a' in groups)", None, (), None, True),
    ("userId in groups", None, (), None, True),
    ("null in groups", None, (), None, True),
    ("true", None, (), None, False),
    ("true and 'a' in groups", ("a",), (), None, False),
    ("false", None, (), None, True),
    ("userId in ('u','v') and 'a' in groups and not (length(groups) gt 3)", ("a",), (), None, True),
]


@pytest.mark.parametrize(("text", "any_of", "none_of", "connection_id", "rest"), PARTS)
def test_parts(
    text: str, any_of: tuple[str, ...] | None, none_of: tuple[str, ...], connection_id: str | None, rest: bool
) -> None:
    for repair in (False,) if text == SDK_SHAPE else (False, True):
        found = compile_filter(text, repair=repair)
        assert (found.any_of, found.none_of, found.connection_id) == (any_of, none_of, connection_id)
        assert (found.predicate is not None) is rest
        assert found.text == (text if rest else "")


def test_a_filter_checks_every_part() -> None:
    found = compile_filter(
        "'a' in groups and not ('x' in groups) and connectionId eq 'c1' and userId ne null"
    )
    assert matches(found, person("a", "b"))
    assert not matches(found, person("b"))
    assert not matches(found, person("a", "x"))
    assert not matches(found, person("a", id="c2"))
    assert not matches(found, person("a", user_id=None))
    assert matches(Filter(), person())


def test_groups_may_be_any_collection() -> None:
    @dataclass
    class Socket:
        id: str
        user_id: str | None
        groups: dict[str, int]

    found = compile_filter("'a' in groups and length(groups) eq 2")
    assert matches(found, Socket("c", None, {"a": 1, "b": 2}))


@pytest.mark.parametrize("text", [text for text, *_ in PARTS])
def test_a_filter_can_be_made_again_from_its_fields(text: str) -> None:
    found = compile_filter(text)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Filter)
    assert (again, hash(again)) == (found, hash(found))
    for subject in (person(), person("a"), person("a", "x", id="i"), person("b", user_id="u")):
        assert matches(again, subject) is matches(found, subject)


def test_a_long_filter_is_compiled_again_after_it_left_the_cache() -> None:
    long = [f"userId eq '{n:0600}'" for n in range(20)]
    found = [compile_filter(text) for text in long]
    assert [matches(one, person(user_id=f"{7:0600}")) for one in found] == [n == 7 for n in range(20)]


# ---- repair


def test_repair_excludes_the_sender_from_several_rooms() -> None:
    text = "'r1' in groups or 'r2' in groups and not ('me' in groups)"
    sender, other = person("r1", "me"), person("r1")
    assert matches(compile_filter(text), sender)
    repaired = compile_filter(text, repair=True)
    assert (repaired.any_of, repaired.none_of, repaired.predicate) == (("r1", "r2"), ("me",), None)
    assert not matches(repaired, sender)
    assert matches(repaired, other)


@pytest.mark.parametrize(
    "text",
    [
        "'a' in groups OR  'b' in groups and not('x' in groups)",
        "('a' in groups) or 'b' in (groups) and not ('x' in groups)",
        "'a' in groups or 'it''s' in groups and not ('x' in groups) and not ('y' in groups)",
    ],
)
def test_repair_does_not_depend_on_spelling(text: str) -> None:
    found = compile_filter(text, repair=True)
    assert found.predicate is None
    assert found.any_of is not None
    assert found.any_of[0] == "a"
    assert found.none_of[0] == "x"


@pytest.mark.parametrize(
    "text",
    [
        "('a' in groups or 'b' in groups and not ('x' in groups))",
        "'a' in groups or ('b' in groups and not ('x' in groups))",
        "('a' in groups or 'b' in groups) or 'c' in groups and not ('x' in groups)",
        "'a' in groups and not ('x' in groups) or 'b' in groups",
        "'a' in groups or 'b' in groups and 'c' in groups",
        "'a' in groups or 'b' in groups and not ('x' in groups or 'y' in groups)",
        "'a' in groups or not ('x' in groups) and 'b' in groups",
        "'a' in groups or userId eq 'b' and not ('x' in groups)",
        "'a' in groups or 'b' in groups and not (userId eq 'x')",
        "'a' in groups or userId in groups and not ('x' in groups)",
        "'a' in groups and 'c' in groups or 'b' in groups and not ('x' in groups)",
        "true or 'b' in groups and not ('x' in groups)",
    ],
)
def test_any_other_form_keeps_its_meaning(text: str) -> None:
    literal, repaired = compile_filter(text), compile_filter(text, repair=True)
    for number in range(32):
        subject = person(*(name for bit, name in enumerate("abcxy") if number >> bit & 1))
        assert matches(literal, subject) == matches(repaired, subject)


NAMES = st.one_of(
    st.sampled_from(["0~Lw~", "0~Lw~cm9vbQ", "g1", "g2", "", "it's", "' in groups or '", "é", " and "]),
    st.text(max_size=8).filter(lambda name: name.isprintable()),
)


@given(st.lists(NAMES, min_size=1, max_size=4), st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=5))
def test_repaired_sdk_texts_match_socketio(rooms: list[str], excepted: list[str], own: list[str]) -> None:
    text = " or ".join(map(group, rooms)) + "".join(f" and not ({group(name)})" for name in excepted)
    subject = person(*own)
    expected = not subject.groups.isdisjoint(rooms) and subject.groups.isdisjoint(excepted)
    assert matches(compile_filter(text, repair=True), subject) == expected


# ---- shortcut

SDK_TEXTS = st.builds(
    lambda rooms, excepted, ids, space: (
        f"connectionId eq '{ids}'"
        if ids is not None
        else " and ".join(
            ([" or ".join(map(group, rooms))] if rooms else [])
            + [f"not ({group(name)})" for name in excepted]
        ).replace(" ", space)
    ),
    st.lists(NAMES, max_size=4),
    st.lists(NAMES, max_size=4),
    st.none() | st.sampled_from(["abc", "", "a''b"]),
    st.sampled_from([" ", " ", " ", "  "]),
)


@given(SDK_TEXTS.filter(bool), st.booleans())
def test_the_shortcut_agrees_with_the_general_path(text: str, repair: bool) -> None:
    quick = _shortcut(text, repair)
    general = _general(text, repair)
    assert quick is None or quick == general


def test_what_is_not_all_rooms_is_not_repaired() -> None:
    text = "'r1' in groups or 'r2' in groups and not (userId eq 'ada')"
    assert compile_filter(text, repair=True) == compile_filter(text, repair=False)


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "'0~Lw~' in groups",
        "'0~Lw~' in groups and not ('0~Lw~c2lk' in groups)",
        "'a' in groups and not ('x' in groups) and not ('y' in groups)",
        "'a' in groups or 'b' in groups or 'c' in groups",
        "not ('x' in groups)",
        "not ('x' in groups) and not ('y' in groups)",
        "connectionId eq 'abc-_123'",
        "'' in groups",
        "'a or b' in groups or 'c and not (d' in groups",
    ],
)
def test_the_shortcut_recognises_the_texts_of_the_sdk(text: str, repair: bool) -> None:
    quick = _shortcut(text, repair)
    assert quick is not None
    assert quick == _general(text, repair)


@pytest.mark.parametrize(
    "text",
    [
        "'a' in groups or 'b' in groups and not ('x' in groups)",
        "'a''b' in groups",
        "'a' in groups ",
        "'a' in Groups",
        "'a' ingroups",
        "'a'in groups",
        "'a' in groups and 'b' in groups",
        "not 'a' in groups",
        "connectionId eq 'a''b'",
        "connectionId eq 'a' or true",
        "",
        "'a' in groups\n",
    ],
)
def test_the_shortcut_ignores_other_texts(text: str) -> None:
    assert _shortcut(text, False) is None


@pytest.mark.parametrize("join", [" or ", " and not ("])
def test_the_shortcut_keeps_the_bound_on_clauses(join: str) -> None:
    close = ")" if "(" in join else ""
    text = join.join(["'a' in groups"] + [f"'g{i}' in groups{close}" for i in range(MAX_CLAUSES - 1)])
    assert compile_filter(text) == _general(text, False)
    with pytest.raises(PeerError, match=f"more than {MAX_CLAUSES} clauses"):
        compile_filter(f"{text}{join}'b' in groups{close}")


# ---- cache and bounds of the text


def test_compiled_once() -> None:
    for text in (SDK_SHAPE, "not ('compiled-once' in groups)", "userId eq 'compiled-once'"):
        assert compile_filter(text) is compile_filter(text)
        assert compile_filter(text, repair=True) is compile_filter(text, repair=True)
    assert compile_filter(SDK_SHAPE) is not compile_filter(SDK_SHAPE, repair=True)


def test_the_large_caches_are_bounded_and_hold_no_long_texts() -> None:
    def state() -> tuple[object, object]:
        return _shortcut_cached.cache_info(), _compiled_short.cache_info()

    assert _shortcut_cached.cache_info().maxsize == 4096
    assert _compiled_short.cache_info().maxsize == 512
    before = state()
    for text in (f"userId eq '{'x' * 600}'", f"'{'x' * 600}' in groups"):
        assert compile_filter(text) == compile_filter(text)
    assert state() == before


def test_a_refused_text_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(PeerError, match="Unknown name"):
            compile_filter("refused eq 'again'")


def test_filters_are_hashable() -> None:
    assert len({compile_filter("'a' in groups"), compile_filter("userId eq 'a'")}) == 2


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_the_size_is_counted_in_bytes(letter: str) -> None:
    frame = "userId eq ''"
    room = (MAX_TEXT - len(frame)) // len(letter.encode())
    text = f"userId eq '{letter * room}'"
    text += " " * (MAX_TEXT - len(text.encode()))
    assert matches(compile_filter(text), person(user_id=letter * room))
    with pytest.raises(PeerError, match=f"longer than {MAX_TEXT} bytes"):
        compile_filter(text + " ")


@pytest.mark.parametrize("text", ["\ud800", "'\udfff' in groups", "userId eq '\ud83d'", "\ud800" * 10_000])
def test_lone_surrogates_are_refused(text: str) -> None:
    with pytest.raises(PeerError) as caught:
        compile_filter(text)
    assert caught.value.detail == "the text is not valid Unicode"


# ---- the manual

MANUAL = (Path(__file__).parents[3] / "docs" / "reference" / "filters.md").read_text(encoding="utf-8")


def test_the_manuals_examples_compile() -> None:
    block = re.search(r"```odata\n(.*?)```", MANUAL, re.DOTALL)
    assert block is not None
    for line in block[1].splitlines():
        assert compile_filter(line) != Filter()


def test_the_manuals_error_messages_are_exact() -> None:
    rows = re.findall(
        r"^\| `(.+?)` \| `(.+?)`.*\|$", MANUAL.split("## Errors")[1].split("## Limits")[0], re.MULTILINE
    )
    assert len(rows) == 6
    for text, message in rows:
        with pytest.raises(PeerError) as caught:
            compile_filter(text)
        assert caught.value.detail == message
