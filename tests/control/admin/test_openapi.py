"""The service keeps to its OpenAPI document: Schemathesis reads it, and makes valid and invalid requests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.admin import Admin
from tests.support.service import MoorageProcess

PROGRAM = Path(sys.executable).with_name("schemathesis")
READ, OPERATE = "r" * 32, "o" * 32
NOT_CALLED = ("drain", "trace")
"""A drain would end the service, and a trace does not end."""


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    with MoorageProcess(f"--set=admin.operate_key={OPERATE}", f"--set=admin.read_key={READ}") as made:
        yield made


def run(service: MoorageProcess, folder: Path, *flags: str) -> None:
    skipped = [flag for name in NOT_CALLED for flag in ("--exclude-operation-id", name)]
    command = [str(PROGRAM), "run", f"{service.url}/api/v1/openapi.json", *skipped, *flags]
    # The address would be shut out after ten wrong keys.
    command += ["--exclude-checks", "ignored_auth"]
    command += ["-H", f"Authorization: Bearer {OPERATE}", "--generation-deterministic", "--no-color"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert "Tested: 15" in done.stdout, done.stdout


def test_made_up_requests(service: MoorageProcess, tmp_path: Path) -> None:
    run(service, tmp_path, "--phases=fuzzing", "--max-examples=8")
    assert service.metric('moorage_admin_requests_total{operation="rooms",status="200"}') > 0
    assert not [line for line in service.lines if '"error"' in line]


@pytest.mark.slow
def test_many_made_up_requests(service: MoorageProcess, tmp_path: Path) -> None:
    run(service, tmp_path, "--phases=coverage,fuzzing", "--max-examples=60")
    assert not [line for line in service.lines if '"error"' in line]


def test_the_document(service: MoorageProcess) -> None:
    answer = Admin(service.url).call("GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json
    assert found["openapi"] == "3.1.0"
    assert set(found["paths"]) >= {"/api/v1/connections", "/api/v1/connections/{id}", "/api/v1/emit"}
    listed = found["paths"]["/api/v1/connections"]["get"]
    assert {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer"}}.items() <= {
        **next(row for row in listed["parameters"] if row["name"] == "limit"),
        "schema": {"type": "integer"},
    }.items()
    target = found["components"]["schemas"]["JoinBody"]
    assert target["oneOf"] == [{"required": [name]} for name in ("connection", "user", "room")]
    names = {row["operationId"] for path in found["paths"].values() for row in path.values()}
    assert names >= {"session", "nodes", "drain", "trace"}
    text = json.dumps(found)
    references = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(found["components"]["schemas"])
    assert Admin(service.url).call("POST", "/openapi.json", {}).status == 405
