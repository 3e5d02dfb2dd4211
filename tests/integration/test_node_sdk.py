"""Our Node.js SDK: its parts, the package as its users get it, and app servers on running services.

The tests themselves are JavaScript, in `sdk-node/test`, beside what they test. The parts stand here as one
test, of the files that start services each for itself.
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
SDK = ROOT / "sdk-node"
SERVICE = sorted(
    [*(SDK / "test" / "service").glob("*.test.mjs"), *(SDK / "test" / "package").glob("*.test.mjs")]
)
PARTS = sorted(set((SDK / "test").glob("*/*.test.mjs")) - set(SERVICE))
SECONDS = 150

pytestmark = [pytest.mark.node, pytest.mark.timeout(SECONDS + 30)]


def test_parts() -> None:
    _run(PARTS, at_least=60)


@pytest.mark.parametrize("file", SERVICE, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_node_sdk(file: Path) -> None:
    _run([file], at_least=2)


def _run(files: list[Path], at_least: int) -> None:
    assert (SDK / "dist" / "cjs" / "package.json").is_file(), "not built: make setup"
    # The group: services are children of the test files.
    process = subprocess.Popen(
        ["node", "--test", "--test-force-exit", "--test-reporter=spec", *map(str, files)],
        cwd=SDK,
        env=os.environ | {"MOORAGE_PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"not done after {SECONDS} s:\n{output}")
    assert process.returncode == 0, output
    passed = re.search(r" pass (\d+)$", output, re.MULTILINE)
    assert passed, output
    assert int(passed[1]) >= at_least, output
