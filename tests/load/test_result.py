"""The figures of a run."""

from __future__ import annotations

import json

import pytest

from moorage.load.histogram import Histogram
from moorage.load.plan import Plan, ScenarioName
from moorage.load.result import Verdict, distribution, document, figures, server_figures, summary
from moorage.load.tally import Totals
from moorage.load.watch import Usage
from tests.load.results import result


def totals(**counts: int) -> Totals:
    made = Totals()
    made.counts.update(counts)
    return made


def test_lost_deliveries_follow_from_the_sums() -> None:
    plan = Plan(scenario="fanout", url="http://x")
    found = figures(plan, totals(sent=10, received=98), 10, 2.0)
    assert (found["lost"], found["rate"]) == (2, 49)


@pytest.mark.parametrize("scenario", ["echo", "fanout", "idle", "connects", "jitter", "avalanche"])
def test_every_scenario_has_figures(scenario: ScenarioName) -> None:
    plan = Plan(scenario=scenario, url="http://x")
    found = figures(plan, totals(lost=1, reconnects=3, recovered=1), 0, 0.0)
    assert {"failed", "disconnects", "errors"} <= set(found)
    if scenario == "jitter":
        assert found["unrecovered"] == 2
    if scenario == "echo":
        assert (found["lost"], found["rate"]) == (1, 0)


def test_summaries() -> None:
    assert summary(Histogram()) == {}
    histogram = Histogram()
    for milliseconds in (1, 2, 3):
        histogram.record(milliseconds * 1_000_000)
    found = summary(histogram)
    assert found["count"] == 3
    assert found["p50"] == pytest.approx(2.0, rel=0.01)
    assert [count for _, count in distribution(histogram)] == [1, 1, 1]


def test_the_server() -> None:
    before, after = Usage(0.0, 1000), Usage(5.0, 3000)
    assert server_figures(before, after, 10.0, 10) == {
        "cores": 0.5,
        "memory": 3000.0,
        "memory_per_client": 200.0,
    }
    assert "memory_per_client" not in server_figures(before, after, 0.0, 0)


def test_the_json_form() -> None:
    made = result(verdicts=[Verdict("lost>0", 2.0, True)])
    document_ = json.loads(json.dumps(document(made)))
    assert document_["failed"] is True
    assert document_["plan"]["scenario"] == "echo"
    assert document_["seconds"][0]["connected"] == 100
