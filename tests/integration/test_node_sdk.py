"""Our Node.js SDK: its parts, the built package, and app servers on running services.

The tests themselves are JavaScript, in `sdk-node/test`, beside what they test. The parts of one folder
stand here as one test, of the files that start services each for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node_files import SECONDS, NodeFiles, asked_for

SDK = Path(__file__).resolve().parents[2] / "sdk-node"
SERVICE = sorted(
    [*(SDK / "test" / "service").glob("*.test.mjs"), *(SDK / "test" / "package").glob("*.test.mjs")]
)
PARTS = sorted(set((SDK / "test").glob("*/*.test.mjs")) - set(SERVICE))

pytestmark = [pytest.mark.node, pytest.mark.timeout(SECONDS * 2)]


def test_parts() -> None:
    check_built()
    with NodeFiles([tuple(PARTS)], SDK, together=2) as runs:
        runs.check(*PARTS, at_least=60)


def check_built() -> None:
    assert (SDK / "dist" / "cjs" / "package.json").is_file(), "not built: make setup"


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[NodeFiles]:
    check_built()
    with NodeFiles(asked_for(request, "file"), SDK) as made:
        yield made


@pytest.mark.parametrize("file", SERVICE, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_node_sdk(runs: NodeFiles, file: Path) -> None:
    runs.check(file, at_least=1)
