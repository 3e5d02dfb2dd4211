"""Text -> tree: precedence, types, messages, bounds."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from moorage.wire.errors import PeerError
from moorage.wire.filters.evaluate import predicate_of
from moorage.wire.filters.parser import MAX_CLAUSES, MAX_NESTING, parse
from moorage.wire.filters.syntax import (
    FUNCTIONS,
    Call,
    Compare,
    Constant,
    Groups,
    Identifier,
    InGroups,
    InList,
    Logic,
    Node,
    Not,
)

USER = Identifier("userId")
CONNECTION = Identifier("connectionId")
A, B, C, D = (InGroups(Constant(name)) for name in "abcd")


def call(name: str, *arguments: Node) -> Call:
    return Call(FUNCTIONS[name], arguments)


TREES: list[tuple[str, Node]] = [
    # constants and identifiers
    ("true", Constant(True)),
    ("FALSE", Constant(False)),
    ("userId eq 'a'", Compare("eq", USER, Constant("a"))),
    ("USERID EQ 'A'", Compare("eq", USER, Constant("A"))),
    ("connectionid ne 'it''s'", Compare("ne", CONNECTION, Constant("it's"))),
    ("'' eq ''''", Compare("eq", Constant(""), Constant("'"))),
    ("userId eq null", Compare("eq", USER, Constant(None))),
    ("null ne null", Compare("ne", Constant(None), Constant(None))),
    ("null gt userId", Compare("gt", Constant(None), USER)),
    ("1 lt -2", Compare("lt", Constant(1), Constant(-2))),
    ("+1 ge 007", Compare("ge", Constant(1), Constant(7))),
    ("9223372036854775807 le -9223372036854775808", Compare("le", Constant(2**63 - 1), Constant(-(2**63)))),
    ("true ne false", Compare("ne", Constant(True), Constant(False))),
    ("(userId) eq (('a'))", Compare("eq", USER, Constant("a"))),
    # in
    ("'a' in groups", A),
    ("'a' in (groups)", A),
    ("'a' in ((Groups))", A),
    ("userId in groups", InGroups(USER)),
    ("null in groups", InGroups(Constant(None))),
    ("tolower(userId) in groups", InGroups(call("tolower", USER))),
    ("userId in ('a')", InList(USER, (Constant("a"),))),
    ("userId in ('a', null, connectionId)", InList(USER, (Constant("a"), Constant(None), CONNECTION))),
    ("length(userId) in (1,2)", InList(call("length", USER), (Constant(1), Constant(2)))),
    # functions
    ("contains(userId,'x')", call("contains", USER, Constant("x"))),
    ("startsWith (userId , 'x')", call("startswith", USER, Constant("x"))),
    ("endswith(null,'x') eq true",
     Compare("eq", call("endswith", Constant(None), Constant("x")), Constant(True))),
    ("length(groups) eq 1", Compare("eq", call("length", Groups()), Constant(1))),
    ("length((groups)) eq 1", Compare("eq", call("length", Groups()), Constant(1))),
    ("length(trim(userId)) eq 1", Compare("eq", call("length", call("trim", USER)), Constant(1))),
    ("substring(userId,1) eq 'a'", Compare("eq", call("substring", USER, Constant(1)), Constant("a"))),
    ("substring(userId,1,2) eq 'a'",
     Compare("eq", call("substring", USER, Constant(1), Constant(2)), Constant("a"))),
    ("concat(toupper(userId),'x') eq 'a'",
     Compare("eq", call("concat", call("toupper", USER), Constant("x")), Constant("a"))),
    ("indexof(userId,'x') eq -1", Compare("eq", call("indexof", USER, Constant("x")), Constant(-1))),
    # precedence
    ("'a' in groups or 'b' in groups and 'c' in groups", Logic("or", (A, Logic("and", (B, C))))),
    ("'a' in groups and 'b' in groups or 'c' in groups", Logic("or", (Logic("and", (A, B)), C))),
    ("('a' in groups or 'b' in groups) and 'c' in groups", Logic("and", (Logic("or", (A, B), True), C))),
    ("'a' in groups and 'b' in groups and 'c' in groups", Logic("and", (A, B, C))),
    ("'a' in groups and 'b' in groups or 'c' in groups and 'd' in groups",
     Logic("or", (Logic("and", (A, B)), Logic("and", (C, D))))),
    ("not ('a' in groups) and 'b' in groups", Logic("and", (Not(A), B))),
    ("not ('a' in groups and 'b' in groups)", Not(Logic("and", (A, B), True))),
    ("not not true or false", Logic("or", (Not(Not(Constant(True))), Constant(False)))),
    ("not contains(userId,'x') and true",
     Logic("and", (Not(call("contains", USER, Constant("x"))), Constant(True)))),
    ("not(true)", Not(Constant(True))),
    ("((true))", Constant(True)),
    ("length(userId) gt 0 and length(userId) lt 3 or length(userId) gt 7",
     Logic("or", (
         Logic("and", (
             Compare("gt", call("length", USER), Constant(0)),
             Compare("lt", call("length", USER), Constant(3)),
         )),
         Compare("gt", call("length", USER), Constant(7)),
     ))),
    ("\t'a'\rin\ngroups ", A),
]  # fmt: skip


@pytest.mark.parametrize(("text", "tree"), TREES, ids=[text for text, _ in TREES])
def test_tree(text: str, tree: Node) -> None:
    assert parse(text) == tree


ERRORS = [
    # words out of place
    ("", "Unexpected end of the filter at position 0"),
    ("  ", "Unexpected end of the filter at position 2"),
    ("true and", "Unexpected end of the filter at position 8"),
    ("(true", "Unexpected end of the filter at position 5, expected ')'"),
    ("true)", "Unexpected ')' at position 4"),
    ("()", "Unexpected ')' at position 1"),
    ("true true", "Unexpected 'true' at position 5"),
    ("and true", "Unexpected 'and' at position 0"),
    ("true or or true", "Unexpected 'or' at position 8"),
    ("not", "Unexpected end of the filter at position 3"),
    ("userId eq", "Unexpected end of the filter at position 9"),
    ("1 eq 1 eq true", "Unexpected 'eq' at position 7"),
    ("user in ('a')", "Unknown name 'user' at position 0"),
    ("True eq Nope", "Unknown name 'Nope' at position 8"),
    ("'a' 'b'", "Unexpected ''b'' at position 4"),
    ("length eq 1", "Unexpected 'eq' at position 7, expected '('"),
    ("length() eq 1", "Unexpected ')' at position 7"),
    ("length(userId", "Unexpected end of the filter at position 13, expected ')'"),
    ("contains(userId,)", "Unexpected ')' at position 16"),
    ("length(userId) > 3", "Unexpected '>' at position 15"),
    (
        "'a' in",
        "Unexpected end of the filter at position 6, expected groups or a list in brackets after 'in'",
    ),
    ("'a' in 'b'", "Unexpected ''b'' at position 7, expected groups or a list in brackets after 'in'"),
    ("'a' in ()", "Unexpected ')' at position 8"),
    ("'a' in ('b',)", "Unexpected ')' at position 12"),
    ("'a' in ('b'", "Unexpected end of the filter at position 11, expected ')'"),
    # the top level, and what `and`, `or`, `not` join
    ("userId", "Invalid syntax for 'userId': Type 'string', expect 'bool'."),
    (" 'a' ", "Invalid syntax for ''a'': Type 'string', expect 'bool'."),
    ("(5)", "Invalid syntax for '(5)': Type 'int', expect 'bool'."),
    ("null", "Invalid syntax for 'null': Type 'null', expect 'bool'."),
    ("groups", "Invalid syntax for 'groups': Type 'collection', expect 'bool'."),
    ("trim(userId)", "Invalid syntax for 'trim(userId)': Type 'string', expect 'bool'."),
    ("true and userId", "Invalid syntax for 'userId': Type 'string', expect 'bool'."),
    ("true or userId", "Invalid syntax for 'userId': Type 'string', expect 'bool'."),
    ("length(userId) or true", "Invalid syntax for 'length(userId)': Type 'int', expect 'bool'."),
    ("not length(userId) gt 5", "Invalid syntax for 'not length(userId)': Type 'int', expect 'bool'."),
    ("not userId eq 'a'", "Invalid syntax for 'not userId': Type 'string', expect 'bool'."),
    ("not 'a' in groups", "Invalid syntax for 'not 'a'': Type 'string', expect 'bool'."),
    ("not null", "Invalid syntax for 'not null': Type 'null', expect 'bool'."),
    # comparisons
    ("userId eq 5", "Invalid syntax for 'userId eq 5': Type 'string' and type 'int' do not go with 'eq'."),
    ("true eq 1", "Invalid syntax for 'true eq 1': Type 'bool' and type 'int' do not go with 'eq'."),
    ("true gt false", "Invalid syntax for 'true gt false': Type 'bool' and type 'bool' do not go with 'gt'."),
    ("null lt true", "Invalid syntax for 'null lt true': Type 'null' and type 'bool' do not go with 'lt'."),
    (
        "groups eq null",
        "Invalid syntax for 'groups eq null': Type 'collection' and type 'null' do not go with 'eq'.",
    ),
    (
        "(1 eq 1) eq true",
        "Invalid syntax for '(1 eq 1) eq true': "
        "'eq' compares identifiers, functions and constants, not whole conditions.",
    ),
    (
        "not true eq false",
        "Invalid syntax for 'not true eq false': "
        "'eq' compares identifiers, functions and constants, not whole conditions.",
    ),
    # in
    ("5 in groups", "Invalid syntax for '5 in groups': Type 'int', expect 'string'."),
    ("groups in groups", "Invalid syntax for 'groups in groups': Type 'collection', expect 'string'."),
    ("(1 eq 1) in groups", "Invalid syntax for '(1 eq 1) in groups': Type 'bool', expect 'string'."),
    (
        "userId in ('a', 5)",
        "Invalid syntax for 'userId in ('a', 5)': Type 'string' and type 'int' do not go with 'in'.",
    ),
    (
        "userId in ('a', groups)",
        "Invalid syntax for 'userId in ('a', groups)': "
        "Type 'string' and type 'collection' do not go with 'in'.",
    ),
    # functions
    (
        "length(5) eq 1",
        "Invalid syntax for 'length(5)': Type 'int', expect 'string' or 'collection'.",
    ),
    ("trim(groups) eq ''", "Invalid syntax for 'trim(groups)': Type 'collection', expect 'string'."),
    ("contains(userId, 1)", "Invalid syntax for 'contains(userId, 1)': Type 'int', expect 'string'."),
    ("trim(1 eq 1) eq ''", "Invalid syntax for 'trim(1 eq 1)': Type 'bool', expect 'string'."),
    (
        "substring(userId,'1') eq ''",
        "Invalid syntax for 'substring(userId,'1')': Type 'string', expect 'int'.",
    ),
    (
        "substring(userId) eq ''",
        "Invalid syntax for 'substring(userId)': 'substring' does not take 1 arguments.",
    ),
    (
        "substring(userId,1,2,3) eq ''",
        "Invalid syntax for 'substring(userId,1,2,3)': 'substring' does not take 4 arguments.",
    ),
    ("contains(userId)", "Invalid syntax for 'contains(userId)': 'contains' does not take 1 arguments."),
    # numbers
    ("1 eq 9223372036854775808", "the number at position 5 does not fit 64 bits"),
    ("1 eq -9223372036854775809", "the number at position 5 does not fit 64 bits"),
    ("1 eq " + "9" * 9000, "the number at position 5 does not fit 64 bits"),
]


@pytest.mark.parametrize(("text", "detail"), ERRORS, ids=[text[:40] for text, _ in ERRORS])
def test_error(text: str, detail: str) -> None:
    with pytest.raises(PeerError) as caught:
        parse(text)
    assert caught.value.reason.name == "api-bad-filter"
    assert caught.value.detail == detail


def test_a_long_fault_is_shown_shortened() -> None:
    with pytest.raises(PeerError) as caught:
        parse("userId eq 5 or userId in ('" + "x" * 9000 + "', 5)")
    assert len(caught.value.detail) < 200
    with pytest.raises(PeerError, match="…"):
        parse("'" + "x" * 9000 + "'")


# ---- bounds

NESTED = {
    "brackets": lambda depth: "(" * depth + "true" + ")" * depth,
    "nots": lambda depth: "not " * depth + "true",
    "nots and brackets": lambda depth: "not(" * (depth // 2) + "true" + ")" * (depth // 2),
    "functions": lambda depth: "trim(" * depth + "userId" + ")" * depth + " eq ''",
    "bracketed functions": lambda depth: "trim((" * (depth // 2) + "''" + "))" * (depth // 2) + " eq ''",
    "lists": lambda depth: "trim('') in (" + "trim(" * (depth - 1) + "''" + ")" * depth,
    "conditions": lambda depth: "(true and (false or " * (depth // 2) + "true" + "))" * (depth // 2),
}


@contextmanager
def frames(count: int) -> Iterator[None]:
    """Limit Python's stack to `count` more frames."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + count)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class Anonymous:
    id = "c"
    user_id = None
    groups: frozenset[str] = frozenset()


