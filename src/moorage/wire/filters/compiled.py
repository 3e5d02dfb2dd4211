"""Filters: OData expressions with which app servers and REST callers select connections.

`compile_filter` returns a `Filter` in the form that the hub needs: conditions that an index can answer
(groups, one connection id) are separate from the predicate to evaluate for each candidate. Grammar, null
rules and examples: docs/reference/filters.md."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from moorage.wire.filters import syntax
from moorage.wire.filters.evaluate import Predicate, Subject, all_of, predicate_of
from moorage.wire.filters.parser import MAX_CLAUSES, MAX_NESTING, parse

__all__ = ["MAX_CLAUSES", "MAX_NESTING", "MAX_TEXT", "Filter", "Subject", "compile_filter"]

MAX_TEXT: Final = 16 * 1024
"""Bytes of UTF-8 in one filter."""
_CACHED_TEXT: Final = 512
"""Longest text, in characters, that is kept in the two large caches."""
_CACHED_SHORTCUTS: Final = 4096
"""The texts that Azure's SDK writes: 2 MB."""
_CACHED_TREES: Final = 512
"""All others. A dense text of 512 characters compiles to 32 KB of closures, so this takes 16 MB at worst."""
_CACHED_LONG_TREES: Final = 8
"""Longer texts. One may compile to 1 MB; a command that runs in steps looks its predicate up once."""


