"""Every fuzz target for a moment, with input that Hypothesis can make smaller. `make fuzz` takes longer."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.__main__ import TARGETS, run
from fuzz.target import FailureError, Target, trial
from tests.support.examples import times
from tests.support.leftovers import Leftovers


@pytest.fixture(scope="module", autouse=True)
def _parsers(leftovers: Leftovers) -> Iterator[None]:
    """The program with socket.io's parsers ends with this process."""
    yield
    leftovers.spare()


@pytest.mark.parametrize("name", TARGETS)
def test_a_value_or_a_refusal(name: str) -> None:
    @settings(max_examples=times(0.6), suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def any_input(rng: Random) -> None:
        trial(TARGETS[name], rng)

    any_input()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_that_stay_the_same(name: str) -> None:
    accepted = [trial(TARGETS[name], Random(seed)) for seed in range(200)]
    assert sum(accepted) > 10, "damaged so much that nothing gets past the first look"


def test_a_failure_is_told_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def take(value: int) -> None:
        assert value < 90

    monkeypatch.setitem(TARGETS, "made-up", Target(lambda rng: rng.randrange(100), take))
    assert not run("made-up", 5, 60.0)
    shown = capsys.readouterr().out
    seed = int(shown.split("--seed ")[1].split("\n")[0])
    with pytest.raises(FailureError, match="AssertionError"):
        trial(TARGETS["made-up"], Random(seed))
    assert run("filters.compile_filter", 1, 0.0)
