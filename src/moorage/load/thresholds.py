"""Conditions under which a run fails, such as `p99>50ms` or `lost>0`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Final

import msgspec

from moorage.load.plan import ScenarioName
from moorage.load.result import ALWAYS, FIGURES, LATENCY, RATED, SHARES, Result, Verdict

_FORM: Final = re.compile(
    r"\s*([a-z][a-z0-9_.]*)\s*(>=|<=|==|!=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|%)?\s*"
)
_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_QUANTILES: Final = (*SHARES, "mean", "min")
_SHARED: Final = {"lost": "sent", "failed": "clients", "disconnects": "clients", "missing": "clients"}
"""Figures that may be given in percent, and what they are a share of."""


class Threshold(msgspec.Struct, frozen=True):
    """The run fails if `name` compares like this. Durations in milliseconds; `percent` values are shares of
    100."""

    text: str
    name: str
    compare: str
    limit: float
    percent: bool

    def judge(self, result: Result) -> Verdict:
        """Apply it. A latency without any value fails: nothing was measured."""
        value = self._value(result)
        if value is None:
            return Verdict(self.text, 0.0, True)
        return Verdict(self.text, value, _OPERATORS[self.compare](value, self.limit))

    def _value(self, result: Result) -> float | None:
        if self.percent:
            whole = _whole(self.name, result)
            return 100 * result.figures[self.name] / whole if whole else None
        if self.name in result.figures:
            return result.figures[self.name]
        table, _, quantile = self.name.rpartition("_")
        return getattr(result, table or "latency").get(quantile)  # type: ignore[no-any-return]


def parse(text: str, scenario: ScenarioName) -> Threshold:
    """Read a condition. Raises `ValueError` with a text for people."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a condition such as p99>50ms or lost>0')
    name, compare, number, unit = found.groups()
    known = names(scenario)
    if name not in known:
        raise ValueError(f"{name} is not a figure of {scenario}; there are {', '.join(known)}")
    is_time = name.rpartition("_")[2] in _QUANTILES
    if is_time != (unit in _MILLISECONDS):
        raise ValueError(
            f"{text}: {name} needs {'a unit: us, ms or s' if is_time else 'a number without a unit'}"
        )
    if unit == "%" and name not in _SHARED:
        raise ValueError(f"{text}: only {', '.join(_SHARED)} may be given in percent")
    limit = float(number) * _MILLISECONDS.get(unit or "", 1.0)
    return Threshold(text.strip(), name, compare, limit, unit == "%")


def names(scenario: ScenarioName) -> list[str]:
    """The figures of a scenario that a condition may name."""
    found = ["rate"] if scenario in RATED else []
    found += [*FIGURES[scenario], *ALWAYS]
    if scenario in LATENCY:
        found += _QUANTILES
    return [*found, *(f"connect_{name}" for name in _QUANTILES), *(f"lag_{name}" for name in _QUANTILES)]


def _whole(name: str, result: Result) -> float:
    if _SHARED[name] == "clients":
        return result.plan.clients
    receivers = result.connected if result.plan.scenario in ("fanout", "jitter") else 1
    return result.figures["sent"] * receivers
