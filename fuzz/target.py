"""A fuzz target, and the run of one input."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from moorage.wire.errors import PeerError

MAX_SECONDS = 2.0
"""Maximum seconds for one input. A slower input could stall the service."""


class Target(NamedTuple):
    """`make` generates an input; `take` passes it to the decoder and checks the result."""

    make: Callable[[Random], Any]
    take: Callable[[Any], object]
    refusals: tuple[type[Exception], ...] = (PeerError,)


class FailureError(Exception):
    """An input that violates the invariant of a target."""


def trial(target: Target, rng: Random) -> bool:
    """Run one input. Returns True if it was accepted. Raises `FailureError`."""
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
