"""A SIGTERM that waits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from moorage.sdk.errors import UsageError
from moorage.sdk.sigterm import DelayedSigterm


@pytest.fixture
def notes() -> Iterator[list[str]]:
    """What happens, in order. The process itself notes the signal."""
    noted: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: noted.append("signal"))
    yield noted
    signal.signal(signal.SIGTERM, before)


def test_the_signal_comes_again_when_all_is_done(notes: list[str]) -> None:
    delayed = DelayedSigterm(lambda: notes.append("begin"))
    os.kill(os.getpid(), signal.SIGTERM)
    assert notes == ["begin"]
    delayed.pass_on()
    assert notes == ["begin", "signal"]


def test_a_second_signal_does_not_wait(notes: list[str]) -> None:
    DelayedSigterm(lambda: notes.append("begin"))
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert notes == ["begin", "signal"]


def test_a_handler_that_was_set_later_stays(notes: list[str]) -> None:
    delayed = DelayedSigterm(lambda: notes.append("begin"))
    signal.signal(signal.SIGTERM, lambda *_: notes.append("later"))
    delayed.remove()
    os.kill(os.getpid(), signal.SIGTERM)
    assert notes == ["later"]


def test_it_works_in_the_main_thread_only() -> None:
    errors: list[Exception] = []

    def make() -> None:
        try:
            DelayedSigterm(lambda: None)
        except UsageError as error:
            errors.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert len(errors) == 1
