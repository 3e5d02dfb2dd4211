"""Filters: the OData expressions of app servers and REST callers that say which connections.

`compile_filter` ends with a `Filter` that is cut for the hub: what can be answered from an index
(groups, one connection id) stands apart from what must be asked of each candidate.
Grammar, null rules and examples: docs/reference/filters.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from moorage.wire.filters.evaluate import Predicate, Subject, all_of, predicate_of
from moorage.wire.filters.parser import MAX_CLAUSES, MAX_NESTING, parse
from moorage.wire.filters.syntax import (
    Compare,
    Constant,
    Identifier,
    InGroups,
    Logic,
    Node,
    Not,
    bad,
)

__all__ = ["MAX_CLAUSES", "MAX_NESTING", "MAX_TEXT", "Filter", "Subject", "compile_filter"]

MAX_TEXT: Final = 16 * 1024
"""Bytes of UTF-8 in one filter."""
# The caches hold texts of at most so many characters. 4,096 of the SDK's take 2 MB; one dense text
# of 512 characters compiles to 32 KB of closures, hence the smaller number there (16 MB at worst).
_CACHED_TEXT: Final = 512
_CACHED_SHORTCUTS: Final = 4096
_CACHED_TREES: Final = 512


class Filter(msgspec.Struct, frozen=True, gc=False):
    """A compiled filter. A subject matches where all four parts hold; none set = everyone.

    `any_of` and `none_of` repeat no group. Equal and hashed by all fields, `predicate` by identity.
    """

    text: str
    any_of: tuple[str, ...] | None = None
    """The subject is in one or more of these groups (None: no such restriction)."""
    none_of: tuple[str, ...] = ()
    """And in none of these."""
    connection_id: str | None = None
    """And has this id."""
    predicate: Predicate | None = None
    """And satisfies the rest."""

    def matches(self, subject: Subject) -> bool:
        """The whole check. The hub uses the parts; this is for small sets and for tests."""
        if self.connection_id is not None and self.connection_id != subject.id:
            return False
        groups = subject.groups
        if self.any_of is not None and not any(group in groups for group in self.any_of):
            return False
        if any(group in groups for group in self.none_of):
            return False
        return self.predicate is None or self.predicate(subject)


def compile_filter(text: str, *, repair: bool = False) -> Filter:
    """Compile `text`. Raises `PeerError` (api-bad-filter) with the fault, whatever `text` is.

    `repair` is for links of Azure's SDK only. For several rooms with exceptions that SDK writes
    `'a' in groups or 'b' in groups and not ('x' in groups)`, without brackets. Taken literally
    (`and` before `or`) the exception holds for b alone, so a sender that is in room a hears its
    own `socket.to(["a", "b"]).emit()`, which no Socket.IO server does. With `repair`, exactly this
    shape means `('a' in groups or 'b' in groups) and not ('x' in groups)`; everything else, and any
    text with brackets of its own around the `or` or the `and`, keeps its literal meaning.
    """
    if len(text) <= _CACHED_TEXT:
        return _shortcut_cached(text, repair) or _general_cached(text, repair)
    _check_text(text)
    return _shortcut(text, repair) or _general(text, repair)


def _check_text(text: str) -> None:
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            # A lone surrogate: no id or group can hold one, and no link or log could carry it on.
            raise bad("the text is not valid Unicode") from None
    if size > MAX_TEXT:
        raise bad(f"longer than {MAX_TEXT} bytes")


# ---- the shortcut: what Azure's SDK writes, without a parser

_TEST: Final = r"'[^']*+' in groups"
_EXCEPT: Final = rf"not \({_TEST}\)"
_ROOMS: Final = re.compile(rf"({_TEST}(?: or {_TEST})*+)(?: and {_EXCEPT})*+|{_EXCEPT}(?: and {_EXCEPT})*+")
_CONNECTION: Final = re.compile(r"connectionId eq '([^']*+)'")


def _shortcut(text: str, repair: bool) -> Filter | None:
    """The same `Filter` as `_general` gives, or None for a shape that is not known here.

    The SDK's texts name the sender's socket, so they are new for every sender and the cache does
    not help the first time: measured 2.5 us here against 34 us there. Texts with a doubled quote fall
    through, because no shape lets a string follow a string.
    """
    rooms = _ROOMS.fullmatch(text)
    if rooms is None:
        one = _CONNECTION.fullmatch(text)
        return None if one is None else Filter(text, connection_id=one[1])
    names = text.split("'")[1::2]
    count = len(names)
    if count > MAX_CLAUSES:
        return None
    wanted = text.count("'", 0, rooms.end(1)) // 2 if rooms[1] else 0
    if 1 < wanted < count and not repair:
        return None
    return Filter(text, _distinct(names[:wanted]) if wanted else None, _distinct(names[wanted:]))


@lru_cache(_CACHED_SHORTCUTS)
def _shortcut_cached(text: str, repair: bool) -> Filter | None:
    _check_text(text)
    return _shortcut(text, repair)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


# ---- the general path


def _general(text: str, repair: bool) -> Filter:
    tree = parse(text)
    return _decompose(text, _repaired(tree) if repair else tree)


_general_cached = lru_cache(_CACHED_TREES)(_general)


def _repaired(tree: Node) -> Node:
    """`tree` with the exceptions of the SDK's unbracketed shape lifted out of its last room."""
    match tree:
        case Logic("or", (*rooms, Logic("and", (last, *exceptions), False)), False):
            names = [_group(room) for room in (*rooms, last)]
            names += [_group(e.operand) if isinstance(e, Not) else None for e in exceptions]
            if None not in names:
                return Logic("and", (Logic("or", (*rooms, last)), *exceptions))
    return tree


def _decompose(text: str, tree: Node) -> Filter:
    any_of: tuple[str, ...] | None = None
    none_of: list[str] = []
    connection_id: str | None = None
    rest: list[Predicate] = []
    for part in _conjuncts(tree):
        if any_of is None and (wanted := _groups(part)) is not None:
            any_of = _distinct(wanted)
        elif isinstance(part, Not) and (unwanted := _groups(part.operand)) is not None:
            none_of += unwanted
        elif connection_id is None and (id_ := _connection(part)) is not None:
            connection_id = id_
        elif part != Constant(True):
            rest.append(predicate_of(part))
    predicate = all_of(tuple(rest)) if rest else None
    return Filter(text, any_of, _distinct(none_of), connection_id, predicate)


def _conjuncts(node: Node) -> Iterable[Node]:
    """What must all hold for `node` to hold; brackets around an `and` make no difference."""
    if isinstance(node, Logic) and node.operator == "and":
        for operand in node.operands:
            yield from _conjuncts(operand)
    else:
        yield node


def _group(node: Node) -> str | None:
    """The name in `'name' in groups`, for exactly that."""
    match node:
        case InGroups(Constant(str(name))):
            return name
        case _:
            return None


def _groups(node: Node) -> list[str] | None:
    """The names in an `or` of nothing but `'name' in groups` (one is enough), in order."""
    if not (isinstance(node, Logic) and node.operator == "or"):
        name = _group(node)
        return None if name is None else [name]
    found: list[str] = []
    for operand in node.operands:
        names = _groups(operand)
        if names is None:
            return None
        found += names
    return found


def _connection(node: Node) -> str | None:
    """The id in `connectionId eq 'id'`, either way round."""
    match node:
        case Compare("eq", Identifier("connectionId"), Constant(str(id_))):
            return id_
        case Compare("eq", Constant(str(id_)), Identifier("connectionId")):
            return id_
        case _:
            return None
