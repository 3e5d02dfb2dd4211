"""Fixtures that every suite may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.examples import load_profiles
from tests.support.service import MoorageProcess

load_profiles()


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """One service process for a test module. Tests in it use hubs of their own."""
    with MoorageProcess() as running:
        yield running
