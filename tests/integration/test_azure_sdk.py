"""The published app side, `@azure/web-pubsub-socket.io`, and stock clients against running services.

The tests themselves are JavaScript, in `tests/node/azure`: the peers are. Each file starts services of
its own and stands here as one test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node_files import SECONDS, NodeFiles, asked_for

NODE = Path(__file__).resolve().parents[1] / "node"
# The longest ones start first.
FILES = sorted(
    (NODE / "azure").glob("*.test.mjs"), key=lambda file: (file.name[:6] not in ("server", "tunnel"), file)
)

pytestmark = [pytest.mark.node, pytest.mark.timeout(SECONDS * 2)]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[NodeFiles]:
    assert (NODE / "node_modules" / ".package-lock.json").is_file(), "no packages: make setup"
    with NodeFiles(asked_for(request, "file"), NODE) as made:
        yield made


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_azure_sdk(runs: NodeFiles, file: Path) -> None:
    runs.check(file, at_least=2)
