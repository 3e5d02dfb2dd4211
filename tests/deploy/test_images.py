"""The images: what linters say, and what must not be in them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.checks import DEPLOY, check
from tests.support.certificates import Authority
from tests.support.pages import ROOT
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

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


def health_check() -> list[str]:
    """The command of the image's health check."""
    (rest,) = (rest for word, rest in instructions("Dockerfile") if word == "HEALTHCHECK")
    command = json.loads(rest.partition("CMD ")[2])
    assert isinstance(command, list)
    return [sys.executable if word == "python" else word for word in command]


class Container:
    """A service in a process namespace of its own, as in a container, where it has the first process id.
    `healthy` runs the image's health check beside it."""

    def __init__(self, *flags: str) -> None:
        space = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no process namespaces here")
        self.port = free_port()
        self.service = MoorageProcess(*flags, f"--port={self.port}", command="serve", inside=space)

    def healthy(self) -> tuple[int, str]:
        """Exit code and output of the health check."""
        (first,) = Path(f"/proc/{self.service.pid}/task/{self.service.pid}/children").read_text().split()
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = ["nsenter", "--target", first, "--pid", "--mount", *health_check()]
        done = subprocess.run(command, env=env, text=True, capture_output=True, cwd=ROOT, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_health_check_follows_the_configuration(tls: bool, tmp_path: Path) -> None:
    file = tmp_path / "moorage.yaml"
    text = "keys: {primary: 0123456789abcdef0123}\nshutdown: {lb_wait: 100s, timeout: 120s}\n"
    if tls:
        pair = Authority(tmp_path).make(hosts=("live.example.org",))
        text += f"server: {{tls: {{cert_file: {pair.cert}, key_file: {pair.key}}}}}\n"
    file.write_text(text)
    container = Container("-c", str(file))
    with container.service as service:
        service.wait_record(event="ready")
        url = f"http{'s' if tls else ''}://127.0.0.1:{container.port}"
        assert container.healthy() == (0, f"{url} is ready\n")
        (first,) = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        service.wait_record(event="draining")
        assert container.healthy() == (3, f"{url} is not ready: draining\n")


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
