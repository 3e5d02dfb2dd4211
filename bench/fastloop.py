"""Loops in C over a fleet's connections: acked round trips with the same requests and checks as `loads`, and
publishes at a steady rate.

On two cores the generator takes its CPU from what it measures, so the rate of a pair of processes
says little beside a generator that costs as much as they do: 20 us a trip in Python, 9 in C.
"""

from __future__ import annotations

import ctypes
from array import array
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from bench.compiler import compiled
from bench.errors import BenchError
from bench.fleet import Fleet
from bench.frames import TICK, server_frame
from bench.loads import PATIENCE, Trips, echo_frames

_SOURCES: Final = Path(__file__).parent / "c"
_FAILURES: Final = {
    -1: "acks did not arrive",
    -2: "a client lost its connection",
    -3: "a wrong ack or event",
    -4: "the C loop cannot run",
}


@cache
def _library(directory: Path) -> ctypes.CDLL:
    library = _compiled(directory, "trips")
    library.round_trips.restype = ctypes.c_int64
    return library


@cache
def _compiled(directory: Path, name: str) -> ctypes.CDLL:
    program = compiled(_SOURCES / f"{name}.c", directory / f"{name}.so", "-shared", "-fPIC")
    return ctypes.CDLL(str(program))


def fast_round_trips(
    fleet: Fleet, clients: int, *, seconds: float, size: int, build: Path, most: int = 500_000
) -> Trips:
    """Like `loads.round_trips`. `build` is a directory for the compiled loop."""
    asks, answers = echo_frames(size)
    latencies = array("q", bytes(8 * most))
    elapsed = ctypes.c_int64()
    fds = [client.socket.fileno() for client in fleet.clients[:clients]]
    done = _library(build).round_trips(
        (ctypes.c_int * len(fds))(*fds),
        len(fds),
        b"".join(asks),
        len(asks[0]),
        b"".join(answers),
        len(answers[0]),
        ctypes.c_int64(int(seconds * 1e9)),
        ctypes.c_int64(int(PATIENCE * 1e9)),
        (ctypes.c_int64 * most).from_buffer(latencies),
        ctypes.c_int64(most),
        ctypes.byref(elapsed),
    )
    if done < 0:
        raise BenchError(_FAILURES[done])
    return Trips(elapsed.value / 1e9, array("q", sorted(latencies[:done])))


def publishes(
    fleet: Fleet, rooms: Sequence[str], *, count: int, rate: int, each: int, build: Path
) -> array[int]:
    """`count` publishes of a fleet's clients in turn, `rate` a second, to the rooms in turn, whose names have
    one length. Each reaches `each` clients. Returns the sorted nanoseconds from a publish to its deliveries.

    The text is the time of the publish. A publish never waits for the deliveries of an earlier one.
    Raises `BenchError` unless every delivery arrives once."""
    asks = [b'42["publish","%s","' % room.encode() for room in rooms]
    head = server_frame(TICK + b"0" * 19 + b'"]')[:-21]
    fds = [client.socket.fileno() for client in fleet.clients]
    total = count * each
    stamped, heard = array("q", bytes(8 * total)), array("q", bytes(8 * total))
    done = _compiled(build, "publishes").publish_all(
        (ctypes.c_int * len(fds))(*fds),
        len(fds),
        b"".join(asks),
        len(asks),
        len(asks[0]),
        head,
        len(head),
        ctypes.c_int64(count),
        ctypes.c_int64(rate),
        ctypes.c_int64(total),
        ctypes.c_int64(int(PATIENCE * 1e9)),
        (ctypes.c_int64 * total).from_buffer(stamped),
        (ctypes.c_int64 * total).from_buffer(heard),
    )
    if done < 0:
        raise BenchError(_FAILURES[done])
    seen = Counter(stamped)
    if len(seen) != count or set(seen.values()) != {each}:
        raise BenchError("some publish arrived twice and another not at all")
    return array("q", sorted(then - at for then, at in zip(heard, stamped, strict=True)))
