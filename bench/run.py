"""A run: its targets, their clients, and rounds that alternate between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError
from bench.figures import Rounds
from bench.fleet import Fleet
from bench.peers import Peers
from bench.plan import Plan
from bench.servers import Start, Target


@dataclass(frozen=True)
class Joined:
    """A running target with the name of its figures and its connected clients."""

    name: str
    target: Target
    fleet: Fleet


Once = Callable[[Joined], Mapping[str, float]]
"""One round of one target: a value for each title."""


@dataclass
class Run:
    """The context of measurements, and the failures so far."""

    starts: Mapping[str, Start]
    plan: Plan
    logs: Path
    peers: Peers = field(default_factory=Peers)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def caught(self, section: str, target: str) -> Iterator[None]:
        """A target that fails inside the block is missing from this section's figures. Others continue."""
        try:
            yield
        except BenchError as error:
            self.problems.append(f"({section}) {target}: {error}")

    def chosen(self, starts: Mapping[str, Start]) -> dict[str, Start]:
        """The requested names. The part of a name after a space distinguishes variants of a target."""
        return {name: start for name, start in starts.items() if name.split()[0] in self.starts}

    def connect(
        self,
        stack: ExitStack,
        section: str,
        clients: int,
        *,
        skip: tuple[str, ...] = (),
        starts: Mapping[str, Start] | None = None,
    ) -> list[Joined]:
        """Start the targets (or instead of them `starts`), except `skip`, and connect `clients` to each.
        `stack` ends them all."""
        joined = []
        for name, start in self.chosen(starts or self.starts).items():
            if name in skip:
                continue
            with self.caught(section, name):
                target = stack.enter_context(start(self.logs_of(f"{section} {name}"), clients))
                fleet = stack.enter_context(Fleet(target.address))
                fleet.open(clients)
                joined.append(Joined(name, target, fleet))
        return joined

    def logs_of(self, what: str) -> Path:
        """A separate log directory for one target, because several run at once."""
        made = self.logs / what.replace(" ", "-")
        made.mkdir(exist_ok=True)
        return made

    def alternate(
        self, section: str, joined: list[Joined], once: Once, *, count: int | None = None
    ) -> Rounds:
        """Rounds of `once`, the targets in turn and every other round in reverse, so that a machine
        shared with others slows all of them alike. The first round is not kept: it warms compilers,
        allocators and TCP windows up. `count` rounds instead of the plan's. A target that fails is
        taken out of `joined`."""
        rounds = Rounds()
        for number in range((count or self.plan.rounds) + 1):
            joined.reverse()
            for one in tuple(joined):
                joined.remove(one)
                with self.caught(section, one.name):
                    row = once(one)
                    joined.append(one)
                    if number:
                        rounds.add(one.name, row)
        return rounds
