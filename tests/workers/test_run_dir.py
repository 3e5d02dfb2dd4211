"""The directory of the workers' sockets."""

from __future__ import annotations

import socket
import stat

from moorage.workers.run_dir import RunDir


def test_only_this_user_can_open_it() -> None:
    made = RunDir()
    try:
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
    finally:
        made.remove()
    assert not made.path.exists()
    made.remove()


def test_the_socket_of_a_dead_worker_is_removed() -> None:
    made = RunDir()
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(made.socket("AAAAAAAA")))
        made.forget("AAAAAAAA")
        made.forget("BBBBBBBB")
        assert list(made.path.iterdir()) == []
    finally:
        made.remove()
