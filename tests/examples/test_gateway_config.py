"""The NATS configuration in docs/howto/run-a-cluster.md is one that the server takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.nats_server import PROGRAM
from tests.support.service import ROOT


def test_the_gateway_configuration(tmp_path: Path) -> None:
    page = (ROOT / "docs/howto/run-a-cluster.md").read_text()
    (text,) = re.findall(r"```\n(# nats-eu\.conf\n.*?)```", page, re.DOTALL)
    file = tmp_path / "nats-eu.conf"
    file.write_text(text)
    checked = subprocess.run(
        [PROGRAM, "-t", "-c", file], capture_output=True, text=True, timeout=30, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "is valid" in checked.stdout + checked.stderr
