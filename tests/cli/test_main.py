"""The commands that end by themselves, as real processes. `dev` and `serve` are in tests/integration."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from moorage import __version__
from moorage.auth import AccessKeys, client_audience, verify
from moorage.cli.service import SERVICE_MODULES

SOURCE = Path(__file__).resolve().parent.parent.parent / "src"
KEY = "k" * 32


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MOORAGE_")}
    return {**clean, "PYTHONPATH": str(SOURCE), **more}


def run(*args: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "moorage", *args],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_version() -> None:
    assert run("version").stdout == run("--version").stdout == f"moorage {__version__}\n"


@pytest.mark.parametrize("args", [(), ("config",), ("token",)])
def test_a_group_alone_shows_its_commands(args: tuple[str, ...]) -> None:
    done = run(*args)
    assert "Commands:" in done.stdout + done.stderr


def test_every_command_has_help() -> None:
    configuration = ("config check", "config show", "config init")
    for command in ("dev", "serve", "drain", "nodes", *configuration, "token create", "version"):
        done = run(*command.split(), "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: moorage {command} ")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("serv",), "No such command 'serv'"),
        (("serve", "--prot", "1"), "No such option"),
        (("token", "create"), "Missing option '--hub'"),
        (("token", "create", "--hub", "1x", "--access-key", KEY), "--hub 1x: expected a hub name"),
        (("token", "create", "--hub", "a"), "no key to sign with"),
        (("config", "show", "--set", "server.port"), "expected PATH=VALUE"),
    ],
)
def test_wrong_usage_exits_with_2(args: tuple[str, ...], why: str) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("moorage: ") and why in done.stderr


def test_init_check_show(tmp_path: Path) -> None:
    done = run("config", "init", cwd=tmp_path)
    path = tmp_path / "moorage.yaml"
    assert (done.returncode, done.stderr) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = re.findall(r'(?:primary|secondary): "(.{43})"', path.read_text())
    assert len(set(keys)) == 2

    done = run("config", "check", "-c", "moorage.yaml", cwd=tmp_path)
    warning, last = done.stdout.splitlines()
    assert (done.returncode, last, done.stderr) == (0, "moorage.yaml: ok", "")
    assert warning.startswith("warning: cors.allow_origins: no origin is listed")

    done = run("config", "show", "-c", "moorage.yaml", "--set", "server.port=9", cwd=tmp_path)
    assert done.returncode == 0
    assert "  port: 9  # command line\n" in done.stdout
    assert not any(key in done.stdout for key in keys)


def test_init_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    done = run("config", "init", "-o", str(path))
    assert (done.returncode, path.read_text()) == (1, "precious")
    assert done.stderr == f"moorage: {path} exists; nothing was written\n"
    done = run("config", "init", "-o", str(tmp_path / "none" / "x.yaml"))
    assert (done.returncode, done.stderr.startswith("moorage: ")) == (1, True)


def test_check_lists_all_problems(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("limits: {max_payloda: 1}\nserver: {port: many}\n")
    done = run("config", "check", "-c", str(path), MOORAGE_NONSENSE="1")
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert lines[0] == "moorage: the configuration is refused, 4 problems:"
    assert [line.strip().partition(":")[0] for line in lines[1:]] == [
        "limits.max_payloda",
        "MOORAGE_NONSENSE",
        "server.port",
        "keys.primary",
    ]
    assert "did you mean `limits.max_payload`?" in lines[1]


def test_check_prints_warnings() -> None:
    done = run("config", "check", MOORAGE_KEYS_PRIMARY="short", MOORAGE_SERVER_HOST="0.0.0.0")
    assert done.returncode == 0
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "warning",
        "warning",
        "warning",
        "environment",
    ]


def test_defaults_need_no_configuration_and_hide_none() -> None:
    done = run("config", "show", "--defaults", MOORAGE_SERVER_PORT="9")
    assert "  port: 8080\n" in done.stdout and done.returncode == 0


def test_serve_refuses_a_bad_configuration_before_anything_else() -> None:
    done = run("serve", "-c", "/nonexistent.yaml", MOORAGE_KEYS_PRIMARY=KEY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "moorage: /nonexistent.yaml: cannot be read: No such file or directory\n"
    assert "moorage config init" in run("serve").stderr


def test_a_token_and_nothing_else_is_printed() -> None:
    who = ("--hub", "chat", "--user", "alice", "--ttl", "10m", "--group", "a", "--group", "b", "--role", "r")
    done = run("token", "create", *who, "--access-key", KEY, "--endpoint", "https://live.example.org/")
    assert (done.returncode, done.stderr) == (0, "")
    now = time.time()
    token = done.stdout.removesuffix("\n")
    claims = verify(token, AccessKeys(KEY), client_audience("https://live.example.org", "chat"), now, 30)
    assert (claims.user_id, claims.groups, claims.all["role"]) == ("alice", ("a", "b"), ["r"])
    assert now + 500 < claims.expires < now + 700


def test_a_token_from_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        f'[keys]\nprimary = "{KEY}"\n[server]\nport = 9\nhost = "::1"\n[auth]\ntoken_ttl = "5h"\n'
    )
    done = run("token", "create", "--hub", "a[b]", "-c", str(path))
    claims = verify(done.stdout.strip(), AccessKeys(KEY), client_audience("[::1]:9", "a[b]"), time.time(), 30)
    assert claims.expires > time.time() + 4 * 3600
    assert claims.user_id is None


def test_no_token_is_made_for_an_address_that_cannot_be_known() -> None:
    done = run("token", "create", "--hub", "a", MOORAGE_KEYS_PRIMARY=KEY, MOORAGE_SERVER_HOST="0.0.0.0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "give --endpoint" in done.stderr


def test_a_reader_that_goes_away_is_no_crash() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "moorage", "config", "show"],
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_light_commands_load_no_server() -> None:
    code = (
        "import sys\n"
        "from moorage.cli.main import main\n"
        "main(['token', 'create', '--hub', 'a', '--access-key', 'k' * 20])\n"
        "heavy = {'asyncio', 'prometheus_client', 'starlette', 'uvicorn', 'yaml'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[1:] == ["set()"]


def test_the_extra_is_what_the_command_line_asks_for() -> None:
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["server"]
    modules = {re.split("[<>=]", wanted)[0].replace("-", "_") for wanted in extra}
    assert modules == set(SERVICE_MODULES)


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_without_the_service_its_commands_name_what_is_missing(command: str) -> None:
    # None in sys.modules is a module that cannot be found.
    code = (
        "import sys\n"
        "sys.modules.update(uvicorn=None, starlette=None)\n"
        "from moorage.cli.main import main\n"
        f"sys.exit(main(['{command}']))"
    )
    command_line = [sys.executable, "-c", code]
    done = subprocess.run(
        command_line, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "moorage: the service is not installed (missing: starlette, uvicorn); "
        'install the wheel with the extra "server": '
        f'pip install "dist/moorage-{__version__}-py3-none-any.whl[server]" (docs/howto/install.md)\n'
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    script = run(_MOORAGE_COMPLETE=f"{shell}_source")
    assert (script.returncode, "_MOORAGE_COMPLETE" in script.stdout) == (0, True)
    words = run(_MOORAGE_COMPLETE="bash_complete", COMP_WORDS="moorage to", COMP_CWORD="1")
    assert words.stdout.split() == ["plain,token", "plain,top"]
