"""Files of `deploy/`, and what npm packages say about them. Docker and Helm are not needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pages import ROOT

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "moorage"
_HERE = Path(__file__).parent


def compose_file() -> dict[str, Any]:
    """`compose.yaml`, with anchors and merge keys resolved."""
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def check(kind: str, document: Any) -> Any:
    """The result of `check.mjs`, which takes seconds."""
    return _checked(kind, json.dumps(document))


@lru_cache
def _checked(kind: str, text: str) -> Any:
    if not (_HERE / "node_modules" / ".ready").exists():
        pytest.skip("the npm packages of tests/deploy are not installed (make setup)")
    command = ["node", str(_HERE / "check.mjs"), kind]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rendered_chart(changes: dict[str, Any] | None = None) -> dict[str, list[dict[str, Any]]]:
    """The chart's resources by their kind, for the release `live` with its default values and `changes`."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, value in (changes or {}).items():
        *sections, name = path.split(".")
        section = values
        for part in sections:
            section = section[part]
        assert name in section, path
        section[name] = value
    templates = {path.name: path.read_text() for path in sorted((CHART / "templates").iterdir())}
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    context = {
        "Values": values,
        "Chart": {"Name": about["name"], "AppVersion": about["appVersion"]},
        "Release": {"Name": "live", "Namespace": "chat", "Service": "Helm"},
    }
    rendered = check("helm", {"templates": templates, "values": context})
    found: dict[str, list[dict[str, Any]]] = {}
    for name, text in rendered.items():
        if name.endswith(".yaml"):
            for resource in yaml.safe_load_all(text):
                if resource is not None:
                    found.setdefault(resource["kind"], []).append(resource)
    return found


def settings_problems(settings: dict[str, str], folder: Path, config: str = "") -> str:
    """What `moorage config check` says about variables of the environment and a file; "" if all is well."""
    path = folder / "moorage.yaml"
    path.write_text(config)
    command = [sys.executable, "-m", "moorage", "config", "check", "-c", str(path)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MOORAGE_")}
    env |= {"PYTHONPATH": str(ROOT / "src"), **settings}
    done = subprocess.run(command, env=env, text=True, capture_output=True, check=False)
    return done.stderr if done.returncode else ""
