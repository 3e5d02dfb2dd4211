"""The dashboard in a real Chromium, with stock clients and app servers of a running service.

The tests themselves are JavaScript, in `tests/node/dashboard`. Each file starts a service and a browser of
its own, and stands here as one test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node_files import SECONDS, NodeFiles, asked_for

NODE = Path(__file__).resolve().parents[1] / "node"
FILES = sorted((NODE / "dashboard").glob("*.test.mjs"))

pytestmark = [pytest.mark.node, pytest.mark.browser, pytest.mark.timeout(SECONDS * 2)]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[NodeFiles]:
    assert (NODE / "node_modules" / ".package-lock.json").is_file(), "no packages: make setup"
    with NodeFiles(asked_for(request, "file"), NODE, together=2) as made:
        yield made


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_dashboard(runs: NodeFiles, file: Path) -> None:
    runs.check(file, at_least=2)
