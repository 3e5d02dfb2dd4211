"""One REST server for a module; a fresh desk for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.control.rest_desk import KEY, Desk, serving


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Desk, str]]:
    desk = Desk()
    with serving(desk) as base:
        yield desk, base


@pytest.fixture
def desk(server: tuple[Desk, str]) -> Desk:
    """The module's desk as new: whatever a test changed is set back."""
    server[0].keys.replace(KEY)
    fresh = vars(Desk())
    fresh.pop("keys")
    vars(server[0]).update(fresh)
    return server[0]


@pytest.fixture
def base(server: tuple[Desk, str], desk: Desk) -> str:
    return server[1]
