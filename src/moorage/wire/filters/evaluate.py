"""Typed tree -> closures, built once per filter and called once per candidate connection.

Null occurs as the `userId` of an anonymous connection and as the literal. These rules make every
condition either true or false, so that `not` inverts it:

    eq, ne, in (list)         null equals only null
    gt, ge, lt, le            false if a side is null
    in groups                 false for null
    startswith, endswith, contains    false if an argument is null
    every other function      null if an argument is null

OData's three-valued logic was rejected: with it, neither `contains(userId,'x')` nor
`not contains(userId,'x')` is true for an anonymous connection, which is surprising.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

from moorage.wire.errors import UsageError
from moorage.wire.filters import syntax


class Subject(Protocol):
    """One connection, as a filter sees it. Filters use only `in` and `len` of `groups`."""

    @property
    def id(self) -> str:
        """The connection id."""

    @property
    def user_id(self) -> str | None:
        """The user; None for an anonymous client."""

    @property
    def groups(self) -> Collection[str]:
        """Names of the groups it is in."""


Predicate = Callable[[Subject], bool]
_Getter = Callable[[Subject], syntax.Value]


def predicate_of(node: syntax.Node) -> Predicate:
    """Closure for a tree of type bool. It never raises, for any strings of the subject."""
    match node:
        case syntax.Logic(operator="and", operands=operands):
            return all_of(tuple(predicate_of(operand) for operand in operands))
        case syntax.Logic(operands=operands):
            return _either(tuple(predicate_of(operand) for operand in operands))
        case syntax.Not(operand=operand):
            inner = predicate_of(operand)
            return lambda subject: not inner(subject)
        case syntax.Compare():
            return _comparison(node)
        case syntax.InGroups(item=item):
            get = _getter(item)
            return lambda subject: get(subject) in subject.groups
        case syntax.InList(item=item, options=options):
            return _choice(item, options)
        case _:
            truth = _getter(node)
            return lambda subject: truth(subject) is True


def all_of(parts: tuple[Predicate, ...]) -> Predicate:
    """Closure that is true if all `parts` are."""
    if len(parts) == 1:
        return parts[0]
    return lambda subject: all(part(subject) for part in parts)


def _either(parts: tuple[Predicate, ...]) -> Predicate:
    return lambda subject: any(part(subject) for part in parts)


def _comparison(node: syntax.Compare) -> Predicate:
    # The parser has checked that both sides have one type or are null; static types cannot express
    # this, hence `Any`. The names eq..ge are those of Python's operator functions.
    compare: Callable[[Any, Any], bool] = getattr(operator, node.operator)
    left, right = _getter(node.left), _getter(node.right)
    if node.operator in syntax.EQUALITIES:
        return lambda subject: compare(left(subject), right(subject))

    def ordered(subject: Subject) -> bool:
        a, b = left(subject), right(subject)
        return a is not None and b is not None and compare(a, b)

    return ordered


def _choice(item: syntax.Node, options: tuple[syntax.Node, ...]) -> Predicate:
    get = _getter(item)
    constants = frozenset(option.value for option in options if isinstance(option, syntax.Constant))
    others = tuple(_getter(option) for option in options if not isinstance(option, syntax.Constant))
    if not others:
        return lambda subject: get(subject) in constants

    def chosen(subject: Subject) -> bool:
        value = get(subject)
        return value in constants or any(value == other(subject) for other in others)

    return chosen


def _getter(node: syntax.Node) -> _Getter:
    match node:
        case syntax.Constant(value=value):
            return lambda _: value
        case syntax.Identifier(name="userId"):
            return lambda subject: subject.user_id
        case syntax.Identifier():
            return lambda subject: subject.id
        case syntax.Call(arguments=(syntax.Groups(),)):  # only `length` accepts it
            return lambda subject: len(subject.groups)
        case syntax.Call():
            return _function(node)
        case _:
            raise UsageError(f"no value in {type(node).__name__}")


def _function(node: syntax.Call) -> _Getter:
    body = _BODIES[node.function.name]
    absent = False if node.function.gives is syntax.Type.BOOL else None
    getters = tuple(_getter(argument) for argument in node.arguments)
    if len(getters) == 1:
        get = getters[0]

        def one(subject: Subject) -> syntax.Value:
            value = get(subject)
            return absent if value is None else body(value)

        return one

    def several(subject: Subject) -> syntax.Value:
        values = [get(subject) for get in getters]
        return absent if None in values else body(*values)

    return several


def _substring(text: str, start: int, length: int | None = None) -> str:
    """Out-of-range values are clipped: a negative start or length counts as 0, and the result ends
    with the text."""
    start = max(start, 0)
    return text[start:] if length is None else text[start : start + max(length, 0)]


_BODIES: Final[dict[str, Callable[..., syntax.Value]]] = {
    "tolower": str.lower,
    "toupper": str.upper,
    "trim": str.strip,
    "concat": operator.add,
    "substring": _substring,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": operator.contains,
    "indexof": str.find,
    "length": len,
}
