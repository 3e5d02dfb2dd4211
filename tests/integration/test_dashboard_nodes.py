"""The dashboard says when a node of the cluster does not answer, and drains one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.programs import running
from tests.support.two_nodes import two_nodes

NODE = Path(__file__).resolve().parents[1] / "node"
KEY = "the-operate-key-of-the-tests"

pytestmark = [pytest.mark.node, pytest.mark.browser, pytest.mark.timeout(120)]


async def test_a_node_freezes_comes_back_and_is_drained() -> None:
    with two_nodes(f"--set=admin.operate_key={KEY}", "--set=shutdown.timeout=2") as (first, second):
        async with running("node", "dashboard/nodes.mjs", first.url, KEY, env={}, cwd=NODE) as page:
            assert await page.line() == "both"
            second.signal(signal.SIGSTOP)
            page.write("")
            try:
                assert await page.line() == "frozen", await page.end()
            finally:
                second.signal(signal.SIGCONT)
            page.write("")
            assert await page.line() == "back", await page.end()
            page.write("")
            assert await page.line() == "drained", await page.end()
            assert await page.end() == 0
            assert second.wait_exit() == 0
