"""App servers that are replaced, with few clients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.plan import QUICK
from bench.recovery.deploy import deploy
from bench.run import Run
from bench.servers import MOORAGE


@pytest.mark.node
def test_no_client_notices_anything(tmp_path: Path) -> None:
    run = Run({}, replace(QUICK, deploy_clients=20), tmp_path)
    values = {figure.title.partition(";")[0]: figure.value(MOORAGE) for figure in deploy(run)}
    assert run.problems == []
    assert values["disconnects"] == values["events that were not answered"] == 0
    assert values["answers out of order"] == values["clients that could not move"] == 0
    assert values["events in all"]