@pytest.mark.parametrize("name", NESTED)
def test_the_deepest_nesting_fits_a_small_stack(name: str) -> None:
    text = NESTED[name](MAX_NESTING)
    with frames(400):
        predicate_of(parse(text))(Anonymous())


@pytest.mark.parametrize("depth", [MAX_NESTING + 2, 1_000, 3_000])
@pytest.mark.parametrize("name", NESTED)
def test_deeper_nesting_is_refused(name: str, depth: int) -> None:
    with pytest.raises(PeerError) as caught, frames(400):
        parse(NESTED[name](depth))
    assert caught.value.detail == f"nested deeper than {MAX_NESTING} levels"


@pytest.mark.parametrize("name", ["brackets", "nots", "functions", "lists"])
def test_the_bound_on_nesting_is_exact(name: str) -> None:
    with pytest.raises(PeerError, match=f"nested deeper than {MAX_NESTING} levels"):
        parse(NESTED[name](MAX_NESTING + 1))


@pytest.mark.parametrize("opener", ["(", "not ", "not(", "trim(", "'a' in (", "((true) and "])
def test_unclosed_brackets_are_refused(opener: str) -> None:
    with pytest.raises(PeerError, match=f"nested deeper than {MAX_NESTING} levels"), frames(400):
        parse(opener * 3_000)


@pytest.mark.parametrize(
    "clause", ["'a' in groups", "userId eq 'a'", "userId in ('a')", "true", "contains(userId,'a')"]
)
def test_clauses_are_counted(clause: str) -> None:
    assert isinstance(parse(" or ".join([clause] * MAX_CLAUSES)), Logic)
    with pytest.raises(PeerError) as caught:
        parse(" or ".join([clause] * (MAX_CLAUSES + 1)))
    assert caught.value.detail == f"more than {MAX_CLAUSES} clauses"


def test_a_list_is_one_clause_for_any_length() -> None:
    tree = parse("userId in (" + ",".join(f"'u{i}'" for i in range(1_000)) + ")")
    assert isinstance(tree, InList)
    assert len(tree.options) == 1_000
