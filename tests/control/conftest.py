"""One REST server for a module; a fresh node for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.control.rest_node import KEY, FakeNode, serving


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[FakeNode, str]]:
    node = FakeNode()
    with serving(node) as base:
        yield node, base


@pytest.fixture
def node(server: tuple[FakeNode, str]) -> FakeNode:
    """The module's node as new: whatever a test changed is set back."""
    server[0].keys.replace(KEY)
    fresh = vars(FakeNode())
    fresh.pop("keys")
    vars(server[0]).update(fresh)
    return server[0]


@pytest.fixture
def base(server: tuple[FakeNode, str], node: FakeNode) -> str:
    return server[1]
