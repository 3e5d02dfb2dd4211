"""The images: what linters say, and what must not be in them."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.deploy.checks import DEPLOY, check
from tests.support.pages import ROOT

FILES = ["Dockerfile", "chat.Dockerfile"]


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of the last stage, with their arguments on one line."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / name).read_text(), flags=re.M).replace("\\\n", "")
    parts = [line.strip().partition(" ") for line in text.splitlines() if line.strip()]
    found = [(word, rest) for word, _, rest in parts]
    last = max(at for at, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


@pytest.mark.parametrize("name", FILES)
def test_the_linter_finds_nothing(name: str) -> None:
    assert check("dockerfile", {"text": (DEPLOY / name).read_text()}) == []


@pytest.mark.parametrize("name", FILES)
def test_the_last_stage_runs_as_an_ordinary_user_and_has_a_health_check(name: str) -> None:
    last = dict(instructions(name))
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last["USER"])
    assert "HEALTHCHECK" in last
    commands = [rest for word, rest in instructions(name) if word == "RUN"]
    assert [command for command in commands if re.search(r"pip install|npm ci|apt", command)] == []


def test_packages_are_installed_by_their_hashes() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "--require-hashes" in text
    assert "requirements/run.txt" in text
    assert "--hash=sha256:" in (ROOT / "requirements/run.txt").read_text()


def test_the_health_check_asks_whether_the_node_is_ready() -> None:
    last = instructions("Dockerfile")
    assert any("http://127.0.0.1:8080/readyz" in rest for word, rest in last)
    assert any("MOORAGE_SERVER_PORT=8080" in rest for word, rest in last if word == "ENV")


@pytest.mark.parametrize("name", FILES)
def test_everything_that_is_copied_exists_and_is_sent_to_docker(name: str) -> None:
    text = (DEPLOY / name).read_text()
    sources = re.findall(r"^COPY (?!--from)(\S+) ", text, re.M)
    assert sources
    sent = re.findall(r"^!(\S+)$", (DEPLOY / f"{name}.dockerignore").read_text(), re.M)
    for source in sources:
        assert (ROOT / source).exists()
        assert any(source == path or source.startswith(f"{path}/") for path in sent), source


def test_the_python_of_the_image_is_supported() -> None:
    stages = re.findall(r"^FROM python:(3\.\d+)-slim", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert len(stages) == 2 and len(set(stages)) == 1
    assert f"/lib/python{stages[0]}/" in (DEPLOY / "Dockerfile").read_text()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=3.11"
