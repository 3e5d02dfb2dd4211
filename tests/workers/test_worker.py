"""A worker's process, with a supervisor that the test plays."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.support.service import ROOT


def test_a_worker_without_a_supervisor_ends() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        code = f"from moorage.workers.worker import main; main({theirs.fileno()})"
        process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=(theirs.fileno(),), cwd=ROOT / "src"
        )
    ours.close()
    assert process.wait(30) == 1
