"""Acked round trips by a loop in C over a fleet's connections, with the same requests and checks as `loads`.

On two cores the generator takes its CPU from what it measures, so the rate of a pair of processes
says little beside a generator that costs as much as they do: 20 us a trip in Python, 9 in C.
"""

from __future__ import annotations

import ctypes
from array import array
from functools import cache
from pathlib import Path
from typing import Final

from bench.compiler import compiled
from bench.errors import BenchError
from bench.fleet import Fleet
from bench.loads import PATIENCE, Trips, echo_frames

_SOURCE: Final = Path(__file__).parent / "c" / "trips.c"
_FAILURES: Final = {
    -1: "acks did not arrive",
    -2: "a client lost its connection",
    -3: "a wrong ack",
    -4: "the C loop cannot run",
}


@cache
def _library(directory: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(compiled(_SOURCE, directory / "trips.so", "-shared", "-fPIC")))
    library.round_trips.restype = ctypes.c_int64
    return library


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
