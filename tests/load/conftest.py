"""One server for a module; tests that make it misbehave put it right again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.load.servers import Server, python_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with python_server() as running:
        yield running
