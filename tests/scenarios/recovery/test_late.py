"""A single node is killed and starts again. One of its two app servers comes back when clients have been
resumed without it, and hands over what the killed node had not carried out. No client stays with a hole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.recovery.test_loss import app_server
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

pytestmark = [pytest.mark.timeout(120), pytest.mark.node, pytest.mark.slow]
CLIENTS = 3


class Program:
    """A program that takes orders and answers in JSON lines."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @classmethod
    @contextlib.contextmanager
    def running(cls, *command: str) -> Iterator[Program]:
        program = cls(*command)
        try:
            yield program
        finally:
            program.process.kill()
            program.process.communicate()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def tell(self, order: str) -> Any:
        print(order, file=self.process.stdin, flush=True)
        return self.answer()


def take(clients: Program, count: int = CLIENTS) -> list[dict[str, Any]]:
    """The next lines of the clients, one of each."""
    lines = sorted([clients.answer() for _ in range(count)], key=lambda line: line["client"])
    assert [line["client"] for line in lines] == list(range(count)), lines
    return lines


@pytest.mark.parametrize("kind", ["node", "aio", "threads"])
def test_sockets_that_lack_something_of_a_late_app_server_end(tmp_path: Path, kind: str) -> None:
    flags = (f"--port={free_port()}", "--set=recovery.store=file", f"--set=recovery.folder={tmp_path}")
    with MoorageProcess(*flags) as first, contextlib.ExitStack() as stack:
        command = app_server(kind, first.connection_string, "")
        prompt = stack.enter_context(Program.running(*command))
        assert prompt.answer() == "ready"
        here = Path(__file__).parent
        clients = stack.enter_context(
            Program.running("node", str(here / "late.mjs"), first.url, str(CLIENTS))
        )
        ids = [line["id"] for line in take(clients)]
        late = stack.enter_context(Program.running(*command))
        assert late.answer() == "ready"
        late.tell("emit")
        assert [line["number"] for line in take(clients)] == [1] * CLIENTS
        os.kill(first.pid, signal.SIGSTOP)
        late.tell("emit")
        late.process.send_signal(signal.SIGSTOP)
        os.kill(first.pid, signal.SIGKILL)
        first.wait_exit()
        with MoorageProcess(*flags, key=first.key) as second:
            back = take(clients)
            assert [(line["id"], line["recovered"]) for line in back] == [(each, True) for each in ids]
            prompt.tell("emit")
            assert [line["number"] for line in take(clients)] == [1] * CLIENTS
            late.process.send_signal(signal.SIGCONT)
            again = take(clients)
            assert not any(line["recovered"] for line in again)
            assert not set(ids).intersection(line["id"] for line in again)
            assert second.metric("moorage_recovery_incomplete_total") == CLIENTS
            late.tell("emit")
            assert [line["number"] for line in take(clients)] == [3] * CLIENTS
            assert not [line for line in second.lines if "Traceback" in line]
