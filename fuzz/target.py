"""One thing to be tried, and how a trial is made and judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from moorage.wire.errors import PeerError

MAX_SECONDS = 2.0
"""For one input. What takes longer is a way to stop the service."""


class Target(NamedTuple):
    """`make` draws an input, `take` hands it to the decoder and checks what comes out."""

    make: Callable[[Random], Any]
    take: Callable[[Any], object]
    refusals: tuple[type[Exception], ...] = (PeerError,)


class FailureError(Exception):
    """An input for which a target's promise does not hold."""


def trial(target: Target, rng: Random) -> bool:
    """One input; was it accepted? Raises `FailureError`."""
    value = target.make(rng)
    began = time.process_time()
    try:
        target.take(value)
        accepted = True
    except target.refusals:
        accepted = False
    except Exception as error:
        raise FailureError(f"{type(error).__name__}: {error}\ninput: {value!r}") from error
    took = time.process_time() - began
    if took > MAX_SECONDS:
        raise FailureError(f"took {took:.1f} s\ninput: {value!r}")
    return accepted
