"""One run: its targets, their clients, and rounds that alternate between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError
from bench.figures import Rounds
from bench.fleet import Fleet
from bench.plan import Plan
from bench.servers import Start, Target


@dataclass(frozen=True)
class Joined:
    """A running target and the clients connected to it."""

    target: Target
    fleet: Fleet


Once = Callable[[Joined], Mapping[str, float]]
"""One round of one target: a value for each title."""


@dataclass
class Run:
    """What a measurement needs, and what went wrong in those so far."""

    starts: Mapping[str, Start]
    plan: Plan
    logs: Path
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def caught(self, section: str, target: str) -> Iterator[None]:
        """A target that fails here is missing from this section's figures; the others go on."""
        try:
            yield
        except BenchError as error:
            self.problems.append(f"({section}) {target}: {error}")

    def connect(self, stack: ExitStack, section: str, clients: int, *, skip: tuple[str, ...]) -> list[Joined]:
        """Start the targets, except `skip`, and connect `clients` to each. `stack` ends them all."""
        joined = []
        for name, start in self.starts.items():
            if name in skip:
                continue
            with self.caught(section, name):
                target = stack.enter_context(start(self.logs, clients))
                fleet = stack.enter_context(Fleet(target.address))
                fleet.open(clients)
                joined.append(Joined(target, fleet))
        return joined

    def alternate(self, section: str, joined: list[Joined], once: Once) -> Rounds:
        """Rounds of `once`, the targets in turn and every other round in reverse, so that a machine
        shared with others slows all of them alike. The first round is not kept: it warms compilers,
        allocators and TCP windows up. A target that fails is taken out of `joined`."""
        rounds = Rounds()
        for number in range(self.plan.rounds + 1):
            joined.reverse()
            for one in tuple(joined):
                joined.remove(one)
                with self.caught(section, one.target.name):
                    row = once(one)
                    joined.append(one)
                    if number:
                        rounds.add(one.target.name, row)
        return rounds
