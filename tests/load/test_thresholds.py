"""Conditions of --fail-if."""

from __future__ import annotations

import pytest

from moorage.load.thresholds import names, parse
from tests.load.results import result


@pytest.mark.parametrize(
    ("condition", "value", "failed"),
    [
        ("p99>50ms", 55.5, True),
        (" p99 > 60ms ", 55.5, False),
        ("p99.9>=0.6s", 600.0, True),
        ("p50<900us", 1.0, False),
        ("min==0.5ms", 0.5, True),
        ("max!=1234ms", 1234.0, False),
        ("mean<=2ms", 2.0, True),
        ("connect_p99>1ms", 0.0123, False),
        ("lost>0", 2.0, True),
        ("lost>0.1%", 0.2, True),
        ("failed>5%", 2.0, False),
        ("rate<50000", 1000.0, True),
        # Nothing was measured, which must not pass.
        ("lag_p99>1s", 0.0, True),
    ],
)
def test_judgements(condition: str, value: float, failed: bool) -> None:
    verdict = parse(condition, "echo").judge(result())
    assert (verdict.condition, verdict.failed) == (condition.strip(), failed)
    assert verdict.value == pytest.approx(value)


def test_a_share_of_the_deliveries() -> None:
    # 1,000 broadcasts to 100 clients.
    verdict = parse("lost>0.001%", "fanout").judge(result("fanout"))
    assert verdict.failed
    assert verdict.value == pytest.approx(0.002)
    nothing = result(figures={"lost": 0.0, "sent": 0.0})
    assert parse("lost>1%", "echo").judge(nothing).failed


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("p99", "is not a condition"),
        ("p99>", "is not a condition"),
        ("p99>x", "is not a condition"),
        ("p98>5ms", "p98 is not a figure of echo; there are rate, sent"),
        ("p99>5", "needs a unit"),
        ("p99>5%", "needs a unit"),
        ("lost>5ms", "needs a number without a unit"),
        ("rate>5%", "in percent"),
        ("cuts>1", "cuts is not a figure of echo"),
    ],
)
def test_conditions_that_are_none(condition: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(condition, "echo")


def test_the_names_of_a_scenario() -> None:
    assert "p99" not in names("idle")
    assert {"connect_p99", "failed"} <= set(names("idle"))
    assert {"missing", "p99"} <= set(names("avalanche"))
