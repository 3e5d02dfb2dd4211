"""The scenarios by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage.load.plan import ScenarioName
from moorage.load.scenarios.avalanche import Avalanche
from moorage.load.scenarios.base import Scenario, Stage
from moorage.load.scenarios.connects import Connects
from moorage.load.scenarios.echo import Echo
from moorage.load.scenarios.fanout import Fanout
from moorage.load.scenarios.jitter import Jitter

SCENARIOS: Final[dict[ScenarioName, Callable[[Stage], Scenario]]] = {
    "echo": Echo,
    "fanout": Fanout,
    "idle": Scenario,
    "connects": Connects,
    "jitter": Jitter,
    "avalanche": Avalanche,
}
