"""Makes messages of the right form whose content no node would send: values that are known here, or extreme,
in any combination."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from moorage.wire.filters.compiled import Filter
from tests.wire.cluster.test_messages import TEXTS

COUNTS: Final = (0, 1, 2, 7, 2**31, 2**53 - 1)
PLAIN: Final[dict[Any, Sequence[Any]]] = {
    bool: (False, True),
    int: (*COUNTS, -1, 2**63 - 1, -(2**63)),
    float: (0.0, 0.5, 5.0, -1.0, 1e308, math.inf, -math.inf, math.nan),
    type(None): (None,),
    bytes: (
        *(b"", b"0", b"2", b"3", b"40", b"41", b'42["x"]', b"42", b'42/x,1["a"]', b"430[]", b"45{}", b"bAAA"),
        *(b'42["a"]\x1e42["b"]', b"\xff\x00", b"x" * 8, b"y" * 16, b"{}", b"[]", b'{"a":1}', b"\xc1"),
    ),
}


class Liar:
    """Makes values of types. `texts` are the texts that it knows."""

    def __init__(self, seed: int, texts: Sequence[str]) -> None:
        self.random = Random(seed)
        self._known = {**PLAIN, str: texts}

    def value(self, hint: Any) -> Any:
        """A value of this type."""
        known, origin, arguments = self._known.get(hint), get_origin(hint), get_args(hint)
        if known is not None:
            return self.random.choice(known)
        if origin is Annotated:
            return _within(arguments[1], self.value(arguments[0]))
        if origin is Literal:
            return self.random.choice(arguments)
        if origin is dict:
            return {self.value(arguments[0]): self.value(arguments[1]) for _ in self._some()}
        if origin in (list, tuple) and (origin is list or arguments[-1] is ...):
            return origin(self.value(arguments[0]) for _ in self._some())
        if origin is tuple:
            return tuple(map(self.value, arguments))
        return self.value(self.random.choice(arguments)) if arguments else self._struct(hint)

    def _some(self) -> range:
        return range(self.random.randrange(4))

    def _struct(self, kind: Any) -> Any:
        if kind is Filter:
            groups = self.value(tuple[str, ...] | None)
            return Filter(groups, self.value(tuple[str, ...]), None, self.random.choice(["", *TEXTS]))
        hints = get_type_hints(kind, include_extras=True)
        fields = msgspec.structs.fields(kind)
        return kind(**{field.name: self.value(hints[field.name]) for field in fields})


def _within(meta: Any, value: Any) -> Any:
    """The nearest value that a receiver does not refuse by its form."""
    if not isinstance(meta, msgspec.Meta):
        return value
    if meta.ge is not None and not value >= meta.ge:
        value = type(value)(meta.ge)
    if meta.le is not None and not value <= meta.le:
        value = type(value)(meta.le)
    return value if meta.max_length is None else value[: meta.max_length]