class Filter(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Which connections an expression selects, as plain data. All given parts must hold; none = everyone.
    `any_of` and `none_of` repeat no group. A filter compares, hashes and travels to other nodes by its
    fields; the compiled `predicate` is kept in a cache and made again where it is missing."""

    any_of: tuple[str, ...] | None = None
    """The subject is in one or more of these groups (None: no such restriction)."""
    none_of: tuple[str, ...] = ()
    """The subject is in none of these groups."""
    connection_id: str | None = None
    """The subject has this id."""
    text: str = ""
    """The whole expression, if it holds a condition that the other parts do not cover; else empty."""

    @property
    def predicate(self) -> Predicate | None:
        """Checks the conditions that the other parts do not cover; None if there are none. Raises
        `PeerError` (api-bad-filter) if `text` did not come from `compile_filter`."""
        return _compiled(self.text).predicate if self.text else None


def compile_filter(text: str, *, repair: bool = False) -> Filter:
    """Compile `text`. Raises `PeerError` (api-bad-filter) with the fault, whatever `text` is.

    `repair` is only for links of Azure's SDK. For several rooms with exceptions that SDK writes `'a' in
    groups or 'b' in groups and not ('x' in groups)`, without brackets. Literally (`and` before `or`) the
    exception applies only to b, so a sender in room a would receive its own `socket.to(["a", "b"]).emit()`,
    which no Socket.IO server does. With `repair`, exactly this form means `('a' in groups or 'b' in groups)
    and not ('x' in groups)`. Every other text, and any text with brackets around the `or` or the `and`, keeps
    its literal meaning."""
    if len(text) <= _CACHED_TEXT:
        return _shortcut_cached(text, repair) or _general(text, repair)
    _check_text(text)
    return _shortcut(text, repair) or _general(text, repair)


def _check_text(text: str) -> None:
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            # A lone surrogate: no id or group can contain one, and no link or log can encode it.
            raise syntax.bad("the text is not valid Unicode") from None
    if size > MAX_TEXT:
        raise syntax.bad(f"longer than {MAX_TEXT} bytes")


# ---- the shortcut for the filters of Azure's SDK, without a parser

_TEST: Final = r"'[^']*+' in groups"
_EXCEPT: Final = rf"not \({_TEST}\)"
_ROOMS: Final = re.compile(rf"({_TEST}(?: or {_TEST})*+)(?: and {_EXCEPT})*+|{_EXCEPT}(?: and {_EXCEPT})*+")
_CONNECTION: Final = re.compile(r"connectionId eq '([^']*+)'")


def _shortcut(text: str, repair: bool) -> Filter | None:
    """The same `Filter` as `_general` returns, or None for a form that is not recognised.

    The SDK's texts contain the sender's socket id, so each sender's first text is not in the cache: it takes
    2.5 us here against 34 us in `_general`. Texts with a doubled quote return None, because in no form a
    string follows a string."""
    rooms = _ROOMS.fullmatch(text)
    if rooms is None:
        one = _CONNECTION.fullmatch(text)
        return None if one is None else Filter(connection_id=one[1])
    names = text.split("'")[1::2]
    count = len(names)
    if count > MAX_CLAUSES:
        return None
    wanted = text.count("'", 0, rooms.end(1)) // 2 if rooms[1] else 0
    if 1 < wanted < count and not repair:
        return None
    return Filter(_distinct(names[:wanted]) if wanted else None, _distinct(names[wanted:]))


@lru_cache(_CACHED_SHORTCUTS)
def _shortcut_cached(text: str, repair: bool) -> Filter | None:
    _check_text(text)
    return _shortcut(text, repair)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


# ---- the general path


class _Compiled(NamedTuple):
    """Everything that one text can mean, so that it is parsed once."""

    literal: Filter
    repaired: Filter
    predicate: Predicate | None
    """For both: a text that is repaired consists of rooms only and leaves nothing for a predicate."""


def _general(text: str, repair: bool) -> Filter:
    compiled = _compiled(text)
    return compiled.repaired if repair else compiled.literal


def _compiled(text: str) -> _Compiled:
    return _compiled_short(text) if len(text) <= _CACHED_TEXT else _compiled_long(text)


def _compile(text: str) -> _Compiled:
    tree = parse(text)
    literal, predicate = _decompose(text, tree)
    other = _repaired(tree)
    return _Compiled(literal, literal if other is tree else _decompose(text, other)[0], predicate)


_compiled_short = lru_cache(_CACHED_TREES)(_compile)
_compiled_long = lru_cache(_CACHED_LONG_TREES)(_compile)


def _repaired(tree: syntax.Node) -> syntax.Node:
    """`tree`, with the exceptions of the SDK's unbracketed form applied to all rooms."""
    match tree:
        case syntax.Logic("or", (*rooms, syntax.Logic("and", (last, *exceptions), False)), False):
            names = [_group(room) for room in (*rooms, last)]
            names += [_group(e.operand) if isinstance(e, syntax.Not) else None for e in exceptions]
            if None in names:
                return tree
            return syntax.Logic("and", (syntax.Logic("or", (*rooms, last)), *exceptions))
        case _:
            return tree


def _decompose(text: str, tree: syntax.Node) -> tuple[Filter, Predicate | None]:
    any_of: tuple[str, ...] | None = None
    none_of: list[str] = []
    connection_id: str | None = None
    rest: list[Predicate] = []
    for part in _conjuncts(tree):
        if any_of is None and (wanted := _groups(part)) is not None:
            any_of = _distinct(wanted)
        elif isinstance(part, syntax.Not) and (unwanted := _groups(part.operand)) is not None:
            none_of += unwanted
        elif connection_id is None and (id_ := _connection(part)) is not None:
            connection_id = id_
        elif part != syntax.Constant(True):
            rest.append(predicate_of(part))
    predicate = all_of(tuple(rest)) if rest else None
    return Filter(any_of, _distinct(none_of), connection_id, text if rest else ""), predicate


def _conjuncts(node: syntax.Node) -> Iterable[syntax.Node]:
    """The conditions that `node` joins by `and`; brackets around an `and` make no difference."""
    if isinstance(node, syntax.Logic) and node.operator == "and":
        for operand in node.operands:
            yield from _conjuncts(operand)
    else:
        yield node


def _group(node: syntax.Node) -> str | None:
    """The name, if `node` is exactly `'name' in groups`."""
    match node:
        case syntax.InGroups(syntax.Constant(str(name))):
            return name
        case _:
            return None


def _groups(node: syntax.Node) -> list[str] | None:
    """The names, if `node` is `'name' in groups` or an `or` of only such tests, in order."""
    if not (isinstance(node, syntax.Logic) and node.operator == "or"):
        name = _group(node)
        return None if name is None else [name]
    found: list[str] = []
    for operand in node.operands:
        names = _groups(operand)
        if names is None:
            return None
        found += names
    return found


def _connection(node: syntax.Node) -> str | None:
    """The id, if `node` is `connectionId eq 'id'` or the reverse."""
    match node:
        case syntax.Compare("eq", syntax.Identifier("connectionId"), syntax.Constant(str(id_))):
            return id_
        case syntax.Compare("eq", syntax.Constant(str(id_)), syntax.Identifier("connectionId")):
            return id_
        case _:
            return None
