"""Fixtures that every suite may use, and the marker of the tests that `make coverage` runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test

from tests.support.examples import load_profiles
from tests.support.service import MoorageProcess

load_profiles()

PACKAGE = Path(__file__).parents[1] / "src" / "moorage"
UNMEASURED = ("alone", "browser", "node", "slow")
"""Markers of tests that are too long for it, or that measure times."""


@cache
def _mirrors(path: Path) -> bool:
    """True if the file mirrors a part of the package, or is a contract suite."""
    place = path.relative_to(Path(__file__).parent).parts
    return len(place) == 1 or place[0] == "contract" or (PACKAGE / place[0]).is_dir()


def _is_measured(item: pytest.Item) -> bool:
    """True if the test runs under coverage: the tests that mirror the package do, and the contract suites.
    Tests with random examples do not: a branch must be covered in every run, not in a lucky one."""
    if not _mirrors(item.path):
        return False
    if isinstance(item, pytest.Function) and (is_hypothesis_test(item.obj) or item.name == "runTest"):
        return False
    return not any(item.get_closest_marker(name) for name in UNMEASURED)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the measured tests, before pytest selects by markers."""
    for item in items:
        if _is_measured(item):
            item.add_marker("measured")


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """One service process for a test module. Tests in it use hubs of their own."""
    with MoorageProcess() as running:
        yield running
