"""A child's log, clock, memory and end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.process import Observed, Process, Together, ready_facts

ECHO = """
import sys
print("noise")
print('{"ready":true,"port":7}', flush=True)
for line in sys.stdin:
    print(line)
"""

LISTEN = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
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


def test_several_processes_are_measured_as_one(tmp_path: Path) -> None:
    children = [Process([sys.executable, "-c", ECHO], log=tmp_path / f"{name}.log") for name in "ab"]
    try:
        for child in children:
            child.wait_line(ready_facts)
        both = Together((Observed(children[0].pid, "a"), children[1]))
        both.settle()
        assert both.cpu() == sum(child.cpu() for child in children)
        assert both.rss() == sum(child.rss() for child in children)
    finally:
        for child in children:
            child.stop()
    with pytest.raises(BenchError):
        Observed(children[0].pid, "a")


def test_a_port_that_opens_and_one_that_never_does(tmp_path: Path) -> None:
    child = Process([sys.executable, "-c", LISTEN], log=tmp_path / "child.log")
    try:
        port = child.wait_line(int)
        child.wait_open(("127.0.0.1", port))
    finally:
        child.stop()
    with pytest.raises(BenchError, match="does not listen"):
        child.wait_open(("127.0.0.1", port))
