"""The published app side, `@azure/web-pubsub-socket.io`, and stock clients against running services.

The tests themselves are JavaScript, in `tests/node/azure`: the peers are. Each file starts services of
its own and stands here as one test.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = ROOT / "tests" / "node"
FILES = sorted((NODE / "azure").glob("*.test.mjs"))
SECONDS = 150

pytestmark = [pytest.mark.node, pytest.mark.timeout(SECONDS + 30)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_azure_sdk(file: Path) -> None:
    assert (NODE / "node_modules" / ".package-lock.json").is_file(), "no packages: make setup"
    # The SDK leaves timers behind for half a minute after each connect, hence the forced exit.
    process = subprocess.Popen(
        ["node", "--test", "--test-force-exit", "--test-reporter=spec", str(file)],
        cwd=NODE,
        env=os.environ | {"MOORAGE_PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        # The group: services and app servers are children of the test file.
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"not done after {SECONDS} s:\n{output}")
    assert process.returncode == 0, output
    passed = re.search(r" pass (\d+)$", output, re.MULTILINE)
    assert passed, output
    assert int(passed[1]) > 1, output
