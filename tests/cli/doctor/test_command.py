"""`moorage doctor`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_main import run
from tests.support.programs import free_port


def test_a_configuration_that_is_fine_and_one_that_is_not(tmp_path: Path) -> None:
    file = tmp_path / "moorage.yaml"
    assert run("config", "init", "-o", str(file)).returncode == 0
    port = f"server.port={free_port()}"
    fine = run("doctor", "-c", str(file), "--set", port)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert "is free: no service runs there now" in fine.stdout
    nats = f"cluster.nats_url=nats://127.0.0.1:{free_port()}"
    wrong = run("doctor", "-c", str(file), "--set", port, "--set", nats, "--json")
    assert wrong.returncode == 3
    found = json.loads(wrong.stdout)
    assert found["failed"]
    assert [one["name"] for one in found["checks"] if one["state"] == "fail"] == ["NATS"]


def test_a_configuration_that_cannot_be_read() -> None:
    done = run("doctor", "--set", "server.prot=1")
    assert done.returncode == 3
    assert "server.prot" in done.stdout
    assert "keys.primary" in done.stdout
