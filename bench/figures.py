"""A figure: one measured quantity of several targets over several rounds, with its bars. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.servers import MOORAGE


@dataclass(frozen=True)
class Bar:
    """Moorage's figure may be at most `limit` times that of `versus`, or bare `limit` if that is empty;
    with `at_least`, it must not be less."""

    limit: float
    versus: str = ""
    at_least: bool = False

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.limit:g}x {self.versus}" if self.versus else f"{sign} {self.limit:g}"

    def met_by(self, measured: float) -> bool:
        """True if the bar is met."""
        return measured >= self.limit if self.at_least else measured <= self.limit


@dataclass(frozen=True)
class Figure:
    """`rounds[target]` holds one value per round, in the order measured; rounds of all targets alternate."""

    section: str
    title: str
    unit: str
    rounds: Mapping[str, Sequence[float]]
    bars: tuple[Bar, ...] = ()
    note: str = ""

    def value(self, target: str) -> float | None:
        """The median of the rounds."""
        values = self.rounds.get(target)
        return median(values) if values else None

    def ratio(self, versus: str) -> float | None:
        """Moorage to `versus`: the median of the ratios within each round, so that a round in which
        the machine was slow for both counts no more than another."""
        ratios = self.ratios(versus)
        return median(ratios) if ratios else None

    def ratios(self, versus: str) -> list[float]:
        """The ratio within each round; empty when there is nothing to compare."""
        ours, theirs = self.rounds.get(MOORAGE), self.rounds.get(versus)
        if not ours or not theirs or min(theirs) <= 0:
            return []
        return [a / b for a, b in zip(ours, theirs, strict=False)]

    def verdict(self, bar: Bar) -> bool | None:
        """True if the bar is met; None without values."""
        measured = self.ratio(bar.versus) if bar.versus else self.value(MOORAGE)
        return None if measured is None else bar.met_by(measured)


@dataclass
class Rounds:
    """Collects `rounds` of several figures at once, by title."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, target: str, row: Mapping[str, float]) -> None:
        """Add one round of a target: a value for each title."""
        for title, value in row.items():
            self.values.setdefault(title, {}).setdefault(target, []).append(value)

    def extend(self, more: Rounds) -> None:
        """Add the rounds of another start of the same targets."""
        for title, by_target in more.values.items():
            for target, values in by_target.items():
                self.values.setdefault(title, {}).setdefault(target, []).extend(values)

    def of(self, title: str) -> dict[str, list[float]]:
        """The rounds of one figure, by target."""
        return self.values.get(title, {})
