"""Lines leave by a queue and a thread: code that writes a line never waits for the reader."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.logs_output import Output

pytestmark = pytest.mark.repair(5)

Pipe = tuple[int, int]
PIPE_BYTES = 64 * 1024
SOURCE = str(Path(__file__).resolve().parents[1] / "src")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Reading and writing end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_lines_come_in_their_order(pipe: Pipe) -> None:
    output = Output(pipe[1])
    for number in range(1000):
        output.put(f"{number}")
    assert output.close(timeout=10)
    os.close(pipe[1])
    with os.fdopen(os.dup(pipe[0]), encoding="utf-8") as reader:
        assert reader.read().split() == [str(number) for number in range(1000)]
    assert output.dropped == 0


def test_processes_that_share_a_pipe_do_not_mix_their_lines(pipe: Pipe) -> None:
    code = (
        "import sys; from moorage.logs_output import Output; output = Output(1, shared=True)\n"
        "for number in range(3000): output.put(sys.argv[1] * (number % 700 + 1))\n"
        "assert output.close(timeout=30)"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, letter], stdout=pipe[1], env={**os.environ, "PYTHONPATH": SOURCE}
        )
        for letter in "ab"
    ]
    os.close(pipe[1])
    with os.fdopen(os.dup(pipe[0]), encoding="ascii") as reader:
        lines = reader.read().splitlines()
    assert [writer.wait() for writer in writers] == [0, 0]
    for letter in "ab":
        own = [line for line in lines if line[0] == letter]
        assert own == [letter * (number % 700 + 1) for number in range(3000)]


def test_a_pipe_that_nobody_reads_stops_nobody(pipe: Pipe) -> None:
    output = Output(pipe[1], limit=2 * PIPE_BYTES)
    line = "x" * 1023
    began = time.monotonic()
    for _ in range(1000):
        output.put(line)
    assert time.monotonic() - began < 30
    assert output.full
    # What the pipe holds may already count as written, or not yet.
    assert 1000 - 4 * 64 <= output.dropped <= 1000 - 2 * 64
    assert not output.close(timeout=0.05), "the end does not wait for ever"
    read = 0
    while read < (1000 - output.dropped) * 1024:
        read += len(os.read(pipe[0], PIPE_BYTES))
    assert output.close(timeout=10)
    assert read == (1000 - output.dropped) * 1024, "nothing that was taken is lost"


def test_a_pipe_whose_reader_has_gone(pipe: Pipe) -> None:
    output = Output(pipe[1])
    os.close(pipe[0])
    output.put("lost")
    assert output.close(timeout=10)
    assert output.dropped == 1
    output.put("too late")
    assert output.dropped == 2


def test_a_pipe_that_somebody_made_non_blocking(pipe: Pipe) -> None:
    os.set_blocking(pipe[1], False)
    output = Output(pipe[1])
    for _ in range(300):
        output.put("y" * 1023)
    read = 0
    while read < 300 * 1024:
        read += len(os.read(pipe[0], PIPE_BYTES))
    assert output.close(timeout=10)
    assert output.dropped == 0
