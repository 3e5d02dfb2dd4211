"""The elements of the filter language: types, functions, tree nodes and the scanner. There is one file per
stage: text -> `syntax` (tokens) -> `parser` (a typed tree) -> `evaluate` (closures). The rest of the service
uses only `compiled`. User reference: docs/reference/filters.md."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Literal, NamedTuple

import msgspec

from moorage.wire.errors import PeerError
from moorage.wire.reasons import API_BAD_FILTER

MAX_FRAGMENT: Final = 80
"""Maximum characters of the sender's text in an error message."""


class Type(Enum):
    """Static type of an expression. `userId` is a string, although it may be null at run time."""

    BOOL = "bool"
    INT = "int"
    STRING = "string"
    NULL = "null"
    COLLECTION = "collection"


class Function(NamedTuple):
    """`takes` lists the accepted types of each parameter; the last `optional` parameters may be omitted."""

    name: str
    takes: tuple[tuple[Type, ...], ...]
    gives: Type
    optional: int = 0


_S: Final = (Type.STRING, Type.NULL)
_N: Final = (Type.INT, Type.NULL)

FUNCTIONS: Final = {
    function.name: function
    for function in (
        Function("tolower", (_S,), Type.STRING),
        Function("toupper", (_S,), Type.STRING),
        Function("trim", (_S,), Type.STRING),
        Function("concat", (_S, _S), Type.STRING),
        Function("substring", (_S, _N, _N), Type.STRING, optional=1),
        Function("startswith", (_S, _S), Type.BOOL),
        Function("endswith", (_S, _S), Type.BOOL),
        Function("contains", (_S, _S), Type.BOOL),
        Function("indexof", (_S, _S), Type.INT),
        Function("length", ((*_S, Type.COLLECTION),), Type.INT),
    )
}

EQUALITIES: Final = frozenset(("eq", "ne"))
COMPARISONS: Final = EQUALITIES | {"gt", "ge", "lt", "le"}

Value = str | int | bool | None


class Node(msgspec.Struct, frozen=True, gc=False):
    """Base of the tree's nodes. The parser builds only well-typed trees."""


class Constant(Node, frozen=True, gc=False):
    """A literal."""

    value: Value


class Identifier(Node, frozen=True, gc=False):
    """A property of the connection."""

    name: Literal["userId", "connectionId"]


class Groups(Node, frozen=True, gc=False):
    """The collection `groups`; allowed only in `in` and `length`."""


class Call(Node, frozen=True, gc=False):
    """A function call."""

    function: Function
    arguments: tuple[Node, ...]


class Compare(Node, frozen=True, gc=False):
    """`left operator right`."""

    operator: str
    left: Node
    right: Node


class InList(Node, frozen=True, gc=False):
    """`item in (options)`."""

    item: Node
    options: tuple[Node, ...]


class InGroups(Node, frozen=True, gc=False):
    """`item in groups`."""

    item: Node


class Not(Node, frozen=True, gc=False):
    """`not operand`."""

    operand: Node


class Logic(Node, frozen=True, gc=False):
    """`bracketed` is true if the text has brackets around it. Evaluation ignores it; `compiled` uses it to
    recognise the unbracketed filters of Azure's SDK."""

    operator: Literal["and", "or"]
    operands: tuple[Node, ...]
    bracketed: bool = False


def type_of(node: Node) -> Type:
    """Static type of `node`."""
    match node:
        case Constant(value=value):
            return _type_of_value(value)
        case Identifier():
            return Type.STRING
        case Groups():
            return Type.COLLECTION
        case Call(function=function):
            return function.gives
        case _:
            return Type.BOOL


def _type_of_value(value: Value) -> Type:
    if value is None:
        return Type.NULL
    if isinstance(value, bool):  # before int: bool is an int to Python
        return Type.BOOL
    return Type.INT if isinstance(value, int) else Type.STRING


class Kind(Enum):
    """Kind of a token."""

    WORD = "word"
    TEXT = "text"
    NUMBER = "number"
    MARK = "mark"
    END = "end"


class Token(NamedTuple):
    """`key` is the text to compare: words in lower case, everything else as written."""

    kind: Kind
    key: str
    start: int
    end: int


# All quantifiers are possessive, so a match is one pass for any text, and an unterminated string
# cannot backtrack into half of a ''. A number must not be followed by word characters:
# `5abc` and `1.5` are errors, not two tokens.
_TOKEN: Final = re.compile(
    r"[ \t\r\n]*+(?:"
    r"(?P<word>[A-Za-z_][A-Za-z0-9_]*+)"
    r"|(?P<text>'(?:[^']++|'')*+')"
    r"|(?P<number>[+-]?[0-9]++(?![A-Za-z_.]))"
    r"|(?P<mark>[(),])"
    r"|(?P<end>\Z))"
)
_BLANKS: Final = re.compile(r"[ \t\r\n]*+")
_KINDS: Final = {kind.value: kind for kind in Kind}


def scan(text: str, position: int) -> Token:
    """The token at or after `position`. Raises `PeerError` (api-bad-filter)."""
    match = _TOKEN.match(text, position)
    if match is None:
        raise _unreadable(text, position)
    # The pattern is an alternation of named groups, so exactly one of them matched.
    name = match.lastgroup or "end"
    key = match[name]
    return Token(_KINDS[name], key.lower() if name == "word" else key, match.start(name), match.end(name))


def _unreadable(text: str, position: int) -> PeerError:
    blanks = _BLANKS.match(text, position)
    at = blanks.end() if blanks else position
    if text[at] == "'":
        return bad(f"the string that begins at position {at} has no end")
    return bad(f"Unexpected {quoted(text[at : at + 1])} at position {at}")


def bad(detail: str) -> PeerError:
    """The only error that the filter modules raise."""
    return PeerError(API_BAD_FILTER, detail)


def quoted(fragment: str) -> str:
    """`fragment` of the sender's text for a message: shortened, and escaped so that it cannot forge a
    log line."""
    shown = fragment if len(fragment) <= MAX_FRAGMENT else fragment[: MAX_FRAGMENT - 1] + "…"
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return f"'{shown}'"
