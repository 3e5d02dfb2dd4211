"""Stock clients in a bad network, two app servers that emit and move sockets at random, and a ledger of what
each client is entitled to. `MOORAGE_CHAOS=SEED,SECONDS,CLIENTS` runs it longer, and in other ways."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import MoorageProcess

pytestmark = [pytest.mark.timeout(240), pytest.mark.node, pytest.mark.scenario]
PROGRAM = Path(__file__).parent / "chaos.mjs"
SEED, SECONDS, CLIENTS = os.environ.get("MOORAGE_CHAOS", "1,4,12").split(",")
NAMESPACES = 2


def chaos(service: MoorageProcess, mode: str) -> dict[str, Any]:
    """What the program found."""
    command = ["node", str(PROGRAM), service.connection_string, SEED, SECONDS, CLIENTS, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=float(SECONDS) + 200, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("mode", ["", "quiet"])
def test_nobody_misses_anything_or_gets_it_twice(mode: str) -> None:
    with MoorageProcess() as service:
        found = chaos(service, mode)
        assert (found["faults"], found["problems"]) == ([], [])
        assert found["cuts"] >= 20
        fresh = found["connects"] - found["recovered"]
        assert fresh <= NAMESPACES * int(CLIENTS) + found["connects"] // 50, "too many new sessions"
        assert not [line for line in service.lines if "Traceback" in line]
