"""A node dies while nothing can be stored. What its stock clients got since is in no journal, so they get new
sockets, which are counted by their cause, and never a part of their events."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.conformance.program import PATIENCE
from tests.scenarios.recovery.test_late import CLIENTS, Program, take
from tests.scenarios.recovery.test_loss import app_server
from tests.support.freezing import freeze
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

pytestmark = [pytest.mark.timeout(120), pytest.mark.node]
REFUSED = 'moorage_recovery_refused_total{cause="unstored"}'


def test_clients_that_got_what_was_not_stored_get_new_sockets(tmp_path: Path) -> None:
    flags = (f"--port={free_port()}", "--set=recovery.store=file", f"--set=recovery.folder={tmp_path}")
    with MoorageProcess(*flags) as first, contextlib.ExitStack() as stack:
        app = stack.enter_context(Program.running(*app_server("node", first.connection_string, "")))
        assert app.answer() == "ready"
        script = str(Path(__file__).parent / "late.mjs")
        clients = stack.enter_context(Program.running("node", script, first.url, str(CLIENTS)))
        ids = {line["id"] for line in take(clients)}
        app.tell("emit")
        assert [line["number"] for line in take(clients)] == [1] * CLIENTS
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        (server,) = [int(pid) for pid in children if "nats" in Path(f"/proc/{pid}/comm").read_text()]
        freeze(server)
        app.tell("emit")
        # Live traffic goes on without the store.
        assert [line["number"] for line in take(clients)] == [2] * CLIENTS
        deadline = time.monotonic() + PATIENCE
        while first.metric("moorage_recovery_store_up") != 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # between two questions, not instead of them
        os.kill(first.pid, signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        first.wait_exit()
        with MoorageProcess(*flags, key=first.key) as second:
            back = take(clients)
            assert not any(line["recovered"] for line in back)
            assert not ids.intersection(line["id"] for line in back)
            assert second.metric(REFUSED) == CLIENTS
            app.tell("emit")
            assert [line["number"] for line in take(clients)] == [3] * CLIENTS
            assert not [line for line in second.lines if "Traceback" in line]
