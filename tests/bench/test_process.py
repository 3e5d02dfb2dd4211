"""A child's log, clock, memory and end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.process import Process, ready_facts

ECHO = """
import sys
print("noise")
print('{"ready":true,"port":7}', flush=True)
for line in sys.stdin:
    print(line)
"""


def test_ready_line_cpu_memory_and_commands(tmp_path: Path) -> None:
    child = Process([sys.executable, "-c", ECHO], log=tmp_path / "child.log")
    try:
        assert child.wait_line(ready_facts) == {"ready": True, "port": 7}
        assert child.cpu() > 0
        assert child.rss() > 1_000_000
        child.send({"times": 1})
    finally:
        child.stop()
    with pytest.raises(BenchError):
        child.wait_line(lambda line: line if line == "never" else None)


def test_a_child_that_ends_early_tells_its_last_words(tmp_path: Path) -> None:
    child = Process([sys.executable, "-c", "raise SystemExit('no such thing')"], log=tmp_path / "child.log")
    try:
        with pytest.raises(BenchError, match="no such thing"):
            child.wait_line(ready_facts)
    finally:
        child.stop()
