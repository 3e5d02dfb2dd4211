"""How many random examples a property test tries.

`make test` takes the profile `quick`. `make test-slow` takes `thorough`, with eight times as many."""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, settings

QUICK: Final = 25
THOROUGH: Final = 200

WITH_FIXTURES: Final = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
"""Checks to suppress in tests that also use fixtures. A list at a test replaces that of the profile."""


def load_profiles() -> None:
    """Register both profiles, and use `quick` unless pytest's `--hypothesis-profile` names the other. Neither
    limits the time of an example: a busy machine must not fail a test."""
    for name, count in (("quick", QUICK), ("thorough", THOROUGH)):
        settings.register_profile(
            name, max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
    settings.load_profile("quick")


def times(factor: float) -> int:
    """The profile's number of examples times `factor`, for tests that need more or fewer than others."""
    return max(1, round(settings().max_examples * factor))
