"""Text of a filter -> typed tree, by recursive descent with one token of look-ahead.

    expression := conjunct ("or" conjunct)*        conjunct := comparison ("and" comparison)*
    comparison := unary [("eq" | "ne" | "gt" | "ge" | "lt" | "le") unary | "in" options]
    unary      := "not" unary | primary
    primary    := "(" expression ")" | constant | identifier | function "(" expression, ... ")"
    options    := "(" expression, ... ")" | groups

`not` binds tighter than a comparison: `not length(userId) gt 5` negates an int and is refused.
The grammar allows both booleans and operands in brackets. Types decide which of them is valid; they
are checked when each node is built, so that the message can show the invalid text.
"""

from __future__ import annotations

from typing import Final

import msgspec

from moorage.wire.errors import PeerError
from moorage.wire.filters import syntax

MAX_CLAUSES: Final = 200
"""Comparisons, `in` tests, function calls and `true`/`false` in one filter, together."""
MAX_NESTING: Final = 50
"""Maximum nesting of brackets (including those of functions and lists) and `not`. A level uses up to
seven Python stack frames, so this bound also prevents a `RecursionError`."""

_INT64: Final = 2**63
_MAX_DIGITS: Final = 64  # bounds `int()`, which is quadratic; allows leading zeros
_OPERANDS: Final = (syntax.Constant, syntax.Identifier, syntax.Groups, syntax.Call)
_ORDERINGS: Final = syntax.COMPARISONS - syntax.EQUALITIES
_RESERVED: Final = syntax.COMPARISONS | {"and", "or", "not", "in"}
_NAMES: Final[dict[str, syntax.Node]] = {
    "userid": syntax.Identifier("userId"),
    "connectionid": syntax.Identifier("connectionId"),
    "groups": syntax.Groups(),
    "null": syntax.Constant(None),
    "true": syntax.Constant(True),
    "false": syntax.Constant(False),
}


def parse(text: str) -> syntax.Node:
    """The tree of a filter: a boolean expression. Raises `PeerError` (api-bad-filter)."""
    return _Parser(text).parse()


