"""What tests leave behind is found at the end of their file (`tests/conftest.py`)."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from tests.support.leftovers import Leftovers


@pytest.fixture
def found() -> Leftovers:
    """It waits for nothing."""
    return Leftovers(seconds=0.0)


def test_nothing_is_left(found: Leftovers) -> None:
    thread = threading.Thread(target=str)
    thread.start()
    found.note("test_a")
    thread.join()
    assert found.end_file() == []


def test_a_thread_that_goes_on_is_named_with_its_test(found: Leftovers) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="endless")
    thread.start()
    found.note("test_a")
    found.note("test_b")
    assert found.end_file() == ["the thread 'endless' of test_a"]
    # One failure is enough.
    assert found.end_file() == []
    end.set()
    thread.join()


def test_a_thread_that_is_about_to_end_may_do_so() -> None:
    found = Leftovers()
    thread = threading.Timer(0.02, str)
    thread.start()
    found.note("test_a")
    assert found.end_file() == []
    assert not thread.is_alive()


def test_a_process_that_goes_on_is_named(found: Leftovers) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        (line,) = found.end_file()
        assert line.startswith(f"the process {process.pid}: ")
        assert found.end_file() == []


def test_what_the_session_starts_is_spared(found: Leftovers) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    found.spare()
    found.note("test_a")
    assert found.end_file() == []
    end.set()
    thread.join()


def test_garbage_with_an_open_socket_is_named(found: Leftovers) -> None:
    garbage: list[object] = [socket.socket()]
    garbage.append(garbage)
    del garbage
    (line,) = found.end_file()
    assert line.startswith("garbage: <socket.socket fd=")
