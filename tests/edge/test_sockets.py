"""Deadlines of sockets. What else sockets share is shown by the tests of clients and of links."""

from __future__ import annotations

from moorage.edge.sockets import Sweep


class Waiting:
    """A socket with a deadline."""

    def __init__(self) -> None:
        self.ended = 0

    def expired(self) -> None:
        self.ended += 1


class Clock:
    """Time is a number."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sweep = Sweep(lambda: self.now)

    def after(self, seconds: float) -> None:
        """Time passes; the sweep is called four times a second."""
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.sweep.tick(self.now)


def test_a_deadline_ends_a_socket_once() -> None:
    clock, socket = Clock(), Waiting()
    clock.sweep.watch(socket, 2.0)
    clock.after(1.75)
    assert socket.ended == 0
    clock.after(1.0)
    assert socket.ended == 1
    assert socket not in clock.sweep


def test_a_new_deadline_replaces_the_old_one() -> None:
    clock, socket = Clock(), Waiting()
    clock.sweep.watch(socket, 2.0)
    clock.after(1.0)
    clock.sweep.watch(socket, 2.0)
    clock.after(1.75)
    assert socket.ended == 0
    clock.after(0.5)
    assert socket.ended == 1


def test_a_forgotten_socket_has_no_deadline() -> None:
    clock, socket = Clock(), Waiting()
    clock.sweep.watch(socket, 1.0)
    clock.sweep.forget(socket)
    clock.after(2.0)
    assert socket.ended == 0


def test_a_sleep_of_the_process_moves_the_deadlines() -> None:
    clock, socket = Clock(), Waiting()
    clock.sweep.watch(socket, 3.0)
    clock.after(1.0)
    clock.now += 60.0
    clock.sweep.tick(clock.now)
    clock.after(0.75)
    assert socket.ended == 0
    clock.after(2.0)
    assert socket.ended == 1
