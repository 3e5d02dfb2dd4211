"""The scanner, and the sender's text in messages."""

from __future__ import annotations

import pytest

from moorage.wire.errors import PeerError
from moorage.wire.filters.syntax import FUNCTIONS, Constant, Kind, Type, quoted, scan, type_of


def tokens(text: str) -> list[tuple[Kind, str]]:
    found: list[tuple[Kind, str]] = []
    position = 0
    while True:
        token = scan(text, position)
        if token.kind is Kind.END:
            return found
        assert text[token.start : token.end].lower() == token.key.lower()
        found.append((token.kind, token.key))
        position = token.end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\r\n", []),
        ("UserId EQ", [(Kind.WORD, "userid"), (Kind.WORD, "eq")]),
        ("'It''s'", [(Kind.TEXT, "'It''s'")]),
        ("''", [(Kind.TEXT, "''")]),
        ("'a'in groups", [(Kind.TEXT, "'a'"), (Kind.WORD, "in"), (Kind.WORD, "groups")]),
        ("'é\n'", [(Kind.TEXT, "'é\n'")]),
        ("+1 -2 003", [(Kind.NUMBER, "+1"), (Kind.NUMBER, "-2"), (Kind.NUMBER, "003")]),
        ("f(1,2)", [
            (Kind.WORD, "f"), (Kind.MARK, "("), (Kind.NUMBER, "1"),
            (Kind.MARK, ","), (Kind.NUMBER, "2"), (Kind.MARK, ")"),
        ]),
    ],
)  # fmt: skip
def test_tokens(text: str, expected: list[tuple[Kind, str]]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("'a", "the string that begins at position 0 has no end"),
        ("'a''", "the string that begins at position 0 has no end"),
        ("  '", "the string that begins at position 2 has no end"),
        ("'''", "the string that begins at position 0 has no end"),
        (" >", "Unexpected '>' at position 1"),
        ("1.5", "Unexpected '1' at position 0"),
        ("5abc", "Unexpected '5' at position 0"),
        ("- 1", "Unexpected '-' at position 0"),
        ("²", "Unexpected '²' at position 0"),
        ("\u00a0", "Unexpected '\\xa0' at position 0"),
        ("\x00", "Unexpected '\\x00' at position 0"),
        ("\ud800", "Unexpected '\\ud800' at position 0"),
        ('"a"', "Unexpected '\"' at position 0"),
    ],
)
def test_text_that_is_not_a_token(text: str, detail: str) -> None:
    with pytest.raises(PeerError) as caught:
        scan(text, 0)
    assert caught.value.reason.name == "api-bad-filter"
    assert caught.value.detail == detail


def test_quoted_shortens_and_escapes() -> None:
    assert quoted("a b") == "'a b'"
    assert quoted("x" * 80) == f"'{'x' * 80}'"
    assert quoted("x" * 81) == f"'{'x' * 79}…'"
    assert quoted("a\r\n2026 forged\x1b[0m\ud83d") == "'a\\r\\n2026 forged\\x1b[0m\\ud83d'"


def test_constants_distinguish_bool_and_int() -> None:
    assert type_of(Constant(True)) is Type.BOOL
    assert type_of(Constant(1)) is Type.INT
    assert type_of(Constant("1")) is Type.STRING
    assert type_of(Constant(None)) is Type.NULL


def test_all_functions_of_the_grammar_exist() -> None:
    assert set(FUNCTIONS) == {
        "tolower", "toupper", "trim", "concat", "substring",
        "startswith", "endswith", "contains", "indexof", "length",
    }  # fmt: skip
