"""The parts of a plan are the whole."""

from __future__ import annotations

import msgspec
import pytest

from moorage.load.plan import Plan


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_shares_add_up(workers: int) -> None:
    plan = Plan(scenario="echo", url="http://x", clients=100, rate=1000.0, restart="x")
    parts = [plan.share(number, workers) for number in range(workers)]
    assert sum(part.clients for part in parts) == 100
    assert sum(part.rate for part in parts) == pytest.approx(1000)
    numbers = [number for part in parts for number in range(part.first, part.first + part.clients)]
    assert numbers == list(range(100))
    assert [part.restart for part in parts] == ["x"] + [""] * (workers - 1)


def test_the_rate_of_broadcasts_follows_the_senders() -> None:
    plan = Plan(scenario="fanout", url="http://x", clients=10, senders=1, rate=5.0)
    assert sorted((part.senders, part.rate) for part in (plan.share(0, 2), plan.share(1, 2))) == [
        (0, 0),
        (1, 5),
    ]
    assert plan.share(0, 1) == plan
    none = msgspec.structs.replace(plan, senders=0)
    assert none.share(0, 1).rate == 0


def test_what_may_be_secret_is_masked() -> None:
    plan = Plan(
        scenario="echo",
        url="http://x",
        headers={"Authorization": "Bearer s3cret"},
        query={"access_token": "s3cret"},
        auth={"token": "s3cret"},
        restart="ssh s3cret@x",
    )
    shown = msgspec.json.encode(plan.masked())
    assert b"s3cret" not in shown
    assert b"access_token" in shown
    bare = Plan(scenario="echo", url="http://x")
    assert bare.masked() == bare