class _Parser:
    """Parses one text once. An error ends the parser, so no state is restored."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._token = syntax.scan(text, 0)
        self._end = 0
        self._depth = 0
        self._clauses = 0

    def parse(self) -> syntax.Node:
        start = self._token.start
        node = self._expression()
        if self._token.kind is not syntax.Kind.END:
            raise self._unexpected()
        self._require_bool(node, start)
        return node

    # ---- tokens

    def _advance(self) -> None:
        self._end = self._token.end
        self._token = syntax.scan(self._text, self._end)

    def _take(self, key: str) -> bool:
        """Consume `key` (a word or a mark) if it is next."""
        if self._token.key != key:
            return False
        self._advance()
        return True

    def _expect(self, key: str) -> None:
        if not self._take(key):
            raise self._unexpected(f", expected {syntax.quoted(key)}")

    def _unexpected(self, more: str = "") -> PeerError:
        token = self._token
        if token.kind is syntax.Kind.END:
            return syntax.bad(f"Unexpected end of the filter at position {token.start}{more}")
        found = syntax.quoted(self._text[token.start : token.end])
        return syntax.bad(f"Unexpected {found} at position {token.start}{more}")

    # ---- bounds and types

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise syntax.bad(f"nested deeper than {MAX_NESTING} levels")

    def _count(self) -> None:
        self._clauses += 1
        if self._clauses > MAX_CLAUSES:
            raise syntax.bad(f"more than {MAX_CLAUSES} clauses")

    def _fault(self, start: int, problem: str) -> PeerError:
        """An error about the text from `start` to the last consumed token."""
        return syntax.bad(f"Invalid syntax for {syntax.quoted(self._text[start : self._end])}: {problem}.")

    def _require_bool(self, node: syntax.Node, start: int) -> None:
        kind = syntax.type_of(node)
        if kind is not syntax.Type.BOOL:
            raise self._fault(start, f"Type '{kind.value}', expect 'bool'")

    def _require_comparable(self, operator: str, left: syntax.Node, right: syntax.Node, start: int) -> None:
        if not (isinstance(left, _OPERANDS) and isinstance(right, _OPERANDS)):
            raise self._fault(
                start, f"'{operator}' compares identifiers, functions and constants, not whole conditions"
            )
        one, two = syntax.type_of(left), syntax.type_of(right)
        unlike = one is not two and syntax.Type.NULL not in (one, two)
        unordered = syntax.Type.BOOL in (one, two) and operator in _ORDERINGS
        if unlike or unordered or syntax.Type.COLLECTION in (one, two):
            raise self._fault(start, f"Type '{one.value}' and type '{two.value}' do not go with '{operator}'")

    # ---- grammar

    def _expression(self) -> syntax.Node:
        # One loop for `or` and `and` saves two stack frames per level.
        alternatives: list[syntax.Node] = []
        conjuncts: list[syntax.Node] = []
        while True:
            start = self._token.start
            operand = self._comparison()
            if conjuncts or alternatives or self._token.key in ("and", "or"):
                self._require_bool(operand, start)
            conjuncts.append(operand)
            if self._take("and"):
                continue
            alternatives.append(
                conjuncts[0] if len(conjuncts) == 1 else syntax.Logic("and", tuple(conjuncts))
            )
            conjuncts = []
            if not self._take("or"):
                return alternatives[0] if len(alternatives) == 1 else syntax.Logic("or", tuple(alternatives))

    def _comparison(self) -> syntax.Node:
        start = self._token.start
        left = self._unary()
        operator = self._token.key
        if operator in syntax.COMPARISONS:
            self._advance()
            right = self._unary()
            self._require_comparable(operator, left, right, start)
            self._count()
            return syntax.Compare(operator, left, right)
        return self._membership(left, start) if self._take("in") else left

    def _membership(self, item: syntax.Node, start: int) -> syntax.Node:
        options = self._options()
        self._count()
        if len(options) == 1 and isinstance(options[0], syntax.Groups):
            if not isinstance(item, _OPERANDS) or syntax.type_of(item) not in (
                syntax.Type.STRING,
                syntax.Type.NULL,
            ):
                raise self._fault(start, f"Type '{syntax.type_of(item).value}', expect 'string'")
            return syntax.InGroups(item)
        for option in options:
            self._require_comparable("in", item, option, start)
        return syntax.InList(item, options)

    def _options(self) -> tuple[syntax.Node, ...]:
        if self._take("groups"):
            return (_NAMES["groups"],)
        if self._token.key != "(":
            raise self._unexpected(", expected groups or a list in brackets after 'in'")
        return self._list()

    def _list(self) -> tuple[syntax.Node, ...]:
        """`( expression, ... )`, with at least one expression."""
        self._deeper()
        self._expect("(")
        items = [self._expression()]
        while self._take(","):
            items.append(self._expression())
        self._expect(")")
        self._depth -= 1
        return tuple(items)

    def _unary(self) -> syntax.Node:
        start = self._token.start
        if not self._take("not"):
            return self._primary()
        self._deeper()
        operand = self._unary()
        self._require_bool(operand, start)
        self._depth -= 1
        return syntax.Not(operand)

    def _primary(self) -> syntax.Node:
        kind = self._token.kind
        if kind is syntax.Kind.TEXT:
            return self._text_constant()
        if kind is syntax.Kind.NUMBER:
            return self._number()
        return self._word() if kind is syntax.Kind.WORD else self._brackets()

    def _brackets(self) -> syntax.Node:
        if self._token.key != "(":
            raise self._unexpected()
        self._deeper()
        self._advance()
        node = self._expression()
        self._expect(")")
        self._depth -= 1
        return msgspec.structs.replace(node, bracketed=True) if isinstance(node, syntax.Logic) else node

    def _text_constant(self) -> syntax.Node:
        value = self._token.key[1:-1].replace("''", "'")
        self._advance()
        return syntax.Constant(value)

    def _number(self) -> syntax.Node:
        digits, at = self._token.key, self._token.start
        value = int(digits) if len(digits) <= _MAX_DIGITS else _INT64
        if not -_INT64 <= value < _INT64:
            raise syntax.bad(f"the number at position {at} does not fit 64 bits")
        self._advance()
        return syntax.Constant(value)

    def _word(self) -> syntax.Node:
        token = self._token
        node = _NAMES.get(token.key)
        if node is not None:
            self._advance()
            if syntax.type_of(node) is syntax.Type.BOOL:
                self._count()
            return node
        if token.key in syntax.FUNCTIONS:
            return self._call(syntax.FUNCTIONS[token.key])
        if token.key in _RESERVED:
            raise self._unexpected()
        name = syntax.quoted(self._text[token.start : token.end])
        raise syntax.bad(f"Unknown name {name} at position {token.start}")

    def _call(self, function: syntax.Function) -> syntax.Node:
        start = self._token.start
        self._count()
        self._advance()
        arguments = self._list()
        most = len(function.takes)
        if not most - function.optional <= len(arguments) <= most:
            raise self._fault(start, f"'{function.name}' does not take {len(arguments)} arguments")
        for argument, takes in zip(arguments, function.takes, strict=False):
            if syntax.type_of(argument) not in takes:
                wanted = " or ".join(
                    syntax.quoted(kind.value) for kind in takes if kind is not syntax.Type.NULL
                )
                raise self._fault(start, f"Type '{syntax.type_of(argument).value}', expect {wanted}")
        return syntax.Call(function, arguments)
