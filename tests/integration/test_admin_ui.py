"""The official Admin UI in a real Chromium. The test itself is JavaScript, in `tests/node/adminui`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.node_files import SECONDS, NodeFiles

NODE = Path(__file__).resolve().parents[1] / "node"
FILE = NODE / "adminui" / "ui.test.mjs"

pytestmark = [pytest.mark.node, pytest.mark.browser, pytest.mark.timeout(SECONDS * 2)]


def test_admin_ui() -> None:
    assert (NODE / "node_modules" / ".package-lock.json").is_file(), "no packages: make setup"
    with NodeFiles([(FILE,)], NODE) as runs:
        runs.check(FILE, at_least=2)
