"""Every name of a scenario has one."""

from __future__ import annotations

from typing import get_args

from moorage.load.plan import ScenarioName
from moorage.load.result import FIGURES
from moorage.load.scenarios.choice import SCENARIOS


def test_names() -> None:
    assert set(SCENARIOS) == set(get_args(ScenarioName)) == set(FIGURES)
